"""How many questions one provider has at once, and how many wait for their turn."""

import anyio


class Slots:
    """A bounded number of places and a bounded queue before them."""

    def __init__(self, *, concurrent_max: int, queue_max: int, queue_s: float) -> None:
        self._places = anyio.Semaphore(concurrent_max, fast_acquire=True)
        self._concurrent_max = concurrent_max
        self._queue_max = queue_max
        self._queue_s = queue_s
        self._waiting = 0

    @property
    def used(self) -> int:
        """Return how many places are taken."""
        return self._concurrent_max - self._places.value

    @property
    def waiting(self) -> int:
        """Return how many wait."""
        return self._waiting

    async def acquire(self) -> bool:
        """Take a place; False where the queue is full or the wait too long."""
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            return await self._wait()
        return True

    def release(self) -> None:
        """Give the place back."""
        self._places.release()

    async def _wait(self) -> bool:
        if self._waiting >= self._queue_max:
            return False
        self._waiting += 1
        try:
            with anyio.move_on_after(self._queue_s):
                await self._places.acquire()
                return True
        finally:
            self._waiting -= 1
        return False
