"""A server that is a program: one message a line on its standard input and output, behind the walls.

The process belongs to whoever launches it. When its output ends it is dead, and every request that waits
for it ends at once.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio

from hive.core.errors import EngineUnavailableError
from hive.protocols.mcp.drivers.duplex import DuplexTalk
from hive.protocols.mcp.drivers.flood import FloodGauge
from hive.protocols.mcp.drivers.messages import broken, not_sent
from hive.protocols.mcp.hub.ports import ByteStreams, Hearer, WireOpening
from hive.protocols.mcp.ports import McpObject

READ_BYTES: Final = 1 << 16
LINE_OVERHEAD_BYTES: Final = 1 << 16
BEGINNING_BYTES: Final = 4096
WRITE_TIMEOUT_S: Final = 30.0


class StdioWire:
    """One process that speaks MCP."""

    duplex = True

    def __init__(self, opening: WireOpening) -> None:
        self._opening = opening
        self._streams: ByteStreams | None = None
        self._writing = anyio.Lock(fast_acquire=True)
        self._limit = opening.spec.result_max_bytes + LINE_OVERHEAD_BYTES
        self._talk = DuplexTalk(send=self._send, hearer=opening.hearer, clock=opening.clock)
        self._noise = FloodGauge(opening.clock)

    @property
    def ended(self) -> bool:
        """Tell whether the process is gone."""
        return self._talk.ended

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the process and read until the context is left."""
        opening = self._opening
        if opening.launch is None:
            raise not_sent("This node starts no programs as tool servers.")
        async with opening.launch(opening.spec, opening.owner, opening.instance) as streams:
            self._streams = streams
            async with anyio.create_task_group() as tasks:
                self._talk.begin(tasks)
                tasks.start_soon(self._read, streams)
                try:
                    yield
                finally:
                    self._talk.end()
                    tasks.cancel_scope.cancel()

    def settle(self, revision: str) -> None:
        """Take the revision; nothing on this transport depends on it."""

    async def ask(
        self,
        method: str,
        params: McpObject,
        *,
        hearer: Hearer,
        result_max_bytes: int,
        named: Mapping[str, str] | None = None,
    ) -> McpObject:
        """Send a request and return its result."""
        del named
        return await self._talk.ask(method, params, hearer=hearer, max_bytes=result_max_bytes)

    async def tell(self, method: str, params: McpObject) -> None:
        """Send a notification."""
        await self._talk.tell(method, params)

    async def _send(self, data: bytes) -> None:
        streams = self._streams
        if streams is None:
            raise not_sent("It has not been started.")
        async with self._writing:
            # A line that was cut would spoil the next one: once begun, it is written whole.
            with anyio.CancelScope(shield=True), anyio.move_on_after(WRITE_TIMEOUT_S) as late:
                try:
                    await streams.send(data + b"\n")
                except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
                    self._talk.end(error)
                    raise broken("It does not read any more.", error) from error
        if late.cancelled_caught:
            self._talk.end()
            raise broken(f"It has not read for {WRITE_TIMEOUT_S:g} s.")

    async def _read(self, streams: ByteStreams) -> None:
        cause: BaseException | None = None
        try:
            await self._lines(streams)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            cause = error
        except (OSError, EngineUnavailableError) as error:
            cause = error
        finally:
            self._talk.end(cause)

    async def _lines(self, streams: ByteStreams) -> None:
        held = bytearray()
        skipping = False
        while True:
            piece = await streams.receive(READ_BYTES)
            start = 0
            while (end := piece.find(b"\n", start)) >= 0:
                if not skipping:
                    line = piece[start:end] if not held else bytes(held + piece[start:end])
                    if line.strip():
                        await self._talk.take(line)
                    else:
                        self._noise.add(1)
                held.clear()
                skipping = False
                start = end + 1
            if skipping:
                self._noise.add(len(piece))
                continue
            held += piece[start:]
            if len(held) > self._limit:
                self._talk.overlong(bytes(held[:BEGINNING_BYTES]), self._limit)
                held.clear()
                skipping = True
