"""Where spans are kept, as one Protocol."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from hive.observability.spans import Span


class SpanStore(Protocol):
    """Keeps spans by trace. Losing some is no error; holding a call up for one would be."""

    async def write(self, spans: Sequence[Span]) -> None:
        """Keep finished spans.

        Raises:
            EngineUnavailableError: the store is away; nothing was kept.

        """
        ...

    async def of_trace(self, trace_id: str, *, limit: int = 10_000) -> Sequence[Span]:
        """Return the spans of a trace, by their start."""
        ...

    async def prune(self, before: datetime) -> int:
        """Forget spans that began before a moment; return how many."""
        ...
