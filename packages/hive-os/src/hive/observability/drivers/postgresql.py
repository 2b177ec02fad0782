"""Spans in the node's own PostgreSQL: one statement a batch, found by trace."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from hive.core.call import TraceContext
from hive.core.ids import SpanId, TraceId
from hive.core.json import Json, decode, encode
from hive.engines.ports import Database, Row
from hive.observability.spans import Span, SpanKind, SpanLink, SpanStatus


class PostgresqlSpans:
    """The table `span`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, spans: Sequence[Span]) -> None:
        """Keep finished spans; one that is there already stays as it is."""
        await self._database.execute(
            "INSERT INTO span (trace_id, span_id, parent_id, flags, name, kind, start_ns, end_ns, "
            "attributes, links, status, note) SELECT * FROM unnest($1::text[], $2::text[], "
            "$3::text[], $4::smallint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], "
            "$9::text[], $10::text[], $11::text[], $12::text[]) ON CONFLICT DO NOTHING",
            [span.context.trace_id for span in spans],
            [span.context.span_id for span in spans],
            [span.parent_id for span in spans],
            [span.context.flags for span in spans],
            [_clean(span.name) for span in spans],
            [span.kind.value for span in spans],
            [span.start_ns for span in spans],
            [span.end_ns for span in spans],
            [encode(span.attributes).decode() for span in spans],
            [encode(_links_out(span.links)).decode() for span in spans],
            [span.status.value for span in spans],
            [_clean(span.status_note) for span in spans],
        )

    async def of_trace(self, trace_id: str, *, limit: int = 10_000) -> Sequence[Span]:
        """Return the spans of a trace, by their start."""
        rows = await self._database.fetch(
            "SELECT * FROM span WHERE trace_id = $1 ORDER BY start_ns, span_id LIMIT $2",
            trace_id,
            limit,
        )
        return [_span_of(row) for row in rows]

    async def prune(self, before: datetime) -> int:
        """Forget spans that began before a moment; return how many."""
        tag = await self._database.execute(
            "DELETE FROM span WHERE start_ns < $1", int(before.timestamp() * 1e9)
        )
        return int(tag.rpartition(" ")[2])


def _clean(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _links_out(links: tuple[SpanLink, ...]) -> list[Json]:
    return [[link.context.traceparent, link.kind] for link in links]


def _span_of(row: Row) -> Span:
    links = cast("list[list[str]]", decode(cast("str", row["links"])))
    return Span(
        context=TraceContext(
            trace_id=TraceId(cast("str", row["trace_id"])),
            span_id=SpanId(cast("str", row["span_id"])),
            flags=cast("int", row["flags"]),
        ),
        parent_id=cast("str", row["parent_id"]),
        name=cast("str", row["name"]),
        kind=SpanKind(cast("str", row["kind"])),
        start_ns=cast("int", row["start_ns"]),
        end_ns=cast("int", row["end_ns"]),
        attributes=cast("dict[str, Json]", decode(cast("str", row["attributes"]))),
        links=tuple(_link_of(traceparent, kind) for traceparent, kind in links),
        status=SpanStatus(cast("str", row["status"])),
        status_note=cast("str", row["note"]),
    )


def _link_of(traceparent: str, kind: str) -> SpanLink:
    _, trace, span, flags = traceparent.split("-")
    context = TraceContext(trace_id=TraceId(trace), span_id=SpanId(span), flags=int(flags, 16))
    return SpanLink(context, kind)
