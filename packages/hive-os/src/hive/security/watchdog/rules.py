"""Rules as data, in the terms of Sigma: what a line must look like, how often, within which time, by whom.

    [[rule]]
    id = "refused-again-and-again"
    title = "An agent is refused again and again"
    level = "high"
    reaction = "open"                      # tell, open, quarantine
    [rule.match]
    kind = "intent"
    decision = "refused"
    "principal|startswith" = "agent:"
    [rule.count]
    at_least = 30
    within_s = 60
    by = "agent"
    distinct = "target"                    # optional: count different values of this field

A field is looked up in the line, then in its body. Modifiers: `contains`, `startswith`, `endswith`, `in`, `not`, `gte`,
`lte`, `exists`. All fields of `match` have to fit.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from hive.core.errors import BadInputError
from hive.core.json import Json

RULES_MAX: Final = 500
FIELDS_MAX: Final = 20
WITHIN_MAX_S: Final = 86_400.0
MODIFIERS: Final = ("contains", "startswith", "endswith", "in", "not", "gte", "lte", "exists")
_LEVELS: Final = ("informational", "low", "medium", "high", "critical")
SHIPPED: Final = Path(__file__).with_name("rules.toml")


class Reaction(StrEnum):
    """What follows from a rule, from mild to strong."""

    TELL = "tell"
    OPEN = "open"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Field:
    """One demand on a field."""

    name: str
    modifier: str
    value: Json

    def fits(self, line: Mapping[str, Json]) -> bool:
        """Tell whether a line fulfils it; a field that is not there fulfils only `not` and `exists = false`."""
        there = self.name in line
        found = line.get(self.name)
        if self.modifier == "exists":
            return there is bool(self.value)
        if self.modifier == "not":
            return found != self.value
        if not there:
            return False
        return self._compares(found)

    def _compares(self, found: Json) -> bool:
        if self.modifier in ("gte", "lte"):
            if not isinstance(found, int | float) or not isinstance(self.value, int | float):
                return False
            return found >= self.value if self.modifier == "gte" else found <= self.value
        if self.modifier == "in":
            return isinstance(self.value, list) and found in self.value
        if not self.modifier:
            return found == self.value
        text, part = str(found), str(self.value)
        if self.modifier == "contains":
            return part in text
        return text.startswith(part) if self.modifier == "startswith" else text.endswith(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRule:
    """A rule: `at_least` lines that fit all `fields` within `within_s` seconds, for each value of `by`."""

    id: str
    title: str
    level: str = "medium"
    reaction: Reaction = Reaction.TELL
    fields: tuple[Field, ...] = ()
    at_least: int = 1
    within_s: float = 60.0
    by: str = "agent"
    distinct: str = ""

    def fits(self, line: Mapping[str, Json]) -> bool:
        """Tell whether a line is one of those that the rule counts."""
        return all(one.fits(line) for one in self.fields)


def shipped_rules() -> tuple[WatchRule, ...]:
    """Return the rules that every node begins with."""
    return read_rules(SHIPPED.read_text("utf-8"))


def read_rules(text: str) -> tuple[WatchRule, ...]:
    """Read rules.

    Raises:
        BadInputError: the text is no TOML, or a rule is not one; the message names it.

    """
    try:
        rows = tomllib.loads(text).get("rule", [])
    except tomllib.TOMLDecodeError as error:
        raise _wrong("The rules cannot be read", str(error)) from error
    if not isinstance(rows, list) or len(rows) > RULES_MAX:
        raise _wrong("The rules cannot be read", f"There are at most {RULES_MAX}, each a [[rule]].")
    rules = tuple(_rule(row, number) for number, row in enumerate(rows, 1))
    if len({one.id for one in rules}) != len(rules):
        raise _wrong("The rules cannot be read", "Two of them have the same id.")
    return rules


@dataclass(slots=True)
class _Row:
    """One table of the file, read field by field; what nobody asks for is an error."""

    name: str
    values: dict[str, Json]
    seen: set[str] = field(default_factory=set)

    def text(self, key: str, default: str = "") -> str:
        found = self._take(key, default)
        if not isinstance(found, str):
            raise _wrong(f"The rule {self.name} is not valid", f"{key} is a text.")
        return found

    def number(self, key: str, default: float) -> float:
        found = self._take(key, default)
        if not isinstance(found, int | float) or isinstance(found, bool) or found <= 0:
            raise _wrong(f"The rule {self.name} is not valid", f"{key} is a number above 0.")
        return found

    def table(self, key: str) -> dict[str, Json]:
        found = self._take(key, {})
        if not isinstance(found, dict):
            raise _wrong(f"The rule {self.name} is not valid", f"{key} is a table.")
        return found

    def _take(self, key: str, default: Json) -> Json:
        self.seen.add(key)
        return self.values.get(key, default)

    def done(self) -> None:
        left = sorted(set(self.values) - self.seen)
        if left:
            raise _wrong(f"The rule {self.name} is not valid", f"Unknown: {', '.join(left)}.")


def _rule(row: Json, number: int) -> WatchRule:
    if not isinstance(row, dict):
        raise _wrong(f"The rule {number} is not valid", "It is a table.")
    whole = _Row(str(row.get("id") or number), row)
    count = _Row(whole.name, whole.table("count"))
    level, reaction = whole.text("level", "medium"), whole.text("reaction", "tell")
    if level not in _LEVELS or reaction not in list(Reaction):
        why = f"level is one of {', '.join(_LEVELS)}; reaction one of {', '.join(Reaction)}."
        raise _wrong(f"The rule {whole.name} is not valid", why)
    found = WatchRule(
        id=whole.text("id"),
        title=whole.text("title"),
        level=level,
        reaction=Reaction(reaction),
        fields=_fields(whole.name, whole.table("match")),
        at_least=int(count.number("at_least", 1)),
        within_s=min(WITHIN_MAX_S, float(count.number("within_s", 60))),
        by=count.text("by", "agent"),
        distinct=count.text("distinct"),
    )
    count.done()
    whole.done()
    if not found.id or not found.title or not found.fields:
        raise _wrong(f"The rule {whole.name} is not valid", "It needs an id, a title and a match.")
    return found


def _fields(rule: str, match: Mapping[str, Json]) -> tuple[Field, ...]:
    if len(match) > FIELDS_MAX:
        raise _wrong(f"The rule {rule} is not valid", f"It has over {FIELDS_MAX} fields.")
    found: Sequence[tuple[str, str, Json]] = [(*_named(key), value) for key, value in match.items()]
    for _, modifier, _value in found:
        if modifier and modifier not in MODIFIERS:
            raise _wrong(f"The rule {rule} is not valid", f"Modifiers: {', '.join(MODIFIERS)}.")
    return tuple(Field(name, modifier, value) for name, modifier, value in found)


def _named(key: str) -> tuple[str, str]:
    name, _, modifier = key.partition("|")
    return name, modifier


def _wrong(what: str, why: str) -> BadInputError:
    return BadInputError(
        f"{what}.", why=why, fix="See the rules that `hive watchdog rules` prints."
    )
