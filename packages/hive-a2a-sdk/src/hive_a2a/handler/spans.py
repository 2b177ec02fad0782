"""One span per call, where the operator has set up tracing; nothing at all where not.

The official server opens about a hundred for one answer. A span here says which method ran, for which
task, and whether it failed. `opentelemetry-api` is used if it is installed and a provider is set.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from hive_a2a.call import Proto

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

try:
    from opentelemetry import trace

    SPANS_KNOWN = True
except ImportError:
    SPANS_KNOWN = False

SelfT = TypeVar("SelfT")
ResultT = TypeVar("ResultT")


def tracer() -> "Tracer | None":
    """Return the tracer, or None where nobody looks at spans."""
    if not SPANS_KNOWN:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return provider.get_tracer("hive_a2a")


def task_of(params: Proto) -> str:
    """Return the task that a request names, or nothing."""
    for field in ("id", "task_id"):
        if field in params.DESCRIPTOR.fields_by_name:
            return str(getattr(params, field))
    return str(params.message.task_id) if "message" in params.DESCRIPTOR.fields_by_name else ""


def spanned(
    method: str,
) -> Callable[
    [Callable[[SelfT, Any, Any], Coroutine[Any, Any, ResultT]]],
    Callable[[SelfT, Any, Any], Coroutine[Any, Any, ResultT]],
]:
    """Give every call of a method with one answer a span."""

    def wrap(
        call: Callable[[SelfT, Any, Any], Coroutine[Any, Any, ResultT]],
    ) -> Callable[[SelfT, Any, Any], Coroutine[Any, Any, ResultT]]:
        @wraps(call)
        async def with_span(self: SelfT, params: Proto, context: Proto) -> ResultT:
            spans = tracer()
            if spans is None:
                return await call(self, params, context)
            with spans.start_as_current_span(
                f"a2a {method}",
                kind=trace.SpanKind.SERVER,
                attributes={"a2a.method": method, "a2a.task.id": task_of(params)},
            ):
                return await call(self, params, context)

        return with_span

    return wrap


def spanned_stream(
    method: str,
) -> Callable[
    [Callable[[SelfT, Any, Any], AsyncGenerator[ResultT, None]]],
    Callable[[SelfT, Any, Any], AsyncGenerator[ResultT, None]],
]:
    """Give every call of a method with a stream of answers a span."""

    def wrap(
        call: Callable[[SelfT, Any, Any], AsyncGenerator[ResultT, None]],
    ) -> Callable[[SelfT, Any, Any], AsyncGenerator[ResultT, None]]:
        @wraps(call)
        def with_span(self: SelfT, params: Proto, context: Proto) -> AsyncGenerator[ResultT, None]:
            spans = tracer()
            events = call(self, params, context)
            return events if spans is None else _in_span(spans, method, params, events)

        return with_span

    return wrap


async def _in_span(
    spans: "Tracer", method: str, params: Proto, events: AsyncGenerator[ResultT, None]
) -> AsyncGenerator[ResultT, None]:
    span = spans.start_span(
        f"a2a {method}",
        kind=trace.SpanKind.SERVER,
        attributes={"a2a.method": method, "a2a.task.id": task_of(params)},
    )
    try:
        # Current only while the agent's turn is begun, which takes its context variables from here: a
        # generator may be closed in another context than it was begun in.
        with trace.use_span(span):
            first = await anext(events, None)
        if first is not None:
            yield first
            async for event in _rest(events, span):
                yield event
    finally:
        await events.aclose()
        span.end()


async def _rest(events: AsyncGenerator[ResultT, None], span: "Span") -> AsyncIterator[ResultT]:
    try:
        async for event in events:
            yield event
    except Exception as error:
        span.record_exception(error)
        span.set_status(trace.StatusCode.ERROR)
        raise
