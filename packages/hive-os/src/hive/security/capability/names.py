"""Names that a person can tell apart: no look-alike letters, no invisible characters, no second spelling.

A name in a warrant is plain ASCII. What is called may be in another script, as long as it is in one script whose
letters nobody takes for Latin ones; then only a warrant that names all can allow it.
"""

import unicodedata
from functools import lru_cache
from typing import Final

NAME_MAX_CHARS: Final = 512
_LOOK_ALIKES: Final = frozenset(
    [
        "CYRILLIC",
        "GREEK",
        "COPTIC",
        "ARMENIAN",
        "CHEROKEE",
        "LISU",
        "DESERET",
        "OSAGE",
        "TIFINAGH",
        "GEORGIAN",
        "ROMAN",
        "MODIFIER",
    ]
)
_MARKS: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})


def plain_name(text: str) -> bool:
    """Tell whether a name can be shown to a person without being taken for another one."""
    if text.isascii():
        return text.isprintable() and 0 < len(text) <= NAME_MAX_CHARS
    return _unmistakable(text)


@lru_cache(maxsize=1024)
def _unmistakable(text: str) -> bool:
    if len(text) > NAME_MAX_CHARS or unicodedata.normalize("NFKC", text) != text:
        return False
    scripts = set()
    for letter in text:
        if unicodedata.category(letter) in _MARKS:
            return False
        if letter.isascii():
            if letter.isalpha():
                scripts.add("LATIN")
            continue
        if not letter.isalnum():
            return False
        scripts.add(unicodedata.name(letter, "UNNAMED").partition(" ")[0])
    return len(scripts) == 1 and not scripts & _LOOK_ALIKES and "UNNAMED" not in scripts


def spelling(text: str) -> str:
    """Return what two spellings of one name have in common."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
