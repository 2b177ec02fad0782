"""The table of words (`words.toml`), read once."""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, cast

_PARTS: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_ENDINGS: Final = ("ing", "ies", "es", "ed", "s", "d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What words mean. `acts` gives for each word the classes of action that it asks for."""

    reads: frozenset[str]
    lists: frozenset[str]
    generic: frozenset[str]
    overwrites: frozenset[str]
    things: frozenset[str]
    questions: frozenset[str]
    polite: frozenset[str]
    titles: frozenset[str]
    usual: frozenset[str]
    quoting: frozenset[str]
    quoted: frozenset[str]
    acts: dict[str, frozenset[str]]
    content: frozenset[str]
    destination: frozenset[str]
    names: frozenset[str]
    pointing: frozenset[str]
    plain: frozenset[str]

    def acts_of(self, words: list[str]) -> frozenset[str]:
        """Return the classes of action that words ask for."""
        found: set[str] = set()
        for word in words:
            for stem in stems(word):
                found |= self.acts.get(stem, frozenset())
        return frozenset(found)


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """Return the shipped table."""
    table = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
    acts: dict[str, set[str]] = {}
    for act, row in cast("dict[str, dict[str, list[str]]]", table["acts"]).items():
        for word in row["words"]:
            acts.setdefault(word, set()).add(act)
    arguments = table["arguments"]
    return Vocabulary(
        reads=frozenset(table["reads"]["words"]),
        lists=frozenset(table["lists"]["verbs"]),
        generic=frozenset(table["generic"]["verbs"]),
        overwrites=frozenset(table["overwrites"]["verbs"]),
        things=frozenset(table["things"]["words"]),
        questions=frozenset(table["questions"]["first"]),
        polite=frozenset(table["questions"]["polite"]),
        titles=frozenset(arguments["title"]),
        usual=frozenset(arguments["usual"]),
        quoting=frozenset(table["quotes"]["verbs"]),
        quoted=frozenset(table["quotes"]["things"]),
        acts={word: frozenset(found) for word, found in acts.items()},
        content=frozenset(arguments["content"]),
        destination=frozenset(arguments["destination"]),
        names=frozenset(arguments["name"]),
        pointing=frozenset(table["content_words"]["pointing"]),
        plain=frozenset(table["plain"]["words"]),
    )


def parts_of(name: str) -> list[str]:
    """Return the words in a name such as `sendEmail`, `send_email` or `mail.send-all`, in lower case."""
    return [part.casefold() for part in _PARTS.findall(name)]


@lru_cache(maxsize=4096)
def stems(word: str) -> tuple[str, ...]:
    """Return a word and what it may be an inflection of."""
    found = [word]
    if word.endswith(("'s", "\u2019s")):
        found.append(word[:-2])
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word[: -len(ending)]
            found.append(stem)
            if ending == "ies":
                found.append(stem + "y")
            if ending in ("ing", "ed", "es"):
                found.append(stem + "e")
            if len(stem) > 2 and stem[-1] == stem[-2]:
                found.append(stem[:-1])
    if word == "sent":
        found.append("send")
    if word == "paid":
        found.append("pay")
    if word == "bought":
        found.append("buy")
    return tuple(dict.fromkeys(found))
