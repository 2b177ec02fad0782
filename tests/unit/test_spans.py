"""Spans: parents, failures, bounds, and a store that is away."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from hive.core.call import TraceContext
from hive.core.errors import EngineUnavailableError
from hive.core.ids import SpanId, TraceId
from hive.core.json import Json
from hive.observability import Span, SpanFeed, SpanStatus, Tracer, parse_traceparent
from hive.observability.conventions import call_attributes
from hive.observability.drivers.memory import MemorySpans
from hive.observability.spans import ATTRIBUTES_MAX, current_trace, inside

pytestmark = pytest.mark.anyio
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_any_flags_byte_is_accepted_and_kept(flags: str) -> None:
    header = f"00-{TRACE}-00f067aa0ba902b7-{flags}"
    context = parse_traceparent(header)
    assert context is not None
    assert context.traceparent == header


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01-more",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7",
        "x" * 10_000,
    ],
)
def test_a_header_that_is_not_valid_is_dropped(header: str) -> None:
    assert parse_traceparent(header) is None


def test_a_later_version_with_more_fields_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent(f"01-{TRACE}-00f067aa0ba902b7-01-more") is not None


async def test_spans_find_their_parents_and_failures_are_told() -> None:
    store = MemorySpans()
    feed = SpanFeed(store)
    tracer = Tracer(feed)
    far = TraceContext(trace_id=TraceId(TRACE), span_id=SpanId("00f067aa0ba902b7"), flags=3)
    with tracer.start("outer", parent=far, attributes={"a": 1}) as outer:
        assert current_trace() == outer.context
        with pytest.raises(ValueError, match="secret"), tracer.start("inner") as inner:
            raise ValueError("secret")
    assert current_trace() is None
    await feed.flush()
    read = await store.of_trace(TRACE)
    assert [(span.name, span.parent_id) for span in read] == [
        ("outer", far.span_id),
        ("inner", outer.context.span_id),
    ]
    assert inner.context.flags == 3
    assert (inner.status, inner.status_note) == (SpanStatus.ERROR, "ValueError")
    assert "secret" not in str(inner)
    assert outer.end_ns >= inner.end_ns - 1_000_000
    assert outer.status is SpanStatus.UNSET


def test_the_span_of_a_tools_call_names_method_and_tool() -> None:
    facts: dict[str, Json] = {"server": "files", "tool": "read"}
    told = call_attributes("invoke", "files.read", "c-1", facts)
    assert told["gen_ai.operation.name"] == "execute_tool"
    assert (told["mcp.method.name"], told["gen_ai.tool.name"]) == ("tools/call", "read")
    passed = call_attributes("invoke", "files.@resources", "c-2", {"method": "resources/read"})
    assert passed["mcp.method.name"] == "resources/read"
    assert "gen_ai.tool.name" not in passed
    assert call_attributes("ask", "gpt", "c-3", {})["gen_ai.request.model"] == "gpt"
    assert "mcp.method.name" not in call_attributes("reach", "example.org", "c-4", {})


def test_an_ambient_context_is_taken_and_left() -> None:
    tracer = Tracer(SpanFeed())
    far = tracer.context()
    with inside(far), tracer.start("step") as span:
        assert (span.context.trace_id, span.parent_id) == (far.trace_id, far.span_id)
    with tracer.start("alone") as span:
        assert span.parent_id == ""


def test_attributes_are_bounded() -> None:
    tracer = Tracer(SpanFeed())
    with tracer.start("wide", attributes={f"a{n}": "x" * 5000 for n in range(200)}) as span:
        pass
    assert len(span.attributes) == ATTRIBUTES_MAX
    assert len(str(span.attributes["a0"])) == 1024


class _AwayStore(MemorySpans):
    away = True

    async def write(self, spans: Sequence[Span]) -> None:
        if self.away:
            raise EngineUnavailableError("The store is away.")
        await super().write(spans)


async def test_spans_wait_for_a_store_that_is_away_and_the_rest_is_counted() -> None:
    store = _AwayStore()
    feed = SpanFeed(store, buffer_max_spans=5)
    tracer = Tracer(feed)
    far = tracer.context()
    for number in range(8):
        with tracer.start(f"step {number}", parent=far):
            pass
    with pytest.raises(EngineUnavailableError):
        await feed.flush()
    assert feed.dropped == 3
    store.away = False
    await feed.flush()
    assert [span.name for span in await store.of_trace(far.trace_id)] == [
        f"step {number}" for number in range(5)
    ]
    assert await store.prune(datetime.max.replace(tzinfo=UTC, year=2200)) == 5
