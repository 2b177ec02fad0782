"""The standard input and output of a walled command, as byte streams of the node.

The command is hostile: it may never read, never write, or write without end. What it writes stays in the
kernel's pipe until somebody reads it. What it does not read waits here up to a bound, and when it takes
nothing for a while it is killed.
"""

import contextlib
import errno
import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio import to_thread
from anyio.abc import ByteStream

from hive.core.errors import SandboxError, TooLargeError
from hive.execution.drivers.process_sandbox import measure
from hive.execution.launcher_sandbox import LaunchedSandbox, StreamEnds
from hive.execution.ports import SandboxStats, Wall

UNREAD_MAX_BYTES: Final = 8 << 20
STALLED_TIMEOUT_S: Final = 60.0
_PIECE_BYTES: Final = 64 << 10


class CommandStreams(ByteStream):
    """A running command and its streams."""

    def __init__(
        self,
        launched: LaunchedSandbox,
        ends: StreamEnds,
        *,
        unread_max_bytes: int = UNREAD_MAX_BYTES,
        stalled_timeout_s: float = STALLED_TIMEOUT_S,
    ) -> None:
        self._launched = launched
        self._ends = ends
        self._unread_max_bytes = unread_max_bytes
        self._stalled_timeout_s = stalled_timeout_s
        self._pieces: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._changed = anyio.Condition()
        self._reading: anyio.CancelScope | None = None
        self._closed = False
        self._no_more_input = False
        self._broken = False

    @property
    def walls(self) -> Sequence[Wall]:
        """Return the walls around it."""
        return self._launched.walls

    @property
    def pid(self) -> int:
        """Return the host pid of its first process, 0 when there is none."""
        return self._launched.pid

    @property
    def printed(self) -> str:
        """Return the last lines of its standard error."""
        return self._launched.printed

    @property
    def refused(self) -> str:
        """Say for what the kernel ended it; empty where it did not."""
        return self._launched.refused

    @property
    def waiting_bytes(self) -> int:
        """Return how much the command has not read yet, apart from what the kernel holds."""
        return self._waiting_bytes

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what it wrote, as soon as there is something.

        Raises:
            anyio.EndOfStream: it closed its output or is dead.
            anyio.ClosedResourceError: `aclose` was called.

        """
        with anyio.CancelScope() as self._reading:
            while not self._closed:
                try:
                    data = self._ends.told.read(max_bytes)
                except OSError as error:
                    raise anyio.BrokenResourceError from error
                if data:
                    return data
                if data == b"":
                    raise anyio.EndOfStream
                await anyio.wait_readable(self._ends.told)
        raise anyio.ClosedResourceError

    async def send(self, item: bytes) -> None:
        """Hand over the whole of `item`, or nothing where cancelled; waits while too much is unread.

        Raises:
            TooLargeError: it is more than may ever wait.
            anyio.BrokenResourceError: it reads no more.
            anyio.ClosedResourceError: its input was closed.

        """
        if len(item) > self._unread_max_bytes:
            raise TooLargeError(
                "The message is too large for the command.",
                why=f"It has {len(item)} bytes; {self._unread_max_bytes} may wait.",
            )
        async with self._changed:
            while True:
                if self._broken:
                    raise anyio.BrokenResourceError
                if self._no_more_input or self._closed:
                    raise anyio.ClosedResourceError
                if self._waiting_bytes + len(item) <= self._unread_max_bytes:
                    break
                await self._changed.wait()
            # Nothing before it waits, so the pipe may take it at once, without a task between.
            rest = memoryview(item) if self._pieces else self._write(memoryview(item))
            if rest:
                self._pieces.append(rest)
                self._waiting_bytes += len(rest)
                self._changed.notify_all()

    async def send_eof(self) -> None:
        """Close its input once everything is written."""
        async with self._changed:
            self._no_more_input = True
            self._changed.notify_all()

    async def aclose(self) -> None:
        """Close both streams; the command itself ends with its context."""
        self._closed = True
        if self._reading is not None:
            self._reading.cancel()
        await self.send_eof()

    async def wait_dead(self) -> str:
        """Wait until it is gone; return why."""
        await self._launched.dead.wait()
        return self._launched.reason

    async def stats(self) -> SandboxStats:
        """Measure it."""
        return await to_thread.run_sync(measure, self._launched)

    def kill(self, reason: str) -> None:
        """Kill everything inside at once; may be called from any thread, more than once."""
        self._launched.kill(reason)

    async def drain(self) -> None:
        """Write what waits whenever the command reads; ends when its input is closed."""
        try:
            while await self._something_waits():
                with anyio.move_on_after(self._stalled_timeout_s) as patience:
                    await anyio.wait_writable(self._ends.given)
                if patience.cancelled_caught:
                    self.kill(f"It did not read its input for {self._stalled_timeout_s:g} s.")
                    self._broken = True
                async with self._changed:
                    self._write_waiting()
                    self._changed.notify_all()
        finally:
            self._ends.given.close()

    async def _something_waits(self) -> bool:
        async with self._changed:
            while not self._pieces and not self._broken:
                if self._no_more_input:
                    return False
                await self._changed.wait()
            return not self._broken

    def _write_waiting(self) -> None:
        while self._pieces and not self._broken:
            piece = self._pieces.popleft()
            rest = self._write(piece)
            self._waiting_bytes -= len(piece) - len(rest)
            if rest:
                self._pieces.appendleft(rest)
                return

    def _write(self, data: memoryview) -> memoryview:
        """Write what the pipe takes now; return the rest."""
        while data:
            try:
                written = os.write(self._ends.given.fileno(), data[:_PIECE_BYTES])
            except BlockingIOError:
                return data
            except OSError as error:
                self._broken = True
                if error.errno == errno.EPIPE:
                    return memoryview(b"")
                raise SandboxError("A command's input broke.", why=str(error)) from error
            data = data[written:]
        return data


@asynccontextmanager
async def command_streams(
    launched: LaunchedSandbox, *, stalled_timeout_s: float = STALLED_TIMEOUT_S
) -> AsyncIterator[CommandStreams]:
    """Serve a command's streams while the context lasts.

    Raises:
        SandboxError: it was started without streams.

    """
    if launched.streams is None:
        raise SandboxError("The command has no streams.", why="It was started without.")
    streams = CommandStreams(launched, launched.streams, stalled_timeout_s=stalled_timeout_s)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(streams.drain)
        try:
            yield streams
        except Exception as error:  # noqa: BLE001 - raised again below, outside the task group
            failure = error
        finally:
            with contextlib.suppress(anyio.ClosedResourceError):
                await streams.aclose()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
