"""A model call in no provider's words: what all wires can be read into and written from.

A wire reads its own JSON into these values and writes them in its own JSON; two wires meet only here. What
a value cannot hold is not dropped in silence: reading puts it into `Conversation.extras` by its field's
name, and a wire that would lose it refuses.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

import msgspec

from hive.core.json import Json
from hive.protocols.models.ports import Dialect


class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """Words. `refusal` marks those by which a model declines."""

    text: str
    refusal: bool = False


class MediaPart(msgspec.Struct, frozen=True, kw_only=True, tag="media"):
    """An image, sound or document: base64 text in `data`, or an address in `url`.

    `media_type` is `image/*` where a wire gives an address and does not tell what lies there.
    """

    media_type: str
    data: str = ""
    url: str = ""
    name: str = ""
    detail: str = ""


class ThinkingPart(msgspec.Struct, frozen=True, kw_only=True, tag="thinking"):
    """A model's reasoning; `signature` is the provider's seal, which must come back unchanged."""

    text: str = ""
    signature: str = ""
    redacted: bool = False


class ToolCallPart(msgspec.Struct, frozen=True, kw_only=True, tag="tool_call"):
    """The model asks for a tool; `arguments` is the JSON text as the model wrote it.

    `signature` is Gemini's thought signature.
    """

    id: str
    name: str
    arguments: str
    signature: str = ""


class ToolResultPart(msgspec.Struct, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool said. `name` is empty where the wire does not tell it."""

    call_id: str
    name: str = ""
    parts: tuple[TextPart | MediaPart, ...] = ()
    is_error: bool = False


Part: TypeAlias = TextPart | MediaPart | ThinkingPart | ToolCallPart | ToolResultPart


class Utterance(msgspec.Struct, frozen=True, kw_only=True):
    """One message. Tool results are spoken by the user."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may ask for; `schema` is JSON Schema."""

    name: str
    description: str = ""
    schema: dict[str, Json] = {}
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a tool must be asked for; `name` with `mode="named"`."""

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str = ""


class AnswerFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Structured output: any JSON object, or one that a schema describes."""

    kind: Literal["json", "schema"]
    name: str = ""
    description: str = ""
    schema: dict[str, Json] = {}
    strict: bool | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a request; None where the client set none."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    answers: int = 1


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """How much a model is to think: a word or a number of tokens; `enabled=False` switches it off."""

    enabled: bool = True
    effort: str = ""
    budget_tokens: int | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A whole request. System and developer text stands in `utterances`, where the client put it.

    `extras` are fields without a neutral meaning, as they came; `harmless` ones (a user's id, metadata)
    may be left out by a wire that has no place for them.
    """

    model: str
    utterances: tuple[Utterance, ...]
    stream: bool = False
    include_usage: bool = False
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    answer_format: AnswerFormat | None = None
    sampling: Sampling = Sampling()
    reasoning: Reasoning | None = None
    extras: dict[str, Json] = {}
    harmless: dict[str, Json] = {}


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider counted. `input` includes what was read from or written to its cache."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


class Finish(StrEnum):
    """Why a model stopped."""

    STOP = "stop"
    LENGTH = "length"
    TOOLS = "tools"
    FILTERED = "filtered"
    REFUSED = "refused"
    PAUSED = "paused"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    id: str
    model: str
    parts: tuple[Part, ...]
    finish: Finish = Finish.STOP
    stop_sequence: str = ""
    usage: TokenUsage | None = None
    created_s: int = 0


class ReplyBegan(msgspec.Struct, frozen=True, kw_only=True):
    """The first event of a stream."""

    id: str
    model: str
    usage: TokenUsage | None = None
    created_s: int = 0


class PartBegan(msgspec.Struct, frozen=True, kw_only=True):
    """A part opens at `index`; texts and arguments in it are empty or the first piece.

    Several parts may be open at once (tool calls asked for side by side).
    """

    index: int
    part: TextPart | ThinkingPart | ToolCallPart


class PartGrew(msgspec.Struct, frozen=True, kw_only=True):
    """More of the part at `index`: text, thinking or argument text, or a signature."""

    index: int
    text: str = ""
    signature: str = ""


class PartEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The part at `index` is whole."""

    index: int


class ReplyEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The last event of a good stream."""

    finish: Finish
    stop_sequence: str = ""
    usage: TokenUsage | None = None


class ReplyFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The provider said in the middle of the stream that it failed."""

    status: int
    message: str


ReplyEvent: TypeAlias = ReplyBegan | PartBegan | PartGrew | PartEnded | ReplyEnded | ReplyFailed


class EventReader(Protocol):
    """Reads a provider's stream; bounded, and fed in pieces of any size."""

    def feed(self, chunk: bytes) -> Iterable[ReplyEvent]:
        """Take bytes; return what they complete.

        Raises:
            BadInputError: this is no stream of the wire.

        """
        ...

    def close(self) -> Iterable[ReplyEvent]:
        """Return what was left; `ReplyFailed` where the stream broke off before its end."""
        ...


class EventWriter(Protocol):
    """Writes one stream in a wire's own events."""

    def write(self, event: ReplyEvent) -> bytes:
        """Return the bytes of an event, empty where the wire has none for it."""
        ...


class Wire(Protocol):
    """One dialect, both ways. Every method is pure."""

    dialect: Dialect

    def read_request(
        self, document: Mapping[str, Json], *, model: str, stream: bool
    ) -> Conversation:
        """Read a client's body.

        Raises:
            BadInputError: it is not what the wire says; the message names the field.

        """
        ...

    def write_request(self, conversation: Conversation) -> dict[str, Json]:
        """Write a body for a provider of this wire.

        Raises:
            UntranslatableError: the wire has no words for something that changes the answer.

        """
        ...

    def read_reply(self, document: Mapping[str, Json]) -> Reply:
        """Read a provider's whole answer.

        Raises:
            BadInputError: it is not what the wire says.

        """
        ...

    def write_reply(self, reply: Reply, conversation: Conversation) -> dict[str, Json]:
        """Write a whole answer for the client that asked `conversation`."""
        ...

    def event_reader(self) -> EventReader:
        """Return a reader for one stream of a provider."""
        ...

    def event_writer(self, conversation: Conversation) -> EventWriter:
        """Return a writer of one stream for the client that asked `conversation`."""
        ...

    def error_message(self, document: Mapping[str, Json]) -> str:
        """Return the words of a provider's error document, empty where it has none."""
        ...
