"""The messages of one stream, numbered, so that a client whose connection broke can go on where it was.

A reader that is slow holds the writer back; with no reader the oldest messages are dropped. The answer
itself, which is always the last, is never dropped.
"""

from collections import deque
from collections.abc import AsyncGenerator

import anyio

from hive.protocols.mcp.front.limits import FrontLimits


class McpStreamLog:
    """One stream. One reader at a time: a later one takes over."""

    def __init__(self, name: str, limits: FrontLimits) -> None:
        self.name = name
        self.closed = False
        self.streamed = False
        self._limits = limits
        self._kept: deque[tuple[int, bytes]] = deque()
        self._size_bytes = 0
        self._last = 0
        self._read = 0
        self._reader = 0
        self._reading = False
        self._news = anyio.Event()
        self._room = anyio.Event()

    @property
    def read_now(self) -> bool:
        """Tell whether somebody reads it."""
        return self._reading

    @property
    def size_bytes(self) -> int:
        """Return how much it holds."""
        return self._size_bytes

    def event_id(self, number: int) -> str:
        """Return the id by which a client says what it has seen."""
        return f"{self.name}-{number}"

    async def put(self, data: bytes) -> None:
        """Write a message; wait while the reader has too much before it."""
        while self._reading and self._unread >= self._limits.stream_events_max and not self.closed:
            self._room = anyio.Event()
            await self._room.wait()
        if not self.closed:
            self._append(data)

    def finish(self, data: bytes | None = None) -> None:
        """Write the last message; nothing comes after it."""
        if self.closed:
            return
        if data is not None:
            self._append(data)
        self.closed = True
        self._wake()

    async def first(self) -> None:
        """Wait until there is a message or an end."""
        while not self._last and not self.closed:
            await self._news.wait()

    @property
    def answer(self) -> bytes | None:
        """Return the answer if it is all there is, for a client that needs no stream then."""
        if self.closed and self._last == 1 and self._kept and not self.streamed:
            return self._kept[0][1]
        return None

    async def read(self, after: int) -> AsyncGenerator[tuple[int, bytes]]:
        """Yield what comes after a number, until the end or until another reader takes over."""
        self._reader += 1
        mine = self._reader
        self._reading, self._read = True, after
        self._wake()
        try:
            while mine == self._reader:
                found = next((item for item in self._kept if item[0] > self._read), None)
                if found is not None:
                    self._read = found[0]
                    self._room.set()
                    yield found
                elif self.closed:
                    return
                else:
                    await self._news.wait()
        finally:
            if mine == self._reader:
                self._reading = False
                self._room.set()

    @property
    def _unread(self) -> int:
        return self._last - self._read

    def _append(self, data: bytes) -> None:
        self._last += 1
        self._kept.append((self._last, data))
        self._size_bytes += len(data)
        while len(self._kept) > 1 and self._is_full():
            self._size_bytes -= len(self._kept.popleft()[1])
        self._wake()

    def _is_full(self) -> bool:
        if self._reading and self._kept[0][0] > self._read:
            return False
        return (
            len(self._kept) > self._limits.stream_events_max
            or self._size_bytes > self._limits.stream_kept_max_bytes
        )

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()
