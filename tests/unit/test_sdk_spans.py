"""One span per call where an operator looks at spans, none where nobody does."""

import importlib.util
import sys
from typing import Any

import pytest
from a2a.types.a2a_pb2 import CancelTaskRequest, GetTaskRequest, SubscribeToTaskRequest
from a2a.utils.errors import TaskNotFoundError
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hive_a2a.handler import spans
from tests.unit.test_sdk_handler import HERE, asks, handler_of, message

pytestmark = pytest.mark.anyio


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


async def test_each_call_is_one_span_that_holds_the_agents_own(seen: InMemorySpanExporter) -> None:
    tracer = trace.get_tracer_provider().get_tracer("agent")

    async def turn(context: Any, queue: Any) -> None:
        with tracer.start_as_current_span("inner"):
            await asks(context, queue)

    handler = handler_of(turn)
    task = await handler.on_message_send(message(), HERE)
    stream = handler.on_message_send_stream(message(task, "again"), HERE)
    assert len([event async for event in stream]) == 1
    with pytest.raises(TaskNotFoundError):
        await handler.on_get_task(GetTaskRequest(id="nothing"), HERE)
    with pytest.raises(TaskNotFoundError):
        await anext(handler.on_subscribe_to_task(SubscribeToTaskRequest(id="nothing"), HERE))
    follower = handler.on_subscribe_to_task(SubscribeToTaskRequest(id=task.id), HERE)
    await anext(follower)
    await follower.aclose()
    calls = {span.name: span for span in seen.get_finished_spans() if span.name != "inner"}
    inner = [span for span in seen.get_finished_spans() if span.name == "inner"]
    assert [span.parent.span_id for span in inner if span.parent] == [
        calls["a2a SendMessage"].context.span_id,
        calls["a2a SendStreamingMessage"].context.span_id,
    ]
    assert dict(calls["a2a SendStreamingMessage"].attributes or {})["a2a.task.id"] == task.id
    assert not calls["a2a GetTask"].status.is_ok
    assert len(seen.get_finished_spans()) == 7


async def test_a_stream_that_breaks_later_is_a_failed_span(seen: InMemorySpanExporter) -> None:
    async def breaks(context: Any, queue: Any) -> None:
        await asks(context, queue)
        raise ValueError("broken")

    events = handler_of(breaks).on_message_send_stream(message(), HERE)
    await anext(events)
    with pytest.raises(ValueError, match="broken"):
        async for _ in events:
            pass
    (span,) = seen.get_finished_spans()
    assert span.status.status_code is trace.StatusCode.ERROR


async def test_an_empty_stream_is_a_span_too(seen: InMemorySpanExporter) -> None:
    async def silent(context: Any, queue: Any) -> None:
        return None

    events = handler_of(silent).on_message_send_stream(message(), HERE)
    assert [event async for event in events] == []
    assert len(seen.get_finished_spans()) == 1


async def test_without_a_provider_or_the_package_there_is_no_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    assert spans.tracer() is None
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    spec = importlib.util.spec_from_file_location("spans_without_package", spans.__file__)
    assert spec is not None
    assert spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    assert alone.tracer() is None
    with pytest.raises(TaskNotFoundError):
        await handler_of(asks).on_cancel_task(CancelTaskRequest(id="nothing"), HERE)
