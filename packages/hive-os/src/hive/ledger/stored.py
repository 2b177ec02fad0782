"""Messages, artifacts and task metadata as bytes to be sealed, and back.

Our own format: compact JSON with defaults left out. What is read was written by this module and is
authenticated by its seal, so a reader checks types and nothing more.
"""

from typing import Any, Final

import msgspec

from hive.core.errors import LedgerError
from hive.core.ids import ContextId, MessageId, TaskId
from hive.core.json import Json
from hive.core.task import Artifact, ArtifactAdded, Message, Part, Role


class _Part(msgspec.Struct, omit_defaults=True, frozen=True):
    text: str | None = None
    raw: bytes | None = None
    url: str | None = None
    data: Any = None
    has_data: bool = False
    media_type: str = ""
    filename: str = ""
    metadata: dict[str, Any] = {}


class _Message(msgspec.Struct, omit_defaults=True, frozen=True):
    id: str
    role: str
    parts: tuple[_Part, ...] = ()
    context_id: str | None = None
    task_id: str | None = None
    reference_task_ids: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}


class _Artifact(msgspec.Struct, omit_defaults=True, frozen=True):
    id: str
    parts: tuple[_Part, ...] = ()
    name: str = ""
    description: str = ""
    metadata: dict[str, Any] = {}
    append: bool = False
    last_chunk: bool = True


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_MESSAGES: Final = msgspec.json.Decoder(_Message)
_ARTIFACTS: Final = msgspec.json.Decoder(_Artifact)
_METADATA: Final = msgspec.json.Decoder(dict[str, Any])


def message_bytes(message: Message) -> bytes:
    """Write a message."""
    return _ENCODER.encode(
        _Message(
            id=message.id,
            role=message.role.value,
            parts=_parts_out(message.parts),
            context_id=message.context_id,
            task_id=message.task_id,
            reference_task_ids=tuple(message.reference_task_ids),
            extensions=message.extensions,
            metadata=message.metadata,
        )
    )


def message_of(data: bytes) -> Message:
    """Read a message.

    Raises:
        LedgerError: it is none.

    """
    try:
        stored = _MESSAGES.decode(data)
        return Message(
            id=MessageId(stored.id),
            role=Role(stored.role),
            parts=_parts_in(stored.parts),
            context_id=None if stored.context_id is None else ContextId(stored.context_id),
            task_id=None if stored.task_id is None else TaskId(stored.task_id),
            reference_task_ids=tuple(TaskId(task) for task in stored.reference_task_ids),
            extensions=stored.extensions,
            metadata=stored.metadata,
        )
    except ValueError as error:
        raise _unreadable("message") from error


def artifact_bytes(move: ArtifactAdded) -> bytes:
    """Write an artifact, or the piece of one that a move adds."""
    artifact = move.artifact
    return _ENCODER.encode(
        _Artifact(
            id=artifact.id,
            parts=_parts_out(artifact.parts),
            name=artifact.name,
            description=artifact.description,
            metadata=artifact.metadata,
            append=move.append,
            last_chunk=move.last_chunk,
        )
    )


def artifact_of(data: bytes, *, task: TaskId, context: ContextId) -> ArtifactAdded:
    """Read what `artifact_bytes` wrote.

    Raises:
        LedgerError: it is none.

    """
    try:
        stored = _ARTIFACTS.decode(data)
    except ValueError as error:
        raise _unreadable("artifact") from error
    return ArtifactAdded(
        task_id=task,
        context_id=context,
        artifact=Artifact(
            id=stored.id,
            parts=_parts_in(stored.parts),
            name=stored.name,
            description=stored.description,
            metadata=stored.metadata,
        ),
        append=stored.append,
        last_chunk=stored.last_chunk,
    )


def metadata_bytes(metadata: dict[str, Json]) -> bytes:
    """Write a task's metadata."""
    return _ENCODER.encode(metadata)


def metadata_of(data: bytes) -> dict[str, Json]:
    """Read a task's metadata.

    Raises:
        LedgerError: it is none.

    """
    try:
        return _METADATA.decode(data)
    except ValueError as error:
        raise _unreadable("metadata") from error


def _parts_out(parts: tuple[Part, ...]) -> tuple[_Part, ...]:
    return tuple(
        _Part(
            text=part.text,
            raw=part.raw,
            url=part.url,
            data=part.data,
            has_data=part.has_data,
            media_type=part.media_type,
            filename=part.filename,
            metadata=part.metadata,
        )
        for part in parts
    )


def _parts_in(parts: tuple[_Part, ...]) -> tuple[Part, ...]:
    return tuple(
        Part(
            text=part.text,
            raw=part.raw,
            url=part.url,
            data=part.data,
            has_data=part.has_data,
            media_type=part.media_type,
            filename=part.filename,
            metadata=part.metadata,
        )
        for part in parts
    )


def _unreadable(what: str) -> LedgerError:
    return LedgerError(
        f"A {what} of the ledger cannot be read.",
        why="Its form is unknown; a newer version may have written it.",
        fix="Run the version of Hive that wrote this database.",
    )
