"""What agents printed: the last lines of each, in memory and in a bounded file."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.clock import Clock
from hive.core.ids import AgentId, TaskId, plain_text
from hive.kernel.ports import AgentLog

LINES_MAX: Final = 2000
LINE_MAX_CHARS: Final = 4000
FILE_MAX_BYTES: Final = 4 << 20
BEHIND_MAX: Final = 1000


class LogBook:
    """Lines of all agents. A reader that is too far behind misses lines; a writer never waits."""

    def __init__(self, clock: Clock, directory: Path) -> None:
        self._clock = clock
        self._directory = directory
        self._lines: dict[AgentId, deque[AgentLog]] = {}
        self._files: dict[AgentId, TextIO] = {}
        self._readers: list[MemoryObjectSendStream[AgentLog]] = []

    def add(
        self, agent: AgentId, text: str, *, level: str = "info", task: TaskId | None = None
    ) -> None:
        """Keep one line, stripped of everything that could drive a terminal."""
        line = AgentLog(
            at=self._clock.now(),
            agent=agent,
            text=plain_text(text, keep="\t")[:LINE_MAX_CHARS],
            level=level,
            task_id=task,
        )
        self._lines.setdefault(agent, deque(maxlen=LINES_MAX)).append(line)
        self._write(line)
        for reader in tuple(self._readers):
            with suppress(anyio.WouldBlock, anyio.BrokenResourceError):
                reader.send_nowait(line)

    def last(self, agent: AgentId | None, count: int) -> list[AgentLog]:
        """Return the last lines of one agent, or of all in the order of time."""
        if agent is not None:
            return list(self._lines.get(agent, ()))[-count:]
        lines = [line for lines in self._lines.values() for line in lines]
        return sorted(lines, key=lambda line: line.at)[-count:]

    @asynccontextmanager
    async def read(
        self, agent: AgentId | None, *, last: int, follow: bool
    ) -> AsyncIterator[AsyncIterator[AgentLog]]:
        """Read the last lines and, if asked, those that come."""
        send, receive = anyio.create_memory_object_stream[AgentLog](BEHIND_MAX)
        past = self.last(agent, last)
        if follow:
            self._readers.append(send)
        else:
            send.close()
        try:
            yield _joined(past, receive, agent)
        finally:
            with suppress(ValueError):
                self._readers.remove(send)
            send.close()
            receive.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, line: AgentLog) -> None:
        file = self._files.get(line.agent)
        path = self._directory / f"{line.agent}.log"
        if file is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._files[line.agent] = path.open("a", buffering=1, encoding="utf-8")
        if file.tell() > FILE_MAX_BYTES:
            file.close()
            path.replace(path.with_suffix(".log.1"))
            file = self._files[line.agent] = path.open("a", buffering=1, encoding="utf-8")
        with suppress(OSError):
            file.write(f"{line.at.isoformat(timespec='milliseconds')} {line.level} {line.text}\n")


async def _joined(
    past: list[AgentLog], coming: MemoryObjectReceiveStream[AgentLog], agent: AgentId | None
) -> AsyncIterator[AgentLog]:
    for line in past:
        yield line
    async for line in coming:
        if agent is None or line.agent == agent:
            yield line
