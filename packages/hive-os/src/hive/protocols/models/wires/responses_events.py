"""Reads a provider's stream of the responses wire."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from hive.core.errors import BadInputError
from hive.core.json import Json, decode
from hive.protocols.models.conversation import (
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
from hive.protocols.models.usage import usage_of
from hive.protocols.models.wires.fields import Fields
from hive.protocols.models.wires.responses_questions import read_reasoning
from hive.protocols.models.wires.responses_replies import (
    failure_of,
    finish_of,
    read_item,
    seconds,
)
from hive.protocols.models.wires.sse import SseReader

BROKEN_STATUS: Final = 502
BROKEN_OFF: Final = "The model provider's stream broke off before its end."
OPEN_PARTS_MAX: Final = 4096
_STATUSES: Final = {"rate_limit_exceeded": 429, "insufficient_quota": 429, "invalid_prompt": 400}
_GROWS: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.function_call_arguments.delta": "call",
    "response.reasoning_summary_text.delta": "thought",
    "response.reasoning_text.delta": "raw thought",
}


def failed_status(error: Mapping[str, Json]) -> int:
    """Return the status that a provider's error in a stream stands for."""
    return _STATUSES.get(str(error.get("code")), 500)


class _OpenPart:
    """A part that has begun: its number, what it has said, and whether it is whole."""

    def __init__(self, index: int) -> None:
        self.index: Final = index
        self.chars = 0
        self.summary = 0
        self.raw = False
        self.ended = False


class ResponsesEventReader:
    """Read one stream: fed in pieces of any size."""

    def __init__(self) -> None:
        self._sse = SseReader()
        self._parts: dict[tuple[int, int], _OpenPart] = {}
        self._began = False
        self._ended = False
        self._steps: Mapping[str, Callable[[Fields], Iterator[ReplyEvent]]] = {
            "response.created": self._begin,
            "response.in_progress": self._begin,
            "response.output_item.added": self._open_item,
            "response.content_part.added": self._open_content,
            "response.reasoning_summary_part.added": self._next_summary,
            "response.content_part.done": self._end_content,
            "response.output_item.done": self._end_item,
            "response.completed": self._end,
            "response.incomplete": self._end,
            "response.failed": self._fail,
            "error": self._fail,
        }

    def feed(self, chunk: bytes) -> Iterable[ReplyEvent]:
        """Take bytes; return what they complete.

        Raises:
            BadInputError: this is no stream of the wire.

        """
        return [found for event in self._sse.feed(chunk) for found in self._read(event.data)]

    def close(self) -> Iterable[ReplyEvent]:
        """Return what was left; a failure where the stream broke off."""
        left: list[ReplyEvent] = []
        # What a break cut off is no event, and no fault of the wire.
        with suppress(BadInputError):
            for event in self._sse.flush():
                left.extend(self._read(event.data))
        if not self._ended:
            self._ended = True
            left.append(ReplyFailed(status=BROKEN_STATUS, message=BROKEN_OFF))
        return left

    def _read(self, data: str) -> Iterator[ReplyEvent]:
        if self._ended or data == "[DONE]":
            return
        try:
            document = decode(data)
        except ValueError as error:
            raise BadInputError(
                "The model provider's stream cannot be read.", why="An event is no JSON."
            ) from error
        event = Fields.of(document, "")
        kind = event.text("type")
        if kind in _GROWS:
            yield from self._grow(event, _GROWS[kind])
        elif kind in self._steps:
            yield from self._steps[kind](event)

    def _end_content(self, event: Fields) -> Iterator[ReplyEvent]:
        yield from self._end_part(self._place(event))

    def _begin(self, event: Fields) -> Iterator[ReplyEvent]:
        if self._began:
            return
        self._began = True
        response = event.inner("response") or event
        yield ReplyBegan(
            id=response.text("id"),
            model=response.text("model"),
            created_s=seconds(response.raw("created_at")),
        )

    def _place(self, event: Fields) -> tuple[int, int]:
        return event.whole("output_index") or 0, event.whole("content_index") or 0

    def _add(
        self, place: tuple[int, int], part: TextPart | ThinkingPart | ToolCallPart
    ) -> Iterator[ReplyEvent]:
        if place in self._parts:
            return
        if len(self._parts) >= OPEN_PARTS_MAX:
            raise BadInputError(
                "The model provider's stream cannot be read.",
                why=f"It has more than {OPEN_PARTS_MAX} parts.",
            )
        opened = self._parts[place] = _OpenPart(len(self._parts))
        yield PartBegan(index=opened.index, part=part)

    def _open_item(self, event: Fields) -> Iterator[ReplyEvent]:
        item = Fields.of(event.raw("item"), "item")
        place = (event.whole("output_index") or 0, 0)
        match item.named("type"):
            case "function_call":
                call = ToolCallPart(id=item.named("call_id"), name=item.named("name"), arguments="")
                yield from self._add(place, call)
            case "reasoning":
                thought = read_reasoning(item)
                hidden = thought is not None and thought.redacted
                yield from self._add(place, ThinkingPart(redacted=hidden))

    def _open_content(self, event: Fields) -> Iterator[ReplyEvent]:
        part = Fields.of(event.raw("part"), "part")
        kind = part.named("type")
        if kind in ("output_text", "refusal"):
            yield from self._add(self._place(event), TextPart(text="", refusal=kind == "refusal"))

    def _next_summary(self, event: Fields) -> Iterator[ReplyEvent]:
        opened = self._parts.get(self._place(event))
        if opened is not None and event.whole("summary_index") and opened.chars:
            yield PartGrew(index=opened.index, text="\n\n")

    def _grow(self, event: Fields, kind: str) -> Iterator[ReplyEvent]:
        place = self._place(event)
        if kind in ("thought", "raw thought"):
            place = (place[0], 0)
            yield from self._add(place, ThinkingPart())
        elif kind != "call":
            yield from self._add(place, TextPart(text="", refusal=kind == "refusal"))
        opened = self._parts.get(place)
        if opened is None:
            raise BadInputError(
                "The model provider's stream cannot be read.", why="A call grew before it began."
            )
        if kind == "raw thought" and opened.chars and not opened.raw:
            # A summary came already; the raw thoughts say the same at length.
            return
        opened.raw = opened.raw or kind == "raw thought"
        delta = event.text("delta")
        opened.chars += len(delta)
        if delta:
            yield PartGrew(index=opened.index, text=delta)

    def _end_part(self, place: tuple[int, int]) -> Iterator[ReplyEvent]:
        opened = self._parts.get(place)
        if opened is not None and not opened.ended:
            opened.ended = True
            yield PartEnded(index=opened.index)

    def _end_item(self, event: Fields) -> Iterator[ReplyEvent]:
        """End an item; what its pieces did not tell is read from the whole."""
        number = event.whole("output_index") or 0
        item = Fields.of(event.raw("item"), "item")
        for at, part in enumerate(read_item(item)):
            if not isinstance(part, TextPart | ThinkingPart | ToolCallPart):
                continue
            place = (number, at)
            text = part.arguments if isinstance(part, ToolCallPart) else part.text
            yield from self._add(place, _opening(part))
            opened = self._parts[place]
            if opened.ended:
                continue
            if text and not opened.chars:
                yield PartGrew(index=opened.index, text=text)
            if isinstance(part, ThinkingPart) and part.signature:
                yield PartGrew(index=opened.index, signature=part.signature)
            yield from self._end_part(place)
        yield from self._end_part((number, 0))

    def _end(self, event: Fields) -> Iterator[ReplyEvent]:
        response = Fields.of(event.raw("response"), "response")
        yield from self._begin(event)
        for place in list(self._parts):
            yield from self._end_part(place)
        parts = [part for item in response.objects("output") for part in read_item(item)]
        usage = response.raw("usage")
        self._ended = True
        yield ReplyEnded(
            finish=finish_of(response, parts),
            usage=usage_of(usage) if isinstance(usage, dict) else None,
        )

    def _fail(self, event: Fields) -> Iterator[ReplyEvent]:
        self._ended = True
        place = event.inner("response") or event
        error = place.raw("error")
        told = error if isinstance(error, dict) else place.document
        message = told.get("message")
        yield ReplyFailed(
            status=failed_status(told),
            message=message if isinstance(message, str) else failure_of(place),
        )


def _opening(
    part: TextPart | ThinkingPart | ToolCallPart,
) -> TextPart | ThinkingPart | ToolCallPart:
    match part:
        case TextPart():
            return TextPart(text="", refusal=part.refusal)
        case ThinkingPart():
            return ThinkingPart(redacted=part.redacted)
        case ToolCallPart():
            return ToolCallPart(id=part.id, name=part.name, arguments="")
