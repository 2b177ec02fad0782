"""A small store that several servers share, for buckets, circuits and nonces: compare and set, with an age.

Any key-value store with revisions can stand behind `SharedCounters`; `MemoryCounters` is the one of a
single process, and what the tests of the port run on.
"""

from collections import OrderedDict
from typing import Final, Protocol

from hive_a2a.clock import WallClock

ENTRIES_MAX: Final = 100_000
TRIES_MAX: Final = 8
"""How often a lost race is run again before the caller is told that the store is busy."""


class SharedCounters(Protocol):
    """Holds small values under names, each with a revision."""

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """Return a value and its revision; None where there is none, or it is too old."""
        ...

    async def swap(self, name: str, value: bytes, *, revision: int | None, ttl_s: float) -> bool:
        """Write a value if its revision is still this one (None: if there is none); tell whether it was."""
        ...


class MemoryCounters:
    """Keeps them in this process; full, it takes no new name until an old one has passed its age.

    So nobody can push another's counter out by inventing names.
    """

    def __init__(self, clock: WallClock, *, entries_max: int = ENTRIES_MAX) -> None:
        self._clock = clock
        self._entries_max = entries_max
        self._entries: OrderedDict[str, tuple[bytes, int, float]] = OrderedDict()
        self._revision = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """Return a value and its revision; None where there is none, or it is too old."""
        found = self._entries.get(name)
        if found is None or found[2] <= self._clock.monotonic():
            return None
        return found[0], found[1]

    async def swap(self, name: str, value: bytes, *, revision: int | None, ttl_s: float) -> bool:
        """Write a value if its revision is still this one (None: if there is none); tell whether it was."""
        now = self._clock.monotonic()
        found = self._entries.get(name)
        current = None if found is None or found[2] <= now else found[1]
        if current != revision or (found is None and not self._room(now)):
            return False
        self._revision += 1
        self._entries[name] = (value, self._revision, now + ttl_s)
        self._entries.move_to_end(name)
        return True

    def _room(self, now: float) -> bool:
        """Make room by what stood longest without a write, if it is too old by now."""
        while len(self._entries) >= self._entries_max:
            name, (_, _, ends_at) = next(iter(self._entries.items()))
            if ends_at > now:
                return False
            del self._entries[name]
        return True
