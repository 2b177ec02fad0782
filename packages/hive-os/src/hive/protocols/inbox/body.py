"""What an envelope carries: a message for an agent, or the answer to one. Unknown fields are refused."""

from typing import Final, Literal, TypeVar

import msgspec

from hive.core.call import Refused
from hive.core.errors import BadInputError
from hive.core.ids import ContextId, MessageId, TaskId, foreign_id
from hive.core.json import Json, decode, depth_exceeds, encode
from hive.core.task import Message, Part, Role, Task

StructT = TypeVar("StructT", bound=msgspec.Struct)
PARTS_MAX: Final = 100
REFERENCES_MAX: Final = 100


class CallPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One part; `data` and `metadata` are JSON texts."""

    text: str | None = None
    raw: bytes | None = None
    url: str | None = None
    data: str | None = None
    media_type: str = ""
    filename: str = ""
    metadata: str = "{}"


class CallBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message for an agent."""

    id: str
    role: Literal["user", "agent"]
    parts: tuple[CallPart, ...]
    context_id: str | None = None
    task_id: str | None = None
    reference_task_ids: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    metadata: str = "{}"


class ReplyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a call: a task and its state, or why there is none."""

    call_id: str
    task: str = ""
    state: str = ""
    text: str = ""
    refused: str = ""
    reason: str = ""
    retry_after_s: float | None = None


def write_call(message: Message) -> bytes:
    """Write a message as the body of an envelope."""
    body = CallBody(
        id=message.id,
        role="user" if message.role is Role.USER else "agent",
        parts=tuple(
            CallPart(
                text=part.text,
                raw=part.raw,
                url=part.url,
                data=encode(part.data).decode() if part.has_data else None,
                media_type=part.media_type,
                filename=part.filename,
                metadata=encode(part.metadata).decode(),
            )
            for part in message.parts
        ),
        context_id=message.context_id,
        task_id=message.task_id,
        reference_task_ids=tuple(message.reference_task_ids),
        extensions=message.extensions,
        metadata=encode(message.metadata).decode(),
    )
    return msgspec.msgpack.encode(body)


def read_call(data: bytes) -> Message:
    """Read a message.

    Raises:
        BadInputError: it is not one.
        InvalidIdError: an id in it cannot be kept.

    """
    body = _decoded(data, CallBody)
    if not 0 < len(body.parts) <= PARTS_MAX or len(body.reference_task_ids) > REFERENCES_MAX:
        raise _bad("It has no part, or too many parts or references.")
    return Message(
        id=MessageId(foreign_id(body.id, what="message id")),
        role=Role(body.role),
        parts=tuple(_part(part) for part in body.parts),
        context_id=ContextId(foreign_id(body.context_id, what="context id"))
        if body.context_id
        else None,
        task_id=TaskId(foreign_id(body.task_id, what="task id")) if body.task_id else None,
        reference_task_ids=tuple(
            TaskId(foreign_id(one, what="task id")) for one in body.reference_task_ids
        ),
        extensions=body.extensions,
        metadata=_object(body.metadata),
    )


def write_reply(call_id: str, task: Task) -> bytes:
    """Write how a task stands; its text is the last thing that the agent said."""
    text = task.status_message.text if task.status_message else ""
    said = "\n".join(
        part.text for artifact in task.artifacts for part in artifact.parts if part.text
    )
    return msgspec.msgpack.encode(
        ReplyBody(call_id=call_id, task=task.id, state=task.state.value, text=text or said)
    )


def write_refusal(call_id: str, no: Refused) -> bytes:
    """Write why there is no task."""
    return msgspec.msgpack.encode(
        ReplyBody(
            call_id=call_id, refused=no.check, reason=no.reason, retry_after_s=no.retry_after_s
        )
    )


def read_reply(data: bytes) -> ReplyBody:
    """Read an answer.

    Raises:
        BadInputError: it is not one.

    """
    return _decoded(data, ReplyBody)


def _part(part: CallPart) -> Part:
    given = sum(value is not None for value in (part.text, part.raw, part.url, part.data))
    if given != 1:
        raise _bad("A part is exactly one of text, raw, url and data.")
    return Part(
        text=part.text,
        raw=part.raw,
        url=part.url,
        data=None if part.data is None else _json(part.data),
        has_data=part.data is not None,
        media_type=part.media_type,
        filename=part.filename,
        metadata=_object(part.metadata),
    )


def _object(text: str) -> dict[str, Json]:
    value = _json(text)
    if not isinstance(value, dict):
        raise _bad("Metadata is a JSON object.")
    return value


def _json(text: str) -> Json:
    data = text.encode()
    if depth_exceeds(data):
        raise _bad("Its JSON is nested too deeply.")
    try:
        return decode(data)
    except ValueError as error:
        raise _bad("It holds something that is not JSON.") from error


def _decoded(data: bytes, kind: type[StructT]) -> StructT:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad("It does not have the fields that it needs.") from error


def _bad(why: str) -> BadInputError:
    return BadInputError("The body of an envelope cannot be read.", why=why)
