"""Puts a stream's events together to a whole answer, and takes a whole answer apart into events."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from hive.core.errors import BadInputError, EngineUnavailableError, TooLargeError
from hive.protocols.models.conversation import (
    MediaPart,
    Part,
    PartBegan,
    PartEnded,
    PartGrew,
    Reply,
    ReplyBegan,
    ReplyEnded,
    ReplyEvent,
    ReplyFailed,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

PARTS_MAX: Final = 4096
REPLY_MAX_CHARS: Final = 32 << 20


class Assembly:
    """A whole answer in the making, bounded in parts and characters."""

    def __init__(self) -> None:
        self._began: ReplyBegan | None = None
        self._ended: ReplyEnded | None = None
        self._first: dict[int, TextPart | ThinkingPart | ToolCallPart] = {}
        self._texts: dict[int, list[str]] = {}
        self._signatures: dict[int, list[str]] = {}
        self._chars = 0

    def take(self, event: ReplyEvent) -> None:
        """Add an event.

        Raises:
            BadInputError: it fits no part that began.
            TooLargeError: the answer is over its bound.
            EngineUnavailableError: the provider said that it failed.

        """
        match event:
            case ReplyBegan():
                self._began = event
            case PartBegan(index=index, part=part):
                if len(self._first) >= PARTS_MAX:
                    raise _too_large(f"It has more than {PARTS_MAX} parts.")
                self._first[index] = part
            case PartGrew(index=index):
                self._grow(event)
            case ReplyEnded():
                self._ended = event
            case ReplyFailed(message=message):
                raise EngineUnavailableError("The model provider broke off.", why=message[:500])
            case PartEnded():
                pass

    def _grow(self, event: PartGrew) -> None:
        if event.index not in self._first:
            raise BadInputError(
                "The model provider's stream cannot be read.", why="A part grew before it began."
            )
        self._chars += len(event.text) + len(event.signature)
        if self._chars > REPLY_MAX_CHARS:
            raise _too_large(f"It has more than {REPLY_MAX_CHARS} characters.")
        self._texts.setdefault(event.index, []).append(event.text)
        self._signatures.setdefault(event.index, []).append(event.signature)

    def reply(self) -> Reply:
        """Return the whole answer.

        Raises:
            BadInputError: the stream had no beginning or no end.

        """
        if self._began is None or self._ended is None:
            raise BadInputError(
                "The model provider's stream cannot be read.", why="It ended before its end."
            )
        return Reply(
            id=self._began.id,
            model=self._began.model,
            parts=tuple(self._part(index) for index in sorted(self._first)),
            finish=self._ended.finish,
            stop_sequence=self._ended.stop_sequence,
            usage=self._ended.usage or self._began.usage,
            created_s=self._began.created_s,
        )

    def _part(self, index: int) -> Part:
        part = self._first[index]
        text = "".join(self._texts.get(index, ()))
        signature = part.signature if not isinstance(part, TextPart) else ""
        signature += "".join(self._signatures.get(index, ()))
        match part:
            case TextPart():
                return msgspec.structs.replace(part, text=part.text + text)
            case ThinkingPart():
                return msgspec.structs.replace(part, text=part.text + text, signature=signature)
            case ToolCallPart():
                return msgspec.structs.replace(
                    part, arguments=part.arguments + text, signature=signature
                )


def assembled(events: Iterable[ReplyEvent]) -> Reply:
    """Put all events of a stream together.

    Raises:
        BadInputError: they are no whole stream.
        EngineUnavailableError: the provider said that it failed.

    """
    assembly = Assembly()
    for event in events:
        assembly.take(event)
    return assembly.reply()


def events_of(reply: Reply) -> Iterator[ReplyEvent]:
    """Yield a whole answer as the events of a stream.

    Raises:
        BadInputError: it holds media, which no stream of ours carries.

    """
    yield ReplyBegan(id=reply.id, model=reply.model, usage=reply.usage, created_s=reply.created_s)
    for index, part in enumerate(reply.parts):
        match part:
            case TextPart():
                yield PartBegan(index=index, part=msgspec.structs.replace(part, text=""))
                yield PartGrew(index=index, text=part.text)
            case ThinkingPart(redacted=True):
                yield PartBegan(index=index, part=part)
            case ThinkingPart():
                yield PartBegan(index=index, part=ThinkingPart())
                yield PartGrew(index=index, text=part.text)
                if part.signature:
                    yield PartGrew(index=index, signature=part.signature)
            case ToolCallPart():
                yield PartBegan(index=index, part=msgspec.structs.replace(part, arguments=""))
                yield PartGrew(index=index, text=part.arguments)
            case MediaPart() | ToolResultPart():
                raise BadInputError(
                    "The model's answer cannot be streamed.", why="It holds an image or a sound."
                )
        yield PartEnded(index=index)
    yield ReplyEnded(finish=reply.finish, stop_sequence=reply.stop_sequence, usage=reply.usage)


def _too_large(why: str) -> TooLargeError:
    return TooLargeError(
        "The model provider's answer is too large.", why=why, fix="Ask for a shorter answer."
    )
