"""Spans in memory: bounded, gone with the process."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from hive.engines.ports import Database
from hive.observability.spans import Span

SPANS_MAX: Final = 50_000


class MemorySpans:
    """Keeps the newest spans."""

    def __init__(self, database: Database | None = None, *, spans_max: int = SPANS_MAX) -> None:
        self._spans_max = spans_max
        self._spans: OrderedDict[tuple[str, str], Span] = OrderedDict()

    async def write(self, spans: Sequence[Span]) -> None:
        """Keep finished spans; the oldest make room."""
        for span in spans:
            self._spans.setdefault((span.context.trace_id, span.context.span_id), span)
        while len(self._spans) > self._spans_max:
            self._spans.popitem(last=False)

    async def of_trace(self, trace_id: str, *, limit: int = 10_000) -> Sequence[Span]:
        """Return the spans of a trace, by their start."""
        found = [span for (trace, _), span in self._spans.items() if trace == trace_id]
        return sorted(found, key=lambda span: (span.start_ns, span.context.span_id))[:limit]

    async def prune(self, before: datetime) -> int:
        """Forget spans that began before a moment; return how many."""
        bound_ns = int(before.timestamp() * 1e9)
        old = [key for key, span in self._spans.items() if span.start_ns < bound_ns]
        for key in old:
            del self._spans[key]
        return len(old)
