"""A flood of refusals must not fill the ledger: so many a second are written, the rest is counted.

What was counted becomes one line, `refusals.summarised`, per principal and check.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from hive.core.clock import Clock
from hive.core.json import Json
from hive.ledger.entry import Draft, EntryKind

REFUSALS_SUMMARISED: Final = "refusals.summarised"
WRITTEN_PER_S: Final = 5.0
WRITTEN_BURST_MAX: Final = 20
PRINCIPALS_MAX: Final = 10_000
KINDS_MAX: Final = 1_000
_OTHERS: Final = "(others)"


@dataclass(slots=True)
class _Allowance:
    tokens: float
    at: float


@dataclass(slots=True, kw_only=True)
class RefusalMeter:
    """Says of each refusal whether it is written by itself; `summary` tells of those that were not.

    None of its methods awaits. Memory is bounded: of too many principals the longest silent is
    dropped, of too many kinds the rest is counted together.
    """

    clock: Clock
    written_per_s: float = WRITTEN_PER_S
    written_burst_max: int = WRITTEN_BURST_MAX
    _allowances: OrderedDict[str, _Allowance] = field(default_factory=OrderedDict)
    _counted: Counter[tuple[str, str]] = field(default_factory=Counter)

    def admit(self, principal: str, check: str) -> bool:
        """Return True to write this refusal by itself; else it is counted."""
        now = self.clock.monotonic()
        allowance = self._allowances.get(principal)
        if allowance is None:
            allowance = _Allowance(float(self.written_burst_max), now)
            self._allowances[principal] = allowance
            if len(self._allowances) > PRINCIPALS_MAX:
                self._allowances.popitem(last=False)
        self._allowances.move_to_end(principal)
        gained = (now - allowance.at) * self.written_per_s
        allowance.tokens = min(float(self.written_burst_max), allowance.tokens + gained)
        allowance.at = now
        if allowance.tokens < 1.0:
            self.count(principal, check)
            return False
        allowance.tokens -= 1.0
        return True

    def count(self, principal: str, check: str, times: int = 1) -> None:
        """Count a refusal that is never written by itself, such as one of a stranger."""
        key = (principal, check)
        if key not in self._counted and len(self._counted) >= KINDS_MAX:
            key = (_OTHERS, _OTHERS)
        self._counted[key] += times

    def summary(self) -> Draft | None:
        """Return one line about all that was counted since the last one, or None."""
        if not self._counted:
            return None
        counts: list[Json] = [
            {"principal": principal, "check": check, "count": count}
            for (principal, check), count in self._counted.most_common()
        ]
        total = self._counted.total()
        self._counted.clear()
        return Draft(
            kind=EntryKind.EVENT,
            name=REFUSALS_SUMMARISED,
            body={"total": total, "counts": counts},
            at=self.clock.now(),
        )
