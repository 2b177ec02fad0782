"""Writes a stream of the responses wire: every event of an item's life, numbered in order."""

from typing import Final

from hive.core.errors import TooLargeError
from hive.core.json import Json
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
    TokenUsage,
    ToolCallPart,
)
from hive.protocols.models.wires.assembly import REPLY_MAX_CHARS
from hive.protocols.models.wires.fields import compact
from hive.protocols.models.wires.responses_replies import (
    call_item,
    content_part,
    message_item,
    reasoning_item,
    response_document,
)
from hive.protocols.models.wires.seals import REDACTED_MARK
from hive.protocols.models.wires.sse import sse_event


class _OutputItem:
    """An item of the output while it grows; a message holds several parts."""

    def __init__(self, number: int, document: dict[str, Json]) -> None:
        self.number: Final = number
        self.document = document
        self.parts: list[_GrowingPart] = []

    @property
    def is_message(self) -> bool:
        return self.document["type"] == "message"

    @property
    def is_whole(self) -> bool:
        return all(part.ended for part in self.parts)


class _GrowingPart:
    """A part, the item that it stands in, and what it has said so far."""

    def __init__(
        self, item: _OutputItem, at: int, first: TextPart | ThinkingPart | ToolCallPart
    ) -> None:
        self.item: Final = item
        self.at: Final = at
        self.first: Final = first
        self.texts: list[str] = []
        self.signature = ""
        self.ended = False

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def content(self) -> Json:
        refusal = isinstance(self.first, TextPart) and self.first.refusal
        return content_part(self.text, refusal=refusal)


class ResponsesEventWriter:
    """Write one stream for the client that asked `conversation`."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._began = ReplyBegan(id="", model=conversation.model)
        self._items: list[_OutputItem] = []
        self._done: dict[int, dict[str, Json]] = {}
        self._parts: dict[int, _GrowingPart] = {}
        self._sequence = 0
        self._chars = 0

    def write(self, event: ReplyEvent) -> bytes:
        """Return the bytes of an event.

        Raises:
            TooLargeError: the answer is over its bound.

        """
        match event:
            case ReplyBegan():
                return self._begin(event)
            case PartBegan(index=index, part=part):
                return self._open(index, part)
            case PartGrew():
                return self._grow(event)
            case PartEnded(index=index):
                return self._end_part(index)
            case ReplyEnded():
                return self._end(event)
            case ReplyFailed():
                return self._fail(event)

    def _event(self, kind: str, **fields: Json) -> bytes:
        number = self._sequence
        self._sequence += 1
        return sse_event(compact({"type": kind, "sequence_number": number, **fields}), kind)

    def _response(self, finish: Finish | None, usage: TokenUsage | None) -> dict[str, Json]:
        output: list[Json] = [self._done[number] for number in sorted(self._done)]
        return response_document(
            self._conversation,
            id=self._began.id,
            model=self._began.model,
            created_s=self._began.created_s,
            output=output,
            finish=finish,
            usage=usage,
        )

    def _begin(self, event: ReplyBegan) -> bytes:
        self._began = event
        started = self._response(None, None)
        return self._event("response.created", response=started) + self._event(
            "response.in_progress", response=started
        )

    def _open(self, index: int, part: TextPart | ThinkingPart | ToolCallPart) -> bytes:
        last = self._items[-1] if self._items else None
        if isinstance(part, TextPart) and last is not None and last.is_message:
            item, before = last, b""
        else:
            before = self._close_message(last)
            item, added = self._add(part)
            before += added
        growing = self._parts[index] = _GrowingPart(item, len(item.parts), part)
        item.parts.append(growing)
        first = part.arguments if isinstance(part, ToolCallPart) else part.text
        if isinstance(part, ThinkingPart):
            growing.signature = part.signature
            before += self._open_summary(growing)
        elif isinstance(part, TextPart):
            opened = content_part("", refusal=part.refusal)
            before += self._event("response.content_part.added", **self._at(growing), part=opened)
        return before + (self._say(growing, first) if first else b"")

    def _add(self, part: TextPart | ThinkingPart | ToolCallPart) -> tuple[_OutputItem, bytes]:
        number = len(self._items)
        if isinstance(part, TextPart):
            document = message_item(self._began.id, number, [], status="in_progress")
        elif isinstance(part, ThinkingPart):
            shown_part = part if part.redacted else ThinkingPart()
            document = reasoning_item(self._began.id, number, shown_part)
        else:
            document = call_item(part, status="in_progress")
        item = _OutputItem(number, document)
        self._items.append(item)
        shown: Json = document
        return item, self._event("response.output_item.added", output_index=number, item=shown)

    def _open_summary(self, part: _GrowingPart) -> bytes:
        empty: Json = {"type": "summary_text", "text": ""}
        return self._event("response.reasoning_summary_part.added", **self._at(part), part=empty)

    def _at(self, part: _GrowingPart) -> dict[str, Json]:
        place: dict[str, Json] = {
            "item_id": part.item.document["id"],
            "output_index": part.item.number,
        }
        if isinstance(part.first, TextPart):
            place["content_index"] = part.at
        elif isinstance(part.first, ThinkingPart):
            place["summary_index"] = 0
        return place

    def _grow(self, event: PartGrew) -> bytes:
        part = self._parts[event.index]
        part.signature += event.signature
        return self._say(part, event.text) if event.text else b""

    def _say(self, part: _GrowingPart, text: str) -> bytes:
        self._chars += len(text)
        if self._chars > REPLY_MAX_CHARS:
            raise TooLargeError(
                "The model provider's answer is too large.", fix="Ask for a shorter answer."
            )
        part.texts.append(text)
        place = self._at(part)
        match part.first:
            case TextPart(refusal=True):
                return self._event("response.refusal.delta", **place, delta=text)
            case TextPart():
                return self._event("response.output_text.delta", **place, delta=text, logprobs=[])
            case ThinkingPart():
                return self._event("response.reasoning_summary_text.delta", **place, delta=text)
            case ToolCallPart():
                return self._event("response.function_call_arguments.delta", **place, delta=text)

    def _end_part(self, index: int) -> bytes:
        part = self._parts[index]
        if part.ended:
            return b""
        part.ended = True
        place = self._at(part)
        match part.first:
            case TextPart(refusal=refusal):
                written = (
                    self._event("response.refusal.done", **place, refusal=part.text)
                    if refusal
                    else self._event(
                        "response.output_text.done", **place, text=part.text, logprobs=[]
                    )
                )
                written += self._event("response.content_part.done", **place, part=part.content())
                later = part.item is not self._items[-1]
                return written + (self._close_message(part.item) if later else b"")
            case ThinkingPart():
                whole: Json = {"type": "summary_text", "text": part.text}
                return (
                    self._event("response.reasoning_summary_text.done", **place, text=part.text)
                    + self._event("response.reasoning_summary_part.done", **place, part=whole)
                    + self._close(part.item, self._thought(part))
                )
            case ToolCallPart() as call:
                ready = ToolCallPart(id=call.id, name=call.name, arguments=part.text)
                finished = call_item(ready)
                return self._event(
                    "response.function_call_arguments.done",
                    **place,
                    name=call.name,
                    arguments=finished["arguments"],
                ) + self._close(part.item, finished)

    def _thought(self, part: _GrowingPart) -> dict[str, Json]:
        redacted = isinstance(part.first, ThinkingPart) and part.first.redacted
        whole = ThinkingPart(text=part.text, signature=part.signature, redacted=redacted)
        document = reasoning_item(self._began.id, part.item.number, whole)
        # Its id is known from its first event on, so a seal that came with another id keeps it inside.
        sealed = REDACTED_MARK + part.signature if redacted else part.signature
        return document | {"id": part.item.document["id"], "encrypted_content": sealed or None}

    def _close_message(self, item: _OutputItem | None) -> bytes:
        if item is None or not item.is_message or not item.is_whole or item.number in self._done:
            return b""
        content = [part.content() for part in item.parts]
        return self._close(item, message_item(self._began.id, item.number, content))

    def _close(self, item: _OutputItem, document: dict[str, Json]) -> bytes:
        self._done[item.number] = document
        return self._event("response.output_item.done", output_index=item.number, item=document)

    def _end(self, event: ReplyEnded) -> bytes:
        written = b"".join(self._end_part(index) for index in list(self._parts))
        written += b"".join(self._close_message(item) for item in self._items)
        document = self._response(event.finish, event.usage or self._began.usage)
        return written + self._event(f"response.{document['status']}", response=document)

    def _fail(self, event: ReplyFailed) -> bytes:
        code = "rate_limit_exceeded" if event.status == 429 else "server_error"
        error: dict[str, Json] = {"code": code, "message": event.message}
        told: Json = {**error, "type": code, "param": None}
        written = self._event("error", code=code, message=event.message, param=None, error=told)
        failed: Json = self._response(None, None) | {"status": "failed", "error": error}
        return written + self._event("response.failed", response=failed)
