"""Reads the event streams of servers: bytes in, whole events out, every line bounded.

Beside the data it keeps what a stream says of its own continuation: the last id and the pause.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hive.protocols.mcp.drivers.flood import FloodGauge
from hive.protocols.mcp.drivers.messages import too_large

OVERHEAD_MAX_BYTES: Final = 4096
FIELDS_MAX: Final = 8
RETRY_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class WireEvent:
    """One event: its name (`message` where none stands) and its data."""

    name: str
    data: bytes


class EventLines:
    """Turn pieces into events; `last_id` and `retry_s` are what the stream said last.

    `gauge` counts the lines that say nothing: a stream of comments alone keeps a reader as busy as one of events,
    and so do fields of an event that never ends. Whole events are counted by whoever reads them.
    """

    def __init__(self, data_max_bytes: int, gauge: FloodGauge | None = None) -> None:
        self._max = data_max_bytes
        self._gauge = gauge
        self._rest = bytearray()
        self._seen = 0
        self._name = b""
        self._data: list[bytes] = []
        self._held = 0
        self._fields = 0
        self.last_id = ""
        self.retry_s: float | None = None

    def feed(self, piece: bytes) -> Iterator[WireEvent]:
        """Take bytes and yield the events that they complete.

        Raises:
            TooLargeError: an event is over its bound.
            EngineUnavailableError: too many lines said nothing.

        """
        rest = self._rest
        waited = rest.endswith(b"\r")
        rest += piece
        if waited or b"\r" in piece:
            self._mend_ends()
        start = 0
        while (end := rest.find(b"\n", max(start, self._seen))) >= 0:
            line = bytes(rest[start:end])
            start = end + 1
            event = self._take(line)
            if event is not None:
                yield event
        del rest[:start]
        self._seen = len(rest)
        if self._held + len(rest) > self._max + OVERHEAD_MAX_BYTES:
            raise too_large(self._max)

    def _mend_ends(self) -> None:
        """Make every end of a line one LF; a CR at the very end waits for what follows."""
        rest = self._rest
        waits = rest.endswith(b"\r")
        text = bytes(rest[:-1] if waits else rest)
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        rest[:] = text + (b"\r" if waits else b"")
        self._seen = 0

    def _take(self, line: bytes) -> WireEvent | None:
        line = line.removesuffix(b"\r")
        if self._gauge is not None and self._says_nothing(line):
            self._gauge.add(len(line))
        if not line:
            return self._finished()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._held += len(value) + 1
            if self._held > self._max:
                raise too_large(self._max)
            self._data.append(value)
        elif name == b"event":
            self._name = value
        elif name == b"id" and b"\0" not in value:
            self.last_id = value.decode("latin-1")
        elif name == b"retry" and value.isdigit():
            self.retry_s = min(int(value[:9]) / 1000, RETRY_MAX_S)
        return None

    def _says_nothing(self, line: bytes) -> bool:
        """Tell whether a line brings no event nearer: a comment, an empty event, one field over and over."""
        if not line:
            return not self._data
        if line.startswith(b"data:"):
            return False
        self._fields += 1
        return line.startswith(b":") or self._fields > FIELDS_MAX

    def _finished(self) -> WireEvent | None:
        data, name = b"\n".join(self._data), self._name.decode("latin-1") or "message"
        found = bool(self._data)
        self._data, self._name, self._held = [], b"", 0
        self._fields = 0
        return WireEvent(name, data) if found else None
