"""Capabilities as people write them: `tool fs.write path=under:/work`, `model *`, `host api.example.org:443`.

The same words stand on the command line, in a setting and in what `hive warrant show` prints.
"""

import shlex
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from hive.core.call import Verb
from hive.core.errors import BadInputError
from hive.core.ids import printable
from hive.security.capability.ports import Capability, Terms
from hive.security.capability.terms_check import check_of

WORDS: Final = MappingProxyType(
    {
        "tool": Verb.INVOKE,
        "agent": Verb.SEND,
        "model": Verb.ASK,
        "host": Verb.REACH,
        "tier": Verb.SPAWN,
    }
)
PATHS: Final = "paths"
_WORD_OF: Final = MappingProxyType({verb: word for word, verb in WORDS.items()})


def capability_of(text: str) -> Capability:
    """Read one capability.

    Raises:
        BadInputError: it has another form.

    """
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if len(words) < 2 or words[0] not in WORDS:
        raise BadInputError(
            f"{printable(text[:120])} is no capability.",
            why=f"It begins with {', '.join(WORDS)} and a name, then conditions NAME=CONDITION.",
            fix="For example: 'tool fs.write path=under:/work' or 'host api.example.org:443'.",
        )
    pairs = []
    for word in words[2:]:
        name, equals, condition = word.partition("=")
        if not equals or not name:
            raise BadInputError(
                f"{printable(word[:120])} is no condition.", fix="Write NAME=CONDITION."
            )
        pairs.append((name, condition or "="))
    made = Capability(
        verb=WORDS[words[0]], target=_target(words), arguments=tuple(pairs) if pairs else None
    )
    check_of(Terms(capabilities=(made,)))
    return made


def terms_in(texts: Iterable[str]) -> Terms:
    """Read terms: capabilities, and `paths /a,/b` for where paths may lead. Raises BadInputError."""
    capabilities: list[Capability] = []
    paths: tuple[str, ...] | None = None
    for text in texts:
        word, _, rest = text.strip().partition(" ")
        if word == PATHS:
            paths = (*(paths or ()), *(one.strip() for one in rest.split(",")))
        else:
            capabilities.append(capability_of(text))
    terms = Terms(capabilities=tuple(capabilities), paths=paths)
    check_of(terms)
    return terms


def capability_text(one: Capability) -> str:
    """Write a capability so that `capability_of` reads it again."""
    words = [_WORD_OF.get(one.verb, one.verb.value), one.target]
    words += [f"{name}={condition}" for name, condition in one.arguments or ()]
    return " ".join(shlex.quote(word) if " " in word else word for word in words)


def terms_text(terms: Terms) -> list[str]:
    """Write terms line by line."""
    lines = [capability_text(one) for one in terms.capabilities]
    if terms.paths is not None:
        lines.append(f"{PATHS} {','.join(terms.paths)}")
    return lines


def _target(words: list[str]) -> str:
    name = words[1]
    bare_server = words[0] == "tool" and "." not in name and name != "*"
    return f"{name}.*" if bare_server else name
