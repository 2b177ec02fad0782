"""One connection that listens for a whole pool: each channel is a list of who wants it, not a connection.

A connection is a process of the server, of some two megabytes; a node listens to half a dozen channels.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import asyncpg  # type: ignore[import-untyped]
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.errors import EngineUnavailableError
from hive.engines.drivers.postgresql_errors import translated

NOTICES_MAX: Final = 1024
CLOSE_WITHIN_S: Final = 1.0


class SharedNotices:
    """Listens to any number of channels on one connection, which stands while anybody listens."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._connect = connect
        self._connection: asyncpg.Connection | None = None
        self._listeners = 0
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncIterator[str]]:
        """Receive the payloads of `NOTIFY channel` from now on; at most 1024 wait to be read.

        Iterating raises `EngineUnavailableError` when the connection breaks: listen again then, and
        look at the tables first, for what was said meanwhile is lost.
        """
        sending, receiving = anyio.create_memory_object_stream[str](NOTICES_MAX)
        listener = _Listener(channel, sending)
        with sending, receiving:
            connection = await self._add(listener)
            try:
                yield _notices(receiving)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._remove(connection, listener)

    async def _add(self, listener: "_Listener") -> asyncpg.Connection:
        async with self._turn:
            connection = self._connection
            if connection is None or connection.is_closed():
                with translated():
                    connection = await self._connect()
                self._connection, self._listeners = connection, 0
            try:
                connection.add_termination_listener(listener.ended)
                with translated():
                    await connection.add_listener(listener.channel, listener.heard)
            except BaseException:
                with suppress(asyncpg.InterfaceError):
                    connection.remove_termination_listener(listener.ended)
                if not self._listeners:
                    connection.terminate()
                raise
            self._listeners += 1
            return connection

    async def _remove(self, connection: asyncpg.Connection, listener: "_Listener") -> None:
        well = False
        with (
            anyio.move_on_after(CLOSE_WITHIN_S),
            suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError),
        ):
            connection.remove_termination_listener(listener.ended)
            # A connection that others have replaced has nobody left to take turns with.
            if connection is self._connection:
                async with self._turn:
                    await self._leave(connection, listener)
            well = True
        if not well:
            # Whoever else listens there is told by its end, and comes again.
            connection.terminate()

    async def _leave(self, connection: asyncpg.Connection, listener: "_Listener") -> None:
        if self._connection is None or connection is not self._connection:
            return
        self._listeners -= 1
        if self._listeners:
            await connection.remove_listener(listener.channel, listener.heard)
        else:
            self._connection = None
            await connection.close()


class _Listener:
    """One who listens: what it is called with, the same object at the beginning and the end."""

    def __init__(self, channel: str, sending: MemoryObjectSendStream[str]) -> None:
        self.channel = channel
        self._sending = sending

    def heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        with suppress(anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._sending.send_nowait(payload)

    def ended(self, _connection: object) -> None:
        self._sending.close()


async def _notices(receiving: MemoryObjectReceiveStream[str]) -> AsyncIterator[str]:
    async for payload in receiving:
        yield payload
    raise EngineUnavailableError(
        "The database connection that listened is gone.",
        why="The server ended it.",
        fix="Listen again, and look at the tables first.",
    )
