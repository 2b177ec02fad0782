"""What caused what, how long it took and what it cost: spans of every step, and the tree of a task.

`Tracer` makes spans, `SpanFeed` carries them to a `SpanStore` without ever holding a call up, and
`trace_tree` draws a task from the ledger's entries and the spans beside them. Spans are a view for
people: nothing that decides reads them, because an agent may send some of its own.
"""

from hive.observability.ports import SpanStore
from hive.observability.propagation import parse_traceparent
from hive.observability.spans import Span, SpanFeed, SpanKind, SpanLink, SpanStatus, Tracer
from hive.observability.trace import TraceNode, render, trace_json, trace_tree

__all__ = [
    "Span",
    "SpanFeed",
    "SpanKind",
    "SpanLink",
    "SpanStatus",
    "SpanStore",
    "TraceNode",
    "Tracer",
    "parse_traceparent",
    "render",
    "trace_json",
    "trace_tree",
]
