"""One task and where it is kept: events go in, each is applied to the task, and the task is stored.

What an event does to a task is what the official SDK does (`TaskManager`), word for word in the
refusals too, so that an executor cannot tell the two apart. Nothing here knows of listeners or turns.
"""

from typing import Final, TypeAlias, TypeVar

from a2a.server.cluster import LegacyTaskStoreAdapter, TaskVersion, VersionedTaskStore
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.tasks import TaskStore
from a2a.types.a2a_pb2 import (
    Artifact,
    Message,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import InvalidAgentResponseError, InvalidParamsError
from google.protobuf.message import Message as ProtoMessage

ProtoT = TypeVar("ProtoT", bound=ProtoMessage)
TaskChange: TypeAlias = TaskStatusUpdateEvent | TaskArtifactUpdateEvent

TERMINAL: Final = frozenset(
    {
        TaskState.TASK_STATE_COMPLETED,
        TaskState.TASK_STATE_CANCELED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_REJECTED,
    }
)
INTERRUPTED: Final = frozenset(
    {TaskState.TASK_STATE_AUTH_REQUIRED, TaskState.TASK_STATE_INPUT_REQUIRED}
)
SETTLED: Final = TERMINAL | INTERRUPTED


def versioned(store: TaskStore | VersionedTaskStore) -> VersionedTaskStore:
    """Return a store under the interface that knows versions; a plain one has none."""
    return store if isinstance(store, VersionedTaskStore) else LegacyTaskStoreAdapter(store)


def settles(event: Event) -> bool:
    """Tell whether an event is the last before the agent is done or needs somebody."""
    if isinstance(event, Message):
        return True
    return isinstance(event, TaskStatusUpdateEvent | Task) and event.status.state in SETTLED


def copy_of(event: ProtoT) -> ProtoT:
    """Return an event or task that nobody else holds."""
    copied = type(event)()
    copied.CopyFrom(event)
    return copied


class TaskRecord:
    """One task as last read or written, and the store that it belongs to.

    `context` is the call in whose name the store is used: it says who owns the task.
    """

    __slots__ = ("_first_message", "_store", "context", "context_id", "task", "task_id", "version")

    def __init__(
        self,
        store: VersionedTaskStore,
        *,
        task_id: str,
        context_id: str,
        first_message: Message | None,
        context: ServerCallContext,
    ) -> None:
        self._store = store
        self._first_message = first_message
        self.task_id = task_id
        self.context_id = context_id
        self.context = context
        self.task: Task | None = None
        self.version = TaskVersion.MISSING

    async def reload(self) -> Task | None:
        """Read the task again: another replica may have moved it."""
        stored = await self._store.get(self.task_id, self.context)
        if stored is None:
            self.task, self.version = None, TaskVersion.MISSING
        else:
            self.task, self.version = stored.task, stored.version
        return self.task

    async def ensure(self, context_id: str) -> Task:
        """Return the task; one that does not exist yet begins here, with the message that caused it."""
        if self.task is not None:
            return self.task
        task = Task(
            id=self.task_id,
            context_id=context_id,
            status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
            history=[self._first_message] if self._first_message else [],
        )
        await self._save(task, None)
        return task

    async def replace(self, task: Task) -> None:
        """Store a whole task.

        Raises:
            InvalidParamsError: it is another task, or of another context.

        """
        self._admit(task.id, task.context_id)
        await self._save(task, task)

    async def change(self, event: TaskChange) -> Task:
        """Apply a change to the task, store it, and return it.

        Raises:
            InvalidParamsError: the event is of another task.
            InvalidAgentResponseError: it appends to an artifact that does not exist.

        """
        self.context_id = event.context_id
        self._admit(event.task_id, event.context_id)
        task = await self.ensure(event.context_id)
        if isinstance(event, TaskStatusUpdateEvent):
            if task.status.HasField("message"):
                task.history.append(task.status.message)
            if event.metadata:
                task.metadata.MergeFrom(event.metadata)
            task.status.CopyFrom(event.status)
        else:
            put_artifact(task, event)
        await self._save(task, event)
        return task

    async def add_message(self, message: Message, task: Task) -> None:
        """Put a user's message into the history, after what the agent said last; unless it is there."""
        if any(said.message_id == message.message_id for said in task.history):
            return
        if task.status.HasField("message"):
            task.history.append(task.status.message)
            task.status.ClearField("message")
        task.history.append(message)
        await self.replace(task)

    def _admit(self, task_id: str, context_id: str) -> None:
        if task_id != self.task_id:
            raise InvalidParamsError(
                message=f"Task in event doesn't match TaskManager {self.task_id} : {task_id}"
            )
        if self.context_id and self.context_id != context_id:
            raise InvalidParamsError(
                message=f"Context in event doesn't match TaskManager {self.context_id} : {context_id}"
            )
        self.context_id = context_id

    async def _save(self, task: Task, event: Event | None) -> None:
        self.version = await self._store.save(
            task, event=event, prev=self.task, prev_version=self.version, context=self.context
        )
        self.task = task


def put_artifact(task: Task, event: TaskArtifactUpdateEvent) -> None:
    """Add an artifact, replace one, or append to one.

    Raises:
        InvalidAgentResponseError: it appends to an artifact that does not exist.

    """
    given: Artifact = event.artifact
    name = given.artifact_id
    present = next((one for one in task.artifacts if one.artifact_id == name), None)
    if not event.append:
        if present is None:
            task.artifacts.append(given)
        else:
            present.CopyFrom(given)
    elif present is None:
        raise InvalidAgentResponseError(
            f"append=True for nonexistent artifact_id={name!r} in task {task.id!r}. "
            "The artifact must be created (append=False) before appending parts to it."
        )
    else:
        present.parts.extend(given.parts)
        present.metadata.update(dict(given.metadata.items()))
