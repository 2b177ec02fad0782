"""Budgets, rates and nonces: taken together with an intent, or none of them.

The intent carries its claims and the result what was spent, so the ledger is where they are kept: a
budget is the sum over its entries. This book is that sum in memory, rebuilt when the node starts.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hive.core.budget import Amounts
from hive.core.call import Claim, Refused
from hive.core.clock import Clock
from hive.core.ids import CallId, TaskId
from hive.core.json import Json
from hive.kernel.budgets import SpendNotice, Thresholds, unit_of

SCOPES_MAX: Final = 100_000
NONCES_MAX: Final = 100_000
NOTICES_MAX: Final = 1000
ENDED_KEPT_MAX: Final = 1000
OVERRUN: Final = "budget.overrun"
WARNING: Final = "budget.warning"


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class ClaimBook:
    """What has been claimed so far. Every method is atomic: none of them awaits.

    A budget's sum holds what was spent and what is reserved; `settle` turns the one into the other.
    """

    clock: Clock
    _spent: dict[str, int] = field(default_factory=dict)
    _held: dict[str, int] = field(default_factory=dict)
    _closed: dict[str, str] = field(default_factory=dict)
    _open_calls: dict[CallId, tuple[TaskId, tuple[Claim, ...]]] = field(default_factory=dict)
    _thresholds: Thresholds = field(default_factory=Thresholds)
    _notices: list[SpendNotice] = field(default_factory=list)
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)
    _nonces: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _ended: OrderedDict[TaskId, None] = field(default_factory=OrderedDict)

    def take(self, claims: tuple[Claim, ...]) -> Refused | None:
        """Take all claims, or none: the first that fails gives the others back and is returned."""
        taken: list[Claim] = []
        for claim in claims:
            refused = self._take_one(claim)
            if refused is not None:
                self.give_back(taken)
                return refused
            taken.append(claim)
        return None

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Return claims whose intent was not written, or whose call will never be made."""
        for claim in claims:
            if claim.kind == "budget" and claim.scope in self._spent:
                self._spent[claim.scope] = max(0, self._spent[claim.scope] - claim.amount)
                self._release(claim)
            elif claim.kind == "nonce":
                self._nonces.pop(claim.scope, None)

    def settle(self, claims: Iterable[Claim], spent: Amounts | None) -> None:
        """Put what was spent in the place of what was reserved; None says that all of it was.

        More than was reserved is an overrun: it counts, and closes its budget.
        """
        for claim in claims:
            unit = unit_of(claim.scope) if claim.kind == "budget" else None
            if unit is None or claim.scope not in self._spent:
                continue
            amount = claim.amount if spent is None else max(0, spent.get(unit, 0))
            self._release(claim)
            total = self._spent[claim.scope] = max(
                0, self._spent[claim.scope] - claim.amount + amount
            )
            if amount > claim.amount:
                self._overrun(claim, amount)
            percent = self._thresholds.crossed(
                claim.scope, total - self._held.get(claim.scope, 0), claim.limit
            )
            if percent:
                self._notice(
                    WARNING, {"budget": claim.scope, "percent": percent, "limit": claim.limit}
                )

    def count(self, claims: Iterable[Claim], spent: Amounts) -> None:
        """Count spending of a call that reserved nothing: its ceilings were set while it was under way."""
        for claim in claims:
            unit = unit_of(claim.scope)
            if unit is not None:
                self._spent[claim.scope] = self._spent.get(claim.scope, 0) + spent.get(unit, 0)

    def restore(self, claims: Iterable[Claim]) -> None:
        """Count claims that the ledger already holds."""
        for claim in claims:
            if claim.kind == "budget":
                self._spent[claim.scope] = self._spent.get(claim.scope, 0) + claim.amount
            elif claim.kind == "nonce":
                self._nonces[claim.scope] = None

    def restore_open(self, task: TaskId, call: CallId, claims: tuple[Claim, ...]) -> None:
        """Hold the reservations of a call that was under way when the node died, once, and know its yes."""
        if call in self._open_calls:
            return
        budgets = tuple(one for one in claims if one.kind == "budget" and unit_of(one.scope))
        yeses = tuple(one for one in claims if one.kind == "approval")
        self._open_calls[call] = (task, (*budgets, *yeses))
        for claim in budgets:
            self._spent[claim.scope] = self._spent.get(claim.scope, 0) + claim.amount
            self._held[claim.scope] = self._held.get(claim.scope, 0) + claim.amount

    def holds(self, call: CallId, kind: str) -> bool:
        """Tell whether a call that goes on after a crash has a claim of a kind."""
        return any(one.kind == kind for one in self._open_calls.get(call, (None, ()))[1])

    def claims_of_open(self, call: CallId) -> tuple[Claim, ...]:
        """Return the reservations of a call that goes on after a crash; it must settle them."""
        return self._open_calls.pop(call, (None, ()))[1]

    def add_past(self, scope: str, amount: int) -> None:
        """Add what the ledger says was spent before this sum was kept in memory."""
        self._spent[scope] = self._spent.get(scope, 0) + amount

    def forget(self, prefix: str) -> None:
        """Drop the sums whose names begin so."""
        gone = [scope for scope in self._spent if scope.startswith(prefix)]
        for scope in gone:
            del self._spent[scope]
            self._held.pop(scope, None)
            self._closed.pop(scope, None)
        self._thresholds.forget(gone)

    def forget_past(self, current: frozenset[str]) -> None:
        """Drop the sums of days and months that are over; `current` are the keys that are not."""
        for scope in list(self._spent):
            key = scope.rpartition(" ")[2]
            if (
                key.startswith(("day:", "month:"))
                and key not in current
                and not self._held.get(scope)
            ):
                self.forget(scope)

    def end_task(self, task: TaskId) -> None:
        """Give back what a task that has ended will not use, and let its sums go some time later.

        What it asked of others may go on without it, and pays into the same sums: were they gone at once,
        leaving early would open the ceiling anew.
        """
        for call in [one for one, (owner, _) in self._open_calls.items() if owner == task]:
            self.give_back(self.claims_of_open(call))
        self.forget(task_budget(task, "models.calls"))
        self._ended[task] = None
        if len(self._ended) > ENDED_KEPT_MAX:
            oldest, _ = self._ended.popitem(last=False)
            self.forget(f"task:{oldest} ")

    def spent(self, scope: str) -> int:
        """Return how much of a budget is taken, reservations included."""
        return self._spent.get(scope, 0)

    def reserved(self, scope: str) -> int:
        """Return how much of a budget is reserved by calls under way."""
        return self._held.get(scope, 0)

    def sums(self, prefix: str) -> list[str]:
        """Return the names of the sums that begin so."""
        return [scope for scope in self._spent if scope.startswith(prefix)]

    def closed(self, scope: str) -> str:
        """Return why a budget is closed, empty while it is open."""
        return self._closed.get(scope, "")

    def close(self, scope: str, why: str) -> None:
        """Refuse whatever would be paid from a budget, until it is reopened."""
        self._closed[scope] = why

    def reopen(self, scope: str) -> bool:
        """Open a budget again; tell whether it was closed."""
        return self._closed.pop(scope, None) is not None

    def take_notices(self) -> list[SpendNotice]:
        """Return what the ledger should hold, each once."""
        notices, self._notices = self._notices, []
        return notices

    def notice(self, notice: SpendNotice) -> None:
        """Remember something for the ledger."""
        if len(self._notices) < NOTICES_MAX:
            self._notices.append(notice)

    def _notice(self, name: str, body: dict[str, Json]) -> None:
        self.notice(SpendNotice(name=name, body=body))

    def _overrun(self, claim: Claim, amount: int) -> None:
        self.close(claim.scope, f"a call spent {amount} of {claim.amount} reserved")
        self._notice(OVERRUN, {"budget": claim.scope, "reserved": claim.amount, "spent": amount})

    def _release(self, claim: Claim) -> None:
        left = self._held.get(claim.scope, 0) - claim.amount
        if left > 0:
            self._held[claim.scope] = left
        else:
            self._held.pop(claim.scope, None)

    def _take_one(self, claim: Claim) -> Refused | None:
        if claim.kind == "budget":
            return self._take_budget(claim)
        if claim.kind == "rate":
            return self._take_rate(claim)
        return self._take_nonce(claim)

    def _take_budget(self, claim: Claim) -> Refused | None:
        spent = self._spent.get(claim.scope, 0)
        full = spent + claim.amount > claim.limit or len(self._spent) >= SCOPES_MAX
        if full or claim.scope in self._closed:
            return _no_room(claim, spent, self._closed.get(claim.scope, ""))
        self._spent[claim.scope] = spent + claim.amount
        if unit_of(claim.scope) is not None:
            self._held[claim.scope] = self._held.get(claim.scope, 0) + claim.amount
        return None

    def _take_rate(self, claim: Claim) -> Refused | None:
        now = self.clock.monotonic()
        bucket = self._buckets.get(claim.scope)
        if bucket is None:
            bucket = self._buckets[claim.scope] = _Bucket(tokens=float(claim.limit), at=now)
            if len(self._buckets) > SCOPES_MAX:
                self._buckets.popitem(last=False)
        bucket.tokens = min(float(claim.limit), bucket.tokens + (now - bucket.at) * claim.limit)
        bucket.at = now
        if bucket.tokens < claim.amount:
            wait_s = (claim.amount - bucket.tokens) / claim.limit
            return Refused(
                check="rate", reason="too many calls at once", retry_after_s=round(wait_s, 3)
            )
        bucket.tokens -= claim.amount
        return None

    def _take_nonce(self, claim: Claim) -> Refused | None:
        if claim.scope in self._nonces:
            return Refused(check="nonce", reason="this has been used before")
        self._nonces[claim.scope] = None
        if len(self._nonces) > NONCES_MAX:
            self._nonces.popitem(last=False)
        return None


def task_budget(task: str, what: str) -> str:
    """Return the scope of a task's budget."""
    return f"task:{task} {what}"


def _no_room(claim: Claim, spent: int, closed: str) -> Refused:
    detail = f"{claim.scope}: {spent} taken, {claim.amount} asked"
    if closed:
        return Refused(
            check="budget",
            reason=f"the budget {claim.scope} is closed: {closed}; an operator reopens it with `hive budget open`",
            detail=detail,
        )
    if unit_of(claim.scope) is None:
        return Refused(
            check="budget", reason=f"the ceiling of {claim.limit} is reached", detail=detail
        )
    left = max(0, claim.limit - spent)
    return Refused(
        check="budget",
        reason=f"the ceiling of {claim.limit} is reached: {claim.scope} has {left} left, this call"
        f" needs {claim.amount}; an operator raises it with `hive budget set`",
        detail=detail,
    )
