"""Messages, artifacts and tasks as values, in the words of A2A 1.0; a door converts its bytes to these.

`MOVES` is the whole state machine: a task moves along it or not at all.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Final, TypeAlias

from hive.core.errors import StateError
from hive.core.ids import AgentId, CallId, ContextId, MessageId, OwnerId, TaskId
from hive.core.json import Json


class TaskState(StrEnum):
    """Where a task stands (A2A 1.0, 4.1.3)."""

    SUBMITTED = "submitted"
    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    AUTH_REQUIRED = "auth_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"

    @property
    def terminal(self) -> bool:
        """Tell whether the task has ended for good."""
        return self in _TERMINAL

    @property
    def interrupted(self) -> bool:
        """Tell whether the task waits for its client."""
        return self in (TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED)


_TERMINAL: Final = frozenset(
    {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED}
)
_ENDS: Final = _TERMINAL
_OPEN: Final = frozenset({TaskState.WORKING, TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED})
MOVES: Final[dict[TaskState, frozenset[TaskState]]] = {
    TaskState.SUBMITTED: _OPEN | _ENDS,
    TaskState.WORKING: _OPEN | _ENDS,
    TaskState.INPUT_REQUIRED: _OPEN | _ENDS | {TaskState.SUBMITTED},
    TaskState.AUTH_REQUIRED: _OPEN | _ENDS | {TaskState.SUBMITTED},
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELED: frozenset(),
    TaskState.REJECTED: frozenset(),
}


def check_move(before: TaskState, after: TaskState) -> None:
    """Let a legal move pass.

    Raises:
        StateError: the state machine has no such move.

    """
    if after not in MOVES[before]:
        raise StateError(
            f"A task that is {before.value} cannot become {after.value}.",
            why="It has ended." if before.terminal else "The task states have no such move.",
            fix="Send a new message without the task's id.",
        )


class Role(StrEnum):
    """Who speaks (A2A 1.0, 4.1.5)."""

    USER = "user"
    AGENT = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of content: exactly one of text, raw bytes, URL or data (A2A 1.0, 4.1.6)."""

    text: str | None = None
    raw: bytes | None = None
    url: str | None = None
    data: Json = None
    has_data: bool = False
    media_type: str = ""
    filename: str = ""
    metadata: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation: a role and parts."""

    id: MessageId
    role: Role
    parts: tuple[Part, ...]
    context_id: ContextId | None = None
    task_id: TaskId | None = None
    reference_task_ids: tuple[TaskId, ...] = ()
    extensions: tuple[str, ...] = ()
    metadata: dict[str, Json] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the text parts joined by new lines."""
        return "\n".join(part.text for part in self.parts if part.text is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a task produced."""

    id: str
    parts: tuple[Part, ...]
    name: str = ""
    description: str = ""
    metadata: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A unit of work that an agent accepted; `status_message` says more about its state."""

    id: TaskId
    context_id: ContextId
    agent: AgentId
    owner: OwnerId
    caller: str
    call: CallId
    state: TaskState
    created_at: datetime
    updated_at: datetime
    status_message: Message | None = None
    history: tuple[Message, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    metadata: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged:
    """A task moved to another state."""

    task_id: TaskId
    context_id: ContextId
    state: TaskState
    at: datetime
    message: Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactAdded:
    """A task produced (a piece of) an artifact; `append` adds to the one with the same id."""

    task_id: TaskId
    context_id: ContextId
    artifact: Artifact
    append: bool = False
    last_chunk: bool = True


TaskEvent: TypeAlias = Task | StatusChanged | ArtifactAdded
"""What a stream of a task carries; the first one is always the whole `Task`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded:
    """A message joined the task's history."""

    task_id: TaskId
    context_id: ContextId
    message: Message


TaskMove: TypeAlias = Task | StatusChanged | ArtifactAdded | MessageAdded
"""What the ledger's projection of tasks is made of, in the order of its entries."""


def moved(task: Task, move: TaskMove, at: datetime) -> Task:
    """Return the task as it stands after a move.

    Raises:
        StateError: the state machine has no such move.

    """
    match move:
        case Task():
            return move
        case StatusChanged():
            if move.state is not task.state:
                check_move(task.state, move.state)
            return replace(task, state=move.state, status_message=move.message, updated_at=move.at)
        case MessageAdded():
            return replace(task, history=(*task.history, move.message), updated_at=at)
        case ArtifactAdded():
            return replace(task, artifacts=_with_artifact(task.artifacts, move), updated_at=at)


def _with_artifact(artifacts: tuple[Artifact, ...], move: ArtifactAdded) -> tuple[Artifact, ...]:
    others = tuple(one for one in artifacts if one.id != move.artifact.id)
    before = next((one for one in artifacts if one.id == move.artifact.id), None)
    if before is None:
        return (*artifacts, move.artifact)
    if not move.append:
        return (*others, move.artifact)
    joined = replace(before, parts=joined_parts(before.parts + move.artifact.parts))
    return tuple(joined if one.id == joined.id else one for one in artifacts)


def joined_parts(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Join neighbouring plain text parts, so that a streamed answer reads as one."""
    joined: list[Part] = []
    for plain, run in groupby(parts, _plain):
        group = list(run)
        if plain and len(group) > 1:
            joined.append(replace(group[0], text="".join(part.text or "" for part in group)))
        else:
            joined += group
    return tuple(joined)


def _plain(part: Part) -> bool:
    return part.text is not None and not (part.media_type or part.filename or part.metadata)
