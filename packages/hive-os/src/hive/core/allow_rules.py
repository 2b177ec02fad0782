"""Conditions of a grant on tools and hosts: which ones hold for a name, and what two sides allow together.

A rule holds for its name and for everything below it (`fs.*`, `*.example.org`, `*`) that has no nearer rule.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

ALL: Final = "*"
TOOL: Final = "tool"
HOST: Final = "host"
_NEVER: Final = (("-", "none"),)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AllowRule:
    """Under which conditions a tool or a host may be used: pairs of an argument's name and a condition.

    Several rules of one name are alternatives. With `pass_on` a tool may be used by the agents that this one
    asks, and not by itself. What a condition is stands in `hive.security.capability.constraints`.
    """

    kind: str
    name: str
    arguments: tuple[tuple[str, str], ...] = ()
    pass_on: bool = False


def covers(kind: str, pattern: str, name: str) -> bool:
    """Tell whether a name, or a pattern of names, falls under a pattern."""
    if pattern in (ALL, name):
        return True
    if kind == TOOL:
        return pattern.endswith(".*") and name.startswith(pattern[:-1])
    return pattern.startswith("*.") and name.endswith(pattern[1:]) and name != pattern[2:]


def nearest(rules: Iterable[AllowRule], kind: str, name: str) -> tuple[AllowRule, ...]:
    """Return the rules that hold for a name: those of the most exact pattern over it."""
    over = [one for one in rules if one.kind == kind and not one.pass_on]
    found = [one for one in over if covers(kind, one.name, name)]
    if not found:
        return ()
    best = max((one.name == name, len(one.name)) for one in found)
    return tuple(one for one in found if (one.name == name, len(one.name)) == best)


def cut_rules(
    asked: tuple[AllowRule, ...], ceiling: tuple[AllowRule, ...]
) -> tuple[AllowRule, ...]:
    """Return conditions under which only that is allowed which both sides allow."""
    kept: dict[AllowRule, None] = {}
    for kind, name in {(one.kind, one.name) for one in (*asked, *ceiling) if not one.pass_on}:
        for one in _joined(nearest(asked, kind, name), nearest(ceiling, kind, name)):
            kept[replace(one, name=name)] = None
    return tuple(sorted(kept))


def _joined(ours: tuple[AllowRule, ...], theirs: tuple[AllowRule, ...]) -> Iterable[AllowRule]:
    if not ours or not theirs or set(ours) == set(theirs):
        return ours or theirs
    return [_both(one, other) for one in ours for other in theirs]


def _both(one: AllowRule, other: AllowRule) -> AllowRule:
    """Return what satisfies two rules; where they name different arguments, nothing does."""
    ours, theirs = ({name for name, _ in rule.arguments} for rule in (one, other))
    arguments: tuple[tuple[str, str], ...] = _NEVER
    if not ours or not theirs or one.arguments == other.arguments:
        arguments = one.arguments or other.arguments
    elif ours == theirs:
        arguments = tuple(dict.fromkeys((*one.arguments, *other.arguments)))
    return replace(one, arguments=arguments)
