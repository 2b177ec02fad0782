"""Budgets, rates and nonces: taken together with an intent, or none of them.

The intent carries its claims, so the ledger is where they are kept: a budget is the sum over its
entries. This book is that sum in memory, rebuilt for open tasks when the node starts.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hive.core.call import Claim, Refused
from hive.core.clock import Clock

SCOPES_MAX: Final = 100_000
NONCES_MAX: Final = 100_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class ClaimBook:
    """What has been claimed so far. Every method is atomic: none of them awaits."""

    clock: Clock
    _spent: dict[str, int] = field(default_factory=dict)
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)
    _nonces: OrderedDict[str, None] = field(default_factory=OrderedDict)

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
        """Return claims whose intent was not written."""
        for claim in claims:
            if claim.kind == "budget":
                self._spent[claim.scope] = max(0, self._spent.get(claim.scope, 0) - claim.amount)
            elif claim.kind == "nonce":
                self._nonces.pop(claim.scope, None)

    def restore(self, claims: Iterable[Claim]) -> None:
        """Count claims that the ledger already holds."""
        for claim in claims:
            if claim.kind == "budget":
                self._spent[claim.scope] = self._spent.get(claim.scope, 0) + claim.amount
            elif claim.kind == "nonce":
                self._nonces[claim.scope] = None

    def forget(self, prefix: str) -> None:
        """Drop the sums of a task that has ended."""
        for scope in [scope for scope in self._spent if scope.startswith(prefix)]:
            del self._spent[scope]

    def spent(self, scope: str) -> int:
        """Return how much of a budget is taken."""
        return self._spent.get(scope, 0)

    def _take_one(self, claim: Claim) -> Refused | None:
        if claim.kind == "budget":
            return self._take_budget(claim)
        if claim.kind == "rate":
            return self._take_rate(claim)
        return self._take_nonce(claim)

    def _take_budget(self, claim: Claim) -> Refused | None:
        spent = self._spent.get(claim.scope, 0)
        if spent + claim.amount > claim.limit or len(self._spent) >= SCOPES_MAX:
            return Refused(
                check="budget",
                reason=f"the ceiling of {claim.limit} is reached",
                detail=f"{claim.scope}: {spent} taken",
            )
        self._spent[claim.scope] = spent + claim.amount
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
