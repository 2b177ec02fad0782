"""Those who wait for the events of a task: a call with one answer, or a stream of them.

An answer needs no queue: it looks at each event as it passes and keeps what it will say. A stream has one
bounded queue; whoever reads too slowly is cut off, so that it can hold up neither the agent nor others.

The waits are futures of asyncio: executors and the official `TaskUpdater` are written for asyncio, and
one future a call is the least that can be waited on.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Protocol

from a2a.server.events import Event
from a2a.types.a2a_pb2 import Message, Task, TaskState, TaskStatusUpdateEvent
from a2a.utils.errors import InternalError

from hive_a2a.handler.record import SETTLED, copy_of

BACKLOG_EVENTS_MAX: Final = 1024


class TaskListener(Protocol):
    """Hears what happens to one task."""

    def hear(self, event: Event, task: Task | None) -> None:
        """Take an event, and the task as it is after it; both change after this returns."""
        ...

    def fail(self, error: Exception) -> None:
        """Take the error that ends the task's events."""
        ...

    def close(self) -> None:
        """Take the end of the events, where nothing failed."""
        ...


def admit_task_id(task_id: str, given: str) -> None:
    """Let a task pass that is the one asked for.

    Raises:
        InternalError: the agent answered with another.

    """
    if task_id != given:
        raise InternalError(message="Task ID mismatch in agent response")


class AnswerListener:
    """Waits for the one answer to a message.

    The answer is the task when it ends or needs somebody (`at_once`: when it exists), or a message. A
    failed task may be followed by the error that failed it, which then is the answer.
    """

    __slots__ = ("_answer", "_at_once", "_over", "_task_id")

    def __init__(self, task_id: str, *, at_once: bool) -> None:
        self._task_id = task_id
        self._at_once = at_once
        self._answer: Task | Message | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(self, event: Event, task: Task | None) -> None:
        """Keep it, if it is the answer."""
        if self._over.done():
            return
        if isinstance(event, Message):
            # More may follow, and would be an error: the answer stands when the turn is over.
            self._answer = event
            return
        shown = task if isinstance(event, TaskStatusUpdateEvent) else event
        if not isinstance(shown, Task):
            return
        state = shown.status.state
        if self._at_once or state in SETTLED:
            try:
                admit_task_id(self._task_id, shown.id)
            except InternalError as error:
                self._over.set_exception(error)
                return
            self._answer = copy_of(shown)
            if self._at_once or state != TaskState.TASK_STATE_FAILED:
                self._over.set_result(None)

    def fail(self, error: Exception) -> None:
        """End with an error."""
        if not self._over.done():
            self._over.set_exception(error)

    def close(self) -> None:
        """End with what was heard."""
        if not self._over.done():
            self._over.set_result(None)

    async def answer(self) -> Task | Message | None:
        """Wait for the end; return the answer, or None where nothing that was heard is one."""
        await self._over
        return self._answer

    def forget(self) -> None:
        """Say that nobody waits any more, so that an error which comes later is nobody's."""
        if self._over.done() and not self._over.cancelled():
            self._over.exception()
        self._over.cancel()


class StreamListener:
    """Gives the events of a task one after the other."""

    __slots__ = ("_ended", "_error", "_events", "_wake")

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._error: Exception | None = None
        self._ended = False
        self._wake: asyncio.Future[None] | None = None

    def hear(self, event: Event, task: Task | None) -> None:
        """Queue an event; a reader that is too far behind gets no more."""
        if self._ended:
            return
        if len(self._events) >= BACKLOG_EVENTS_MAX:
            self._events.clear()
            self.close()
            return
        # The record and the executor go on changing what they hold; the reader comes later.
        self._events.append(copy_of(event))
        self._call()

    def fail(self, error: Exception) -> None:
        """End with an error, after what is queued."""
        if not self._ended:
            self._error = error
        self.close()

    def close(self) -> None:
        """End, after what is queued."""
        self._ended = True
        self._call()

    def _call(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def events(self) -> AsyncIterator[Event]:
        """Give the events until the end.

        Raises:
            Exception: what ended them.

        """
        while True:
            while self._events:
                yield self._events.popleft()
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
