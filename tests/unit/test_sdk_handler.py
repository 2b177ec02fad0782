"""`FastRequestHandler` by itself: what it does on purpose in another way, and what no conversation shows."""

import asyncio
import contextvars
import gc
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio
import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.cluster import (
    ConcurrentTaskModificationError,
    StoredTask,
    TaskEventStream,
    TaskVersion,
    VersionedEvent,
    VersionedTaskStore,
)
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers.default_request_handler_v2 import DefaultRequestHandlerV2
from a2a.server.tasks import (
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    PushNotificationSender,
    TaskUpdater,
)
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    Artifact,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InvalidAgentResponseError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from hive_a2a.handler import FastRequestHandler, MemoryTaskStore
from hive_a2a.handler.listeners import BACKLOG_EVENTS_MAX, AnswerListener, StreamListener
from hive_a2a.handler.live_tasks import OngoingTasks

pytestmark = pytest.mark.anyio

CARD = AgentCard(
    name="x",
    capabilities=AgentCapabilities(
        streaming=True, push_notifications=True, extended_agent_card=True
    ),
    default_input_modes=["text/plain"],
)
DONE = TaskState.TASK_STATE_COMPLETED
ASKING = TaskState.TASK_STATE_INPUT_REQUIRED
Turn = Callable[[RequestContext, EventQueue], Awaitable[None]]


class PlainAgent(AgentExecutor):
    """Does what a function says."""

    def __init__(self, turn: Turn, cancel: Turn | None = None) -> None:
        self._turn = turn
        self._cancel = cancel

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        await self._turn(context, event_queue)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        if self._cancel is not None:
            await self._cancel(context, event_queue)


class VersionedMemory(VersionedTaskStore):
    """Counts versions, and refuses what is stale; `before_save` lets another replica come first."""

    def __init__(self) -> None:
        self.tasks: dict[str, tuple[Task, int]] = {}
        self.before_save: Callable[[Task], None] = lambda task: None

    def put(self, task: Task) -> None:
        kept = Task()
        kept.CopyFrom(task)
        self.tasks[task.id] = (kept, self.tasks.get(task.id, (None, 0))[1] + 1)

    async def save(self, task: Task, *, prev_version: TaskVersion, **_: Any) -> TaskVersion:
        self.before_save(task)
        if prev_version != TaskVersion(self.tasks.get(task.id, (None, 0))[1]):
            raise ConcurrentTaskModificationError(task.id)
        self.put(task)
        return TaskVersion(self.tasks[task.id][1])

    async def get(self, task_id: str, context: ServerCallContext) -> StoredTask | None:
        if task_id not in self.tasks:
            return None
        task, version = self.tasks[task_id]
        kept = Task()
        kept.CopyFrom(task)
        return StoredTask(kept, TaskVersion(version))

    async def list(self, params: Any, context: ServerCallContext) -> Any:
        raise NotImplementedError

    async def delete(self, task_id: str, context: ServerCallContext) -> None:
        del self.tasks[task_id]


class EventLog(TaskEventStream):
    """Keeps what was published; gives what it was made with."""

    def __init__(self, *events: VersionedEvent) -> None:
        self.published: list[VersionedEvent] = []
        self._events = events

    async def publish(self, task_id: str, event: VersionedEvent) -> None:
        self.published.append(event)

    async def subscribe(
        self, task_id: str, *, after: TaskVersion
    ) -> AsyncGenerator[VersionedEvent, None]:
        for event in self._events:
            yield event

    async def destroy(self, task_id: str) -> None:
        self.published.clear()


def message(task: Task | None = None, text: str = "hello", **more: Any) -> SendMessageRequest:
    said = Message(message_id=text, role=Role.ROLE_USER, parts=[Part(text=text)])
    if task is not None:
        said.task_id, said.context_id = task.id, task.context_id
    return SendMessageRequest(message=said, configuration=SendMessageConfiguration(**more))


def a_task(context: RequestContext, state: int = TaskState.TASK_STATE_SUBMITTED) -> Task:
    return Task(
        id=context.task_id,
        context_id=context.context_id,
        status=TaskStatus(state=state),
        history=[context.message],
    )


def status(context: Any, state: int) -> TaskStatusUpdateEvent:
    return TaskStatusUpdateEvent(
        task_id=context.task_id, context_id=context.context_id, status=TaskStatus(state=state)
    )


def a_chunk(context: RequestContext, text: str) -> TaskArtifactUpdateEvent:
    artifact = Artifact(artifact_id=text, parts=[Part(text=text)])
    return TaskArtifactUpdateEvent(
        task_id=context.task_id, context_id=context.context_id, artifact=artifact
    )


async def asks(context: RequestContext, queue: EventQueue) -> None:
    if context.current_task is None:
        await queue.enqueue_event(a_task(context))
    await queue.enqueue_event(status(context, ASKING))


async def completes(context: RequestContext, queue: EventQueue) -> None:
    await queue.enqueue_event(a_task(context))
    await queue.enqueue_event(status(context, DONE))


HERE = ServerCallContext()


def handler_of(turn: Turn, cancel: Turn | None = None, **more: Any) -> FastRequestHandler:
    more = {"task_store": MemoryTaskStore(), "agent_card": CARD, **more}
    return FastRequestHandler(PlainAgent(turn, cancel), **more)


async def the_end_of(handler: FastRequestHandler) -> None:
    with anyio.fail_after(5):
        while handler.live_tasks.running:
            await anyio.lowlevel.checkpoint()


# What is different on purpose, in the order of the list in `hive_a2a.handler`.


async def test_an_agent_that_says_nothing_is_answered_for() -> None:
    async def silent(context: RequestContext, queue: EventQueue) -> None:
        return None

    handler = handler_of(silent)
    with anyio.fail_after(5), pytest.raises(InvalidAgentResponseError, match="nothing"):
        await handler.on_message_send(message(), HERE)
    assert len(handler.live_tasks) == 0


async def test_a_message_that_names_only_its_task_belongs_to_the_tasks_context() -> None:
    contexts = []

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        contexts.append(context.context_id)
        await asks(context, queue)

    handler = handler_of(turn)
    task = await handler.on_message_send(message(), HERE)
    again = message(task, "again")
    again.message.ClearField("context_id")
    answer = await handler.on_message_send(again, HERE)
    assert contexts == [task.context_id, task.context_id]
    assert answer.context_id == task.context_id
    assert [said.message_id for said in answer.history] == ["hello", "again"]


async def test_what_was_enqueued_is_stored_when_the_agent_goes_on() -> None:
    store = MemoryTaskStore()
    seen = []

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        updater = TaskUpdater(queue, context.task_id, context.context_id)
        await queue.enqueue_event(a_task(context))
        await updater.start_work()
        stored = await store.get(context.task_id, HERE)
        seen.append(stored.status.state)
        await updater.complete()

    await handler_of(turn, task_store=store).on_message_send(message(), HERE)
    assert seen == [TaskState.TASK_STATE_WORKING]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_call_that_is_cancelled_does_not_take_the_agent_with_it(streams: bool) -> None:
    began, gate = anyio.Event(), anyio.Event()
    store = MemoryTaskStore()
    names = []

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        names.append(context.task_id)
        await queue.enqueue_event(a_task(context))
        began.set()
        await gate.wait()
        await queue.enqueue_event(status(context, DONE))

    handler = handler_of(turn, task_store=store)

    async def call() -> None:
        if not streams:
            await handler.on_message_send(message(), HERE)
        async with aclosing(handler.on_message_send_stream(message(), HERE)) as events:
            async for _ in events:
                pass

    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            calls.start_soon(call)
            await began.wait()
            calls.cancel_scope.cancel()
        gate.set()
        await the_end_of(handler)
    stored = await store.get(names[0], HERE)
    assert stored is not None
    assert stored.status.state == DONE


async def test_a_subscriber_gets_the_task_and_then_only_what_comes_later() -> None:
    gate = anyio.Event()

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        await queue.enqueue_event(a_chunk(context, "early"))
        await gate.wait()
        await queue.enqueue_event(a_chunk(context, "late"))
        await queue.enqueue_event(status(context, DONE))

    handler = handler_of(turn)
    task = await handler.on_message_send(message(return_immediately=True), HERE)
    got: list[Any] = []
    with anyio.fail_after(5):
        async for event in handler.on_subscribe_to_task(SubscribeToTaskRequest(id=task.id), HERE):
            got.append(event)
            gate.set()
    assert [type(event).__name__ for event in got] == [
        "Task",
        "TaskArtifactUpdateEvent",
        "TaskStatusUpdateEvent",
    ]
    assert [artifact.artifact_id for artifact in got[0].artifacts] == ["early"]
    assert got[1].artifact.artifact_id == "late"


async def test_an_agent_that_changes_an_event_later_changes_no_answer() -> None:
    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        chunk = a_chunk(context, "one")
        await queue.enqueue_event(chunk)
        chunk.artifact.artifact_id = "two"
        await queue.enqueue_event(chunk)

    events = [event async for event in handler_of(turn).on_message_send_stream(message(), HERE)]
    assert [event.artifact.artifact_id for event in events[1:]] == ["one", "two"]


async def test_only_so_many_tasks_rest() -> None:
    ended = []

    class Resting:
        def __init__(self, name: str) -> None:
            self.task_id = name
            self.busy = False

        def finish(self) -> None:
            ended.append(self.task_id)
            tasks.ended(self)  # type: ignore[arg-type]

    tasks = OngoingTasks(None, resting_max=2)
    for name in ("a", "b", "c"):
        live: Any = Resting(name)
        tasks.add(live)
        tasks.rests(live)
    assert ended == ["a"]
    assert tasks.find("a") is None
    assert len(tasks) == 2
    tasks.ended(Resting("b"))  # type: ignore[arg-type]
    tasks.rests(Resting("b"))  # type: ignore[arg-type]
    assert len(tasks) == 2


async def test_a_turn_for_a_task_that_was_ended_behind_the_handlers_back_is_refused() -> None:
    store = MemoryTaskStore()
    handler = handler_of(asks, task_store=store)
    task = await handler.on_message_send(message(), HERE)
    follow = message(task, "again")

    class Ending(MemoryTaskStore):
        """Between the first look at the task and the turn, somebody ends it."""

        looks = 0

        async def get(self, task_id: str, context: ServerCallContext) -> Task | None:
            found = await store.get(task_id, context)
            Ending.looks += 1
            if found is not None and Ending.looks > 1:
                found.status.state = DONE
            return found

    late = handler_of(asks, task_store=Ending())
    with pytest.raises(UnsupportedOperationError, match="terminal state"):
        await late.on_message_send(follow, HERE)


async def test_what_is_no_event_is_an_invalid_answer() -> None:
    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event("hello")  # type: ignore[arg-type]

    with pytest.raises(InvalidAgentResponseError, match="str"):
        await handler_of(turn).on_message_send(message(), HERE)


async def test_a_task_that_another_replica_ended_stays_as_it_wrote_it() -> None:
    store, log = VersionedMemory(), EventLog()

    def ends_first(task: Task) -> None:
        if task.status.state == TaskState.TASK_STATE_WORKING:
            other = Task()
            other.CopyFrom(task)
            other.status.state = TaskState.TASK_STATE_CANCELED
            store.put(other)
            store.before_save = lambda _: None

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        store.before_save = ends_first
        try:
            await queue.enqueue_event(status(context, TaskState.TASK_STATE_WORKING))
        finally:
            with anyio.CancelScope(shield=True):
                await queue.enqueue_event(status(context, DONE))

    handler = handler_of(turn, task_store=store, event_stream=log)
    with anyio.fail_after(5):
        answer = await handler.on_message_send(message(), HERE)
        await the_end_of(handler)
    assert answer.status.state == TaskState.TASK_STATE_CANCELED
    assert store.tasks[answer.id][0].status.state == TaskState.TASK_STATE_CANCELED
    assert [type(line.event).__name__ for line in log.published] == ["Task", "Task"]


# What no conversation shows.


async def test_another_replicas_write_is_taken_into_account_once() -> None:
    store = VersionedMemory()

    def writes_first(task: Task) -> None:
        store.before_save = lambda _: None
        other = Task()
        other.CopyFrom(store.tasks[task.id][0])
        other.artifacts.append(Artifact(artifact_id="theirs"))
        store.put(other)

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        store.before_save = writes_first
        await queue.enqueue_event(status(context, DONE))

    with pytest.warns(UserWarning, match="cross-replica"):
        handler = handler_of(turn, task_store=store)
    answer = await handler.on_message_send(message(), HERE)
    assert answer.status.state == DONE
    assert [artifact.artifact_id for artifact in answer.artifacts] == ["theirs"]


async def test_writes_that_never_stop_end_the_turn_with_an_error() -> None:
    store = VersionedMemory()

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        store.before_save = lambda task: store.put(store.tasks[task.id][0])
        await queue.enqueue_event(status(context, DONE))
        await queue.enqueue_event(status(context, ASKING))

    handler = handler_of(turn, task_store=store, event_stream=EventLog())
    with anyio.fail_after(5), pytest.raises(A2AError, match="modified concurrently"):
        await handler.on_message_send(message(), HERE)
    assert len(handler.live_tasks) == 0


async def test_cancelling_a_task_of_another_replica_writes_that_it_is_cancelled() -> None:
    store, log = VersionedMemory(), EventLog()
    task = Task(id="t", context_id="c", status=TaskStatus(state=ASKING))
    store.put(task)
    handler = handler_of(asks, task_store=store, event_stream=log)
    answer = await handler.on_cancel_task(CancelTaskRequest(id="t"), HERE)
    assert answer.status.state == TaskState.TASK_STATE_CANCELED
    assert [line.version for line in log.published] == [TaskVersion(2)]


@pytest.mark.parametrize("state", [TaskState.TASK_STATE_CANCELED, DONE])
async def test_whoever_cancels_second_hears_what_the_first_did(state: int) -> None:
    store = VersionedMemory()
    store.put(Task(id="t", context_id="c", status=TaskStatus(state=ASKING)))

    def ends_first(task: Task) -> None:
        store.before_save = lambda _: None
        store.put(Task(id="t", context_id="c", status=TaskStatus(state=state)))

    store.before_save = ends_first
    handler = handler_of(asks, task_store=store, event_stream=EventLog())
    if state == DONE:
        with pytest.raises(TaskNotCancelableError):
            await handler.on_cancel_task(CancelTaskRequest(id="t"), HERE)
    else:
        answer = await handler.on_cancel_task(CancelTaskRequest(id="t"), HERE)
        assert answer.status.state == state


async def test_a_subscriber_of_another_replica_hears_it_until_the_task_settles() -> None:
    store = VersionedMemory()
    store.put(Task(id="t", context_id="c", status=TaskStatus(state=ASKING)))
    working = TaskStatusUpdateEvent(task_id="t", status=TaskStatus(state=2))
    ends = [
        TaskStatusUpdateEvent(task_id="t", status=TaskStatus(state=DONE)),
        Task(id="t", status=TaskStatus(state=DONE)),
        Message(message_id="m"),
    ]
    for end in ends:
        lines = [(working, 1), (working, 2), (end, 3), (working, 4)]
        log = EventLog(*(VersionedEvent(event, TaskVersion(n)) for event, n in lines))
        handler = handler_of(asks, task_store=store, event_stream=log)
        request = SubscribeToTaskRequest(id="t")
        events = [event async for event in handler.on_subscribe_to_task(request, HERE)]
        assert events[1:] == [working, end]
    log = EventLog(VersionedEvent(working, TaskVersion(2)))
    handler = handler_of(asks, task_store=store, event_stream=log)
    events = [event async for event in handler.on_subscribe_to_task(request, HERE)]
    assert events[1:] == [working]


async def test_a_task_of_the_store_that_nobody_runs_can_be_followed_and_cancelled() -> None:
    store = MemoryTaskStore()
    await store.save(Task(id="t", context_id="c", status=TaskStatus(state=ASKING)), HERE)
    handler = handler_of(asks, task_store=store)
    follower = handler.on_subscribe_to_task(SubscribeToTaskRequest(id="t"), HERE)
    assert (await anext(follower)).id == "t"
    await follower.aclose()
    other = handler_of(asks, task_store=store)
    answer = await other.on_cancel_task(CancelTaskRequest(id="t"), HERE)
    assert answer.status.state == TaskState.TASK_STATE_CANCELED
    with pytest.raises(TaskNotCancelableError):
        await other.on_cancel_task(CancelTaskRequest(id="t"), HERE)
    with pytest.raises(UnsupportedOperationError, match="terminal state"):
        await anext(other.on_subscribe_to_task(SubscribeToTaskRequest(id="t"), HERE))
    await handler.aclose()


async def test_what_the_agent_asked_goes_into_the_history_before_the_answer() -> None:
    async def turn(context: RequestContext, queue: EventQueue) -> None:
        if context.current_task is None:
            await queue.enqueue_event(a_task(context))
        event = status(context, ASKING)
        event.status.message.CopyFrom(Message(message_id="what?"))
        await queue.enqueue_event(event)

    handler = handler_of(turn)
    task = await handler.on_message_send(message(), HERE)
    task = await handler.on_message_send(message(task, "that"), HERE)
    assert [said.message_id for said in task.history] == ["hello", "what?", "that"]


async def test_what_an_agent_says_after_its_failure_is_dropped() -> None:
    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        await queue.enqueue_event(Message(message_id="m"))
        await queue.enqueue_event(status(context, DONE))
        raise ValueError("too late")

    for store in (MemoryTaskStore(), VersionedMemory()):
        handler = handler_of(turn, task_store=store, event_stream=EventLog())
        with pytest.raises(InvalidAgentResponseError, match="task mode"):
            await handler.on_message_send(message(), HERE)
        await the_end_of(handler)


async def test_a_failure_that_comes_after_anothers_write_leaves_that_write() -> None:
    store = VersionedMemory()

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        store.put(Task(id=context.task_id, context_id=context.context_id))
        raise ValueError("broken")

    handler = handler_of(turn, task_store=store, event_stream=EventLog())
    request = message()
    with pytest.raises(ValueError, match="broken"):
        await handler.on_message_send(request, HERE)
    assert not store.tasks[request.message.task_id][0].HasField("status")


async def test_a_list_shows_as_much_of_each_history_as_was_asked_for() -> None:
    handler = handler_of(asks)
    task = await handler.on_message_send(message(), HERE)
    await handler.on_message_send(message(task, "again"), HERE)
    for length in (0, 1, 2):
        page = await handler.on_list_tasks(ListTasksRequest(history_length=length), HERE)
        assert len(page.tasks[0].history) == length


async def test_an_agent_says_one_message_and_only_of_its_own_context() -> None:
    async def twice(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(Message(message_id="one"))
        await queue.enqueue_event(Message(message_id="two"))

    async def elsewhere(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(Task(id=context.task_id, context_id="elsewhere"))

    for kind in (FastRequestHandler, DefaultRequestHandlerV2):
        for turn, words in ((twice, "Multiple Message"), (elsewhere, "Context in event")):
            handler = kind(PlainAgent(turn), InMemoryTaskStore(), CARD)
            with anyio.fail_after(5), pytest.raises(A2AError, match=words):
                await handler.on_message_send(message(), HERE)
            await handler.aclose()


async def test_a_turn_ends_well_though_its_caller_has_its_answer_already() -> None:
    gate = anyio.Event()

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await asks(context, queue)
        await gate.wait()

    handler = handler_of(turn)
    await handler.on_message_send(message(), HERE)
    gate.set()
    with anyio.fail_after(5):
        await the_end_of(handler)
    assert len(handler.live_tasks) == 1


async def test_a_task_that_the_store_loses_before_its_turn_begins_anew() -> None:
    class Losing(MemoryTaskStore):
        looks = 0

        async def get(self, task_id: str, context: ServerCallContext) -> Task | None:
            Losing.looks += 1
            return await super().get(task_id, context) if Losing.looks == 1 else None

    store = Losing()
    await store.save(Task(id="t", context_id="c", status=TaskStatus(state=ASKING)), HERE)
    handler = handler_of(asks, task_store=store)
    answer = await handler.on_message_send(message(Task(id="t", context_id="c")), HERE)
    assert [said.message_id for said in answer.history] == ["hello"]


async def test_a_message_that_waits_for_a_task_that_is_cancelled_is_answered() -> None:
    turns = []

    async def waits(context: RequestContext, queue: EventQueue) -> None:
        turns.append(context.message.message_id)
        await queue.enqueue_event(a_task(context))
        await anyio.sleep_forever()

    async def stop(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(status(context, TaskState.TASK_STATE_CANCELED))

    handler = handler_of(waits, stop)
    task = await handler.on_message_send(message(return_immediately=True), HERE)
    answers: list[Any] = []

    async def second() -> None:
        answers.append(await handler.on_message_send(message(task, "second"), HERE))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            calls.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            await handler.on_cancel_task(CancelTaskRequest(id=task.id), HERE)
        await the_end_of(handler)
    assert answers[0].status.state == TaskState.TASK_STATE_CANCELED
    assert turns == ["hello"]


SPEAKER: contextvars.ContextVar[str] = contextvars.ContextVar("speaker", default="nobody")


async def test_each_turn_runs_in_the_context_of_the_call_that_asked_for_it() -> None:
    heard = []

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        heard.append(SPEAKER.get())
        SPEAKER.set("the agent")
        await asks(context, queue)

    handler = handler_of(turn)
    SPEAKER.set("one")
    task = await handler.on_message_send(message(), HERE)
    SPEAKER.set("two")
    await handler.on_message_send(message(task, "again"), HERE)
    assert heard == ["one", "two"]
    assert SPEAKER.get() == "two"


async def test_a_reader_that_is_too_slow_is_cut_off_and_holds_up_nobody() -> None:
    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        for number in range(BACKLOG_EVENTS_MAX + 10):
            await queue.enqueue_event(a_chunk(context, str(number % 7)))
        await queue.enqueue_event(status(context, DONE))

    handler = handler_of(turn)
    with anyio.fail_after(20):
        slow = handler.on_message_send_stream(message(), HERE)
        first = await anext(slow, None)
        await the_end_of(handler)
        rest = [event async for event in slow]
        # It was given nothing, since all of it came at once and was too much.
        assert [first, *rest] == [None]
    answer = await handler.on_message_send(message(), HERE)
    assert answer.status.state == DONE


async def test_a_resting_task_is_let_go_after_its_time_and_found_again() -> None:
    handler = handler_of(asks, interrupted_task_timeout=0.02)
    task = await handler.on_message_send(message(), HERE)
    assert len(handler.live_tasks) == 1
    with anyio.fail_after(5):
        while len(handler.live_tasks):
            await anyio.lowlevel.checkpoint()
    again = await handler.on_message_send(message(task, "again"), HERE)
    assert again.status.state == ASKING
    assert len(again.history) == 2


async def test_a_task_that_somebody_follows_or_that_works_is_not_let_go() -> None:
    async def works(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context, TaskState.TASK_STATE_WORKING))

    handler = handler_of(works, interrupted_task_timeout=0.01)
    await handler.on_message_send(message(), HERE)
    asking = handler_of(asks, interrupted_task_timeout=0.01)
    task = await asking.on_message_send(message(), HERE)
    follower = asking.on_subscribe_to_task(SubscribeToTaskRequest(id=task.id), HERE)
    await anext(follower)
    passed = anyio.Event()
    asyncio.get_running_loop().call_later(0.05, passed.set)
    await passed.wait()
    assert len(handler.live_tasks) == 1
    assert len(asking.live_tasks) == 1
    await follower.aclose()
    await asking.aclose()
    await handler.aclose()


@pytest.mark.parametrize("timeout_s", [0, -1])
def test_a_timeout_that_is_no_time_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        handler_of(asks, interrupted_task_timeout=timeout_s)


async def test_closing_ends_what_runs_what_waits_and_what_rests() -> None:
    async def waits(context: RequestContext, queue: EventQueue) -> None:
        if context.current_task is None:
            await queue.enqueue_event(a_task(context))
        if context.message.message_id != "rest":
            await anyio.sleep_forever()

    handler = handler_of(waits)
    resting = await handler.on_message_send(message(text="rest"), HERE)
    running = await handler.on_message_send(message(return_immediately=True), HERE)
    answers: list[Any] = []

    async def follow(text: str) -> None:
        answers.append(await handler.on_message_send(message(running, text), HERE))

    async def subscribe(task: Task) -> None:
        request = SubscribeToTaskRequest(id=task.id)
        answers.append([event async for event in handler.on_subscribe_to_task(request, HERE)])

    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            calls.start_soon(follow, "second")
            calls.start_soon(subscribe, running)
            calls.start_soon(subscribe, resting)
            await anyio.wait_all_tasks_blocked()
            await handler.aclose()
    assert len(answers) == 3
    assert handler.live_tasks.running == 0
    assert len(handler.live_tasks) == 0
    with pytest.raises(RuntimeError, match="closed"):
        await handler.on_message_send(message(), HERE)
    await handler.aclose()


async def test_closing_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hive_a2a.handler.live_tasks.CLOSE_MAX_S", 0.02)
    gate = anyio.Event()

    async def stubborn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        with anyio.CancelScope(shield=True):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await gate.wait()

    handler = handler_of(stubborn)
    await handler.on_message_send(message(return_immediately=True), HERE)
    with anyio.fail_after(5):
        await handler.aclose()
        assert "a2a.turns_do_not_end" in caplog.text
        gate.set()
        await the_end_of(handler)


async def test_an_agent_that_is_cancelled_in_a_write_does_not_tear_it() -> None:
    store = MemoryTaskStore()
    entered, gate = anyio.Event(), anyio.Event()

    class Slow(MemoryTaskStore):
        async def save(self, task: Task, context: ServerCallContext) -> None:
            if task.status.state == TaskState.TASK_STATE_WORKING:
                entered.set()
                await gate.wait()
            await store.save(task, context)

        async def get(self, task_id: str, context: ServerCallContext) -> Task | None:
            return await store.get(task_id, context)

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        await queue.enqueue_event(status(context, TaskState.TASK_STATE_WORKING))

    handler = handler_of(turn, task_store=Slow())
    task = await handler.on_message_send(message(return_immediately=True), HERE)
    answers: list[Any] = []

    async def cancel() -> None:
        answers.append(await handler.on_cancel_task(CancelTaskRequest(id=task.id), HERE))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            await entered.wait()
            calls.start_soon(cancel)
            await anyio.wait_all_tasks_blocked()
            gate.set()
    assert answers[0].status.state == TaskState.TASK_STATE_CANCELED
    stored = await store.get(task.id, HERE)
    assert stored is not None
    assert stored.status.state == TaskState.TASK_STATE_CANCELED


async def test_two_who_cancel_at_once_ask_the_agent_once() -> None:
    asked = []

    async def stop(context: RequestContext, queue: EventQueue) -> None:
        asked.append(context.task_id)
        await anyio.lowlevel.checkpoint()
        await queue.enqueue_event(status(context, TaskState.TASK_STATE_CANCELED))

    handler = handler_of(asks, stop)
    task = await handler.on_message_send(message(), HERE)
    answers: list[Any] = []

    async def cancel() -> None:
        answers.append(await handler.on_cancel_task(CancelTaskRequest(id=task.id), HERE))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            calls.start_soon(cancel)
            calls.start_soon(cancel)
    assert [answer.status.state for answer in answers] == [TaskState.TASK_STATE_CANCELED] * 2
    assert asked == [task.id]


async def test_an_agent_that_opened_its_ended_task_again_hears_that_it_is_cancelled() -> None:
    asked = []
    gate = anyio.Event()

    async def goes_on(context: RequestContext, queue: EventQueue) -> None:
        await completes(context, queue)
        await queue.enqueue_event(status(context, TaskState.TASK_STATE_WORKING))
        await gate.wait()

    async def stop(context: RequestContext, queue: EventQueue) -> None:
        asked.append(context.task_id)
        await queue.enqueue_event(status(context, TaskState.TASK_STATE_CANCELED))

    handler = handler_of(goes_on, stop)
    with anyio.fail_after(5):
        task = await handler.on_message_send(message(), HERE)
        assert task.status.state == DONE
        assert handler.live_tasks.outlasted(task.id)
        answer = await handler.on_cancel_task(CancelTaskRequest(id=task.id), HERE)
        assert answer.status.state == TaskState.TASK_STATE_CANCELED
        assert asked == [task.id]
        with pytest.raises(TaskNotCancelableError):
            await handler.on_cancel_task(CancelTaskRequest(id=task.id), HERE)
        gate.set()
        await the_end_of(handler)
    assert len(handler.live_tasks) == 0


async def test_a_turn_that_outlasts_its_task_is_forgotten_when_it_is_over() -> None:
    gate = anyio.Event()

    async def goes_on(context: RequestContext, queue: EventQueue) -> None:
        await completes(context, queue)
        await gate.wait()

    handler = handler_of(goes_on)
    with anyio.fail_after(5):
        task = await handler.on_message_send(message(), HERE)
        assert handler.live_tasks.outlasted(task.id)
        with pytest.raises(TaskNotCancelableError):
            await handler.on_cancel_task(CancelTaskRequest(id=task.id), HERE)
        gate.set()
        await the_end_of(handler)
    assert not handler.live_tasks.outlasted(task.id)


async def test_a_task_that_vanishes_while_it_is_cancelled_is_not_found() -> None:
    store = MemoryTaskStore()

    async def stop(context: RequestContext, queue: EventQueue) -> None:
        await store.delete(context.task_id, HERE)

    handler = handler_of(asks, stop, task_store=store)
    task = await handler.on_message_send(message(), HERE)
    with pytest.raises(TaskNotFoundError):
        await handler.on_cancel_task(CancelTaskRequest(id=task.id), HERE)


async def test_a_failure_that_cannot_be_stored_is_still_told() -> None:
    class Broken(MemoryTaskStore):
        async def save(self, task: Task, context: ServerCallContext) -> None:
            raise OSError("disk full")

    handler = handler_of(completes, task_store=Broken())
    with anyio.fail_after(5), pytest.raises(OSError, match="disk full"):
        await handler.on_message_send(message(), HERE)

    async def fails(context: RequestContext, queue: EventQueue) -> None:
        raise ValueError("broken")

    handler = handler_of(fails, task_store=Broken())
    with anyio.fail_after(5), pytest.raises(ValueError, match="broken"):
        await handler.on_message_send(message(), HERE)


async def test_an_error_that_the_agent_enqueues_is_its_failure() -> None:
    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(ValueError("said"))  # type: ignore[arg-type]

    store = MemoryTaskStore()
    handler = handler_of(turn, task_store=store)
    request = message()
    with pytest.raises(ValueError, match="said"):
        await handler.on_message_send(request, HERE)
    failed = await handler.on_get_task(GetTaskRequest(id=request.message.task_id), HERE)
    assert failed.status.state == TaskState.TASK_STATE_FAILED


async def test_a_task_that_a_caller_names_must_be_the_one_that_is_answered() -> None:
    async def turn(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(a_task(context))
        await queue.enqueue_event(Task(id="other", status=TaskStatus(state=DONE)))

    with pytest.raises(A2AError, match="mismatch"):
        await handler_of(turn).on_message_send(message(), HERE)


async def test_a_listener_that_is_over_hears_no_more() -> None:
    answer = AnswerListener("t", at_once=False)
    task = Task(id="t", status=TaskStatus(state=DONE))
    answer.hear(task, task)
    answer.hear(Message(), None)
    answer.fail(ValueError("late"))
    answer.close()
    answer.close()
    assert await answer.answer() == task
    stream = StreamListener()
    stream.close()
    stream.hear(task, task)
    stream.fail(ValueError("late"))
    assert [event async for event in stream.events()] == []
    unread = AnswerListener("t", at_once=False)
    unread.fail(ValueError("nobody asks"))
    unread.forget()
    gc.collect()


async def test_input_that_the_card_does_not_name_is_refused_where_that_is_asked_for() -> None:
    request = message()
    request.message.parts[0].media_type = "image/png"
    strict = handler_of(completes, validate_input_modes=True)
    with pytest.raises(ContentTypeNotSupportedError):
        await strict.on_message_send(request, HERE)
    assert await handler_of(completes).on_message_send(request, HERE)


async def test_the_extended_card_is_given_as_it_is_made_for_the_caller() -> None:
    async def modify(card: AgentCard, context: ServerCallContext) -> AgentCard:
        return AgentCard(name=f"{card.name} for {context.tenant}")

    request = GetExtendedAgentCardRequest()
    for kind in (FastRequestHandler, DefaultRequestHandlerV2):
        make = {"agent_executor": PlainAgent(asks), "task_store": InMemoryTaskStore()}
        plain = AgentCard(name="x")
        with pytest.raises(UnsupportedOperationError, match="extended"):
            await kind(agent_card=plain, **make).on_get_extended_agent_card(request, HERE)
        with pytest.raises(A2AError, match="not configured"):
            await kind(agent_card=CARD, **make).on_get_extended_agent_card(request, HERE)
        more = kind(agent_card=CARD, extended_agent_card=AgentCard(name="more"), **make)
        assert (await more.on_get_extended_agent_card(request, HERE)).name == "more"
        made = kind(
            agent_card=CARD,
            extended_agent_card=AgentCard(name="more"),
            extended_card_modifier=modify,
            **make,
        )
        card = await made.on_get_extended_agent_card(request, ServerCallContext(tenant="them"))
        assert card.name == "more for them"


async def test_streams_need_a_card_that_offers_them() -> None:
    handler = handler_of(asks, agent_card=AgentCard(name="x"))
    for events in (
        handler.on_message_send_stream(message(), HERE),
        handler.on_subscribe_to_task(SubscribeToTaskRequest(id="t"), HERE),
    ):
        with pytest.raises(UnsupportedOperationError, match="Streaming"):
            await anext(events)


class Loud(PushNotificationSender):
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send_notification(self, task_id: str, event: Any) -> None:
        self.sent.append((task_id, type(event).__name__))


class Forgetful(InMemoryPushNotificationConfigStore):
    """Returns nothing, as stores did before."""

    async def set_info(self, *arguments: Any) -> Any:
        await super().set_info(*arguments)


async def push_calls(handler: Any, task: Task) -> AsyncIterator[Any]:
    def config(**more: Any) -> TaskPushNotificationConfig:
        return TaskPushNotificationConfig(**{"task_id": task.id, "url": "https://a.test", **more})

    create = handler.on_create_task_push_notification_config
    yield create(config(), HERE)
    yield create(config(id="two"), HERE)
    yield create(config(url="http://evil"), HERE)
    yield create(config(task_id="nothing"), HERE)
    yield create(config(url=""), HERE)
    get = handler.on_get_task_push_notification_config
    yield get(GetTaskPushNotificationConfigRequest(task_id=task.id, id="two"), HERE)
    yield get(GetTaskPushNotificationConfigRequest(task_id=task.id, id="three"), HERE)
    delete = handler.on_delete_task_push_notification_config
    yield delete(DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="two"), HERE)
    every = handler.on_list_task_push_notification_configs
    yield every(ListTaskPushNotificationConfigsRequest(task_id=task.id), HERE)


async def allowed(url: str) -> bool:
    return "evil" not in url


async def outcome(call: Awaitable[Any], task: Task) -> str:
    try:
        return str(await call).replace(task.id, "TASK")
    except A2AError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("configs", [InMemoryPushNotificationConfigStore, Forgetful, None])
@pytest.mark.parametrize("card", [CARD, AgentCard(name="x")])
async def test_push_configs_are_kept_as_the_official_handler_keeps_them(
    configs: Any, card: AgentCard
) -> None:
    told = []
    for kind in (DefaultRequestHandlerV2, FastRequestHandler):
        handler = kind(
            agent_executor=PlainAgent(asks),
            task_store=InMemoryTaskStore(),
            agent_card=card,
            push_config_store=configs() if configs else None,
            push_url_validator=allowed,
        )
        first = message(
            task_push_notification_config=TaskPushNotificationConfig(url="https://b.test", id="b")
        )
        task = await handler.on_message_send(first, HERE)
        told.append([await outcome(call, task) async for call in push_calls(handler, task)])
        first.configuration.task_push_notification_config.url = "http://evil"
        first.message.ClearField("task_id")
        told[-1].append((await outcome(handler.on_message_send(first, HERE), task))[:40])
        await handler.aclose()
    assert told[0][:-1] == told[1][:-1]
    assert told[0][-1].partition(":")[0] == told[1][-1].partition(":")[0]


async def test_a_push_is_sent_for_each_event() -> None:
    sender = Loud()
    handler = handler_of(completes, push_sender=sender)
    task = await handler.on_message_send(message(), HERE)
    await the_end_of(handler)
    assert sender.sent == [(task.id, "Task"), (task.id, "TaskStatusUpdateEvent")]


@pytest.mark.parametrize("atomic", [True, False])
async def test_ten_thousand_tasks_leave_nothing_behind(
    atomic: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    number = 0

    async def turn(context: RequestContext, queue: EventQueue) -> None:
        nonlocal number
        number += 1
        if number % 5 == 0:
            raise ValueError("broken")
        if number % 5 == 1:
            await queue.enqueue_event(Message(message_id="m", parts=[Part(text="hi")]))
            return
        await queue.enqueue_event(a_task(context))
        if number % 5 == 2:
            await queue.enqueue_event(Message(message_id="m"))
        await queue.enqueue_event(status(context, DONE))

    class Other(MemoryTaskStore):
        """A store of which the handler does not know that it never waits."""

    store = MemoryTaskStore(tasks_max=50) if atomic else Other(tasks_max=50)
    handler = handler_of(turn, task_store=store)
    before = len(asyncio.all_tasks())
    counted = 0
    for tasks in range(10_000 if atomic else 2_000):
        with suppress(ValueError, InvalidAgentResponseError):
            await handler.on_message_send(message(), HERE)
        if tasks == 500:
            gc.collect()
            counted = len(gc.get_objects())
    await the_end_of(handler)
    gc.collect()
    assert len(asyncio.all_tasks()) == before
    assert len(handler.live_tasks) == 0
    assert len(store) == 50
    assert len(gc.get_objects()) < counted + 500
