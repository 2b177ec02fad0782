"""Spans in OpenTelemetry's data model, made in a few microseconds and carried away in the background.

A span's parent is the one given, else the one that is open around it in the same task or thread. What was
finished waits in a bounded buffer; where that is full, spans are dropped and counted, and calls go on.
"""

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Final

import anyio

from hive.core.call import TraceContext
from hive.core.clock import Clock, SystemClock
from hive.core.errors import HiveError
from hive.core.ids import SpanId, TraceId
from hive.core.json import Json
from hive.core.randomness import Randomness, SystemRandomness
from hive.observability.conventions import ERROR_TYPE

if TYPE_CHECKING:
    from hive.observability.ports import SpanStore

log: Final = logging.getLogger(__name__)
BUFFER_MAX_SPANS: Final = 20_000
BATCH_MAX_SPANS: Final = 1000
FLUSH_EVERY_S: Final = 0.5
ATTRIBUTES_MAX: Final = 64
LINKS_MAX: Final = 32
TEXT_MAX_CHARS: Final = 1024

_current: ContextVar[TraceContext | None] = ContextVar("hive_current_span", default=None)


class SpanKind(StrEnum):
    """Which side of a call a span tells of."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class SpanStatus(StrEnum):
    """How a span ended."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that this one has to do with, without being its child."""

    context: TraceContext
    kind: str


@dataclass(slots=True, kw_only=True)
class Span:
    """One step: when, how long, of what. It may be changed until it has ended."""

    context: TraceContext
    parent_id: str
    name: str
    kind: SpanKind = SpanKind.INTERNAL
    start_ns: int = 0
    end_ns: int = 0
    attributes: dict[str, Json] = field(default_factory=dict)
    links: tuple[SpanLink, ...] = ()
    status: SpanStatus = SpanStatus.UNSET
    status_note: str = ""

    def set(self, name: str, value: Json) -> None:
        """Set an attribute; texts are cut, and of too many attributes the last ones are left out."""
        if name in self.attributes or len(self.attributes) < ATTRIBUTES_MAX:
            self.attributes[name] = value[:TEXT_MAX_CHARS] if isinstance(value, str) else value

    def link(self, context: TraceContext, kind: str) -> None:
        """Name another span that this one has to do with."""
        if len(self.links) < LINKS_MAX:
            self.links = (*self.links, SpanLink(context, kind))

    def fail(self, note: str) -> None:
        """Say that the step failed."""
        self.status, self.status_note = SpanStatus.ERROR, note[:TEXT_MAX_CHARS]


class OpenSpan:
    """A span while it is open: a context manager that gives the `Span`."""

    __slots__ = ("_before", "_began", "_feed", "_span")

    def __init__(self, feed: "SpanFeed", span: Span) -> None:
        self._feed = feed
        self._span = span
        self._before: TraceContext | None = None
        self._began = 0.0

    def __enter__(self) -> Span:
        self._before = _current.get()
        _current.set(self._span.context)
        self._began = self._feed.clock.monotonic()
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        # Set and not reset: an async generator may be closed in another context than it began in.
        _current.set(self._before)
        span = self._span
        took_s = self._feed.clock.monotonic() - self._began
        span.end_ns = span.start_ns + int(took_s * 1e9)
        if kind is not None:
            span.set(ERROR_TYPE, kind.__name__)
            if span.status is SpanStatus.UNSET:
                span.fail(error.what if isinstance(error, HiveError) else kind.__name__)
        self._feed.put(span)


class SpanFeed:
    """Carries finished spans to a store in batches; `run` does so for as long as the node runs."""

    def __init__(
        self,
        store: "SpanStore | None" = None,
        *,
        clock: Clock | None = None,
        buffer_max_spans: int = BUFFER_MAX_SPANS,
        flush_every_s: float = FLUSH_EVERY_S,
    ) -> None:
        self.clock = clock or SystemClock()
        self.dropped = 0
        self._store = store
        self._buffer_max_spans = buffer_max_spans
        self._flush_every_s = flush_every_s
        self._waiting: deque[Span] = deque()
        self._full = anyio.Event()
        self._lock = anyio.Lock()

    def put(self, span: Span) -> None:
        """Take a finished span; never blocks."""
        if len(self._waiting) >= self._buffer_max_spans:
            self.dropped += 1
            return
        self._waiting.append(span)
        if len(self._waiting) >= BATCH_MAX_SPANS:
            self._full.set()

    async def run(self) -> None:
        """Write from time to time; what cannot be written now waits while there is room."""
        while True:
            with anyio.move_on_after(self._flush_every_s):
                await self._full.wait()
            self._full = anyio.Event()
            try:
                await self.flush()
            except HiveError as error:
                log.warning("spans.write.failed", extra={"error": str(error)})
                await anyio.sleep(self._flush_every_s)

    async def flush(self) -> None:
        """Write all that waits.

        Raises:
            EngineUnavailableError: the store is away; the spans wait for the next time.

        """
        async with self._lock:
            while self._waiting:
                batch = [
                    self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX_SPANS))
                ]
                if self._store is None:
                    continue
                try:
                    await self._store.write(batch)
                except BaseException:
                    self._put_back(batch)
                    raise

    def _put_back(self, batch: Sequence[Span]) -> None:
        room = max(0, self._buffer_max_spans - len(self._waiting))
        self.dropped += len(batch) - min(room, len(batch))
        self._waiting.extendleft(reversed(batch[len(batch) - min(room, len(batch)) :]))


class Tracer:
    """Makes spans. `exports`: they leave the node, where nobody has the ledger's word beside them."""

    def __init__(
        self, feed: SpanFeed, *, randomness: Randomness | None = None, exports: bool = False
    ) -> None:
        self.exports = exports
        self._feed = feed
        self._randomness = randomness or SystemRandomness()

    def context(self, parent: TraceContext | None = None) -> TraceContext:
        """Return a fresh context under `parent`, or under a new trace."""
        trace_id = TraceId(self._randomness.token(16).hex()) if parent is None else parent.trace_id
        return TraceContext(
            trace_id=trace_id,
            span_id=SpanId(self._randomness.token(8).hex()),
            flags=1 if parent is None else parent.flags,
        )

    def start(
        self,
        name: str,
        *,
        parent: TraceContext | None = None,
        context: TraceContext | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Json] | None = None,
        links: Sequence[SpanLink] = (),
    ) -> OpenSpan:
        """Open a span: `with tracer.start("invoke_agent planner") as span:`.

        `context` is given where the span's own ids are known before it begins: a call carries them.
        """
        above = parent or _current.get()
        own = context or self.context(above)
        span = Span(
            context=own,
            parent_id="" if above is None else above.span_id,
            name=name,
            kind=kind,
            start_ns=int(self._feed.clock.now().timestamp() * 1e9),
            links=tuple(links[:LINKS_MAX]),
        )
        if attributes:
            for key, value in attributes.items():
                span.set(key, value)
        return OpenSpan(self._feed, span)


def current_trace() -> TraceContext | None:
    """Return the context of the span that is open here, if any."""
    return _current.get()


@contextmanager
def inside(context: TraceContext | None) -> Iterator[None]:
    """Let spans begin under a context that came from elsewhere."""
    before = _current.get()
    _current.set(context)
    try:
        yield
    finally:
        _current.set(before)
