"""Spans to any OpenTelemetry collector over OTLP/HTTP, beside the store and never instead of it.

The official exporter does the encoding and the sending; it blocks, so it works in a thread. It is
imported when an endpoint is set, and not before.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import anyio.to_thread
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, SpanContext, TraceFlags
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace.status import Status, StatusCode

from hive.core.call import TraceContext
from hive.core.errors import EngineUnavailableError
from hive.core.json import Json, encode
from hive.observability.conventions import LINK_KIND
from hive.observability.spans import Span, SpanKind, SpanStatus

TIMEOUT_S: Final = 10.0
_KINDS: Final = {
    SpanKind.INTERNAL: OtelKind.INTERNAL,
    SpanKind.SERVER: OtelKind.SERVER,
    SpanKind.CLIENT: OtelKind.CLIENT,
    SpanKind.PRODUCER: OtelKind.PRODUCER,
    SpanKind.CONSUMER: OtelKind.CONSUMER,
}
_CODES: Final = {
    SpanStatus.UNSET: StatusCode.UNSET,
    SpanStatus.OK: StatusCode.OK,
    SpanStatus.ERROR: StatusCode.ERROR,
}
_NO_EVENTS: Final[tuple[Event, ...]] = ()


class OtlpSpans:
    """Sends spans; it keeps none, so it tells of none."""

    def __init__(self, endpoint: str, *, node: str = "") -> None:
        path = "" if endpoint.rstrip("/").endswith("/v1/traces") else "/v1/traces"
        self._exporter = OTLPSpanExporter(
            endpoint=endpoint.rstrip("/") + path, timeout=int(TIMEOUT_S)
        )
        self._resource = Resource({"service.name": "hive", "service.instance.id": node})

    async def write(self, spans: Sequence[Span]) -> None:
        """Send finished spans.

        Raises:
            EngineUnavailableError: the collector did not take them.

        """
        batch = [self._readable(span) for span in spans]
        result = await anyio.to_thread.run_sync(self._exporter.export, batch)
        if result is not SpanExportResult.SUCCESS:
            raise EngineUnavailableError(
                "The collector did not take the spans.",
                why="It answered with an error, or not at all.",
                fix="Check HIVE_OTLP_ENDPOINT.",
            )

    async def of_trace(self, trace_id: str, *, limit: int = 10_000) -> Sequence[Span]:
        """Return nothing: the collector keeps them."""
        return ()

    async def prune(self, before: datetime) -> int:
        """Forget nothing: the collector keeps them."""
        return 0

    def _readable(self, span: Span) -> ReadableSpan:
        note = span.status_note if span.status is SpanStatus.ERROR else None
        parent = None
        if span.parent_id:
            parent = _context(span.context.trace_id, span.parent_id, span.context.flags)
        return ReadableSpan(
            name=span.name,
            context=_of(span.context),
            parent=parent,
            resource=self._resource,
            attributes={name: _plain(value) for name, value in span.attributes.items()},
            events=_NO_EVENTS,
            links=[Link(_of(link.context), {LINK_KIND: link.kind}) for link in span.links],
            kind=_KINDS[span.kind],
            status=Status(_CODES[span.status], note),
            start_time=span.start_ns,
            end_time=span.end_ns,
        )


def _of(context: TraceContext) -> SpanContext:
    return _context(context.trace_id, context.span_id, context.flags)


def _context(trace_id: str, span_id: str, flags: int) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(flags)
    )


def _plain(value: Json) -> "str | bool | int | float":
    return value if isinstance(value, str | bool | int | float) else encode(value).decode()
