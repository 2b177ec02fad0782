"""The standard's types end here: `to_message` makes a value of what came, the others write what goes.

Whoever holds a value made here need not look at the wire again: ids are safe as subjects and file
names, a part holds exactly one content, nothing is empty that must not be.
"""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from hive.core.errors import InvalidIdError
from hive.core.ids import ContextId, MessageId, TaskId, foreign_id
from hive.core.json import Json, encode
from hive.core.task import (
    Artifact,
    ArtifactAdded,
    Message,
    Part,
    Role,
    StatusChanged,
    Task,
    TaskEvent,
    TaskState,
)
from hive.protocols.a2a.wire import WireMessage, WirePart
from hive_a2a.faults import invalid

PARTS_MAX: Final = 256
REFERENCES_MAX: Final = 64
STATES: Final = {state: f"TASK_STATE_{state.name}" for state in TaskState}
STATE_NAMED: Final = {name: state for state, name in STATES.items()}
_ROLES: Final = {"ROLE_USER": Role.USER, "ROLE_AGENT": Role.AGENT}
_ROLE_NAMES: Final = {role: name for name, role in _ROLES.items()}


def to_message(wire: WireMessage) -> Message:
    """Make the frozen message of what a client sent.

    Raises:
        WireFault: an id, the number of parts or a part is not what the standard wants.

    """
    if not 0 < len(wire.parts) <= PARTS_MAX:
        raise invalid(f"A message has 1 to {PARTS_MAX} parts.")
    references = wire.reference_task_ids or []
    if len(references) > REFERENCES_MAX:
        raise invalid(f"A message refers to at most {REFERENCES_MAX} tasks.")
    return Message(
        id=MessageId(to_id(wire.message_id, "message id")),
        role=_ROLES[wire.role],
        parts=tuple(map(_to_part, wire.parts)),
        context_id=ContextId(to_id(wire.context_id, "context id")) if wire.context_id else None,
        task_id=TaskId(to_id(wire.task_id, "task id")) if wire.task_id else None,
        reference_task_ids=tuple(TaskId(to_id(one, "task id")) for one in references),
        extensions=tuple(wire.extensions or ()),
        metadata=wire.metadata or {},
    )


def to_id(text: str, what: str) -> str:
    """Accept a stranger's id.

    Raises:
        WireFault: it is empty or too long, or holds a wildcard, separator or control character.

    """
    try:
        return foreign_id(text, what=what)
    except InvalidIdError as error:
        raise invalid(str(error)) from None


def identity_of(message: Message) -> bytes:
    """Return the canonical bytes of what is asked, without the message id that changes on a retry."""
    return encode(
        {
            "context": message.context_id,
            "task": message.task_id,
            "parts": [_from_part(part) for part in message.parts],
            "metadata": message.metadata,
        }
    )


def _to_part(wire: WirePart) -> Part:
    given = sum(one is not msgspec.UNSET for one in (wire.text, wire.raw, wire.url, wire.data))
    if given != 1:
        raise invalid("A part has exactly one of text, raw, url and data.")
    return Part(
        text=None if wire.text is msgspec.UNSET else wire.text,
        raw=None if wire.raw is msgspec.UNSET else wire.raw,
        url=None if wire.url is msgspec.UNSET else wire.url,
        data=None if wire.data is msgspec.UNSET else wire.data,
        has_data=wire.data is not msgspec.UNSET,
        media_type=wire.media_type or "",
        filename=wire.filename or "",
        metadata=wire.metadata or {},
    )


def from_task(
    task: Task, *, history_length: int | None = None, artifacts: bool = True
) -> dict[str, Json]:
    """Write a task; `history_length` 0 means no history, None all of it."""
    wire: dict[str, Json] = {
        "id": task.id,
        "contextId": task.context_id,
        "status": _status(task.state, task.updated_at, task.status_message),
    }
    history = task.history
    if history_length is not None:
        history = history[-history_length:] if history_length else ()
    if history:
        wire["history"] = [from_message(message) for message in history]
    if artifacts and task.artifacts:
        wire["artifacts"] = [_from_artifact(artifact) for artifact in task.artifacts]
    if task.metadata:
        wire["metadata"] = task.metadata
    return wire


def from_event(event: TaskEvent | Message, *, history_length: int | None = None) -> dict[str, Json]:
    """Write one event as the standard's StreamResponse; of a task or message, its SendMessageResponse."""
    match event:
        case Message():
            return {"message": from_message(event)}
        case Task():
            return {"task": from_task(event, history_length=history_length)}
        case StatusChanged():
            return {
                "statusUpdate": {
                    "taskId": event.task_id,
                    "contextId": event.context_id,
                    "status": _status(event.state, event.at, event.message),
                }
            }
        case ArtifactAdded():
            update: dict[str, Json] = {
                "taskId": event.task_id,
                "contextId": event.context_id,
                "artifact": _from_artifact(event.artifact),
            }
            if event.append:
                update["append"] = True
            if event.last_chunk:
                update["lastChunk"] = True
            return {"artifactUpdate": update}


def from_message(message: Message) -> dict[str, Json]:
    """Write a message."""
    wire: dict[str, Json] = {
        "messageId": message.id,
        "role": _ROLE_NAMES[message.role],
        "parts": _from_parts(message.parts),
    }
    if message.context_id:
        wire["contextId"] = message.context_id
    if message.task_id:
        wire["taskId"] = message.task_id
    if message.metadata:
        wire["metadata"] = message.metadata
    if message.extensions:
        wire["extensions"] = list(message.extensions)
    if message.reference_task_ids:
        wire["referenceTaskIds"] = list(message.reference_task_ids)
    return wire


def timestamp(at: datetime) -> str:
    """Write a moment as ProtoJSON does: UTC, milliseconds, `Z`."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return moment.removesuffix("+00:00") + "Z"


def _status(state: TaskState, at: datetime, message: Message | None) -> dict[str, Json]:
    status: dict[str, Json] = {"state": STATES[state], "timestamp": timestamp(at)}
    if message is not None:
        status["message"] = from_message(message)
    return status


def _from_artifact(artifact: Artifact) -> dict[str, Json]:
    wire: dict[str, Json] = {"artifactId": artifact.id, "parts": _from_parts(artifact.parts)}
    if artifact.name:
        wire["name"] = artifact.name
    if artifact.description:
        wire["description"] = artifact.description
    if artifact.metadata:
        wire["metadata"] = artifact.metadata
    return wire


def _from_parts(parts: Iterable[Part]) -> list[Json]:
    return [_from_part(part) for part in parts]


def _from_part(part: Part) -> dict[str, Json]:
    wire: dict[str, Json] = {}
    if part.text is not None:
        wire["text"] = part.text
    elif part.raw is not None:
        wire["raw"] = base64.b64encode(part.raw).decode("ascii")
    elif part.url is not None:
        wire["url"] = part.url
    else:
        wire["data"] = part.data
    if part.media_type:
        wire["mediaType"] = part.media_type
    if part.filename:
        wire["filename"] = part.filename
    if part.metadata:
        wire["metadata"] = part.metadata
    return wire
