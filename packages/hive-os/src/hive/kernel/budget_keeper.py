"""Ceilings kept, and sums read back: what a budget holds after a restart is what the ledger says.

Setting and reopening are lines of the ledger; the table holds only which ceilings there are.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Final, cast

from hive.core.budget import EACH, Budget, BudgetScope, Period, Unit
from hive.core.clock import Clock
from hive.core.errors import NotFoundError
from hive.core.json import Json
from hive.engines.ports import Database
from hive.kernel.budgets import NODE_NAME, Budgets, key_of_budget, period_key, sum_name
from hive.kernel.claims import OVERRUN, ClaimBook
from hive.kernel.record import event
from hive.ledger.entry import Entry
from hive.ledger.journal import body_of
from hive.ledger.rows import COLUMNS, WRITTEN_ORDER, entry_of
from hive.ledger.tasks import TaskStore
from hive.ledger.writer import LedgerWriter

OPENED: Final = "budget.opened"
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WHO: Final = {
    BudgetScope.NODE: f"(SELECT '{NODE_NAME}'::text AS who) AS w",
    BudgetScope.OWNER: "(SELECT paid.owner AS who) AS w",
    BudgetScope.AGENT: "jsonb_array_elements_text(payers -> 'agents') AS w(who)",
    BudgetScope.TASK: "jsonb_array_elements_text(payers -> 'tasks') AS w(who)",
}
_SUMS: Final = """
WITH paid AS (
    SELECT owner, ledger_result(body) -> 'spent' AS spent, ledger_result(body) -> 'payers' AS payers
    FROM entry WHERE kind = 'result' AND left(name, 4) = 'ask ' AND at >= $1
        AND (chain <> $3 OR sequence < $4)
)
SELECT unit, w.who, sum(ledger_amount(spent, unit, 1e18)) AS amount
FROM paid, LATERAL jsonb_object_keys(spent) AS u(unit), LATERAL {who}
WHERE jsonb_typeof(spent) = 'object' AND payers ->> 'day' >= $2
GROUP BY unit, w.who
"""
_WAITING: Final = """
WITH RECURSIVE up(task, parent) AS (
    SELECT task, parent FROM entry
    WHERE kind = 'intent' AND task = ANY($1::text[]) AND left(name, 5) = 'send '
    UNION
    SELECT e.task, e.parent FROM up JOIN entry e ON e.call = up.parent AND e.kind = 'intent'
)
SELECT DISTINCT task FROM up WHERE task IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """One sum below a ceiling, as people see it."""

    budget: Budget
    who: str
    sum_name: str
    spent: int
    reserved: int
    closed: str = ""

    @property
    def percent(self) -> int:
        """Return how much of the ceiling is taken."""
        taken = self.spent + self.reserved
        return 100 if self.budget.limit <= 0 else taken * 100 // self.budget.limit


class BudgetKeeper:
    """Reads, sets and reopens budgets."""

    def __init__(
        self,
        *,
        database: Database,
        writer: LedgerWriter,
        store: TaskStore,
        budgets: Budgets,
        claims: ClaimBook,
        clock: Clock,
    ) -> None:
        self._database = database
        self._writer = writer
        self._store = store
        self._budgets = budgets
        self._claims = claims
        self._clock = clock

    async def load(self) -> None:
        """Read the ceilings and, where there are any, the sums below them."""
        rows = await self._database.fetch("SELECT scope, name, unit, period, ceiling FROM budget")
        for row in rows:
            self._budgets.put(
                Budget(
                    scope=BudgetScope(str(row["scope"])),
                    name=str(row["name"]),
                    unit=Unit(str(row["unit"])),
                    period=Period(str(row["period"])),
                    limit=cast("int", row["ceiling"]),
                )
            )
        if rows:
            await self._read_sums(self._budgets.all(), before=self._writer.head.sequence + 1)
            await self._read_closed()

    async def put(self, budget: Budget, *, by: str) -> None:
        """Set a ceiling, or change it; what was spent so far counts, and a closed budget opens."""
        is_new = budget_of(self._budgets, budget) is None
        # From the moment that this line is durable, what is spent is counted in memory: what lies before it is read.
        known: set[str] = set()

        def begin() -> None:
            known.update(self._claims.sums(f"{budget.scope.value}:"))
            self._budgets.put(budget)

        entry = await self._write("budget.set", budget, by, then=begin)
        await self._database.execute(
            "INSERT INTO budget (scope, name, unit, period, ceiling) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (scope, name, unit, period)"
            " DO UPDATE SET ceiling = excluded.ceiling, set_at = clock_timestamp()",
            budget.scope.value,
            budget.name,
            budget.unit.value,
            budget.period.value,
            budget.limit,
        )
        if is_new:
            await self._read_sums([budget], before=entry.sequence, known=known)
        for state in self.states():
            if state.closed and state.budget == budget:
                await self.reopen(state.sum_name, by=by)

    async def remove(self, budget: Budget, *, by: str) -> None:
        """Take a ceiling away.

        Raises:
            NotFoundError: there is none.

        """
        if not self._budgets.remove(key_of_budget(budget)):
            raise NotFoundError("There is no such budget.", fix="See `hive budget`.")
        await self._database.execute(
            "DELETE FROM budget WHERE scope = $1 AND name = $2 AND unit = $3 AND period = $4",
            budget.scope.value,
            budget.name,
            budget.unit.value,
            budget.period.value,
        )
        await self._write("budget.removed", budget, by)
        tail = f" {budget.unit.value} {period_key(budget.period, self._clock.now())}"
        for name in self._claims.sums(f"{budget.scope.value}:"):
            if name.endswith(tail) and not self._applies(name):
                self._claims.forget(name)

    async def reopen(self, name: str, *, by: str) -> None:
        """Open a budget that an overrun closed.

        Raises:
            NotFoundError: it is not closed.

        """
        if not self._claims.closed(name):
            raise NotFoundError(f"The budget {name} is not closed.", fix="See `hive budget`.")
        body: dict[str, Json] = {"budget": name, "by": by}
        await self._writer.append(event(OPENED, body, clock=self._clock))
        self._claims.reopen(name)

    def states(self) -> list[BudgetState]:
        """Return every ceiling with the sums below it; one that nothing was paid into stands alone."""
        now = self._clock.now()
        self._claims.forget_past(frozenset(period_key(one, now) for one in Period))
        found: list[BudgetState] = []
        for budget in self._budgets.all():
            names = self._names(budget, now)
            found += [self._state(budget, who, name) for who, name in names]
        return found

    def _applies(self, name: str) -> bool:
        return any(state.sum_name == name for state in self.states())

    def _names(self, budget: Budget, now: datetime) -> list[tuple[str, str]]:
        if budget.name != EACH:
            return [
                (budget.name, sum_name(budget.scope, budget.name, budget.unit, budget.period, now))
            ]
        tail = f" {budget.unit.value} {period_key(budget.period, now)}"
        own = {one.name for one in self._budgets.all() if _same_kind(one, budget)}
        whole = [one for one in self._claims.sums(f"{budget.scope.value}:") if one.endswith(tail)]
        people = [one.removeprefix(f"{budget.scope.value}:").removesuffix(tail) for one in whole]
        named = [(who, name) for who, name in zip(people, whole, strict=True) if who not in own]
        return named or [(EACH, f"{budget.scope.value}:{EACH}{tail}")]

    def _state(self, budget: Budget, who: str, name: str) -> BudgetState:
        reserved = self._claims.reserved(name)
        return BudgetState(
            budget=budget,
            who=who,
            sum_name=name,
            spent=max(0, self._claims.spent(name) - reserved),
            reserved=reserved,
            closed=self._claims.closed(name),
        )

    async def _read_sums(
        self, budgets: Sequence[Budget], *, before: int, known: Container[str] = ()
    ) -> None:
        now = self._clock.now()
        open_tasks = await self._open_tasks(budgets)
        for scope, period in sorted({(one.scope, one.period) for one in budgets}):
            since = first_moment(period, now)
            rows = await self._database.fetch(
                _SUMS.format(who=_WHO[scope]),
                since,
                since.date().isoformat(),
                self._writer.chain,
                before,
            )
            kept = [one for one in budgets if (one.scope, one.period) == (scope, period)]
            for row in rows:
                who, unit = str(row["who"]), str(row["unit"])
                if scope is BudgetScope.TASK and who not in open_tasks:
                    continue
                name = sum_name(scope, who, Unit(unit), period, now)
                wanted = any(one.unit == unit and one.name in (who, EACH) for one in kept)
                if wanted and name not in known:
                    self._claims.add_past(name, int(cast("int", row["amount"] or 0)))

    async def _open_tasks(self, budgets: Iterable[Budget]) -> frozenset[str]:
        if not any(one.scope is BudgetScope.TASK for one in budgets):
            return frozenset()
        rows = await self._database.fetch(
            _WAITING, [task.id for task in await self._store.open_tasks()]
        )
        return frozenset(str(row["task"]) for row in rows)

    async def _read_closed(self) -> None:
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM entry WHERE kind = 'event' "  # noqa: S608
            f"AND left(name, 7) = 'budget.' ORDER BY {WRITTEN_ORDER}"
        )
        for entry in map(entry_of, rows):
            body = body_of(entry)
            name = str(body.get("budget", ""))
            if entry.name == OVERRUN:
                spent, reserved = body.get("spent"), body.get("reserved")
                self._claims.close(name, f"a call spent {spent} of {reserved} reserved")
            elif entry.name == OPENED:
                self._claims.reopen(name)
        now = self._clock.now()
        self._claims.forget_past(frozenset(period_key(one, now) for one in Period))

    async def _write(
        self, name: str, budget: Budget, by: str, *, then: Callable[[], None] | None = None
    ) -> Entry:
        body: dict[str, Json] = {
            "scope": budget.scope.value,
            "name": budget.name,
            "unit": budget.unit.value,
            "period": budget.period.value,
            "limit": budget.limit,
            "by": by,
        }
        return await self._writer.append(event(name, body, clock=self._clock), then=then)


def budget_of(budgets: Budgets, like: Budget) -> Budget | None:
    """Return the ceiling that has the same scope, name, unit and period."""
    wanted = key_of_budget(like)
    return next((one for one in budgets.all() if key_of_budget(one) == wanted), None)


def first_moment(period: Period, now: datetime) -> datetime:
    """Return when a period began (UTC)."""
    if period is Period.FOREVER:
        return _LONG_AGO
    day = now.date() if period is Period.DAY else now.date().replace(day=1)
    return datetime.combine(day, time.min, tzinfo=UTC)


def _same_kind(one: Budget, other: Budget) -> bool:
    return (one.scope, one.unit, one.period) == (other.scope, other.unit, other.period)
