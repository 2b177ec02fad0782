"""Connections to one provider: kept between questions, every part of an answer bounded in size and time.

They sit on the event loop itself, for each call of a model waits for them: a client of many layers costs more
than the gate does. Errors are httpcore's, so that a failure before the provider had the question is told from
one after it by the same names everywhere.
"""

import asyncio
import select
from collections import deque
from ssl import SSLContext
from typing import Final

import anyio
import httpcore

from hive.core.errors import EngineError
from hive.protocols.models.addresses import ProviderPlace, screened_addresses
from hive.protocols.models.exchange import ProviderExchange

CONNECTIONS_MAX: Final = 1000
KEPT_CONNECTIONS_MAX: Final = 50


class ProviderConnections:
    """All connections to one provider; the one that was used last is used next."""

    def __init__(
        self,
        *,
        place: ProviderPlace,
        context: SSLContext | None,
        connect_s: float,
        read_s: float,
        kept_s: float,
    ) -> None:
        self._place = place
        self._context = context
        self._connect_s = connect_s
        self._read_s = read_s
        self._kept_s = kept_s
        self._places = anyio.Semaphore(CONNECTIONS_MAX, fast_acquire=True)
        self._open: set[ProviderExchange] = set()
        self._kept: deque[tuple[ProviderExchange, float]] = deque()

    async def send(self, data: bytes) -> "ProviderResponse":
        """Send a whole request; return when the head of its answer is there.

        Raises:
            httpcore.NetworkError: there is no connection, or it broke.
            httpcore.ProtocolError: what came is no HTTP.
            httpcore.TimeoutException: nothing came in time.

        """
        await self._take_place()
        wire: ProviderExchange | None = None
        try:
            wire = self._take_kept() or await self._connect()
            wire.begin(data)
            await wire.answered()
        except BaseException:
            self._give_back(wire)
            raise
        return ProviderResponse(wire, self)

    def close(self) -> None:
        """End every connection."""
        for wire in tuple(self._open):
            wire.abort()
        self._open.clear()
        self._kept.clear()

    def end(self, wire: ProviderExchange) -> None:
        """Take a connection back: to keep it where its answer is whole, else to end it."""
        self._give_back(wire)

    async def _take_place(self) -> None:
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(self._connect_s) as scope:
                await self._places.acquire()
            if scope.cancelled_caught:
                raise httpcore.PoolTimeout from None

    def _give_back(self, wire: ProviderExchange | None) -> None:
        self._places.release()
        if wire is None:
            return
        now = asyncio.get_running_loop().time()
        if wire.finish() and wire in self._open and len(self._kept) < KEPT_CONNECTIONS_MAX:
            self._kept.append((wire, now + self._kept_s))
            return
        wire.abort()
        self._open.discard(wire)

    def _take_kept(self) -> ProviderExchange | None:
        now = asyncio.get_running_loop().time()
        while self._kept and (self._kept[0][1] <= now or self._kept[0][0].closed):
            self._forget(self._kept.popleft()[0])
        while self._kept:
            wire, _ = self._kept.pop()
            if not wire.closed and not _has_something_to_say(wire):
                return wire
            self._forget(wire)
        return None

    def _forget(self, wire: ProviderExchange) -> None:
        wire.abort()
        self._open.discard(wire)

    async def _connect(self) -> ProviderExchange:
        """Resolve, look, then connect to the first address that takes the connection."""
        place = self._place
        refusal: Exception = httpcore.ConnectError("no address of it may be connected to")
        try:
            addresses = await screened_addresses(
                place.host, place.port, only_loopback=place.only_loopback
            )
        except EngineError as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in addresses:
            try:
                return await self._connect_to(address)
            except TimeoutError:
                refusal = httpcore.ConnectTimeout()
            except OSError as error:
                refusal = httpcore.ConnectError(type(error).__name__)
        raise refusal

    async def _connect_to(self, address: str) -> ProviderExchange:
        loop = asyncio.get_running_loop()
        with anyio.fail_after(self._connect_s):
            _, wire = await loop.create_connection(
                lambda: ProviderExchange(loop, self._read_s),
                address,
                self._place.port,
                ssl=self._context,
                server_hostname=self._place.host if self._context is not None else None,
            )
        self._open.add(wire)
        return wire


class ProviderResponse:
    """An answer while it comes; `close` must be called in the end."""

    def __init__(self, wire: ProviderExchange, connections: ProviderConnections) -> None:
        self._wire: ProviderExchange | None = wire
        self._connections = connections
        self.status = wire.status
        self.headers = wire.headers

    async def piece(self) -> bytes:
        """Return what came of the body since the last time, waiting for it; empty at its end.

        Raises:
            httpcore.NetworkError: the connection broke.
            httpcore.ProtocolError: what came is no HTTP.
            httpcore.TimeoutException: nothing came in time.

        """
        return b"" if self._wire is None else await self._wire.piece()

    def close(self) -> None:
        """End the exchange; what was not read is not waited for."""
        wire, self._wire = self._wire, None
        if wire is not None:
            self._connections.end(wire)


def _has_something_to_say(wire: ProviderExchange) -> bool:
    """Tell whether an idle connection has been closed, or holds what nobody asked for.

    The loop may not have come to it yet, and a question that meets the close would be lost.
    """
    if wire.fileno < 0:
        return True
    poll = select.poll()
    poll.register(wire.fileno, select.POLLIN)
    return bool(poll.poll(0))
