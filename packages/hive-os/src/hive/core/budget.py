"""What may be spent, by whom, and how long a ceiling holds.

Every amount is a whole number, so sums are exact: money in billionths of a US dollar (a token of a model at
0.15 dollars a million costs 150 of them), time in milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias


class Unit(StrEnum):
    """What is counted."""

    CALLS = "calls"
    TOKENS = "tokens"
    NANO_USD = "nano_usd"
    MILLISECONDS = "milliseconds"


Amounts: TypeAlias = Mapping[Unit, int]
"""How much of each unit; one that is missing is zero."""


class BudgetScope(StrEnum):
    """Whose spending a ceiling bounds: everything on the node, one owner's, one agent's, one task's.

    A task's sum holds what the tasks below it spent as well: a child spends its parent's.
    """

    NODE = "node"
    OWNER = "owner"
    AGENT = "agent"
    TASK = "task"


class Period(StrEnum):
    """How long a sum grows before it begins again at zero (days and months in UTC)."""

    DAY = "day"
    MONTH = "month"
    FOREVER = "forever"


EACH: Final = "*"
WARN_AT_PERCENT: Final = (50, 80, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One ceiling: `name` is the owner, agent or task, or `*` for each of them on its own."""

    scope: BudgetScope
    name: str
    unit: Unit
    limit: int
    period: Period = Period.DAY
