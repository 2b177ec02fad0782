"""Which ceilings bound a call, and the sums below them.

A ceiling stands for a scope, a unit and a period; its sum is named by a text such as
`agent:planner tokens day:2026-11-22`. A call pays into the sums of everybody who waits for it: its own
agent and task, and every agent and task above. So a child spends its parent's, and has no allowance of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from hive.core.budget import EACH, WARN_AT_PERCENT, Amounts, Budget, BudgetScope, Period, Unit
from hive.core.call import Claim
from hive.core.ids import AgentId, OwnerId, TaskId
from hive.core.json import Json

NODE_NAME: Final = "all"
UNITS_KEPT_MAX: Final = 4096
BudgetKey = tuple[BudgetScope, str, Unit, Period]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payers:
    """Who pays for a call: the owner, and agents and tasks from the caller up to the one that waits longest."""

    owner: OwnerId
    agents: tuple[AgentId, ...]
    tasks: tuple[TaskId, ...]

    def line(self, at: datetime) -> dict[str, Json]:
        """Return what a result's body says of them; `day` is the one that was paid in."""
        return {
            "agents": list(self.agents),
            "tasks": list(self.tasks),
            "day": at.date().isoformat(),
        }

    def names(self, scope: BudgetScope) -> tuple[str, ...]:
        """Return the names that a scope's ceilings are looked up by, each once."""
        match scope:
            case BudgetScope.NODE:
                return (NODE_NAME,)
            case BudgetScope.OWNER:
                return (self.owner,)
            case BudgetScope.AGENT:
                return tuple(dict.fromkeys(self.agents))
            case BudgetScope.TASK:
                return tuple(dict.fromkeys(self.tasks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What one call spent and whose budgets pay; without payers, nothing is counted."""

    payers: Payers | None = None
    amounts: Amounts = field(default_factory=dict)
    at: datetime | None = None

    @property
    def line(self) -> dict[str, Json]:
        """Return what a result's body says of it."""
        if self.payers is None or self.at is None:
            return {}
        return {"spent": amounts_line(self.amounts), "payers": self.payers.line(self.at)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendNotice:
    """Something about spending that the ledger should hold as an event."""

    name: str
    body: dict[str, Json]


def period_key(period: Period, at: datetime) -> str:
    """Return how a period is named in a sum's text."""
    day = at.date().isoformat()
    match period:
        case Period.DAY:
            return f"day:{day}"
        case Period.MONTH:
            return f"month:{day[:7]}"
        case Period.FOREVER:
            return "forever"


def sum_name(scope: BudgetScope, name: str, unit: Unit, period: Period, at: datetime) -> str:
    """Return the text that names one sum."""
    return f"{scope.value}:{name} {unit.value} {period_key(period, at)}"


@lru_cache(maxsize=UNITS_KEPT_MAX)
def unit_of(sum_text: str) -> Unit | None:
    """Return the unit of a sum, None for one that is no ceiling of an operator."""
    parts = sum_text.split(" ")
    return Unit(parts[1]) if len(parts) == 3 and parts[1] in set(Unit) else None


@dataclass(slots=True)
class Budgets:
    """The ceilings that operators set. A name of its own wins over `*`."""

    _all: dict[BudgetKey, Budget] = field(default_factory=dict)

    def put(self, budget: Budget) -> None:
        """Set a ceiling, or change it."""
        self._all[key_of_budget(budget)] = budget

    def remove(self, key: BudgetKey) -> bool:
        """Take a ceiling away; tell whether there was one."""
        return self._all.pop(key, None) is not None

    def all(self) -> tuple[Budget, ...]:
        """Return every ceiling, in a lasting order."""
        return tuple(self._all[key] for key in sorted(self._all))

    def claims(self, payers: Payers, reserve: Amounts, at: datetime) -> tuple[Claim, ...]:
        """Return the claims that a reservation makes; a unit without a ceiling makes none."""
        return tuple(
            Claim(
                kind="budget",
                scope=name,
                amount=max(0, reserve.get(budget.unit, 0)),
                limit=budget.limit,
            )
            for name, budget in self.applying(payers, at)
        )

    def applying(self, payers: Payers, at: datetime) -> Iterable[tuple[str, Budget]]:
        """Yield every sum that these payers pay into, with its ceiling."""
        day = at.date().isoformat()
        keys = {
            Period.DAY: f"day:{day}",
            Period.MONTH: f"month:{day[:7]}",
            Period.FOREVER: "forever",
        }
        names: dict[BudgetScope, tuple[str, ...]] = {}
        for (scope, name, unit, period), budget in self._all.items():
            if scope not in names:
                names[scope] = payers.names(scope)
            for payer in names[scope]:
                if name == payer or (
                    name == EACH and (scope, payer, unit, period) not in self._all
                ):
                    yield f"{scope}:{payer} {unit} {keys[period]}", budget


def key_of_budget(budget: Budget) -> BudgetKey:
    """Return what a ceiling is found by."""
    return (budget.scope, budget.name, budget.unit, budget.period)


@dataclass(slots=True)
class Thresholds:
    """Which warnings were given; each once for a sum."""

    _given: dict[str, int] = field(default_factory=dict)

    def crossed(self, name: str, spent: int, limit: int) -> int:
        """Return the highest threshold, in percent, that is crossed now and was not before; 0 for none."""
        percent = 100 if limit <= 0 else spent * 100 // limit
        if percent < WARN_AT_PERCENT[0]:
            return 0
        reached = max((one for one in WARN_AT_PERCENT if one <= percent), default=0)
        if reached <= self._given.get(name, 0):
            return 0
        self._given[name] = reached
        return reached

    def forget(self, names: Iterable[str]) -> None:
        """Drop sums that are gone."""
        for name in names:
            self._given.pop(name, None)


def amounts_line(amounts: Mapping[Unit, int]) -> dict[str, Json]:
    """Return amounts as a body holds them."""
    return {unit.value: amount for unit, amount in amounts.items() if amount}
