"""Take secrets and personal data out of what leaves: a text, or every text of a JSON document.

Redaction changes what the receiver gets, so it happens only where somebody asked for it by kind. It replaces the
whole match by its kind; what the rules do not recognise stays.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from hive.core.errors import ConfigError
from hive.core.json import Json, decode, encode
from hive.security.guardrails.finding import KINDS, SECRET, find_personal, find_secrets
from hive.security.guardrails.patterns import rule_table
from hive.security.guardrails.ports import ScanFinding

WHERE: Final = ("models", "tools", "agents")
SCORE_MIN: Final = 0.5
DEPTH_MAX: Final = 64
_BINARY: Final = re.compile(r"(?:data:[^,]{1,100};base64,)?[A-Za-z0-9+/_-]{2048,}={0,2}")


@dataclass(frozen=True, slots=True)
class RedactionWish:
    """What is taken out towards models, tools and agents."""

    kinds: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, words: Collection[str]) -> "RedactionWish":
        """Read a setting such as `secret, models:email`: a kind for everywhere, or for one place.

        Raises:
            ConfigError: a kind or a place is not known.

        """
        found: dict[str, set[str]] = {place: set() for place in WHERE}
        for word in words:
            place, colon, kind = word.partition(":") if ":" in word else ("", "", word)
            if kind not in KINDS or (colon and place not in WHERE):
                raise ConfigError(
                    "HIVE_GUARD_REDACT cannot be used.",
                    why=f"{word!r} is no kind; known: {', '.join(KINDS)}.",
                    fix=f"Write kinds by comma, each alone or behind one of: {', '.join(WHERE)}.",
                )
            for one in (place,) if place else WHERE:
                found[one].add(kind)
        return cls({place: frozenset(kinds) for place, kinds in found.items()})

    def towards(self, place: str) -> frozenset[str]:
        """Return what is taken out towards one of the places."""
        return self.kinds.get(place, frozenset())


def redact(value: Json, kinds: Collection[str]) -> tuple[Json, Mapping[str, int]]:
    """Return a text or document without what is of these kinds, and how many of each were taken out."""
    counts: Counter[str] = Counter()
    return _walk(value, frozenset(kinds), counts, DEPTH_MAX), dict(counts)


def redact_bytes(data: bytes, kinds: Collection[str]) -> tuple[bytes, Mapping[str, int]]:
    """Do the same with JSON as it is sent; what holds nothing of these kinds keeps its bytes."""
    try:
        document = decode(data)
    except ValueError:
        text, counts = redact(data.decode("utf-8", "surrogateescape"), kinds)
        return str(text).encode("utf-8", "surrogateescape"), counts
    changed, counts = redact(document, kinds)
    return (encode(changed) if counts else data), counts


def sensitive_kinds(value: Json, raw: bytes, kinds: Collection[str]) -> frozenset[str]:
    """Return which of these kinds stand in a document, or in its bytes where they are no document."""
    _, counts = redact(raw.decode("utf-8", "replace") if value is None else value, kinds)
    return frozenset(kinds) if "too-deep" in counts else frozenset(counts)


def sensitive(text: str, kinds: Collection[str]) -> list[ScanFinding]:
    """Return what of these kinds stands in a text, by place, none over another."""
    table = rule_table()
    found: list[ScanFinding] = []
    if SECRET in kinds:
        found += find_secrets(text, table)
    if any(kind != SECRET for kind in kinds):
        found += find_personal(text, table)
    kept: list[ScanFinding] = []
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if one.kind in kinds and one.score >= SCORE_MIN:
            if kept and one.start < kept[-1].end:
                continue
            kept.append(one)
    return kept


def _walk(value: Json, kinds: frozenset[str], counts: Counter[str], depth: int) -> Json:
    if isinstance(value, str):
        return _text(value, kinds, counts)
    if isinstance(value, (dict, list)) and depth <= 0:
        counts["too-deep"] += 1
        return "[redacted: nested too deeply to look at]"
    if isinstance(value, dict):
        return {
            _text(name, kinds, counts): _walk(one, kinds, counts, depth - 1)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_walk(one, kinds, counts, depth - 1) for one in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 10**8:
        return _number(value, kinds, counts)
    return value


def _number(value: float, kinds: frozenset[str], counts: Counter[str]) -> Json:
    """Take out a number that is a card or a national number when it is written out."""
    text = str(value)
    shown = _text(text, kinds - {"phone"}, counts)
    return value if shown == text else shown


def _text(text: str, kinds: frozenset[str], counts: Counter[str]) -> str:
    if len(text) < 6 or (len(text) > 2048 and _BINARY.fullmatch(text)):
        return text
    pieces, end = [], 0
    for one in sensitive(text, kinds):
        pieces += [text[end : one.start], f"[redacted {one.kind}]"]
        end = one.end
        counts[one.kind] += 1
    return text if not pieces else "".join((*pieces, text[end:]))
