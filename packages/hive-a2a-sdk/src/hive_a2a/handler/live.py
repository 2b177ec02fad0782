"""A task in whose name an agent runs, or may run again: turns one at a time, listeners, cancelling, rest.

One asyncio task runs one turn. An event that the executor enqueues is applied where it is enqueued:
state, store, push, listeners. Where the store cannot suspend that costs nothing more; where it may, the
work has a task of its own, so that an executor which is cancelled cannot tear a write in two.

These are tasks of asyncio, not of an anyio group: a turn must outlive the call that began it (the client
may be gone), it must run in the context variables of that call, and the official interfaces give a
handler no moment at which a group of its own could be entered. Every task is held in `OngoingTasks` until
it is over, and `OngoingTasks.aclose` waits for all of them.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.cluster import (
    ConcurrentTaskModificationError,
    StoredTask,
    TaskEventStream,
    VersionedEvent,
)
from a2a.server.context import ServerCallContext
from a2a.server.events import Event, EventQueue
from a2a.server.tasks import PushNotificationSender
from a2a.types.a2a_pb2 import (
    Message,
    Task,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import (
    InternalError,
    InvalidAgentResponseError,
    TaskNotFoundError,
)

from hive_a2a.clock import WallClock
from hive_a2a.handler.listeners import TaskListener
from hive_a2a.handler.record import TERMINAL, TaskChange, TaskRecord, copy_of
from hive_a2a.handler.rules import AgentSpeech, admit_open

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnParts:
    """What every turn of a handler uses. `atomic`: applying an event never suspends."""

    executor: AgentExecutor
    push_sender: PushNotificationSender | None
    event_stream: TaskEventStream | None
    clock: WallClock
    atomic: bool


class OngoingTaskHolder(Protocol):
    """Keeps live tasks, and the asyncio tasks that run for them."""

    def turn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a turn, and hold it until it is over."""
        ...

    def work(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run what must not be cancelled, and hold it until it is over."""
        ...

    def ended(self, live: "OngoingTask") -> None:
        """Forget a live task; said again when its last turn is over."""
        ...

    def rests(self, live: "OngoingTask") -> None:
        """Hear that nothing runs for a live task now."""
        ...


class TurnOutlet(EventQueue):
    """What an executor sees of the task: a place to put events."""

    def __init__(self, live: "OngoingTask") -> None:
        self._live = live

    async def enqueue_event(self, event: Event) -> None:
        """Apply an event to the task."""
        await self._live.accept(event)


class OngoingTask:
    """A task from its first message until it ends; between turns it rests, and keeps what it was doing.

    `finished` is set once, when no turn can begin any more. `closed` says that events are dropped.
    """

    def __init__(self, parts: TurnParts, holder: OngoingTaskHolder, record: TaskRecord) -> None:
        self._parts = parts
        self._holder = holder
        self._in_order = asyncio.Lock()
        self._applying: set[asyncio.Task[None]] = set()
        self._apply_order = asyncio.Lock()
        self._cancelling = asyncio.Lock()
        self._over = asyncio.Event()
        self._listeners: list[TaskListener] = []
        self._turn: asyncio.Task[None] | None = None
        self._turns_open = 0
        self._stopping = False
        self._speech = AgentSpeech(record)
        self._read = False
        self.record = record
        self.closed = False

    @property
    def task_id(self) -> str:
        """Return the id of the task."""
        return self.record.task_id

    @property
    def finished(self) -> bool:
        """Tell whether no turn can begin any more."""
        return self._over.is_set()

    @property
    def busy(self) -> bool:
        """Tell whether a turn runs or waits; one may run on after the task has ended."""
        return self._turns_open > 0

    @property
    def resting(self) -> bool:
        """Tell whether nothing runs or waits for it."""
        return not (self.busy or self._listeners or self.finished)

    def begin(self, stored: StoredTask | None, *, fresh: bool) -> None:
        """Take what the store holds. `fresh`: the first turn need not read it again.

        Raises:
            UnsupportedOperationError: the task has ended.

        """
        if stored is not None:
            admit_open(stored.task)
            self.record.task, self.record.version = stored.task, stored.version
        self._read = fresh

    def join(self, listener: TaskListener) -> None:
        """Let a listener hear the events from now on."""
        self._listeners.append(listener)

    def leave(self, listener: TaskListener) -> None:
        """Let a listener go."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        self.rest()

    def rest(self) -> None:
        """Say that nothing runs, if so; without a task there is nothing to go on with."""
        if self.resting and self.record.task is None:
            self.finish()
        elif self.resting:
            self._holder.rests(self)

    def run(self, request: RequestContext, listener: TaskListener) -> None:
        """Begin a turn, after those that wait; its listener is closed when it is over."""
        self._turns_open += 1
        self._holder.turn(self._run(request, listener))

    async def _run(self, request: RequestContext, listener: TaskListener) -> None:
        try:
            async with self._in_order:
                if not (self.finished or self._stopping):
                    await self._run_now(request, listener)
        finally:
            self._turns_open -= 1
            listener.close()
            if self.finished or self._stopping:
                self.finish()
                self._holder.ended(self)
            else:
                self.rest()

    async def _run_now(self, request: RequestContext, listener: TaskListener) -> None:
        self._turn = asyncio.current_task()
        try:
            await self._open_turn(request)
            await self._parts.executor.execute(request, TurnOutlet(self))
            await self._applied()
        except Exception as error:
            log.exception("a2a.turn_failed", extra={"task_id": self.task_id})
            await self._applied()
            await self._in_own_task(self._end_with(error))
        except BaseException:
            # Cancelled: what was enqueued before still counts, but nobody is left who could end the task.
            await self._applied()
            self._finish_turns()
            raise
        finally:
            self._turn = None
        self._dismiss(listener)

    def _dismiss(self, listener: TaskListener) -> None:
        if listener in self._listeners:
            listener.close()
            self._listeners.remove(listener)

    async def _open_turn(self, request: RequestContext) -> None:
        record = self.record
        record.context = request.call_context
        if self._read:
            self._read = False
        elif (task := await record.reload()) is not None:
            # Another replica may have ended it while it waited here.
            admit_open(task)
        request.current_task = record.task
        self._speech.unsaved = request.message

    async def accept(self, event: object) -> None:
        """Apply an event and tell everybody; what is wrong with it ends the task, not the executor."""
        await self._in_own_task(self._apply_or_end(event))

    async def _in_own_task(self, work: Coroutine[Any, Any, None]) -> None:
        if self._parts.atomic:
            await work
            return
        task = self._holder.work(work)
        self._applying.add(task)
        task.add_done_callback(self._applying.discard)
        await asyncio.shield(task)

    async def _applied(self) -> None:
        while self._applying:
            await asyncio.wait(self._applying)

    async def _apply_or_end(self, event: object) -> None:
        async with self._apply_order:
            if self.closed:
                log.warning("a2a.event_dropped", extra={"task_id": self.task_id})
                return
            try:
                await self._apply_or_yield(event)
            except Exception as error:
                log.exception("a2a.events_ended", extra={"task_id": self.task_id})
                await self._tell_failure(error, of_executor=isinstance(event, Exception))

    async def _end_with(self, error: Exception) -> None:
        async with self._apply_order:
            if not self.closed:
                await self._tell_failure(error, of_executor=True)

    async def _apply_or_yield(self, event: object) -> None:
        try:
            await self._apply(event)
        except ConcurrentTaskModificationError:
            log.info("a2a.moved_elsewhere", extra={"task_id": self.task_id})
            task = await self.record.reload()
            if task is None or task.status.state not in TERMINAL:
                await self._apply(event)
                return
            await self._tell(copy_of(task), task)
            # What another replica ended stays as it wrote it, whatever the agent here still says.
            self.closed = True
            self.stop()

    async def _apply(self, event: object) -> None:
        if isinstance(event, Exception):
            raise event
        if not isinstance(event, Event):
            raise InvalidAgentResponseError(f"Received {type(event).__name__}, which is no event.")
        task: Task | None = None
        if isinstance(event, Message):
            self._speech.take_message()
        else:
            task = await self._speech.take(event)
            if task.status.state in TERMINAL:
                self._finish_turns()
            if self._parts.push_sender is not None:
                shown = task if isinstance(event, Task) else event
                await self._push(self._parts.push_sender, shown)
        await self._tell(event, task)
        if isinstance(event, Message):
            # There is no task that could go on.
            self._finish_turns()

    async def _push(self, sender: PushNotificationSender, event: Task | TaskChange) -> None:
        try:
            await sender.send_notification(self.task_id, event)
        except Exception:
            # Delivery is tried as well as it can be; the task does not depend on it.
            log.exception("a2a.push_failed", extra={"task_id": self.task_id})

    async def _tell(self, event: Event, task: Task | None) -> None:
        for listener in tuple(self._listeners):
            listener.hear(event, task)
        stream = self._parts.event_stream
        if stream is not None:
            shown = copy_of(event) if event is task and isinstance(event, Task) else event
            await stream.publish(
                self.task_id, VersionedEvent(event=shown, version=self.record.version)
            )

    async def _tell_failure(self, error: Exception, *, of_executor: bool) -> None:
        told = (
            InternalError(message=str(error))
            if isinstance(error, ConcurrentTaskModificationError)
            else error
        )
        try:
            await self._speech.write_failed(self._parts.clock, create=of_executor)
        except Exception:
            log.exception("a2a.failure_not_stored", extra={"task_id": self.task_id})
        self.closed = True
        self._finish_turns()
        for listener in self._listeners:
            listener.fail(told)
        self._listeners.clear()

    def _finish_turns(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._holder.ended(self)

    def finish(self) -> None:
        """End it: no further turn, no further event, nothing more to hear."""
        self._finish_turns()
        if self._turn is None:
            self.closed = True
            for listener in self._listeners:
                listener.close()
            self._listeners.clear()

    def stop(self) -> None:
        """End it, and the turn that runs."""
        self._stopping = True
        if self._turn is not None:
            # It is over when what the turn still has to say is stored.
            self._turn.cancel()
        else:
            self.finish()

    async def cancel(self, context: ServerCallContext) -> Task:
        """Let the executor cancel it; return the task, which then has ended."""
        record = self.record
        record.context = context
        task = record.task
        request = RequestContext(
            call_context=context,
            task_id=self.task_id,
            context_id=task.context_id if task is not None else None,
            task=task,
        )
        async with self._cancelling:
            if not self.finished:
                await self._cancel_now(request)
        await self._over.wait()
        ended = await record.reload()
        if ended is None:
            raise TaskNotFoundError
        if ended.status.state in TERMINAL:
            return ended
        # The executor only tidied up: whoever cancelled must not find a task that lives.
        cancelled = copy_of(ended)
        cancelled.status.state = TaskState.TASK_STATE_CANCELED
        await record.replace(cancelled)
        return copy_of(cancelled)

    async def _cancel_now(self, request: RequestContext) -> None:
        try:
            await self._parts.executor.cancel(request, TurnOutlet(self))
        except Exception:
            log.exception("a2a.cancel_failed", extra={"task_id": self.task_id})
            # Without a context there is no task that could have failed; then this is dropped by its rules.
            await self.accept(
                TaskStatusUpdateEvent(
                    task_id=self.task_id,
                    context_id=request.context_id or "",
                    status=TaskStatus(state=TaskState.TASK_STATE_FAILED),
                )
            )
            raise
        finally:
            # Whatever happened to the caller: a turn that was to be cancelled does not go on.
            self.stop()
