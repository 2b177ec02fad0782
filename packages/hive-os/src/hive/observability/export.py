"""Spans to the store and, where an endpoint is set, to a collector as well."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import anyio

from hive.core.errors import HiveError
from hive.observability.ports import SpanStore
from hive.observability.spans import Span

log: Final = logging.getLogger(__name__)
SEND_TIMEOUT_S: Final = 12.0


class ForwardedSpans:
    """A store that also forwards. A collector that is away costs its copy, counted, and nothing else."""

    def __init__(self, store: SpanStore, collector: SpanStore) -> None:
        self._store = store
        self._collector = collector
        self.not_forwarded = 0

    async def write(self, spans: Sequence[Span]) -> None:
        """Keep finished spans, then send them."""
        await self._store.write(spans)
        try:
            with anyio.fail_after(SEND_TIMEOUT_S):
                await self._collector.write(spans)
        except (HiveError, TimeoutError) as error:
            self.not_forwarded += len(spans)
            log.warning("spans.forward.failed", extra={"error": type(error).__name__})

    async def of_trace(self, trace_id: str, *, limit: int = 10_000) -> Sequence[Span]:
        """Return the spans of a trace, by their start."""
        return await self._store.of_trace(trace_id, limit=limit)

    async def prune(self, before: datetime) -> int:
        """Forget spans that began before a moment; return how many."""
        return await self._store.prune(before)
