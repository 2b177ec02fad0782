"""A look at what a definition says: hidden characters, orders to a model, names that pose as others.

The rules are few and shown to people by name. They find what is written plainly; a text that persuades without
any of these words passes them, which is why a definition is pinned and a call can need a person's yes.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Final, NamedTuple

from hive.core.json import Json, depth_exceeds, encode
from hive.protocols.mcp.ports import ToolDefinition

TEXT_MAX_CHARS: Final = 64 << 10
NESTING_MAX: Final = 40
HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\uffff"
    "\U000e0000-\U000e0fff]"
)
_RULES: Final[Mapping[str, re.Pattern[str]]] = {
    "orders to set instructions aside": re.compile(
        r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|prior|above|earlier|all|other"
        r"|system)\b.{0,40}\b(?:instruction|prompt|rule|message|direction)",
        re.IGNORECASE | re.DOTALL,
    ),
    "asks for secrecy towards the user": re.compile(
        r"\b(?:do not|don'?t|never|without)\b.{0,30}\b(?:tell|mention|inform|notify|show|reveal|telling"
        r"|mentioning|informing)\b.{0,30}\b(?:user|human|operator|anyone|person|this)",
        re.IGNORECASE | re.DOTALL,
    ),
    "speaks in tags that pose as the system's": re.compile(
        r"<\s*/?\s*(?:important|system|secret|instructions?|admin|assistant|critical|s)\s*>"
        r"|\[(?:system|inst|important)\]|<\|(?:im_start|system|user|assistant)",
        re.IGNORECASE,
    ),
    "orders another call first": re.compile(
        r"\b(?:before|prior to|after|whenever|each time|every time|always when)\b.{0,30}\b(?:using|calling"
        r"|invoking|use|call|invoke|run|running)\b.{0,60}\b(?:you must|must|always|first|make sure|read"
        r"|send|call|include|pass)\b",
        re.IGNORECASE | re.DOTALL,
    ),
    "names files that hold secrets": re.compile(
        r"(?:~|\$HOME|/home/\w+|/root)/\.(?:ssh|aws|gnupg|netrc|config|kube|docker|env)\b|\bid_rsa\b"
        r"|\bid_ed25519\b|/etc/(?:shadow|passwd)\b|\.cursor/mcp\.json|claude_desktop_config",
        re.IGNORECASE,
    ),
    "asks for the conversation or the prompt": re.compile(
        r"\b(?:full|entire|whole|complete|previous)\b.{0,20}\b(?:conversation|chat|context|history|system"
        r" prompt)\b.{0,60}\b(?:parameter|argument|field|here|pass|include|send|side ?note)",
        re.IGNORECASE | re.DOTALL,
    ),
}
# Letters of other scripts, and digits, that pass for a Latin one.
_CONFUSABLE: Final = str.maketrans(
    {
        like: letter
        for letter, likes in {
            "o": "0Oo\u043e\u041e\u03bf\u039f",
            "l": "1lIi|\u0456\u0406\u04cf",
            "s": "5s\u0455\u0405",
            "a": "\u0430\u0410",
            "e": "\u0435\u0415",
            "p": "\u0440\u0420",
            "c": "\u0441\u0421",
            "x": "\u0445\u0425",
            "y": "\u0443\u0423",
            "k": "\u043a\u041a",
            "m": "\u043c\u041c",
            "t": "\u0442\u0422",
            "n": "\u043d\u041d",
            "b": "\u0432\u0412",
        }.items()
        for like in likes
    }
)
_SEPARATOR: Final = re.compile(r"[-_.\s/:]+")
_WORDS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{4,}")


class Suspicion(NamedTuple):
    """One thing that was found; `hard` ones need a person before the tool may be used."""

    text: str
    hard: bool
    shadows: bool = False


class KnownName(NamedTuple):
    """The name of a tool of another server, and the digest of its definition."""

    server: str
    name: str
    digest: str


def look(
    definition: ToolDefinition, others: "NameIndex", *, own: Set[str] = frozenset()
) -> tuple[Suspicion, ...]:
    """Return what a look at a definition finds, beside the tools of other servers.

    `own` are the names of all tools that its server lists: of those it may speak.
    """
    found: dict[str, Suspicion] = {}
    for finding in (*_in_texts(definition), *_in_name(definition, others, own)):
        found.setdefault(finding.text, finding)
    return tuple(found.values())


class NameIndex:
    """The names of all known tools, found by how they look to a reader."""

    def __init__(self) -> None:
        self._by_look: dict[str, dict[tuple[str, str], str]] = {}
        self._distinctive: dict[str, set[str]] = {}

    def add(self, server: str, name: str, digest: str) -> None:
        """Know a tool."""
        self._by_look.setdefault(_skeleton(name), {})[server, name] = digest
        if _SEPARATOR.search(name):
            self._distinctive.setdefault(name.lower(), set()).add(server)

    def remove(self, server: str, name: str) -> None:
        """Forget a tool."""
        self._by_look.get(_skeleton(name), {}).pop((server, name), None)
        self._distinctive.get(name.lower(), set()).discard(server)

    def alike(self, definition: ToolDefinition) -> Iterator[KnownName]:
        """Yield the tools of other servers whose name looks the same."""
        for (server, name), digest in self._by_look.get(_skeleton(definition.name), {}).items():
            if server != definition.server:
                yield KnownName(server, name, digest)

    def has_posing(self, definition: ToolDefinition) -> bool:
        """Tell whether another server has a tool that looks like this one and is another."""
        return any(known.digest != definition.digest for known in self.alike(definition))

    def mentioned(self, server: str, text: str) -> Iterator[str]:
        """Yield names of other servers' tools that a text speaks of."""
        words = {one.lower().strip(".") for one in _WORDS.findall(text)}
        words |= {one.rpartition(".")[2] for one in words}
        for word in words:
            elsewhere = self._distinctive.get(word, set()) - {server}
            if elsewhere:
                yield f"{min(elsewhere)}.{word}"


def _in_texts(definition: ToolDefinition) -> Iterator[Suspicion]:
    if depth_exceeds(encode(definition.raw), NESTING_MAX):
        yield Suspicion("is nested too deeply to be looked at", hard=True)
    total = 0
    for text in _texts(definition.raw):
        total += len(text)
        if total > TEXT_MAX_CHARS:
            yield Suspicion(f"says more than {TEXT_MAX_CHARS} characters", hard=True)
            return
        if HIDDEN.search(text):
            yield Suspicion("has hidden characters", hard=True)
        told = unicodedata.normalize("NFKC", HIDDEN.sub("", text))
        for name, rule in _RULES.items():
            if rule.search(told):
                yield Suspicion(name, hard=True)


def _in_name(
    definition: ToolDefinition, others: NameIndex, siblings: Set[str]
) -> Iterator[Suspicion]:
    for known in others.alike(definition):
        if known.name == definition.name:
            if known.digest == definition.digest:
                continue  # the same program twice is no disguise
            yield Suspicion(f"has the name of {known.server}.{known.name}", hard=True, shadows=True)
        else:
            yield Suspicion(
                f"has a name that looks like {known.server}.{known.name}", hard=True, shadows=True
            )
    own = {name.lower() for name in siblings} | {definition.name.lower()}
    for text in _texts(definition.raw):
        for name in others.mentioned(definition.server, text[:TEXT_MAX_CHARS]):
            if name.partition(".")[2] not in own:
                yield Suspicion(f"speaks of another server's tool {name}", hard=True, shadows=True)


def _texts(value: Json, depth: int = 0) -> Iterator[str]:
    """Yield every text in a definition, keys as well: a model reads all of them."""
    if isinstance(value, str):
        yield value
    elif depth < NESTING_MAX and isinstance(value, list):
        yield from _all(value, depth)
    elif depth < NESTING_MAX and isinstance(value, dict):
        yield from value
        yield from _all(value.values(), depth)


def _all(values: Iterable[Json], depth: int) -> Iterator[str]:
    for one in values:
        yield from _texts(one, depth + 1)


def _skeleton(name: str) -> str:
    """Return how a name looks: no separators, no case, letters that pass for each other made equal."""
    plain = unicodedata.normalize("NFKC", HIDDEN.sub("", name))
    return _SEPARATOR.sub("", plain.translate(_CONFUSABLE)).lower().replace("rn", "m")
