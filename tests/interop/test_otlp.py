"""Spans leave over OTLP/HTTP as the official protobuf definition reads them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from hive.observability import SpanFeed, SpanLink, Tracer
from hive.observability.drivers import COLLECTORS
from hive.observability.drivers.memory import MemorySpans
from hive.observability.export import ForwardedSpans

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is missing")
pytestmark = pytest.mark.anyio


@asynccontextmanager
async def collector(bodies: list[bytes]) -> AsyncIterator[str]:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive()
            head, _, body = data.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
            length = int(lengths[0].split(b":")[1])
            while len(body) < length:
                body += await stream.receive()
            assert head.startswith(b"POST /v1/traces ")
            bodies.append(body)
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def test_a_collector_reads_ids_attributes_links_and_failures() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    bodies: list[bytes] = []
    async with collector(bodies) as url:
        driver = COLLECTORS.load(url)(url, node="n-1")  # type: ignore[call-arg]
        feed = SpanFeed(ForwardedSpans(MemorySpans(), driver))
        tracer = Tracer(feed)
        far = tracer.context()
        link = SpanLink(tracer.context(), "memory")
        with tracer.start("invoke_agent x", parent=far, attributes={"n": 1}, links=[link]) as span:
            span.fail("no luck")
        with anyio.fail_after(20):
            await feed.flush()
    (spans,) = ExportTraceServiceRequest.FromString(bodies[0]).resource_spans
    (read,) = spans.scope_spans[0].spans
    assert read.trace_id.hex() == far.trace_id
    assert (read.span_id.hex(), read.parent_span_id.hex()) == (span.context.span_id, far.span_id)
    assert (read.name, read.status.message) == ("invoke_agent x", "no luck")
    assert (read.start_time_unix_nano, read.end_time_unix_nano) == (span.start_ns, span.end_ns)
    assert read.attributes[0].value.int_value == 1
    assert read.links[0].span_id.hex() == link.context.span_id


async def test_a_collector_that_is_away_costs_its_copy_and_nothing_else() -> None:
    class Refusing(MemorySpans):
        async def write(self, spans: object) -> None:
            raise TimeoutError

    store = MemorySpans()
    forwarded = ForwardedSpans(store, Refusing())
    feed = SpanFeed(forwarded)
    tracer = Tracer(feed)
    with tracer.start("step") as span:
        pass
    await feed.flush()
    assert [one.name for one in await store.of_trace(span.context.trace_id)] == ["step"]
    assert forwarded.not_forwarded == 1
