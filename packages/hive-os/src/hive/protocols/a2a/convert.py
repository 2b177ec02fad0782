"""The standard's types end here: `to_message` makes a value of what came, the others write what goes.

Whoever holds a value made here need not look at the wire again: ids are safe as subjects and file
names, a part holds exactly one content, nothing is empty that must not be. Import this module lazily:
the standard's generated types cost more than the rest of the door.
"""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, cast

from a2a.types import a2a_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from hive.core.ids import ContextId, MessageId, TaskId
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
from hive.protocols.a2a.admit import to_id
from hive.protocols.a2a.push import WireAuthentication, WirePushConfig
from hive_a2a.faults import invalid
from hive_a2a.wire.calls import event_json
from hive_a2a.wire.proto_out import to_json

PARTS_MAX: Final = 256
REFERENCES_MAX: Final = 64
STATES: Final = {state: a2a_pb2.TaskState.Value(f"TASK_STATE_{state.name}") for state in TaskState}
STATE_NUMBERED: Final = {number: state for state, number in STATES.items()}
_ROLES: Final = {a2a_pb2.ROLE_USER: Role.USER, a2a_pb2.ROLE_AGENT: Role.AGENT}
_ROLE_NUMBERS: Final = {role: number for number, role in _ROLES.items()}
SdkEvent = (
    a2a_pb2.Task | a2a_pb2.Message | a2a_pb2.TaskStatusUpdateEvent | a2a_pb2.TaskArtifactUpdateEvent
)


def to_message(wire: a2a_pb2.Message) -> Message:
    """Make the frozen message of what a client sent.

    Raises:
        WireFault: an id, the role, the number of parts or a part is not what the standard wants.

    """
    if not 0 < len(wire.parts) <= PARTS_MAX:
        raise invalid(f"A message has 1 to {PARTS_MAX} parts.")
    if len(wire.reference_task_ids) > REFERENCES_MAX:
        raise invalid(f"A message refers to at most {REFERENCES_MAX} tasks.")
    role = _ROLES.get(wire.role)
    if role is None:
        raise invalid("A message has the role ROLE_USER or ROLE_AGENT.")
    return Message(
        id=MessageId(to_id(wire.message_id, "message id")),
        role=role,
        parts=tuple(map(_to_part, wire.parts)),
        context_id=ContextId(to_id(wire.context_id, "context id")) if wire.context_id else None,
        task_id=TaskId(to_id(wire.task_id, "task id")) if wire.task_id else None,
        reference_task_ids=tuple(TaskId(to_id(one, "task id")) for one in wire.reference_task_ids),
        extensions=tuple(wire.extensions),
        metadata=to_json(wire.metadata) if wire.HasField("metadata") else {},
    )


def identity_of(message: Message) -> bytes:
    """Return the canonical bytes of what is asked, without the message id that changes on a retry."""
    return encode(
        {
            "context": message.context_id,
            "task": message.task_id,
            "parts": [_identity(part) for part in message.parts],
            "metadata": message.metadata,
        }
    )


def _to_part(wire: a2a_pb2.Part) -> Part:
    kind = wire.WhichOneof("content")
    if kind is None:
        raise invalid("A part has exactly one of text, raw, url and data.")
    return Part(
        text=wire.text if kind == "text" else None,
        raw=wire.raw if kind == "raw" else None,
        url=wire.url if kind == "url" else None,
        data=to_json(wire.data) if kind == "data" else None,
        has_data=kind == "data",
        media_type=wire.media_type,
        filename=wire.filename,
        metadata=to_json(wire.metadata) if wire.HasField("metadata") else {},
    )


def from_task(
    task: Task, *, history_length: int | None = None, artifacts: bool = True
) -> a2a_pb2.Task:
    """Write a task; `history_length` 0 means no history, None all of it."""
    history = task.history
    if history_length is not None:
        history = history[-history_length:] if history_length else ()
    wire = a2a_pb2.Task(
        id=task.id,
        context_id=task.context_id,
        status=_status(task.state, task.updated_at, task.status_message),
        history=map(from_message, history),
        artifacts=map(_from_artifact, task.artifacts) if artifacts else (),
    )
    if task.metadata:
        wire.metadata.CopyFrom(_struct(task.metadata))
    return wire


def from_event(event: TaskEvent | Message, *, history_length: int | None = None) -> SdkEvent:
    """Write one event of a stream."""
    match event:
        case Message():
            return from_message(event)
        case Task():
            return from_task(event, history_length=history_length)
        case StatusChanged():
            return a2a_pb2.TaskStatusUpdateEvent(
                task_id=event.task_id,
                context_id=event.context_id,
                status=_status(event.state, event.at, event.message),
            )
        case ArtifactAdded():
            return a2a_pb2.TaskArtifactUpdateEvent(
                task_id=event.task_id,
                context_id=event.context_id,
                artifact=_from_artifact(event.artifact),
                append=event.append,
                last_chunk=event.last_chunk,
            )


def from_message(message: Message) -> a2a_pb2.Message:
    """Write a message."""
    wire = a2a_pb2.Message(
        message_id=message.id,
        role=_ROLE_NUMBERS[message.role],
        parts=_from_parts(message.parts),
        context_id=message.context_id or "",
        task_id=message.task_id or "",
        extensions=message.extensions,
        reference_task_ids=message.reference_task_ids,
    )
    if message.metadata:
        wire.metadata.CopyFrom(_struct(message.metadata))
    return wire


def to_moment(wire: Timestamp) -> datetime:
    """Read a moment, in UTC."""
    return wire.ToDatetime(tzinfo=UTC)


def _status(state: TaskState, at: datetime, message: Message | None) -> a2a_pb2.TaskStatus:
    moment = Timestamp()
    # The standard's moments have milliseconds (1.0, 5.6.1).
    moment.FromDatetime(at.replace(microsecond=at.microsecond // 1000 * 1000))
    return a2a_pb2.TaskStatus(
        state=cast("a2a_pb2.TaskState", STATES[state]),
        timestamp=moment,
        message=from_message(message) if message is not None else None,
    )


def _from_artifact(artifact: Artifact) -> a2a_pb2.Artifact:
    wire = a2a_pb2.Artifact(
        artifact_id=artifact.id,
        parts=_from_parts(artifact.parts),
        name=artifact.name,
        description=artifact.description,
    )
    if artifact.metadata:
        wire.metadata.CopyFrom(_struct(artifact.metadata))
    return wire


def _from_parts(parts: Iterable[Part]) -> list[a2a_pb2.Part]:
    return [_from_part(part) for part in parts]


def _from_part(part: Part) -> a2a_pb2.Part:
    wire = a2a_pb2.Part(media_type=part.media_type, filename=part.filename)
    if part.text is not None:
        wire.text = part.text
    elif part.raw is not None:
        wire.raw = part.raw
    elif part.url is not None:
        wire.url = part.url
    else:
        wire.data.CopyFrom(ParseDict(cast("dict[str, Json]", part.data), Value()))
    if part.metadata:
        wire.metadata.CopyFrom(_struct(part.metadata))
    return wire


def _identity(part: Part) -> dict[str, Json]:
    said: dict[str, Json] = {}
    if part.text is not None:
        said["text"] = part.text
    elif part.raw is not None:
        said["raw"] = base64.b64encode(part.raw).decode("ascii")
    elif part.url is not None:
        said["url"] = part.url
    else:
        said["data"] = part.data
    if part.media_type:
        said["mediaType"] = part.media_type
    if part.filename:
        said["filename"] = part.filename
    if part.metadata:
        said["metadata"] = part.metadata
    return said


def _struct(members: dict[str, Json]) -> Struct:
    struct = Struct()
    struct.update(members)
    return struct


def to_push(wire: a2a_pb2.TaskPushNotificationConfig) -> WirePushConfig:
    """Read where a client wants to hear of a task."""
    secret = wire.authentication
    return WirePushConfig(
        url=wire.url,
        id=wire.id,
        task_id=wire.task_id,
        token=wire.token,
        tenant=wire.tenant,
        authentication=WireAuthentication(scheme=secret.scheme, credentials=secret.credentials)
        if wire.HasField("authentication")
        else None,
    )


def from_push(config: WirePushConfig) -> a2a_pb2.TaskPushNotificationConfig:
    """Write where a client wants to hear of a task."""
    wire = a2a_pb2.TaskPushNotificationConfig(
        url=config.url,
        id=config.id,
        task_id=config.task_id,
        token=config.token,
        tenant=config.tenant,
    )
    if config.authentication is not None:
        wire.authentication.scheme = config.authentication.scheme
        wire.authentication.credentials = config.authentication.credentials
    return wire


def notification(event: TaskEvent) -> dict[str, Json]:
    """Write an event as the StreamResponse that a push notification carries."""
    return event_json(from_event(event))
