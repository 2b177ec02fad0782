"""Key-value buckets on JetStream, with a time to live per key.

The bucket's stream is made here, not by nats-py: with its limit markers (what its own `create_key_value`
asks for when a TTL is wanted) an expired key is still there as an entry without value, and cannot be
created again until the marker goes as well. Without markers an expired key is simply gone.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import nats.errors
import nats.js.errors
from anyio.streams.memory import MemoryObjectSendStream
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RawStreamMsg,
    StorageType,
    StreamConfig,
)

from hive.core.errors import ConflictError
from hive.engines import names
from hive.engines.drivers.nats_errors import away
from hive.engines.drivers.nats_fetch import drop_consumer, fetch_all
from hive.engines.drivers.nats_link import NatsLink
from hive.engines.ports import KeyEntry

OPERATION: Final = "KV-Operation"
EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
TTL: Final = "Nats-TTL"
TTL_MIN_S: Final = 1.0
# A deletion is told to watchers by a marker, which goes away by itself.
MARKER_TTL: Final = "60s"
CREATE_TRIES_MAX: Final = 5
WATCH_PENDING_MAX: Final = 4096
KEYS_MAX: Final = 100_000
_IDLE_CONSUMER_S: Final = 300.0


async def open_bucket(link: NatsLink, bucket: str, *, replicas: int) -> "NatsKeyValue":
    """Open a bucket; make its stream if it is missing."""
    stream = f"KV_{names.plain_name(bucket, what='bucket')}"
    config = StreamConfig(
        name=stream,
        subjects=[f"$KV.{bucket}.>"],
        max_msgs_per_subject=1,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_msg_ttl=True,
        allow_rollup_hdrs=True,
        allow_direct=True,
        deny_delete=True,
    )
    async with link.answered():
        await link.streams().add_stream(config)
    return NatsKeyValue(link, bucket)


def _ttl(ttl_s: float | None) -> dict[str, str]:
    return {} if ttl_s is None else {TTL: f"{round(max(ttl_s, TTL_MIN_S) * 1000)}ms"}


class NatsKeyValue:
    """One bucket. A time to live is at least one second, which is the server's own floor."""

    def __init__(self, link: NatsLink, bucket: str) -> None:
        self._link = link
        self._bucket = bucket
        self._stream = f"KV_{bucket}"

    def _subject(self, key: str) -> str:
        return f"$KV.{self._bucket}.{names.key_name(key)}"

    async def _last(self, key: str) -> RawStreamMsg | None:
        # Asked of the stream's leader, so that a value is never older than one that was seen before.
        subject = self._subject(key)
        async with self._link.answered():
            try:
                return await self._link.streams().get_last_msg(self._stream, subject)
            except nats.js.errors.NotFoundError:
                return None

    async def get(self, key: str) -> KeyEntry | None:
        """Return the live entry, or None."""
        last = await self._last(key)
        if last is None or OPERATION in (last.headers or {}):
            return None
        return KeyEntry(key=key, value=last.data or b"", revision=last.seq or 0)

    async def _put(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        subject = self._subject(key)
        async with self._link.answered():
            ack = await self._link.streams().publish(subject, value, headers=headers or None)
            return ack.seq

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Set a value whatever was there; return its revision."""
        return await self._put(key, value, _ttl(ttl_s))

    async def create(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Put a value where there is none; return its revision."""
        expected = 0
        for _ in range(CREATE_TRIES_MAX):
            try:
                return await self._put(key, value, {EXPECTED: str(expected), **_ttl(ttl_s)})
            except ConflictError:
                last = await self._last(key)
                if last is not None and OPERATION not in (last.headers or {}):
                    raise
                # A marker of a deletion (or nothing any more): create on top of it.
                expected = (last.seq or 0) if last is not None else 0
        raise ConflictError(
            "Somebody else changed it first.",
            why=f"The key was made and deleted {CREATE_TRIES_MAX} times meanwhile.",
            fix="Try again.",
        )

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Replace the value that has `revision`; return the new one."""
        return await self._put(key, value, {EXPECTED: str(revision)})

    async def delete(self, key: str) -> None:
        """Remove a key; removing a missing one is no error."""
        await self._put(key, b"", {OPERATION: "DEL", TTL: MARKER_TTL})

    async def keys(self) -> Sequence[str]:
        """Return the live keys, in no order."""
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, headers_only=True)
        found = await fetch_all(self._link, self._stream, config, limit=KEYS_MAX)
        start = len(f"$KV.{self._bucket}.")
        return [
            message.subject[start:] for message in found if OPERATION not in (message.headers or {})
        ]

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEntry]]:
        """Yield what is put from now on; a deletion has an empty value.

        The stream keeps one entry for each key, so one that is replaced at once may be skipped.
        Iterating raises `EngineUnavailableError` when the connection breaks, or when more than 4096
        entries wait to be read: read the bucket then, and watch again.
        """
        sending, receiving = anyio.create_memory_object_stream[KeyEntry](WATCH_PENDING_MAX)
        watcher = _Watcher(self._link, self._bucket, sending)
        try:
            await self._link.add(watcher)
            await watcher.begin()

            async def entries() -> AsyncIterator[KeyEntry]:
                async for entry in receiving:
                    yield entry
                raise away("The watch ended with its connection, or fell behind")

            yield entries()
        finally:
            self._link.remove(watcher)
            await watcher.end()
            receiving.close()


class _Watcher:
    def __init__(
        self, link: NatsLink, bucket: str, sending: MemoryObjectSendStream[KeyEntry]
    ) -> None:
        self._link = link
        self._stream = f"KV_{bucket}"
        self._start = len(f"$KV.{bucket}.")
        self._sending = sending
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._consumer = ""

    async def attach(self, client: Client) -> None:
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(self._inbox, cb=self._take)

    async def begin(self) -> None:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.NEW,
            deliver_subject=self._inbox,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=_IDLE_CONSUMER_S,
        )
        async with self._link.answered():
            info = await self._link.streams().add_consumer(self._stream, config)
            self._consumer = info.name

    async def _take(self, message: Msg) -> None:
        entry = KeyEntry(
            key=message.subject[self._start :],
            value=message.data,
            revision=message.metadata.sequence.stream,
        )
        try:
            self._sending.send_nowait(entry)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._sending.close()

    def lost(self) -> None:
        self._sending.close()

    async def end(self) -> None:
        self._sending.close()
        if self._subscription is not None:
            with suppress(nats.errors.Error, OSError):
                await self._subscription.unsubscribe()
        await drop_consumer(self._link, self._stream, self._consumer)
