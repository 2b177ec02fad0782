"""What was used once and may not come again, remembered within bounds: nonces, proofs, notifications.

What is not over is never forgotten to make room: that would be a replay. A full memory takes nothing new,
and one owner can fill only its share of it.
"""

from collections import Counter, OrderedDict

from hive_a2a.errors import A2AError


class OnceFullError(A2AError):
    """Nothing more can be remembered now, so nothing more may be accepted."""


class OnceMemory:
    """The memory of one process. Moments are seconds on whichever clock the caller reads."""

    def __init__(self, *, entries_max: int, per_owner_max: int | None = None) -> None:
        self._entries_max = entries_max
        self._per_owner_max = entries_max if per_owner_max is None else per_owner_max
        self._seen: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._seen)

    def first_use(self, key: bytes, *, until: float, now: float, owner: str = "") -> bool:
        """Remember a key until a moment; tell whether it is new.

        Raises:
            OnceFullError: there is no room, or none for this owner.

        """
        self._forget(now)
        if key in self._seen:
            return False
        if len(self._seen) >= self._entries_max or self._counts[owner] >= self._per_owner_max:
            raise OnceFullError("No room to remember what was used.")
        self._seen[key] = (until, owner)
        self._counts[owner] += 1
        return True

    def _forget(self, now: float) -> None:
        # In the order of arrival: where all last equally long that is the order of their ends; otherwise
        # an entry stays at most until those before it end.
        while self._seen:
            ends_at, owner = next(iter(self._seen.values()))
            if ends_at > now:
                return
            self._seen.popitem(last=False)
            self._counts[owner] -= 1
            if not self._counts[owner]:
                del self._counts[owner]
