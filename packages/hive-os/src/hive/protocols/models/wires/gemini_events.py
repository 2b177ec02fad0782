"""Reads and writes streams of the Gemini wire: every event is an answer's next piece."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from hive.core.errors import BadInputError, EngineUnavailableError, TooLargeError
from hive.core.json import Json, decode
from hive.protocols.models.conversation import (
    Conversation,
    Finish,
    Part,
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
from hive.protocols.models.gemini_names import camel_case
from hive.protocols.models.ports import Dialect
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.usage import usage_of
from hive.protocols.models.wires.assembly import REPLY_MAX_CHARS
from hive.protocols.models.wires.fields import Fields, compact
from hive.protocols.models.wires.gemini_parts import (
    CallNames,
    read_part,
    shown_call,
    shown_thought,
)
from hive.protocols.models.wires.gemini_replies import chunk, finish_of_gemini
from hive.protocols.models.wires.seals import REDACTED_MARK
from hive.protocols.models.wires.sse import SseReader, sse_event

# Google's client cuts its stream into lines as Python cuts text, also at these three letters.
_LINE_ENDS: Final = (
    (b"\xc2\x85", rb"\u0085"),
    (b"\xe2\x80\xa8", rb"\u2028"),
    (b"\xe2\x80\xa9", rb"\u2029"),
)
BROKEN_STATUS: Final = 502
BROKEN_OFF: Final = "The model provider's stream broke off before its end."


class GeminiEventReader:
    """Read one stream: fed in pieces of any size."""

    def __init__(self) -> None:
        self._sse = SseReader()
        self._names = CallNames()
        self._began = False
        self._over = False
        self._called = False
        self._open: TextPart | ThinkingPart | None = None
        self._index = -1
        self._finish: Finish | None = None
        self._usage: TokenUsage | None = None
        self._id = ""

    def feed(self, data: bytes) -> Iterable[ReplyEvent]:
        """Take bytes; return what they complete.

        Raises:
            BadInputError: this is no stream of the wire.

        """
        return [found for event in self._sse.feed(data) for found in self._read(event.data)]

    def close(self) -> Iterable[ReplyEvent]:
        """Return what was left and the end; a failure where the stream broke off."""
        left: list[ReplyEvent] = []
        # What a break cut off is no event, and no fault of the wire.
        with suppress(BadInputError):
            for event in self._sse.flush():
                left.extend(self._read(event.data))
        if self._over:
            return left
        self._over = True
        if self._finish is None:
            return [*left, ReplyFailed(status=BROKEN_STATUS, message=BROKEN_OFF)]
        return [*left, *self._end_part(), ReplyEnded(finish=self._finish, usage=self._usage)]

    def _read(self, data: str) -> Iterator[ReplyEvent]:
        if self._over:
            return
        try:
            document = decode(data)
            fields = Fields(camel_case(document)) if isinstance(document, dict) else None
        except ValueError as error:
            raise _unreadable("An event is no JSON.") from error
        if fields is None:
            raise _unreadable("An event is no object.")
        if fields.has("error"):
            self._over = True
            yield _failure(Fields.of(fields.raw("error"), "error"))
            return
        if not self._began:
            self._began = True
            self._id = fields.text("responseId")
            yield ReplyBegan(id=self._id, model=fields.text("modelVersion"))
        for candidate in fields.objects("candidates"):
            if candidate.whole("index"):
                raise _unreadable("It holds several answers.")
            content = candidate.inner("content") or Fields({}, "content")
            for part in content.objects("parts"):
                for read in read_part(part, self._names, self._id):
                    yield from self._take(read)
        yield from self._look_for_end(fields)

    def _look_for_end(self, fields: Fields) -> Iterator[ReplyEvent]:
        usage = fields.raw("usageMetadata")
        if isinstance(usage, dict):
            self._usage = usage_of(usage) or self._usage
        blocked = fields.inner("promptFeedback")
        ended = any(one.has("finishReason") for one in fields.objects("candidates"))
        if not ended and (blocked is None or not blocked.has("blockReason")):
            return
        try:
            self._finish = finish_of_gemini(fields, called=self._called)
        except EngineUnavailableError as error:
            self._over = True
            yield ReplyFailed(status=BROKEN_STATUS, message=str(error))

    def _take(self, part: Part) -> Iterator[ReplyEvent]:
        match part:
            case ToolCallPart():
                self._called = True
                yield from self._end_part()
                self._index += 1
                opened = ToolCallPart(
                    id=part.id, name=part.name, arguments="", signature=part.signature
                )
                yield PartBegan(index=self._index, part=opened)
                yield PartGrew(index=self._index, text=part.arguments)
                yield PartEnded(index=self._index)
            case TextPart() | ThinkingPart():
                if type(self._open) is not type(part):
                    yield from self._end_part()
                    self._open = TextPart(text="") if isinstance(part, TextPart) else ThinkingPart()
                    self._index += 1
                    yield PartBegan(index=self._index, part=self._open)
                signature = part.signature if isinstance(part, ThinkingPart) else ""
                yield PartGrew(index=self._index, text=part.text, signature=signature)
                if signature:
                    yield from self._end_part()
            case _:
                raise _unreadable("It holds an image or a sound.")

    def _end_part(self) -> Iterator[ReplyEvent]:
        if self._open is not None:
            self._open = None
            yield PartEnded(index=self._index)


def _failure(error: Fields) -> ReplyFailed:
    code, message = error.raw("code"), error.raw("message")
    return ReplyFailed(
        status=code if isinstance(code, int) and 400 <= code < 600 else BROKEN_STATUS,
        message=message if isinstance(message, str) else error.text("status"),
    )


def _unreadable(why: str) -> BadInputError:
    return BadInputError("The model provider's stream cannot be read.", why=why)


class _Spoken:
    """A part that has begun, and what of it was held back: a call is shown only when it is whole."""

    def __init__(self, part: TextPart | ThinkingPart | ToolCallPart) -> None:
        self.part: Final = part
        self.texts: list[str] = []
        self.signature = "" if isinstance(part, TextPart) else part.signature
        if isinstance(part, ThinkingPart) and part.redacted:
            self.signature = REDACTED_MARK + self.signature
        self.ended = False


class GeminiEventWriter:
    """Write one stream for the client that asked `conversation`."""

    def __init__(self, conversation: Conversation) -> None:
        self._began = ReplyBegan(id="", model=conversation.model)
        self._parts: dict[int, _Spoken] = {}
        self._held_chars = 0

    def write(self, event: ReplyEvent) -> bytes:
        """Return the bytes of an event, empty where the wire has none for it.

        Raises:
            TooLargeError: a call is over its bound.

        """
        match event:
            case ReplyBegan():
                self._began = event
                return b""
            case PartBegan(index=index, part=part):
                spoken = self._parts[index] = _Spoken(part)
                first = part.arguments if isinstance(part, ToolCallPart) else part.text
                return self._say(spoken, first)
            case PartGrew(index=index, text=text, signature=signature):
                spoken = self._parts[index]
                spoken.signature += signature
                return self._say(spoken, text)
            case PartEnded(index=index):
                return self._end_part(self._parts[index])
            case ReplyEnded():
                rest = b"".join(self._end_part(spoken) for spoken in self._parts.values())
                usage = event.usage or self._began.usage
                # Google's client takes a piece without parts for a broken answer.
                return rest + self._piece([{"text": ""}], finish=event.finish, usage=usage)
            case ReplyFailed(status=status, message=message):
                error = ModelError(status=status, code="hive.upstream", message=message)
                return error.event(Dialect.GEMINI)

    def _piece(
        self, parts: list[Json], *, finish: Finish | None = None, usage: TokenUsage | None = None
    ) -> bytes:
        began = self._began
        data = compact(
            chunk(reply_id=began.id, model=began.model, parts=parts, finish=finish, usage=usage)
        )
        for letter, escape in _LINE_ENDS:
            data = data.replace(letter, escape)
        return sse_event(data)

    def _say(self, spoken: _Spoken, text: str) -> bytes:
        if not text:
            return b""
        match spoken.part:
            case TextPart():
                return self._piece([{"text": text}])
            case ThinkingPart():
                return self._piece([shown_thought(text, "")])
            case ToolCallPart():
                self._held_chars += len(text)
                if self._held_chars > REPLY_MAX_CHARS:
                    raise TooLargeError(
                        "The model provider's answer is too large.", fix="Ask for a shorter answer."
                    )
                spoken.texts.append(text)
                return b""

    def _end_part(self, spoken: _Spoken) -> bytes:
        if spoken.ended:
            return b""
        spoken.ended = True
        match spoken.part:
            case ToolCallPart() as call:
                whole = ToolCallPart(
                    id=call.id,
                    name=call.name,
                    arguments="".join(spoken.texts),
                    signature=spoken.signature,
                )
                return self._piece([shown_call(whole)])
            case ThinkingPart() if spoken.signature:
                return self._piece([shown_thought("", spoken.signature)])
            case _:
                return b""
