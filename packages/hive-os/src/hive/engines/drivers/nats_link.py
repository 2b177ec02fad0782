"""One connection to NATS that comes back by itself, and that never pretends to be there.

nats-py's own reconnecting is switched off: it would keep what is published meanwhile, deliver it to whoever
has the port by then, and knows no server whose address and credentials change. Here a call made while the
server is away fails with `EngineUnavailableError`, and every subscription is made again on the new
connection before any call is let through.

Two mended faults of nats-py: its PING may overtake a SUB that waits to be written, so one `flush` proves
nothing and the second one does; and a connection may end without its callback being called.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

import anyio
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from hive.core.errors import EngineTimeoutError, EngineUnavailableError
from hive.engines.drivers.nats_errors import away, translated
from hive.engines.embedded.nats import NatsAddress

CONNECT_TIMEOUT_S: Final = 2
BACK_OFF_MIN_S: Final = 0.005
BACK_OFF_MAX_S: Final = 1.0
CLOSE_WITHIN_S: Final = 1.0
FLUSH_TIMEOUT_S: Final = 5
API_TIMEOUT_S: Final = 10.0
PING_EVERY_S: Final = 15
LOOK_AT_STATE_EVERY_S: Final = 0.1

_log: Final = logging.getLogger("hive.engines")


class Listener(Protocol):
    """Something that must listen again after the connection was lost."""

    async def attach(self, client: Client) -> None:
        """Subscribe on a fresh connection."""
        ...

    def lost(self) -> None:
        """Learn that the connection is gone."""
        ...


async def flush_for_certain(client: Client) -> None:
    """Return when the server has every subscription that was made on this connection."""
    await client.flush(FLUSH_TIMEOUT_S)
    await client.flush(FLUSH_TIMEOUT_S)


class NatsLink:
    """The connection; `keep` runs beside everything else and makes it anew when it breaks."""

    def __init__(self, locate: Callable[[], Awaitable[NatsAddress]]) -> None:
        self._locate = locate
        self._client: Client | None = None
        self._streams: JetStreamContext | None = None
        self._listeners: set[Listener] = set()
        self._waiting: set[anyio.CancelScope] = set()
        self._up = anyio.Event()
        self.connections = 0
        self.slow_consumers = 0

    def client(self) -> Client:
        """Return the live connection.

        Raises:
            EngineUnavailableError: there is none now.

        """
        if self._client is None or not self._client.is_connected:
            raise away("There is no connection")
        return self._client

    def streams(self) -> JetStreamContext:
        """Return JetStream on the live connection.

        Raises:
            EngineUnavailableError: there is none now.

        """
        self.client()
        assert self._streams is not None  # noqa: S101 - set together with the client
        return self._streams

    async def wait_up(self) -> None:
        """Wait until there is a connection."""
        await self._up.wait()

    @asynccontextmanager
    async def answered(self) -> AsyncIterator[None]:
        """Wait for an answer inside: a lost connection ends the wait at once, and errors are ours.

        Raises:
            EngineUnavailableError: the connection broke meanwhile.

        """
        self.client()
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                with translated():
                    yield
                    return
            finally:
                self._waiting.discard(scope)
        raise away("The connection broke before the answer came")

    async def add(self, listener: Listener) -> None:
        """Let a listener subscribe now and on every later connection."""
        client = self.client()
        self._listeners.add(listener)
        try:
            async with self.answered():
                await listener.attach(client)
                await flush_for_certain(client)
        except BaseException:
            self._listeners.discard(listener)
            raise

    def remove(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listeners.discard(listener)

    async def keep(self) -> None:
        """Connect, wait for the end of the connection, connect again; until cancelled."""
        failures = 0
        while True:
            lost = anyio.Event()
            client = Client()
            try:
                await self._connect(client, lost)
                failures = 0
                await _end_of(client, lost)
                _log.warning("bus.lost", extra={"connections": self.connections})
            except (EngineUnavailableError, EngineTimeoutError) as error:
                failures += 1
                _log.info("bus.away", extra={"why": error.why, "failures": failures})
            finally:
                self._down()
                await _close(client)
            if failures:
                await anyio.sleep(min(BACK_OFF_MIN_S * 2**failures, BACK_OFF_MAX_S))

    async def _connect(self, client: Client, lost: anyio.Event) -> None:
        async def closed() -> None:
            lost.set()

        async def failed(error: Exception) -> None:
            if isinstance(error, nats.errors.SlowConsumerError):
                self.slow_consumers += 1
            else:
                _log.info("bus.error", extra={"error": type(error).__name__})

        address = await self._locate()
        with translated():
            await client.connect(
                servers=list(address.servers),
                user=address.user or None,
                password=address.password.reveal() or None,
                tls=None if address.tls is None else address.tls(),
                name="hive",
                allow_reconnect=False,
                # Without these two, one refused address is tried for two minutes.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT_S,
                ping_interval=PING_EVERY_S,
                closed_cb=closed,
                error_cb=failed,
            )
            for listener in tuple(self._listeners):
                await listener.attach(client)
            await flush_for_certain(client)
        self._client, self._streams = client, client.jetstream(timeout=API_TIMEOUT_S)
        self.connections += 1
        self._up.set()

    def _down(self) -> None:
        if self._client is None:
            return
        self._client = self._streams = None
        self._up = anyio.Event()
        for listener in tuple(self._listeners):
            listener.lost()
        for scope in tuple(self._waiting):
            scope.cancel()


async def _end_of(client: Client, lost: anyio.Event) -> None:
    """Wait until a connection is over.

    nats-py tells it by a callback, but not when writing its last bytes fails as well; then only its
    state shows it.
    """
    while client.is_connected and not lost.is_set():
        with anyio.move_on_after(LOOK_AT_STATE_EVERY_S):
            await lost.wait()


async def _close(client: Client) -> None:
    with (
        anyio.CancelScope(shield=True),
        anyio.move_on_after(CLOSE_WITHIN_S),
        # nats-py asserts when a client that never reached a server is closed.
        suppress(nats.errors.Error, OSError, AssertionError),
    ):
        await client.close()
    _end_tasks(client)


def _end_tasks(client: Client) -> None:
    """End what a connection leaves running when its own closing broke off in the middle."""
    tasks = [client._reading_task, client._ping_interval_task, client._flusher_task]  # noqa: SLF001
    tasks += [held._wait_for_msgs_task for held in client._subs.values()]  # noqa: SLF001
    for task in tasks:
        if task is not None and not task.done():
            task.cancel()
    if client._transport is not None:  # noqa: SLF001
        client._transport.close()  # type: ignore[no-untyped-call]  # noqa: SLF001
