"""How many SVIDs may be issued: a burst and a rate, for each sandbox and for the node."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from hive.core.clock import Clock

SANDBOXES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class IssueLimit:
    """A burst, and how many come back each second."""

    burst: int
    per_s: float


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float

    def fill(self, limit: IssueLimit, now_s: float) -> None:
        self.left = min(limit.burst, self.left + (now_s - self.at_s) * limit.per_s)
        self.at_s = now_s


class IssueQuota:
    """Counts what is issued; a refused one costs nothing."""

    def __init__(
        self,
        clock: Clock,
        *,
        sandbox: IssueLimit = IssueLimit(60, 2.0),
        node: IssueLimit = IssueLimit(20_000, 2000.0),
    ) -> None:
        self._clock = clock
        self._limit = sandbox
        self._node_limit = node
        self._buckets: dict[Hashable, _Bucket] = {}
        self._node = _Bucket(node.burst, clock.monotonic())

    def take(self, sandbox: Hashable) -> bool:
        """Count one SVID; False where the sandbox or the node has had too many."""
        now_s = self._clock.monotonic()
        bucket = self._buckets.get(sandbox)
        if bucket is None:
            if len(self._buckets) >= SANDBOXES_MAX:
                return False
            bucket = self._buckets[sandbox] = _Bucket(self._limit.burst, now_s)
        bucket.fill(self._limit, now_s)
        self._node.fill(self._node_limit, now_s)
        if bucket.left < 1 or self._node.left < 1:
            return False
        bucket.left -= 1
        self._node.left -= 1
        return True

    def forget(self, sandbox: Hashable) -> None:
        """Forget a sandbox that has ended."""
        self._buckets.pop(sandbox, None)
