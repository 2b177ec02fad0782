"""What an agent may say in which order: one message, or a task and then its changes.

The rules and the words of refusals are those of the official SDK.
"""

import logging

from a2a.server.cluster import ConcurrentTaskModificationError
from a2a.types.a2a_pb2 import (
    Message,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import InvalidAgentResponseError, UnsupportedOperationError

from hive_a2a.clock import WallClock
from hive_a2a.handler.record import TERMINAL, TaskChange, TaskRecord

log = logging.getLogger(__name__)


def admit_open(task: Task) -> None:
    """Let a task pass that has not ended.

    Raises:
        UnsupportedOperationError: it has.

    """
    if task.status.state in TERMINAL:
        raise UnsupportedOperationError(
            message=f"Task {task.id} is in terminal state: {TaskState.Name(task.status.state)}"
        )


class AgentSpeech:
    """What an agent has said about one task so far, and what it may say next.

    `task_mode` is None until it said something, then True for a task and False for a single message.
    `unsaved` is the user's message that the history lacks until the task changes.
    """

    __slots__ = ("record", "task_mode", "unsaved")

    def __init__(self, record: TaskRecord) -> None:
        self.record = record
        self.task_mode: bool | None = None
        self.unsaved: Message | None = None

    def take_message(self) -> None:
        """Let a message pass that is all the agent says.

        Raises:
            InvalidAgentResponseError: it said something else already.

        """
        if self.task_mode is True:
            raise InvalidAgentResponseError(
                "Received Message object in task mode. Use TaskStatusUpdateEvent or "
                "TaskArtifactUpdateEvent instead."
            )
        if self.task_mode is False:
            raise InvalidAgentResponseError("Multiple Message objects received.")
        self.task_mode = False

    async def take(self, event: Task | TaskChange) -> Task:
        """Apply an event to the task, store it, and return the task.

        Raises:
            InvalidAgentResponseError: the agent may not say this now.
            InvalidParamsError: it is of another task or context.

        """
        if self.task_mode is False:
            raise InvalidAgentResponseError(
                f"Received {type(event).__name__} in message mode. Use Task with "
                "TaskStatusUpdateEvent and TaskArtifactUpdateEvent instead."
            )
        if not isinstance(event, Task):
            task = await self._change(event)
        else:
            if self.record.task is None:
                await self.record.replace(event)
            else:
                log.error("a2a.task_exists", extra={"task_id": self.record.task_id})
            task = self.record.task or event
            self.unsaved = None
        self.task_mode = True
        return task

    async def _change(self, event: TaskStatusUpdateEvent | TaskArtifactUpdateEvent) -> Task:
        record = self.record
        if isinstance(event, TaskStatusUpdateEvent) and record.task is None:
            raise InvalidAgentResponseError(
                f"Agent should enqueue Task before {type(event).__name__} event"
            )
        task = await record.ensure(event.context_id)
        if self.unsaved is not None:
            await record.add_message(self.unsaved, task)
            self.unsaved = None
        return await record.change(event)

    async def write_failed(self, clock: WallClock, *, create: bool) -> None:
        """Store that the task failed, unless it has ended; `create`: also where there is none yet."""
        record = self.record
        status = TaskStatus(state=TaskState.TASK_STATE_FAILED)
        status.timestamp.FromDatetime(clock.now())
        task = record.task
        if task is None:
            if create:
                task = await record.ensure(record.context_id)
                task.status.CopyFrom(status)
                await record.replace(task)
            return
        if task.status.state in TERMINAL:
            return
        try:
            await self._change(
                TaskStatusUpdateEvent(task_id=task.id, context_id=task.context_id, status=status)
            )
        except ConcurrentTaskModificationError:
            # Another writer was first; what it wrote stands.
            await record.reload()
