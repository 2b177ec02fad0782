"""Gemini's other stream: one JSON array that grows, for clients that do not ask for events.

Inside the node every stream is events, so it is recorded and run again in one form; only here, on its way
out, it becomes an array.
"""

from hive.core.json import encode
from hive.protocols.models.ports import ModelHead
from hive.protocols.models.wires.sse import SseReader


class ArrayWriter:
    """Turn a stream of events into the pieces of one array: feed every chunk, then end."""

    def __init__(self) -> None:
        self._reader = SseReader()
        self._begun = False

    def head(self, head: ModelHead) -> ModelHead:
        """Return the head that goes with the array."""
        kept = tuple(
            pair
            for pair in head.headers
            if pair[0].lower() not in ("content-type", "content-length")
        )
        return ModelHead(
            status=head.status,
            headers=(("content-type", "application/json; charset=UTF-8"), *kept),
        )

    def feed(self, chunk: bytes) -> bytes:
        """Return the elements that a chunk completes.

        Raises:
            TooLargeError: an event is over its bound.

        """
        return b"".join(self._element(event.data) for event in self._reader.feed(chunk))

    def end(self) -> bytes:
        """Return what was left, and the end of the array."""
        rest = b"".join(self._element(event.data) for event in self._reader.flush())
        return rest + (b"\n]" if self._begun else b"[]")

    def _element(self, data: str) -> bytes:
        start = b",\r\n" if self._begun else b"["
        self._begun = True
        return start + (data.encode() or encode(None))
