"""Who computes, and for how long: the engine's clock, and a turnstile before the processors."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from hive.execution.component.engine import TICK_S

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLE_TICKS: Final = 50


class Ticker:
    """Moves the engine's clock while something runs; a host at rest costs nothing."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._running = 0
        self._asleep = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def __enter__(self) -> None:
        """Count one more that runs."""
        with self._lock:
            self._running += 1
            if self._asleep:
                self._asleep = False
                self._wake.set()

    def __exit__(self, *error: object) -> None:
        """Count one less."""
        with self._lock:
            self._running -= 1

    def _tick(self) -> None:
        idle = 0
        while True:
            time.sleep(TICK_S)
            self._engine.increment_epoch()
            idle = 0 if self._running else idle + 1
            if idle > IDLE_TICKS:
                with self._lock:
                    self._asleep = not self._running
                    self._wake.clear()
                if self._asleep:
                    self._wake.wait()
                idle = 0


class Turnstile:
    """Lets a few instances compute at once, in turns; those that wait for an answer of the gate take no place.

    Without it, threads that compute keep those that hold the interpreter's lock off the processors.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        """Wait for a place, behind those who came before."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = self._queued()
        mine.acquire()

    def __exit__(self, *error: object) -> None:
        """Give the place to whoever waits longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def give_way(self) -> None:
        """Let somebody else compute, where somebody waits."""
        if not self._waiting:
            return
        with self._lock:
            if not self._waiting:
                return
            mine = self._queued()
            self._waiting.popleft().release()
        mine.acquire()

    def _queued(self) -> threading.Lock:
        """Stand in line; the lock opens when a place is there."""
        mine = threading.Lock()
        mine.acquire()
        self._waiting.append(mine)
        return mine

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Give the place back while the body waits for something."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()
