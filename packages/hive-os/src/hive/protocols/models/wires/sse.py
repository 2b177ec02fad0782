"""Reads server-sent events as the WHATWG standard says, from pieces cut at any byte; bounded in every way.

Trusts nothing: a line or an event that grows past its bound ends the reading with an error, and bytes that are
no UTF-8 become U+FFFD, as the standard wants.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hive.core.errors import TooLargeError

LINE_MAX_BYTES: Final = 8 << 20
EVENT_MAX_BYTES: Final = 8 << 20
BOM: Final = b"\xef\xbb\xbf"
_END: Final = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event: its `event:` name (empty where none stands) and its data lines, joined."""

    name: str
    data: str


class SseReader:
    """Turn bytes into events: feed every piece, then flush."""

    def __init__(
        self, *, line_max_bytes: int = LINE_MAX_BYTES, event_max_bytes: int = EVENT_MAX_BYTES
    ) -> None:
        self._line_max_bytes = line_max_bytes
        self._event_max_bytes = event_max_bytes
        self._rest = bytearray()
        self._looked_at = 0
        self._after_cr = False
        self._first = True
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """Take bytes and return the events that they complete.

        Raises:
            TooLargeError: a line or an event is over its bound.

        """
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        self._rest += chunk
        found = (self._take(line) for line in self._lines())
        return [event for event in found if event is not None]

    def _lines(self) -> Iterator[bytes]:
        rest, start = self._rest, 0
        while (end := _END.search(rest, max(start, self._looked_at))) is not None:
            yield self._unmarked(bytes(rest[start : end.start()]))
            start = end.end()
        # The line ends at its CR, and an LF that comes later belongs to it.
        self._after_cr = self._after_cr or rest.endswith(b"\r")
        del rest[:start]
        self._looked_at = len(rest)
        if len(rest) > self._line_max_bytes:
            raise _too_large("line", self._line_max_bytes)

    def _unmarked(self, line: bytes) -> bytes:
        if len(line) > self._line_max_bytes:
            raise _too_large("line", self._line_max_bytes)
        if self._first:
            self._first = False
            return line.removeprefix(BOM)
        return line

    def _take(self, line: bytes) -> StreamEvent | None:
        if not line:
            return self._dispatched()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._event_max_bytes:
                raise _too_large("event", self._event_max_bytes)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None

    def _dispatched(self) -> StreamEvent | None:
        data, name = self._data, self._name
        self._data, self._name, self._data_bytes = [], "", 0
        if not data:
            return None
        return StreamEvent(name=name, data=b"\n".join(data).decode("utf-8", "replace"))

    def flush(self) -> list[StreamEvent]:
        """Return what a stream that ended without its last empty line still holds.

        The standard drops it; some providers end their last event that way, and its data is whole.
        """
        line, self._rest = bytes(self._rest), bytearray()
        self._looked_at = 0
        found = [self._take(self._unmarked(line)) if line else None, self._dispatched()]
        return [event for event in found if event is not None]


def sse_event(data: bytes, name: str = "") -> bytes:
    """Write one event; JSON holds no line ends, so its data is one line."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + data + b"\n\n"


def _too_large(what: str, limit_bytes: int) -> TooLargeError:
    return TooLargeError(
        "The model provider's stream cannot be read.",
        why=f"One {what} is over {limit_bytes} bytes.",
        fix="Ask for a shorter answer.",
    )
