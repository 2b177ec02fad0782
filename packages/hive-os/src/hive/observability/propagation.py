"""The `traceparent` header (W3C Trace Context, level 2): who may say which trace a call belongs to.

Any flags byte is accepted: level 2 sets bits beyond "sampled". A header that is not valid is dropped and
a new trace begins, as the standard says.
"""

import re
from typing import Final

from hive.core.call import TraceContext
from hive.core.ids import SpanId, TraceId

_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[^\s]*)?"
)
_HEADER_MAX_CHARS: Final = 512


def parse_traceparent(header: str) -> TraceContext | None:
    """Return the context that a header names, or None where it is not valid."""
    text = header.strip()
    match = _TRACEPARENT.fullmatch(text) if len(text) <= _HEADER_MAX_CHARS else None
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not int(trace, 16) or not int(span, 16):
        return None
    return TraceContext(trace_id=TraceId(trace), span_id=SpanId(span), flags=int(flags, 16))


def format_traceparent(context: TraceContext) -> str:
    """Return the header that names a context."""
    return context.traceparent
