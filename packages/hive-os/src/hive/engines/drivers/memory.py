"""Bus, key-value buckets and event log inside this process: for unit tests and announced degraded mode.

Subjects, wildcards, queue groups, missing responders, revisions and times to live behave as on NATS (the
same conformance suites hold both to that). Nothing is durable and nothing leaves the process.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Self

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectSendStream

from hive.core.clock import Clock
from hive.core.errors import (
    ConflictError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    NoResponderError,
    TooLargeError,
)
from hive.engines import names
from hive.engines.opening import EngineOpening
from hive.engines.ports import BusMessage, EngineReport, KeyEntry, Record

PAYLOAD_MAX_BYTES: Final = 8 << 20
WATCH_PENDING_MAX: Final = 4096
MESSAGE_IDS_MAX: Final = 100_000
RECORDS_MAX: Final = 1_000_000
DUPLICATE_WINDOW_S: Final = 120.0
TTL_MIN_S: Final = 1.0


def _check_size(data: bytes) -> None:
    if len(data) > PAYLOAD_MAX_BYTES:
        raise TooLargeError(
            "A message is larger than the bus allows.",
            why=f"It has {len(data)} bytes; the limit is {PAYLOAD_MAX_BYTES}.",
            fix="Send a reference to the content instead.",
        )


class MemorySubscription:
    """Messages of one subject, in order of arrival."""

    def __init__(self, pattern: str, queue: str, pending_max: int) -> None:
        self.pattern = pattern
        self.queue = queue
        self._pending: deque[BusMessage] = deque()
        self._pending_max = pending_max
        self._dropped = 0
        self._news = anyio.Event()
        self._closed = False

    @property
    def dropped(self) -> int:
        """Return how many messages were dropped because nobody read them in time."""
        return self._dropped

    def deliver(self, message: BusMessage) -> None:
        """Take one message; the oldest goes when there are too many."""
        if len(self._pending) >= self._pending_max:
            self._pending.popleft()
            self._dropped += 1
        self._pending.append(message)
        self._news.set()

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[BusMessage]:
        """Yield messages until the subscription is closed."""
        while not self._closed:
            while self._pending:
                yield self._pending.popleft()
            self._news = anyio.Event()
            if not self._closed:
                await self._news.wait()


class MemoryBus:
    """Publish, subscribe, request."""

    def __init__(self) -> None:
        self._subscriptions: list[MemorySubscription] = []
        self._turn = 0
        self._inboxes = 0

    def _receivers(self, subject: str) -> list[MemorySubscription]:
        """Return who gets a message: everybody outside of groups, and one member of each group."""
        chosen: list[MemorySubscription] = []
        groups: dict[tuple[str, str], list[MemorySubscription]] = {}
        for subscription in self._subscriptions:
            if not names.matches(subscription.pattern, subject):
                continue
            if subscription.queue:
                group = (subscription.queue, subscription.pattern)
                groups.setdefault(group, []).append(subscription)
            else:
                chosen.append(subscription)
        self._turn += 1
        return chosen + [members[self._turn % len(members)] for members in groups.values()]

    def _send(self, message: BusMessage) -> int:
        receivers = self._receivers(message.subject)
        for receiver in receivers:
            receiver.deliver(message)
        return len(receivers)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Send one message to whoever listens now."""
        _check_size(data)
        message = BusMessage(
            subject=names.subject(subject), data=data, reply=reply, headers=dict(headers or {})
        )
        await anyio.lowlevel.checkpoint()
        self._send(message)

    @asynccontextmanager
    async def subscribe(
        self, subject: str, *, queue: str = "", pending_max: int = 4096
    ) -> AsyncIterator[MemorySubscription]:
        """Listen from now on."""
        pattern = names.subject(subject, pattern=True)
        subscription = MemorySubscription(pattern, queue, pending_max)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            subscription.close()

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> BusMessage:
        """Send one message and wait for one answer."""
        _check_size(data)
        self._inboxes += 1
        inbox = f"_INBOX.{self._inboxes}"
        async with self.subscribe(inbox, pending_max=1) as answers:
            message = BusMessage(
                subject=names.subject(subject), data=data, reply=inbox, headers=dict(headers or {})
            )
            if self._send(message) == 0:
                raise NoResponderError(
                    "Nobody listens on that subject.",
                    why="There is no subscription that matches.",
                    fix="Start the agent or node that should answer.",
                )
            with anyio.move_on_after(timeout_s):
                async for answer in answers:
                    return answer
        raise EngineTimeoutError(
            "The bus did not answer in time.",
            why="Somebody listens, but no answer came.",
            fix="Try again, or allow more time.",
        )

    async def report(self) -> EngineReport:
        """Tell what this is."""
        return EngineReport(
            engine="memory", version="1", embedded=True, detail="in process, not durable"
        )


@dataclass(slots=True)
class _Held:
    value: bytes
    revision: int
    ends_at: float | None


class MemoryKeyValue:
    """One bucket."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._revision = 0
        self._watchers: list[MemoryObjectSendStream[KeyEntry]] = []

    def _live(self, key: str) -> _Held | None:
        held = self._held.get(names.key_name(key))
        if held is None:
            return None
        if held.ends_at is not None and self._clock.monotonic() >= held.ends_at:
            del self._held[key]
            return None
        return held

    def _set(self, key: str, value: bytes, ttl_s: float | None) -> int:
        _check_size(value)
        self._revision += 1
        ends_at = None if ttl_s is None else self._clock.monotonic() + max(ttl_s, TTL_MIN_S)
        self._held[names.key_name(key)] = _Held(value, self._revision, ends_at)
        self._tell(KeyEntry(key=key, value=value, revision=self._revision))
        return self._revision

    def _tell(self, entry: KeyEntry) -> None:
        for watcher in self._watchers:
            try:
                watcher.send_nowait(entry)
            except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
                watcher.close()

    async def get(self, key: str) -> KeyEntry | None:
        """Return the live entry, or None."""
        await anyio.lowlevel.checkpoint()
        held = self._live(key)
        if held is None:
            return None
        return KeyEntry(key=key, value=held.value, revision=held.revision)

    async def create(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Put a value where there is none; return its revision."""
        await anyio.lowlevel.checkpoint()
        if self._live(key) is not None:
            raise _changed()
        return self._set(key, value, ttl_s)

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Replace the value that has `revision`; return the new one."""
        await anyio.lowlevel.checkpoint()
        held = self._live(key)
        if held is None or held.revision != revision:
            raise _changed()
        return self._set(key, value, None)

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Set a value whatever was there; return its revision."""
        await anyio.lowlevel.checkpoint()
        return self._set(key, value, ttl_s)

    async def delete(self, key: str) -> None:
        """Remove a key; removing a missing one is no error."""
        await anyio.lowlevel.checkpoint()
        self._held.pop(names.key_name(key), None)
        self._revision += 1
        self._tell(KeyEntry(key=key, value=b"", revision=self._revision))

    async def keys(self) -> Sequence[str]:
        """Return the live keys, in no order."""
        await anyio.lowlevel.checkpoint()
        return [key for key in tuple(self._held) if self._live(key) is not None]

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEntry]]:
        """Yield every entry put from now on; a deletion has an empty value."""
        sending, receiving = anyio.create_memory_object_stream[KeyEntry](WATCH_PENDING_MAX)
        self._watchers.append(sending)

        async def entries() -> AsyncIterator[KeyEntry]:
            async for entry in receiving:
                yield entry
            raise EngineUnavailableError(
                "The watch fell behind.",
                why=f"More than {WATCH_PENDING_MAX} entries waited to be read.",
                fix="Read the bucket, and watch again.",
            )

        try:
            yield entries()
        finally:
            self._watchers.remove(sending)
            sending.close()
            receiving.close()


def _changed() -> ConflictError:
    return ConflictError(
        "Somebody else changed it first.",
        why="The entry has another revision.",
        fix="Read again, then decide again.",
    )


@dataclass(slots=True)
class _Stream:
    records: list[Record] = field(default_factory=list)
    seen: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)


class MemoryEventLog:
    """Append-only streams; not on disk, and it says so in its report."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: dict[str, _Stream] = {}

    async def append(self, stream: str, data: bytes, *, message_id: str = "") -> int:
        """Append one record and return its sequence, from 1."""
        _check_size(data)
        await anyio.lowlevel.checkpoint()
        held = self._streams.setdefault(names.plain_name(stream, what="stream"), _Stream())
        now = self._clock.monotonic()
        while held.seen:
            oldest, (_, at) = next(iter(held.seen.items()))
            if now - at < DUPLICATE_WINDOW_S and len(held.seen) < MESSAGE_IDS_MAX:
                break
            del held.seen[oldest]
        if message_id and message_id in held.seen:
            return held.seen[message_id][0]
        if len(held.records) >= RECORDS_MAX:
            raise EngineError(
                "The in-process event log is full.",
                why=f"It holds {RECORDS_MAX} records.",
                fix="Use the embedded server: HIVE_MESH_URL=embedded:",
            )
        sequence = len(held.records) + 1
        headers = {"Nats-Msg-Id": message_id} if message_id else {}
        held.records.append(Record(stream=stream, sequence=sequence, data=data, headers=headers))
        if message_id:
            held.seen[message_id] = (sequence, now)
        return sequence

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        """Return records with a sequence above `after`, in order; an unknown stream has none."""
        await anyio.lowlevel.checkpoint()
        held = self._streams.get(names.plain_name(stream, what="stream"))
        return held.records[after : after + limit] if held else []

    async def last(self, stream: str) -> int:
        """Return the highest sequence, 0 for an empty or unknown stream."""
        await anyio.lowlevel.checkpoint()
        held = self._streams.get(names.plain_name(stream, what="stream"))
        return len(held.records) if held else 0


class MemoryMessaging:
    """A bus, buckets and an event log that live as long as this value."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bus = MemoryBus()
        self._events = MemoryEventLog(clock)
        self._buckets: dict[str, MemoryKeyValue] = {}

    @property
    def bus(self) -> MemoryBus:
        """Return the bus."""
        return self._bus

    @property
    def events(self) -> MemoryEventLog:
        """Return the event log."""
        return self._events

    async def key_value(self, bucket: str) -> MemoryKeyValue:
        """Open the bucket of that name; create it if it is missing."""
        name = names.plain_name(bucket, what="bucket")
        return self._buckets.setdefault(name, MemoryKeyValue(self._clock))


class MemoryMessagingDriver:
    """What `HIVE_MESH_URL=memory:` names."""

    def __init__(self, messaging: MemoryMessaging) -> None:
        self._messaging = messaging

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: EngineOpening) -> AsyncIterator[Self]:
        """Make an empty one."""
        yield cls(MemoryMessaging(opening.clock))

    async def ready(self) -> MemoryMessaging:
        """Return it."""
        return self._messaging
