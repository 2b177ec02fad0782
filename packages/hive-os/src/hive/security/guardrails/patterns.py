"""The table of rules (`rules.toml`, and an operator's own file of the same form), read once and checked.

A pattern that could take long on a hostile text is refused when the table is read: every repetition has a bound
unless it cannot give back what it took, and repetitions inside each other stay small.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Final, cast

from hive.core.errors import ConfigError
from hive.security.guardrails.checksums import NUMBER_CHECKS

# The interpreter's own reader of patterns: it says exactly what `re` will do, and has no public name.
_PARSER: Final = import_module("re._parser")
_KINDS: Final = import_module("re._constants")
REPEAT_MAX: Final = 8192
NESTED_REPEAT_MAX: Final = 8
PATTERN_MAX_CHARS: Final = 4000
RULES_MAX: Final = 500
SECRET_CHECKS: Final = frozenset(
    {"", "jwt", "crc32-base62", "entropy", "named", "not-a-placeholder"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One rule: what it looks for, what has to stand in a text for it to be tried at all, how much a hit says."""

    id: str
    pattern: re.Pattern[str]
    score: float
    needs: tuple[str, ...] = ()
    check: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTable:
    """All rules."""

    injection: tuple[Shape, ...]
    secret: tuple[Shape, ...]
    personal: tuple[Shape, ...]
    iban: dict[str, int]
    placeholders: tuple[str, ...]


@lru_cache(maxsize=8)
def rule_table(extra: str = "") -> RuleTable:
    """Return the shipped rules, with those of an operator's file behind them.

    Raises:
        ConfigError: the file cannot be read, or a rule in it cannot be used.

    """
    shipped = _read(Path(__file__).with_name("rules.toml"))
    own = _read(Path(extra)) if extra else {}
    tables = (shipped, own)
    return RuleTable(
        injection=_shapes(tables, "injection", "weight", re.DOTALL, frozenset({""})),
        secret=_shapes(tables, "secret", "score", 0, SECRET_CHECKS),
        personal=_shapes(tables, "personal", "score", 0, frozenset(NUMBER_CHECKS)),
        iban=cast("dict[str, int]", shipped["iban"]),
        placeholders=tuple(cast("dict[str, list[str]]", shipped["placeholders"])["words"]),
    )


def problem_of(pattern: str) -> str:
    """Return why a pattern may not be used; empty where it may."""
    if not 0 < len(pattern) <= PATTERN_MAX_CHARS:
        return f"it has no text, or over {PATTERN_MAX_CHARS} characters"
    try:
        tree = _PARSER.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"it is no regular expression: {error}"
    return _too_far(tree, 1)


def _too_far(tree: Iterable[tuple[object, object]], outer: int) -> str:
    for name, value in tree:
        if name in (_KINDS.GROUPREF, _KINDS.GROUPREF_EXISTS):
            return "it refers to a group"
        around = outer
        if name in (_KINDS.MAX_REPEAT, _KINDS.MIN_REPEAT):
            most = cast("tuple[int, int, object]", value)[1]
            if most > REPEAT_MAX:
                return f"a repetition has no bound, or one over {REPEAT_MAX}"
            if most > 1 and outer > NESTED_REPEAT_MAX:
                return f"a repetition stands inside one of over {NESTED_REPEAT_MAX}"
            around = max(outer, most)
        for one in _inside(value):
            found = _too_far(one, around)
            if found:
                return found
    return ""


def _inside(value: object) -> Iterable[Iterable[tuple[object, object]]]:
    """Return the patterns within one element of a pattern."""
    if isinstance(value, _PARSER.SubPattern):
        return (cast("Iterable[tuple[object, object]]", value),)
    if isinstance(value, (tuple, list)):
        return tuple(found for one in value for found in _inside(one))
    return ()


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "A file of guard rules cannot be read.",
            why=f"{path.name}: {error}",
            fix="Correct it, or leave `file` out of HIVE_GUARD_URL.",
        ) from error


def _shapes(
    tables: Iterable[dict[str, object]],
    section: str,
    weight: str,
    flags: int,
    checks: frozenset[str],
) -> tuple[Shape, ...]:
    rows = [row for table in tables for row in cast("list[object]", table.get(section, []))]
    if len(rows) > RULES_MAX:
        raise _unusable(section, f"there are over {RULES_MAX}")
    return tuple(_shape(row, weight, flags, checks) for row in rows)


def _shape(row: object, weight: str, flags: int, checks: frozenset[str]) -> Shape:
    given = row if isinstance(row, dict) else {}
    name, pattern = str(given.get("id", "")), str(given.get("pattern", ""))
    score, needs, check = given.get(weight), given.get("needs", []), str(given.get("check", ""))
    problem = problem_of(pattern)
    if not name or not isinstance(score, (int, float)) or not 0 < score <= 1:
        problem = problem or f"it needs an `id`, and a `{weight}` over 0 and up to 1"
    if not isinstance(needs, list) or not all(isinstance(one, str) and one for one in needs):
        problem = problem or "`needs` is a list of texts"
    if check not in checks:
        problem = problem or f"there is no check {check!r}"
    if problem:
        raise _unusable(name, problem)
    return Shape(
        id=name,
        pattern=re.compile(pattern, flags),
        score=float(cast("float", score)),
        needs=tuple(needs),
        check=check,
    )


def _unusable(name: str, why: str) -> ConfigError:
    return ConfigError(
        "A guard rule cannot be used.",
        why=f"{name or 'a rule without an id'}: {why}.",
        fix="Write bounded repetitions such as {0,40}; the shipped rules.toml shows the form.",
    )
