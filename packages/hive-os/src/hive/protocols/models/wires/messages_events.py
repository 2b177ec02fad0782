"""Streamed answers on the Anthropic messages wire: a provider's events to neutral ones, and back."""

from collections.abc import Iterator

from hive.core.json import Json, decode
from hive.protocols.models.conversation import (
    Conversation,
    Finish,
    PartBegan,
    PartEnded,
    PartGrew,
    ReplyBegan,
    ReplyEnded,
    ReplyEvent,
    ReplyFailed,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from hive.protocols.models.ports import Dialect
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.usage import usage_of
from hive.protocols.models.wires.assembly import PARTS_MAX, REPLY_MAX_CHARS
from hive.protocols.models.wires.chat_events import BROKE_OFF
from hive.protocols.models.wires.fields import Fields, arguments_text, bad, compact
from hive.protocols.models.wires.messages_replies import (
    begun_block,
    failure_status,
    read_block,
    read_error,
    read_finish,
    write_finish,
    write_usage,
)
from hive.protocols.models.wires.sse import SseReader, StreamEvent, sse_event


class MessagesReader:
    """Reads one provider's events."""

    def __init__(self) -> None:
        self._events = SseReader()
        self._began = False
        self._over = False
        self._usage: dict[str, Json] = {}
        # The open blocks, and whether a tool's arguments have come.
        self._open: dict[int, bool] = {}
        self._parts = 0
        self._finish = Finish.STOP
        self._stop_sequence = ""

    def feed(self, chunk: bytes) -> list[ReplyEvent]:
        """Take bytes; return what they complete.

        Raises:
            BadInputError: this is no stream of the wire.

        """
        return [found for event in self._events.feed(chunk) for found in self._read(event)]

    def close(self) -> list[ReplyEvent]:
        """Return what was left; a stream without its `message_stop` broke off."""
        found = [one for event in self._events.flush() for one in self._read(event)]
        if not self._over:
            self._over = True
            found.append(ReplyFailed(status=502, message=BROKE_OFF))
        return found

    def _read(self, event: StreamEvent) -> Iterator[ReplyEvent]:
        if self._over or not event.data.strip():
            return
        try:
            fields = Fields.of(decode(event.data), "event")
        except ValueError:
            raise bad("data", "must be JSON") from None
        match fields.text("type", event.name):
            case "message_start":
                yield from self._start(fields)
            case "content_block_start":
                yield from self._begin(fields)
            case "content_block_delta":
                yield from self._delta(fields)
            case "content_block_stop":
                yield from self._stop(self._index(fields))
            case "message_delta":
                self._end(fields)
            case "message_stop":
                self._over = True
                yield ReplyEnded(
                    finish=self._finish,
                    stop_sequence=self._stop_sequence,
                    usage=usage_of(self._usage),
                )
            case "error":
                self._over = True
                words = read_error(fields.document) or "The model provider failed."
                status = failure_status(fields.raw("error"))
                yield ReplyFailed(status=status, message=words)
            case _:
                # Pings, and events that are younger than this reader: the wire says to pass them over.
                return

    def _start(self, fields: Fields) -> Iterator[ReplyEvent]:
        message = Fields.of(fields.raw("message"), fields.place("message"))
        if self._began:
            raise bad(fields.place("type"), "begins the message twice")
        self._began = True
        self._usage = dict(message.mapping("usage"))
        usage = usage_of(self._usage)
        yield ReplyBegan(id=message.text("id"), model=message.text("model"), usage=usage)

    def _begin(self, fields: Fields) -> Iterator[ReplyEvent]:
        index = fields.whole("index")
        if not self._began or index is None or index in self._open or index >= PARTS_MAX:
            raise bad(fields.place("index"), "must be the number of a new block")
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise bad(fields.where, f"is one of more than {PARTS_MAX} blocks")
        block = Fields.of(fields.raw("content_block"), fields.place("content_block"))
        part = read_block(block)
        self._open[index] = not isinstance(part, ToolCallPart)
        yield PartBegan(index=index, part=part)
        if isinstance(part, ToolCallPart) and (given := block.mapping("input")):
            self._open[index] = True
            yield PartGrew(index=index, text=arguments_text(given))

    def _index(self, fields: Fields) -> int:
        index = fields.whole("index")
        if index is None or index not in self._open:
            raise bad(fields.place("index"), "must be the number of an open block")
        return index

    def _delta(self, fields: Fields) -> Iterator[ReplyEvent]:
        index = self._index(fields)
        delta = Fields.of(fields.raw("delta"), fields.place("delta"))
        match delta.named("type"):
            case "text_delta":
                text = delta.text("text")
            case "thinking_delta":
                text = delta.text("thinking")
            case "input_json_delta":
                text = delta.text("partial_json")
                self._open[index] = self._open[index] or bool(text)
            case "signature_delta":
                yield PartGrew(index=index, signature=delta.text("signature"))
                return
            case _:
                # A citation: it belongs to documents that no other wire's client can send.
                return
        if text:
            yield PartGrew(index=index, text=text)

    def _stop(self, index: int) -> Iterator[ReplyEvent]:
        if not self._open.pop(index):
            # A tool without arguments sends none; elsewhere that is an empty object.
            yield PartGrew(index=index, text="{}")
        yield PartEnded(index=index)

    def _end(self, fields: Fields) -> None:
        if not self._began:
            raise bad(fields.place("type"), "comes before the message began")
        delta = Fields.of(fields.raw("delta") or {}, fields.place("delta"))
        if delta.has("stop_reason"):
            self._finish = read_finish(delta.text("stop_reason"))
        self._stop_sequence = delta.text("stop_sequence") or self._stop_sequence
        told = fields.mapping("usage")
        self._usage |= {key: value for key, value in told.items() if value is not None}


class MessagesWriter:
    """Writes one stream of events for a client.

    The wire has one open block at a time, so parts that are open side by side wait for their turn.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._next = 0
        self._open: int | None = None
        self._kind: TextPart | ThinkingPart | ToolCallPart = TextPart(text="")
        self._waiting: dict[int, list[PartBegan | PartGrew | PartEnded]] = {}
        self._waiting_chars = 0

    def write(self, event: ReplyEvent) -> bytes:
        """Return the bytes of an event.

        Raises:
            BadInputError: parts that are open side by side hold too much to wait.

        """
        match event:
            case ReplyBegan():
                return self._start(event)
            case PartBegan() | PartGrew() | PartEnded():
                return self._part(event)
            case ReplyEnded():
                return self._finish(event)
            case ReplyFailed(status=status, message=message):
                status = 529 if status == 503 else status
                error = ModelError(status=status, code="hive.upstream_failed", message=message)
                return error.event(Dialect.MESSAGES)

    def _start(self, event: ReplyBegan) -> bytes:
        message: Json = {
            "id": event.id or "msg_translated",
            "type": "message",
            "role": "assistant",
            "model": event.model or self._conversation.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(event.usage),
        }
        return _event("message_start", {"message": message})

    def _part(self, event: PartBegan | PartGrew | PartEnded) -> bytes:
        if self._open is not None and event.index != self._open:
            self._waiting.setdefault(event.index, []).append(event)
            self._waiting_chars += len(event.text) if isinstance(event, PartGrew) else 1
            if self._waiting_chars > REPLY_MAX_CHARS:
                raise bad("parts", "that are open side by side hold too much")
            return b""
        written = [self._write(event)]
        while self._open is None and self._waiting:
            waited = self._waiting.pop(next(iter(self._waiting)))
            written.extend(self._write(one) for one in waited)
        return b"".join(written)

    def _write(self, event: PartBegan | PartGrew | PartEnded) -> bytes:
        match event:
            case PartBegan(index=index, part=part):
                self._open = index
                block: Json = begun_block(part)
                begun = _event("content_block_start", {"index": self._next, "content_block": block})
                if isinstance(part, ToolCallPart) and part.arguments:
                    begun += self._delta("input_json_delta", "partial_json", part.arguments)
                self._kind = part
                return begun
            case PartGrew(text=text, signature=signature):
                return self._grow(text, signature)
            case PartEnded():
                self._open = None
                self._next += 1
                return _event("content_block_stop", {"index": self._next - 1})

    def _grow(self, text: str, signature: str) -> bytes:
        written = b""
        match self._kind:
            case TextPart():
                written = self._delta("text_delta", "text", text) if text else b""
            case ThinkingPart():
                written = self._delta("thinking_delta", "thinking", text) if text else b""
                if signature:
                    written += self._delta("signature_delta", "signature", signature)
            case ToolCallPart():
                written = self._delta("input_json_delta", "partial_json", text) if text else b""
        return written

    def _delta(self, kind: str, key: str, value: str) -> bytes:
        delta: Json = {"type": kind, key: value}
        return _event("content_block_delta", {"index": self._next, "delta": delta})

    def _finish(self, event: ReplyEnded) -> bytes:
        written = b""
        while self._open is not None:
            # Every part ends by itself at a good end; one that did not must not leave a block open.
            written += self._part(PartEnded(index=self._open))
        delta: Json = write_finish(event.finish, event.stop_sequence)
        ended: dict[str, Json] = {"delta": delta, "usage": write_usage(event.usage)}
        return written + _event("message_delta", ended) + _event("message_stop", {})


def _event(kind: str, fields: dict[str, Json]) -> bytes:
    return sse_event(compact({"type": kind, **fields}), kind)
