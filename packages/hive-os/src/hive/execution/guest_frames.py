"""The frames between node and guest as values; whatever comes up is hostile until it was read here.

The guest's own half is `hive_guest.frames`, which shares no code with this one on purpose: nothing that
an agent can change has a say in what the node accepts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from hive.core.errors import GuestError, InvalidIdError, TooLargeError
from hive.core.ids import MessageId, TurnId, foreign_id, plain_text
from hive.core.json import Json, depth_exceeds, encode
from hive.core.task import Artifact, Message, Part, Role
from hive.execution.ports import Description, Turn

PROTOCOL_VERSION: Final = 1
HEADER_BYTES: Final = 4
CONTENT_MAX_BYTES: Final = 8 << 20
CONTROL_MAX_BYTES: Final = 1 << 20
DEPTH_MAX: Final = 64
PARTS_MAX: Final = 256
SKILLS_MAX: Final = 64
WORD_MAX_CHARS: Final = 256
DETAIL_MAX_CHARS: Final = 2048
ERROR_MAX_CHARS: Final = 4096
LOG_MAX_CHARS: Final = 8192
LOG_LINES_MAX: Final = 100
LEVELS: Final = frozenset({"debug", "info", "warning", "error"})
_NUL: Final = b"\\u0000"


class GuestPartWire(msgspec.Struct, frozen=True, rename="camel"):
    """A part as it comes from a guest: A2A 1.0, so unknown fields are left out, not refused."""

    text: str | msgspec.UnsetType = msgspec.UNSET
    raw: bytes | msgspec.UnsetType = msgspec.UNSET
    url: str | msgspec.UnsetType = msgspec.UNSET
    data: object = msgspec.UNSET
    media_type: str = ""
    filename: str = ""
    metadata: dict[str, object] = {}


class GuestMessageWire(msgspec.Struct, frozen=True, rename="camel"):
    """A message as it comes from a guest; who speaks is not the guest's to say."""

    parts: list[GuestPartWire]
    metadata: dict[str, object] = {}


class GuestArtifactWire(msgspec.Struct, frozen=True, rename="camel"):
    """An artifact as it comes from a guest."""

    artifact_id: str
    parts: list[GuestPartWire]
    name: str = ""
    description: str = ""
    metadata: dict[str, object] = {}


class GuestSkillWire(msgspec.Struct, frozen=True):
    """A skill as the agent's own card tells it."""

    id: str
    name: str = ""
    description: str = ""
    tags: list[str] = []
    examples: list[str] = []


class _GuestFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class HelloFrame(_GuestFrame, frozen=True, tag="hello"):
    """The agent is loaded."""

    v: int
    shape: str
    streams: bool
    detail: str = ""
    skills: list[GuestSkillWire] = []


class UnusableFrame(_GuestFrame, frozen=True, tag="unusable"):
    """The agent cannot be loaded."""

    error: str
    fix: str = ""


class ChunkFrame(_GuestFrame, frozen=True, tag="chunk"):
    """A piece of the answer."""

    turn: str
    text: str


class ArtifactFrame(_GuestFrame, frozen=True, tag="artifact"):
    """A piece of an artifact."""

    turn: str
    artifact: GuestArtifactWire
    append: bool = False
    last: bool = True


class NeedInputFrame(_GuestFrame, frozen=True, tag="need_input"):
    """The turn ended with a question."""

    turn: str
    message: GuestMessageWire


class LogFrame(_GuestFrame, frozen=True, tag="log"):
    """A line for the log."""

    turn: str
    text: str
    level: str = "info"


class DoneFrame(_GuestFrame, frozen=True, tag="done"):
    """The turn ended well."""

    turn: str
    message: GuestMessageWire | None


class FailedFrame(_GuestFrame, frozen=True, tag="failed"):
    """The turn ended badly."""

    turn: str
    error: str
    canceled: bool = False


TurnFrame: TypeAlias = (
    ChunkFrame | ArtifactFrame | NeedInputFrame | LogFrame | DoneFrame | FailedFrame
)
Frame: TypeAlias = HelloFrame | UnusableFrame | TurnFrame

_DECODER: Final = msgspec.json.Decoder(
    HelloFrame
    | UnusableFrame
    | ChunkFrame
    | ArtifactFrame
    | NeedInputFrame
    | LogFrame
    | DoneFrame
    | FailedFrame
)
_CONTENT: Final = (ArtifactFrame, NeedInputFrame, DoneFrame)


def broken(why: str) -> GuestError:
    """Make the error for a guest that does not keep to the protocol."""
    return GuestError(
        "The agent's process broke the turn protocol.",
        why=why,
        fix="See `hive logs AGENT`; a fresh sandbox is started for the next turn.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A frame of the guest; `nul` tells that a text in it holds the one character no store keeps."""

    frame: Frame
    nul: bool = False


def read_frame(data: bytes) -> Received:
    """Turn the bytes of one frame into a value.

    Raises:
        GuestError: it is no frame of this protocol, too deep, too large for its type, or not UTF-8.

    """
    if depth_exceeds(data, DEPTH_MAX):
        raise broken(f"A frame is nested deeper than {DEPTH_MAX}.")
    try:
        frame = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise broken(f"A frame is not valid: {plain_text(str(error))[:WORD_MAX_CHARS]}.") from error
    if len(data) > CONTROL_MAX_BYTES and not isinstance(frame, _CONTENT):
        raise broken(f"A control frame has {len(data)} bytes; the limit is {CONTROL_MAX_BYTES}.")
    return Received(frame=frame, nul=_NUL in data)


def write_frame(frame: Mapping[str, object]) -> bytes:
    """Write a frame for the guest."""
    data = encode(frame)
    return len(data).to_bytes(HEADER_BYTES, "big") + data


def write_turn(turn: Turn, limit_bytes: int) -> bytes:
    """Write a turn for the guest; the oldest messages of the history are left out if it is too long.

    Raises:
        TooLargeError: the message alone is over the limit.

    """
    head = {
        "type": "turn",
        "turn": turn.id,
        "task": turn.task_id,
        "context": turn.context_id,
        "message": message_json(turn.message),
        "timeout_s": turn.timeout_s,
        "traceparent": turn.traceparent,
    }
    left = limit_bytes - len(encode(head)) - len(',"history":[]')
    if left < 0:
        raise TooLargeError(
            "The message is too large for the agent.",
            why=f"A turn has at most {limit_bytes} bytes.",
            fix="Send the content as a URL, or in several messages.",
        )
    kept: list[msgspec.Raw] = []
    for message in reversed(turn.history):
        data = encode(message_json(message))
        left -= len(data) + 1
        if left < 0:
            break
        kept.append(msgspec.Raw(data))
    return write_frame({**head, "history": kept[::-1]})


def message_json(message: Message) -> dict[str, object]:
    """Write a message in the JSON of A2A 1.0."""
    said: dict[str, object] = {
        "messageId": message.id,
        "role": "ROLE_USER" if message.role is Role.USER else "ROLE_AGENT",
        "parts": [_part_json(part) for part in message.parts],
    }
    optional: dict[str, object] = {
        "contextId": message.context_id,
        "taskId": message.task_id,
        "referenceTaskIds": message.reference_task_ids,
        "extensions": message.extensions,
        "metadata": message.metadata,
    }
    return said | {name: value for name, value in optional.items() if value}


def _part_json(part: Part) -> dict[str, object]:
    said: dict[str, object] = {}
    if part.text is not None:
        said["text"] = part.text
    elif part.raw is not None:
        said["raw"] = part.raw
    elif part.url is not None:
        said["url"] = part.url
    else:
        said["data"] = part.data
    optional: dict[str, object] = {
        "mediaType": part.media_type,
        "filename": part.filename,
        "metadata": part.metadata,
    }
    return said | {name: value for name, value in optional.items() if value}


def description_of(hello: HelloFrame) -> Description:
    """Read what the guest says of its agent; it is shown to people, so nothing in it may move a cursor.

    Raises:
        GuestError: the guest speaks another version, or tells too much.

    """
    if hello.v != PROTOCOL_VERSION:
        raise broken(f"The guest speaks version {hello.v}; the node speaks {PROTOCOL_VERSION}.")
    if len(hello.skills) > SKILLS_MAX:
        raise broken(f"The agent names {len(hello.skills)} skills; the limit is {SKILLS_MAX}.")
    return Description(
        shape=clean(hello.shape, WORD_MAX_CHARS),
        streams=hello.streams,
        detail=clean(hello.detail, DETAIL_MAX_CHARS),
        skills=tuple(_skill(skill) for skill in hello.skills),
    )


def _skill(skill: GuestSkillWire) -> dict[str, Json]:
    tags: list[Json] = [clean(tag, WORD_MAX_CHARS) for tag in skill.tags[:SKILLS_MAX]]
    examples: list[Json] = [clean(text, WORD_MAX_CHARS) for text in skill.examples[:SKILLS_MAX]]
    return {
        "id": clean(skill.id, WORD_MAX_CHARS),
        "name": clean(skill.name, WORD_MAX_CHARS) or clean(skill.id, WORD_MAX_CHARS),
        "description": clean(skill.description, DETAIL_MAX_CHARS),
        "tags": tags,
        "examples": examples,
    }


def clean(text: str, limit_chars: int) -> str:
    """Make a guest's text safe to show on one line."""
    return plain_text(text[:limit_chars].replace("\n", " ").replace("\t", " "))


def log_lines(text: str) -> list[str]:
    """Split a guest's log text into lines that are safe to show; none can pretend to be another's."""
    lines = text[:LOG_MAX_CHARS].splitlines()[:LOG_LINES_MAX]
    return [plain_text(line.replace("\t", " ")) for line in lines]


def message_of(wire: GuestMessageWire, message_id: MessageId, turn: Turn, *, nul: bool) -> Message:
    """Take over a message of the agent.

    Raises:
        GuestError: a part is not exactly one content, or there are too many.

    """
    return Message(
        id=message_id,
        role=Role.AGENT,
        parts=_parts(wire.parts, nul=nul),
        context_id=turn.context_id,
        task_id=turn.task_id,
        metadata=_table(wire.metadata, nul=nul),
    )


def artifact_of(wire: GuestArtifactWire, *, nul: bool) -> Artifact:
    """Take over an artifact of the agent.

    Raises:
        GuestError: its id cannot be kept, or a part is not exactly one content.

    """
    try:
        identity = foreign_id(wire.artifact_id, what="artifact id")
    except InvalidIdError as error:
        raise broken(str(error)) from error
    return Artifact(
        id=identity,
        parts=_parts(wire.parts, nul=nul),
        name=clean(wire.name, WORD_MAX_CHARS),
        description=clean(wire.description, DETAIL_MAX_CHARS),
        metadata=_table(wire.metadata, nul=nul),
    )


def _parts(wires: list[GuestPartWire], *, nul: bool) -> tuple[Part, ...]:
    if len(wires) > PARTS_MAX:
        raise broken(f"A message has {len(wires)} parts; the limit is {PARTS_MAX}.")
    return tuple(_part(wire, nul=nul) for wire in wires)


def _part(wire: GuestPartWire, *, nul: bool) -> Part:
    unset = msgspec.UNSET
    contents = sum(one is not unset for one in (wire.text, wire.raw, wire.url, wire.data))
    if contents != 1:
        raise broken(f"A part has {contents} contents instead of one of text, raw, url, data.")
    text = None if wire.text is unset else wire.text
    return Part(
        text=text.replace("\0", "\ufffd") if nul and text is not None else text,
        raw=None if wire.raw is unset else wire.raw,
        url=None if wire.url is unset else clean(wire.url, DETAIL_MAX_CHARS),
        data=None if wire.data is unset else as_json(wire.data, nul=nul),
        has_data=wire.data is not unset,
        media_type=clean(wire.media_type, WORD_MAX_CHARS),
        filename=clean(wire.filename, WORD_MAX_CHARS),
        metadata=_table(wire.metadata, nul=nul),
    )


def _table(value: dict[str, object], *, nul: bool) -> dict[str, Json]:
    return {as_text(key, nul=nul): as_json(inner, nul=nul) for key, inner in value.items()}


def as_text(text: str, *, nul: bool) -> str:
    """Return a guest's text as it can be stored."""
    return text.replace("\0", "\ufffd") if nul else text


def as_json(value: object, *, nul: bool) -> Json:
    """Return a guest's decoded JSON as it can be stored; its depth was limited before."""
    if isinstance(value, str):
        return as_text(value, nul=nul)
    if isinstance(value, list):
        return [as_json(inner, nul=nul) for inner in value]
    if isinstance(value, dict):
        return {as_text(str(key), nul=nul): as_json(inner, nul=nul) for key, inner in value.items()}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise broken("A frame holds something that is not JSON.")


def turn_of(frame: TurnFrame) -> TurnId:
    """Return the turn that a frame says it belongs to."""
    return TurnId(frame.turn)
