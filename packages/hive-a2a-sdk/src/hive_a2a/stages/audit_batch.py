"""What the writer of a record holds between two writes, and how much that may be."""

import asyncio
import logging
import threading
from dataclasses import dataclass, field

import anyio

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLimits:
    """How much, and how often.

    `refusals_per_s` and `refusals_burst` are for each known caller; what is more is summed up.
    """

    rotate_bytes: int = 64 << 20
    head_every_entries: int = 1000
    head_every_s: float = 60.0
    summary_every_s: float = 60.0
    disk_floor_bytes: int = 64 << 20
    held_max: int = 20_000
    refusals_per_s: float = 1.0
    refusals_burst: int = 20
    refusal_buckets_max: int = 1000


@dataclass(slots=True)
class WaitingLines:
    """Lines for one file; `begins` is the number of its first entry where the file is new."""

    begins: int = 0
    lines: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class WaitingBatch:
    """What is written together, and who waits for it; `due` when nobody more is to be waited for."""

    pieces: list[WaitingLines] = field(default_factory=lambda: [WaitingLines()])
    waiters: dict[asyncio.AbstractEventLoop, anyio.Event] = field(default_factory=dict)
    entries: int = 0
    last_n: int = 0
    last_hash: bytes = b""
    failed: bool = False
    due: bool = False

    def settle(self, *, failed: bool) -> None:
        """Wake who waits: they learn whether it is written, and are not asked again."""
        self.failed = failed
        for loop, event in self.waiters.items():
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                log.warning("audit.waiter_gone")
        self.waiters.clear()


class WriterBell:
    """Lets the writer rest until it is needed: one lock, since a wake-up is on the path of every call.

    Everything here is done while `mutex` is held. Resting lightly, it hears only what is urgent; so entries that
    nobody waits for (outcomes) go with the next that somebody does, or when the rest is over.
    """

    def __init__(self, mutex: threading.Lock) -> None:
        self._mutex = mutex
        self._bell = threading.Lock()
        self._bell.acquire()
        self._rests = self._lightly = False

    def ring(self, *, urgent: bool) -> None:
        """Wake the writer, if it rests and hears this."""
        if self._rests and (urgent or not self._lightly):
            self._rests = False
            self._bell.release()

    def rest(self, seconds: float, *, lightly: bool) -> None:
        """Give the mutex away until it rings, or so many seconds have passed."""
        self._rests, self._lightly = True, lightly
        self._mutex.release()
        try:
            rang = self._bell.acquire(timeout=seconds)
        finally:
            self._mutex.acquire()
        if not rang and not self._rests:
            self._bell.acquire()  # it rang while the mutex was being taken again
        self._rests = False
