"""NATS through nats-py: bus, key-value buckets and event log over one connection.

`embedded:` runs the node's own server; `nats://` names one or more others (comma-separated), with user and
password in the URL, `?replicas=3` for streams that survive a lost server, `?server=spiffe://...` for TLS by SVID
on both sides with a server of that id.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, Self

import anyio
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ClientSubscription

from hive.core.drivers import query_of
from hive.core.errors import ConfigError, EngineTimeoutError
from hive.engines import names
from hive.engines.children import unwrapped
from hive.engines.drivers.nats_errors import translated
from hive.engines.drivers.nats_event_log import NatsEventLog
from hive.engines.drivers.nats_key_value import NatsKeyValue, open_bucket
from hive.engines.drivers.nats_link import NatsLink
from hive.engines.embedded.nats import NatsAddress, NatsServer, nats_server
from hive.engines.opening import EngineOpening
from hive.engines.ports import BusMessage, EngineReport

READY_WITHIN_S: Final = 30.0
UNSUBSCRIBE_WITHIN_S: Final = 1.0


def _received(message: Msg) -> BusMessage:
    return BusMessage(
        subject=message.subject,
        data=message.data,
        reply=message.reply,
        headers=dict(message.headers or {}),
    )


class NatsSubscription:
    """Messages of one subject; survives a lost connection, what was sent meanwhile does not."""

    def __init__(self, subject: str, queue: str, pending_max: int) -> None:
        self._subject = subject
        self._queue = queue
        self._pending: deque[BusMessage] = deque()
        self._pending_max = pending_max
        self._dropped = 0
        self._news = anyio.Event()
        self._closed = False
        self._subscription: ClientSubscription | None = None

    @property
    def dropped(self) -> int:
        """Return how many messages were dropped because nobody read them in time."""
        return self._dropped

    async def attach(self, client: Client) -> None:
        """Subscribe on a fresh connection."""
        self._subscription = await client.subscribe(self._subject, queue=self._queue, cb=self._take)

    def lost(self) -> None:
        """Learn that the connection is gone."""
        self._subscription = None

    async def _take(self, message: Msg) -> None:
        if len(self._pending) >= self._pending_max:
            self._pending.popleft()
            self._dropped += 1
        self._pending.append(_received(message))
        self._news.set()

    async def close(self) -> None:
        """Stop listening."""
        self._closed = True
        self._news.set()
        if self._subscription is not None:
            with (
                anyio.CancelScope(shield=True),
                anyio.move_on_after(UNSUBSCRIBE_WITHIN_S),
                suppress(nats.errors.Error, OSError),
            ):
                await self._subscription.unsubscribe()

    async def __aiter__(self) -> AsyncIterator[BusMessage]:
        """Yield messages until the subscription is closed."""
        while not self._closed:
            while self._pending:
                yield self._pending.popleft()
            self._news = anyio.Event()
            if not self._closed:
                await self._news.wait()


class NatsBus:
    """Publish, subscribe, request."""

    def __init__(self, link: NatsLink, describe: Callable[[], EngineReport]) -> None:
        self._link = link
        self._describe = describe

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Send one message to whoever listens now."""
        client = self._link.client()
        with translated():
            await client.publish(
                names.subject(subject),
                data,
                reply=reply,
                headers=dict(headers) if headers else None,
            )

    @asynccontextmanager
    async def subscribe(
        self, subject: str, *, queue: str = "", pending_max: int = 4096
    ) -> AsyncIterator[NatsSubscription]:
        """Listen; when the context is entered the server has the subscription for certain."""
        subscription = NatsSubscription(names.subject(subject, pattern=True), queue, pending_max)
        await self._link.add(subscription)
        try:
            yield subscription
        finally:
            self._link.remove(subscription)
            await subscription.close()

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> BusMessage:
        """Send one message and wait for one answer."""
        async with self._link.answered():
            answer = await self._link.client().request(
                names.subject(subject),
                data,
                timeout=timeout_s,
                headers=dict(headers) if headers else None,
            )
            return _received(answer)

    async def report(self) -> EngineReport:
        """Ask the server what it is: a round trip, then its own words."""
        client = self._link.client()
        async with self._link.answered():
            await client.flush()
        known, server = self._describe(), client.connected_server_version
        return EngineReport(
            engine=known.engine,
            version=f"{server.major}.{server.minor}.{server.patch}",
            embedded=known.embedded,
            detail=known.detail,
            pids=known.pids,
        )


class NatsMessaging:
    """One connection: a bus, key-value buckets and an event log."""

    def __init__(
        self, link: NatsLink, describe: Callable[[], EngineReport], *, replicas: int = 1
    ) -> None:
        self._link = link
        self._replicas = replicas
        self._buckets: dict[str, NatsKeyValue] = {}
        self._bus = NatsBus(link, describe)
        self._events = NatsEventLog(link, replicas=replicas)

    @property
    def bus(self) -> NatsBus:
        """Return the bus."""
        return self._bus

    @property
    def events(self) -> NatsEventLog:
        """Return the event log."""
        return self._events

    async def key_value(self, bucket: str) -> NatsKeyValue:
        """Open the bucket of that name; create it if it is missing."""
        if bucket not in self._buckets:
            self._buckets[bucket] = await open_bucket(self._link, bucket, replicas=self._replicas)
        return self._buckets[bucket]


class _StartingNats:
    """Connects in the background; `ready` waits for the first connection."""

    def __init__(self, link: NatsLink, messaging: NatsMessaging) -> None:
        self._link = link
        self._messaging = messaging

    async def ready(self) -> NatsMessaging:
        """Wait until there is a connection."""
        with anyio.move_on_after(READY_WITHIN_S):
            await self._link.wait_up()
            return self._messaging
        raise EngineTimeoutError(
            f"The bus could not be reached within {READY_WITHIN_S:.0f} s.",
            why="No server answered, or it refused the credentials.",
            fix="Check HIVE_MESH_URL; `hive doctor` tries it.",
        )


@asynccontextmanager
async def _linked(
    locate: Callable[[], Awaitable[NatsAddress]],
    describe: Callable[[], EngineReport],
    *,
    replicas: int = 1,
) -> AsyncIterator[_StartingNats]:
    link = NatsLink(locate)
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.keep)
            yield _StartingNats(link, NatsMessaging(link, describe, replicas=replicas))
            tasks.cancel_scope.cancel()


class EmbeddedNats:
    """The node's own server."""

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: EngineOpening) -> AsyncIterator[_StartingNats]:
        """Spawn the server and begin to connect."""
        async with nats_server(
            opening.settings, clock=opening.clock, randomness=opening.randomness
        ) as server:

            def describe() -> EngineReport:
                return _describe_embedded(server)

            async with _linked(server.address, describe) as starting:
                yield starting


def _describe_embedded(server: NatsServer) -> EngineReport:
    child, binary = server.child, server.binary
    starts = child.starts if child else 0
    return EngineReport(
        engine="nats-server",
        version=binary.version,
        embedded=True,
        detail=f"{binary.program} ({binary.origin}), started {starts} times",
        pids=(child.pid,) if child and child.pid else (),
    )


class ExternalNats:
    """A server or cluster that somebody else runs."""

    def __init__(self, servers: tuple[str, ...], replicas: int, server_id: str = "") -> None:
        self.servers = servers
        self.replicas = replicas
        self.server_id = server_id

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read the URL.

        Raises:
            ConfigError: `replicas` is not a number from 1 to 5.

        """
        replicas = query_of(url).get("replicas", "1")
        if replicas not in ("1", "2", "3", "4", "5"):
            raise ConfigError(
                "HIVE_MESH_URL asks for an impossible number of replicas.",
                why=f"`replicas` is {replicas!r}; JetStream keeps 1 to 5.",
                fix="Correct it.",
            )
        server_id = query_of(url).get("server", "")
        return cls(tuple(url.partition("?")[0].split(",")), int(replicas), server_id)

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: EngineOpening) -> AsyncIterator[_StartingNats]:
        """Begin to connect."""
        driver = cls.parse(opening.url)

        if driver.server_id and opening.client_tls is None:
            raise ConfigError(
                "HIVE_MESH_URL asks for TLS by SVID.",
                why="This node has no identity when the bus is opened.",
                fix="Leave `server` out of it.",
            )
        show, wanted = opening.client_tls, driver.server_id

        async def locate() -> NatsAddress:
            if wanted and show is not None:
                return NatsAddress(servers=driver.servers, tls=lambda: show(wanted))
            return NatsAddress(servers=driver.servers)

        def describe() -> EngineReport:
            return EngineReport(engine="nats-server", version="", embedded=False, detail="by URL")

        async with _linked(locate, describe, replicas=driver.replicas) as starting:
            yield starting
