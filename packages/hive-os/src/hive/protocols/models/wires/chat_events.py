"""Streamed answers on the chat completions wire: a provider's chunks to events, and events to chunks."""

from collections.abc import Iterator
from typing import Final

from hive.core.json import Json, decode
from hive.protocols.models.conversation import (
    Conversation,
    PartBegan,
    PartEnded,
    PartGrew,
    ReplyBegan,
    ReplyEnded,
    ReplyEvent,
    ReplyFailed,
    TextPart,
    ThinkingPart,
    TokenUsage,
    ToolCallPart,
)
from hive.protocols.models.ports import Dialect
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.wires.assembly import PARTS_MAX
from hive.protocols.models.wires.chat_replies import (
    THOUGHTS,
    failure_status,
    lacking_id,
    read_error,
    read_finish,
    read_usage,
    write_finish,
    write_usage,
)
from hive.protocols.models.wires.chat_requests import sealed_call
from hive.protocols.models.wires.fields import Fields, bad, compact
from hive.protocols.models.wires.sse import SseReader, StreamEvent, sse_event

DONE: Final = "[DONE]"
BROKE_OFF: Final = "The model provider's stream ended before its end."


class ChatReader:
    """Reads one provider's chunks."""

    def __init__(self) -> None:
        self._events = SseReader()
        self._began = False
        self._over = False
        self._finish = ""
        self._id = ""
        self._refused = False
        self._usage: TokenUsage | None = None
        self._next = 0
        self._open: tuple[str, int] | None = None
        self._calls: dict[int, int] = {}

    def feed(self, chunk: bytes) -> list[ReplyEvent]:
        """Take bytes; return what they complete.

        Raises:
            BadInputError: this is no stream of the wire.

        """
        return [found for event in self._events.feed(chunk) for found in self._read(event)]

    def close(self) -> list[ReplyEvent]:
        """Return what was left; a stream that names its reason and then only lacks `[DONE]` is whole."""
        found = [one for event in self._events.flush() for one in self._read(event)]
        if not self._over:
            if self._finish:
                found.extend(self._end())
            else:
                found.append(ReplyFailed(status=502, message=BROKE_OFF))
                self._over = True
        return found

    def _read(self, event: StreamEvent) -> Iterator[ReplyEvent]:
        data = event.data.strip()
        if self._over or not data:
            return
        if data == DONE:
            yield from self._end()
            return
        try:
            fields = Fields.of(decode(data), "chunk")
        except ValueError:
            raise bad("data", "must be JSON") from None
        if fields.has("error"):
            self._over = True
            words = read_error(fields.document) or "The model provider failed."
            yield ReplyFailed(status=failure_status(fields.raw("error")), message=words)
            return
        yield from self._chunk(fields)

    def _chunk(self, fields: Fields) -> Iterator[ReplyEvent]:
        self._usage = read_usage(fields) or self._usage
        choices = list(fields.objects("choices"))
        if not self._began and (choices or fields.has("id")):
            self._began = True
            self._id = fields.text("id")
            yield ReplyBegan(
                id=self._id,
                model=fields.text("model"),
                created_s=fields.whole("created") or 0,
            )
        for choice in choices:
            if choice.whole("index"):
                raise bad(choice.place("index"), "must be 0, for one answer was asked for")
            delta = choice.inner("delta")
            if delta is not None:
                yield from self._delta(delta)
            self._finish = choice.text("finish_reason") or self._finish

    def _delta(self, delta: Fields) -> Iterator[ReplyEvent]:
        thought = next(
            (text for key in THOUGHTS if isinstance(text := delta.raw(key), str) and text), ""
        )
        if thought:
            yield from self._grow("thinking", ThinkingPart(), thought)
        if text := delta.text("content"):
            yield from self._grow("text", TextPart(text=""), text)
        if refusal := delta.text("refusal"):
            self._refused = True
            yield from self._grow("refusal", TextPart(text="", refusal=True), refusal)
        for call in delta.objects("tool_calls"):
            yield from self._call(call)

    def _grow(self, kind: str, part: TextPart | ThinkingPart, text: str) -> Iterator[ReplyEvent]:
        if self._open is None or self._open[0] != kind:
            yield from self._end_open()
            self._open = (kind, self._begin())
            yield PartBegan(index=self._open[1], part=part)
        yield PartGrew(index=self._open[1], text=text)

    def _call(self, call: Fields) -> Iterator[ReplyEvent]:
        function = call.inner("function") or Fields({}, call.place("function"))
        number = call.whole("index")
        if number is None:
            # Servers that send whole calls leave the index out.
            number = len(self._calls)
        if number not in self._calls:
            yield from self._end_open()
            self._calls[number] = self._begin()
            part = ToolCallPart(
                id=call.text("id") or lacking_id(self._id, number),
                name=function.named("name"),
                arguments="",
            )
            yield PartBegan(index=self._calls[number], part=part)
        if text := function.text("arguments"):
            yield PartGrew(index=self._calls[number], text=text)

    def _begin(self) -> int:
        if self._next >= PARTS_MAX:
            raise bad("choices", f"holds more than {PARTS_MAX} parts")
        self._next += 1
        return self._next - 1

    def _end_open(self) -> Iterator[ReplyEvent]:
        if self._open is not None:
            yield PartEnded(index=self._open[1])
            self._open = None

    def _end(self) -> Iterator[ReplyEvent]:
        self._over = True
        if not self._began:
            yield ReplyFailed(status=502, message=BROKE_OFF)
            return
        yield from self._end_open()
        for index in self._calls.values():
            yield PartEnded(index=index)
        finish = read_finish(self._finish, refused=self._refused, calls=bool(self._calls))
        yield ReplyEnded(finish=finish, usage=self._usage)


class ChatWriter:
    """Writes one stream of chunks for a client."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._began = ReplyBegan(id="", model="")
        self._calls: dict[int, int] = {}
        self._kinds: dict[int, str] = {}
        self._refused = False

    def write(self, event: ReplyEvent) -> bytes:
        """Return the chunks of an event."""
        match event:
            case ReplyBegan():
                self._began = event
                return self._chunk({"role": "assistant", "content": ""})
            case PartBegan(index=index, part=part):
                return self._begin(index, part)
            case PartGrew(index=index, text=text):
                return self._grow(index, text)
            case PartEnded():
                return b""
            case ReplyEnded():
                return self._end(event)
            case ReplyFailed(status=status, message=message):
                error = ModelError(status=status, code="hive.upstream_failed", message=message)
                return error.event(Dialect.CHAT)

    def _begin(self, index: int, part: TextPart | ThinkingPart | ToolCallPart) -> bytes:
        match part:
            case ToolCallPart():
                number = len(self._calls)
                self._calls[index] = number
                call: Json = {
                    "index": number,
                    "id": part.id,
                    "type": "function",
                    "function": {"name": part.name, "arguments": part.arguments},
                    **sealed_call(part),
                }
                return self._chunk({"tool_calls": [call]})
            case TextPart(refusal=True):
                self._refused = True
                self._kinds[index] = "refusal"
            case TextPart():
                self._kinds[index] = "content"
            case ThinkingPart():
                self._kinds[index] = THOUGHTS[0]
        return self._grow(index, part.text)

    def _grow(self, index: int, text: str) -> bytes:
        if not text:
            # A signature is the provider's seal; this wire has no place for it.
            return b""
        if index in self._calls:
            call: Json = {"index": self._calls[index], "function": {"arguments": text}}
            return self._chunk({"tool_calls": [call]})
        return self._chunk({self._kinds.get(index, "content"): text})

    def _end(self, event: ReplyEnded) -> bytes:
        reason = write_finish(event.finish, refused=self._refused)
        usage = write_usage(event.usage) if event.usage else None
        if self._conversation.include_usage:
            last = self._chunk({}, finish=reason)
            if usage is not None:
                last += self._event({"choices": [], "usage": usage})
        else:
            # Not asked for in a chunk of its own, which an unready client would trip over.
            last = self._chunk({}, finish=reason, usage=usage)
        return last + sse_event(DONE.encode())

    def _chunk(
        self, delta: dict[str, Json], *, finish: str | None = None, usage: Json = None
    ) -> bytes:
        choice: Json = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        more: dict[str, Json] = {"choices": [choice]}
        if usage is not None:
            more["usage"] = usage
        return self._event(more)

    def _event(self, more: dict[str, Json]) -> bytes:
        head: dict[str, Json] = {
            "id": self._began.id or "chatcmpl-translated",
            "object": "chat.completion.chunk",
            "created": self._began.created_s,
            "model": self._began.model or self._conversation.model,
        }
        return sse_event(compact(head | more))
