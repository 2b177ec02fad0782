"""What differs between two runs without meaning anything, by name: ids that were drawn, times of day.

Each mask says what it takes for volatile. Values are numbered in the order in which they appear, so two
documents are alike only where the same id stands at the same places. Nothing else is hidden: a word, a
number, a name of a tool is never masked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import msgspec

from hive.core.ids import plain_text
from hive.core.json import Json, decode, encode

SHOWN_MAX_CHARS: Final = 160
MISSING: Final = "(not there)"
_BEFORE: Final = r"(?<![0-9A-Za-z])"
_AFTER: Final = r"(?![0-9A-Za-z])"
_UUID: Final = r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
_TIME: Final = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?(?![0-9A-Za-z])"
)
_CALL_ID: Final = r"(?:call|toolu|msg|resp|fc|rs|chatcmpl)[_-](?=[A-Za-z]*\d)[A-Za-z0-9]{16,64}"
_ULID: Final = r"(?=[A-Z]*\d)0[0-9A-HJKMNP-TV-Z]{25}"
_HEX: Final = r"(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{16,128}"
MASKS: Final[dict[str, str]] = {
    "uuid": "a UUID",
    "time": "a date with a time of day to the second",
    "call-id": "an id of a model's call or message (call_..., toolu_..., msg_...)",
    "ulid": "a ULID",
    "hex": "sixteen or more hexadecimal digits",
    "epoch": "seconds or milliseconds since 1970 under a key that names a time",
    "id-key": "an id under a key that names the id of a call or a message",
}
_VOLATILE: Final = re.compile(
    f"{_BEFORE}(?:(?P<uuid>{_UUID})|(?P<time>{_TIME})|(?P<callid>{_CALL_ID})"
    f"|(?P<ulid>{_ULID})|(?P<hex>{_HEX})){_AFTER}"
)
_NAMES: Final = {"callid": "call-id"}
_EPOCH_KEYS: Final = frozenset(
    {"created", "created_at", "timestamp", "ts", "time", "date", "updated_at", "started_at"}
)
_EPOCH_RANGES: Final = ((10**9, 4 * 10**9), (10**12, 4 * 10**12))
_ID_KEYS: Final = frozenset({"tool_call_id", "call_id", "tool_use_id", "item_id", "message_id"})
_ID_LIKE: Final = re.compile(r"(?:call|toolu|msg|fc|rs)[_-][A-Za-z0-9_-]{4,80}")


@dataclass(slots=True)
class Masked:
    """A document with its volatile values taken out; `found` are those, each with its mask's name."""

    document: Json
    found: dict[str, str] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def put(self, name: str, value: str) -> str:
        """Take one value out."""
        number = self._numbers.setdefault(value, len(self._numbers) + 1)
        self.found.setdefault(value, name)
        return f"<{name} {number}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place at which two documents differ, both values as a person may read them."""

    path: str
    expected: str
    actual: str


def masked(document: bytes) -> Masked:
    """Return a document without its volatile values; what is no JSON is taken as text."""
    result = Masked(None)
    result.document = _walk(_read(document), "", result)
    return result


def masked_text(text: str) -> str:
    """Return a text without its volatile values."""
    return _in_text(text, Masked(None))


def first_difference(expected: bytes, actual: bytes) -> Difference | None:
    """Return where two documents differ after their masks; None where they do not."""
    return _differ(masked(expected).document, masked(actual).document, "")


def shown(text: str) -> str:
    """Return a text as a terminal may show it: short, without control characters."""
    clean = plain_text(text)
    return clean if len(clean) <= SHOWN_MAX_CHARS else clean[: SHOWN_MAX_CHARS - 1] + "…"


def _read(document: bytes) -> Json:
    try:
        return decode(document)
    except (ValueError, msgspec.MsgspecError):
        return document.decode("utf-8", "replace")


def _walk(value: Json, key: str, result: Masked) -> Json:
    if isinstance(value, str):
        return _string(value, key, result)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        epoch = key in _EPOCH_KEYS and any(low <= value < high for low, high in _EPOCH_RANGES)
        return result.put("epoch", str(value)) if epoch else value
    if isinstance(value, dict):
        return {name: _walk(one, name, result) for name, one in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [_walk(one, key, result) for one in value]
    return value


def _string(text: str, key: str, result: Masked) -> str:
    by_key = key in _ID_KEYS or key == "id"
    if by_key and _ID_LIKE.fullmatch(text):
        return result.put("id-key", text)
    return _in_text(text, result)


def _in_text(text: str, result: Masked) -> str:
    def take(match: re.Match[str]) -> str:
        name = cast("str", match.lastgroup)
        return result.put(_NAMES.get(name, name), match[0])

    return _VOLATILE.sub(take, text)


def _differ(expected: Json, actual: Json, path: str) -> Difference | None:
    if isinstance(expected, dict) and isinstance(actual, dict):
        names = sorted({*expected, *actual})
        pairs = [
            (f"{path}.{name}" if path else name, _in(expected, name), _in(actual, name))
            for name in names
        ]
        return _first(pairs)
    if isinstance(expected, list) and isinstance(actual, list):
        places = range(max(len(expected), len(actual)))
        return _first([(f"{path}[{n}]", _at(expected, n), _at(actual, n)) for n in places])
    if expected == actual and type(expected) is type(actual):
        return None
    if isinstance(expected, str) and isinstance(actual, str):
        return _texts(expected, actual, path)
    return Difference(path=shown(path), expected=_said(expected), actual=_said(actual))


def _first(pairs: Sequence[tuple[str, tuple[Json, ...], tuple[Json, ...]]]) -> Difference | None:
    """Return the first difference of values that are there (one) or not (none)."""
    for path, expected, actual in pairs:
        if expected and actual:
            if found := _differ(expected[0], actual[0], path):
                return found
        elif expected or actual:
            return Difference(
                path=shown(path),
                expected=_said(expected[0]) if expected else MISSING,
                actual=_said(actual[0]) if actual else MISSING,
            )
    return None


def _in(document: dict[str, Json], name: str) -> tuple[Json, ...]:
    return (document[name],) if name in document else ()


def _at(items: list[Json], place: int) -> tuple[Json, ...]:
    return (items[place],) if place < len(items) else ()


def _texts(expected: str, actual: str, path: str) -> Difference:
    """Show two texts from shortly before the place where they part."""
    same = 0
    for one, other in zip(expected, actual, strict=False):
        if one != other:
            break
        same += 1
    start = max(0, same - SHOWN_MAX_CHARS // 4)
    lead = "…" if start else ""
    return Difference(
        path=shown(path),
        expected=shown(lead + expected[start:]),
        actual=shown(lead + actual[start:]),
    )


def _said(value: Json) -> str:
    return shown(encode(value).decode())
