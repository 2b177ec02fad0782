"""A stream on its way to the client: whole events only, without what the client did not ask for, and an end in its own words.

A provider that goes on past its limit is cut: the client reads the ending that its dialect has for a limit.
"""

import re
from typing import Final

import msgspec

from hive.core.json import Json, decode
from hive.protocols.models.ports import Dialect
from hive.protocols.models.refusals import ModelError

EVENT_MAX_BYTES: Final = 1 << 20
_END_MAX_BYTES: Final = 4
_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_BLOCK: Final = re.compile(rb'"type"\s*:\s*"content_block_(start|stop)"')
_INDEX: Final = re.compile(rb'"index"\s*:\s*(\d{1,6})')
_NO_CHOICE: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_JSON: Final = msgspec.json.Encoder()


class StreamCut:
    """Pass a stream event by event; `usage_hidden` leaves out a chunk that only tells the usage."""

    def __init__(self, dialect: Dialect, *, model: str, usage_hidden: bool) -> None:
        self._dialect = dialect
        self._model = model
        self._usage_hidden = usage_hidden
        self._held = b""
        self._open_block: int | None = None
        self._oversized = False

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece of the stream; return the events that are whole now."""
        if self._oversized:
            return chunk
        if not self._held and chunk.endswith(b"\n\n") and not self._special(chunk):
            return chunk
        # An end may begin in the last bytes of what was here; before them there is none.
        looked = max(0, len(self._held) - _END_MAX_BYTES + 1)
        self._held += chunk
        events, start = [], 0
        for end in _END.finditer(self._held, looked):
            events.append(self._held[start : end.end()])
            start = end.end()
        self._held = self._held[start:]
        if len(self._held) > EVENT_MAX_BYTES:
            # What has no end is none of our events: it passes as it comes.
            self._oversized = True
            events.append(self.rest())
        return b"".join(one for one in events if self._passes(one))

    def rest(self) -> bytes:
        """Return what came after the last whole event."""
        held, self._held = self._held, b""
        return held

    def ending(self, spent_tokens: int) -> bytes:
        """Return the events that end a stream at its limit; whatever was half an event is dropped."""
        self._held = b""
        match self._dialect:
            case Dialect.CHAT:
                choice: Json = {"index": 0, "delta": {}, "finish_reason": "length"}
                chunk: Json = {
                    "id": "hive-cut",
                    "object": "chat.completion.chunk",
                    "created": 0,
                    "model": self._model,
                    "choices": [choice],
                }
                return _data(chunk) + b"data: [DONE]\n\n"
            case Dialect.MESSAGES:
                return self._message_end(spent_tokens)
            case Dialect.GEMINI:
                candidate: Json = {
                    "content": {"parts": [{"text": ""}], "role": "model"},
                    "finishReason": "MAX_TOKENS",
                    "index": 0,
                }
                return _data({"candidates": [candidate], "modelVersion": self._model})
            case dialect:
                return limit_passed().event(dialect)

    def _message_end(self, spent_tokens: int) -> bytes:
        end = b""
        if self._open_block is not None:
            end = _event("content_block_stop", {"index": self._open_block})
        delta: Json = {"stop_reason": "max_tokens", "stop_sequence": None}
        end += _event("message_delta", {"delta": delta, "usage": {"output_tokens": spent_tokens}})
        return end + _event("message_stop", {})

    def _special(self, chunk: bytes) -> bool:
        if self._dialect is Dialect.MESSAGES:
            return b"content_block_st" in chunk
        return self._usage_hidden and _NO_CHOICE.search(chunk) is not None

    def _passes(self, event: bytes) -> bool:
        if self._dialect is Dialect.MESSAGES:
            block, index = _BLOCK.search(event), _INDEX.search(event)
            if block is not None and index is not None:
                self._open_block = int(index[1]) if block[1] == b"start" else None
            return True
        if not self._usage_hidden or _NO_CHOICE.search(event) is None:
            return True
        return not _only_usage(event)


def limit_passed() -> ModelError:
    """Return the error for an answer that went past what was reserved for it."""
    return ModelError(
        status=429,
        code="hive.budget",
        message="Hive cut this answer: it went past the output that its budget reserved.",
        kind="insufficient_quota",
    )


def _only_usage(event: bytes) -> bool:
    data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    try:
        said = decode(data)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("choices") == [] and bool(said.get("usage"))


def _data(value: Json) -> bytes:
    return b"data: " + _JSON.encode(value) + b"\n\n"


def _event(name: str, value: dict[str, Json]) -> bytes:
    return b"event: " + name.encode() + b"\n" + _data({"type": name, **value})
