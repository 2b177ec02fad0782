"""What Hive stands on: a database, a bus, a key-value store and an event log, each a Protocol.

One SQL dialect (PostgreSQL), one bus (NATS). A driver is opened with `async with`; whoever opens it closes
it. Every driver passes the conformance suite of its port in `hive.testing`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

SqlValue: TypeAlias = object
Row: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """What an engine says of itself: for `hive doctor` and `/api/ready`."""

    engine: str
    version: str
    embedded: bool
    detail: str
    pids: tuple[int, ...] = ()


class Transaction(Protocol):
    """Statements that become durable together or not at all."""

    async def execute(self, sql: str, *values: SqlValue) -> str:
        """Run one statement; return PostgreSQL's command tag."""
        ...

    async def fetch(self, sql: str, *values: SqlValue) -> Sequence[Row]:
        """Run one query; return all rows."""
        ...


class Database(Protocol):
    """PostgreSQL, as the application role: it may not create, drop or rewrite the ledger.

    Placeholders are `$1`, `$2`... Raises `EngineUnavailableError` while the server is away,
    `ConflictError` for a violated unique constraint or a serialization failure, `EngineError` else.
    """

    async def execute(self, sql: str, *values: SqlValue) -> str:
        """Run one statement in a transaction of its own; return PostgreSQL's command tag."""
        ...

    async def fetch(self, sql: str, *values: SqlValue) -> Sequence[Row]:
        """Run one query; return all rows."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction on one connection; an exception inside rolls it back."""
        ...

    def listen(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Receive the payloads of `NOTIFY channel` from now on."""
        ...

    async def report(self) -> EngineReport:
        """Ask the server what it is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BusMessage:
    """One message from the bus. Its sender is a stranger until an envelope proves otherwise."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Subscription(Protocol):
    """Messages of one subject, in order of arrival; bounded, the oldest is dropped and counted."""

    def __aiter__(self) -> AsyncIterator[BusMessage]:
        """Yield messages until the subscription is closed."""
        ...

    @property
    def dropped(self) -> int:
        """Return how many messages were dropped because nobody read them in time."""
        ...


class Bus(Protocol):
    """Publish, subscribe, request. Subjects come from `hive.mesh.subjects` only."""

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Send one message to whoever listens now.

        Raises:
            TooLargeError: it is over the bus's limit.
            EngineUnavailableError: the bus is away.

        """
        ...

    def subscribe(
        self, subject: str, *, queue: str = "", pending_max: int = 4096
    ) -> AbstractAsyncContextManager[Subscription]:
        """Listen; when the context is entered the server has the subscription for certain.

        With `queue`, each message goes to one member of that group.
        """
        ...

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> BusMessage:
        """Send one message and wait for one answer.

        Raises:
            NoResponderError: nobody listens.
            EngineTimeoutError: no answer within `timeout_s`.

        """
        ...

    async def report(self) -> EngineReport:
        """Ask the server what it is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """A value with the revision that a compare-and-set must name."""

    key: str
    value: bytes
    revision: int


class KeyValue(Protocol):
    """A small replicated map with time to live per key."""

    async def get(self, key: str) -> KeyEntry | None:
        """Return the live entry, or None."""
        ...

    async def create(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Put a value where there is none; return its revision.

        Raises:
            ConflictError: a live entry is there.

        """
        ...

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Replace the value that has `revision`; return the new one.

        Raises:
            ConflictError: it has another revision by now.

        """
        ...

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Set a value whatever was there; return its revision."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a key; removing a missing one is no error."""
        ...

    async def keys(self) -> Sequence[str]:
        """Return the live keys, in no order."""
        ...

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEntry]]:
        """Yield what is put from now on; a deletion has an empty value.

        The last state of a key is always told; one that was replaced before it was told may be
        skipped. Iterating raises `EngineUnavailableError` when the watch cannot go on.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry of a stream."""

    stream: str
    sequence: int
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class EventLog(Protocol):
    """Append-only streams; an append that returned is on disk."""

    async def append(self, stream: str, data: bytes, *, message_id: str = "") -> int:
        """Append one record and return its sequence, from 1.

        The same `message_id` within the stream's window of two minutes is stored once and gives the
        same sequence.
        """
        ...

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        """Return records with a sequence above `after`, in order; an unknown stream has none."""
        ...

    async def last(self, stream: str) -> int:
        """Return the highest sequence, 0 for an empty or unknown stream."""
        ...


class Messaging(Protocol):
    """One connection to a messaging engine: a bus, key-value buckets and an event log."""

    @property
    def bus(self) -> Bus:
        """Return the bus."""
        ...

    @property
    def events(self) -> EventLog:
        """Return the event log."""
        ...

    async def key_value(self, bucket: str) -> KeyValue:
        """Open the bucket of that name; create it if it is missing."""
        ...
