"""What tool servers write beside their protocol, and what is told while their packages are built: the last of it."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.clock import Clock
from hive.core.ids import plain_text
from hive.kernel.host_parts import first_error
from hive.web.tools import ToolLogLine

LINES_PER_SERVER_MAX: Final = 1000
SERVERS_MAX: Final = 500
LINE_MAX_CHARS: Final = 2000
LINES_AHEAD_MAX: Final = 100


class ToolLogs:
    """The newest lines of each server, in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[str, deque[ToolLogLine]] = {}
        self._hearers: dict[str, list[MemoryObjectSendStream[str]]] = {}

    def add(self, server: str, text: str) -> None:
        """Keep a line; the oldest goes where there are too many."""
        lines = self._lines.get(server)
        if lines is None:
            if len(self._lines) >= SERVERS_MAX:
                del self._lines[next(iter(self._lines))]
            lines = self._lines[server] = deque(maxlen=LINES_PER_SERVER_MAX)
        plain = plain_text(text[:LINE_MAX_CHARS])
        lines.append(ToolLogLine(at=self._clock.now(), text=plain))
        for hearer in self._hearers.get(server, ()):
            try:
                hearer.send_nowait(plain)
            except (anyio.WouldBlock, anyio.BrokenResourceError):
                continue

    def last(self, server: str, count: int) -> Sequence[ToolLogLine]:
        """Return the newest lines of a server, oldest of them first."""
        lines = self._lines.get(server, deque())
        return list(islice(lines, max(0, len(lines) - count), None))

    def forget(self, server: str) -> None:
        """Drop the lines of a server that is gone: the next one of its name wrote none of them."""
        self._lines.pop(server, None)

    @contextmanager
    def heard(
        self, server: str
    ) -> Iterator[tuple[MemoryObjectSendStream[str], MemoryObjectReceiveStream[str]]]:
        """Hear each line of a server as it comes."""
        send, receive = anyio.create_memory_object_stream[str](LINES_AHEAD_MAX)
        hearers = self._hearers.setdefault(server, [])
        hearers.append(send)
        try:
            with send, receive:
                yield send, receive
        finally:
            hearers.remove(send)
            if not hearers:
                del self._hearers[server]


async def following(
    told: tuple[MemoryObjectSendStream[str], MemoryObjectReceiveStream[str]],
    work: Callable[[], Awaitable[None]],
) -> AsyncIterator[str]:
    """Do some work, and yield what is heard meanwhile; ends with the work."""
    send, receive = told

    async def do() -> None:
        with send:
            await work()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(do)
            async for text in receive:
                yield text
    except ExceptionGroup as group:
        raise first_error(group) from group
