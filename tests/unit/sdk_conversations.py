"""Conversations with an agent, made up by Hypothesis, and a stage that plays one on a request handler.

The agent follows a script: what it says in each turn. The client follows another: what it calls, in order,
some calls side by side. Every id and every time that the agent gives comes from a counter, so that two
handlers which do the same leave the same record, word for word.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from a2a.server.agent_execution import (
    AgentExecutor,
    RequestContext,
    SimpleRequestContextBuilder,
)
from a2a.server.cluster import VersionedTaskStore
from a2a.server.context import ServerCallContext
from a2a.server.events import Event, EventQueue
from a2a.server.id_generator import IDGenerator, IDGeneratorContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.tasks import PushNotificationSender, TaskStore
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    Artifact,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import UnsupportedOperationError
from google.protobuf.json_format import MessageToDict
from hypothesis import strategies as st

QUIET_TURNS = 400
CARD = AgentCard(
    name="scripted",
    capabilities=AgentCapabilities(streaming=True, push_notifications=True),
)


@dataclass(frozen=True)
class Say:
    """One step of the agent."""

    kind: str
    state: int = TaskState.TASK_STATE_WORKING
    text: str = ""
    name: str = "a"
    append: bool = False


@dataclass(frozen=True)
class Ask:
    """One call of the client. `task` counts back: 0 is the task that was begun last."""

    kind: str
    task: int | None = None
    turn: tuple[Say, ...] = ()
    history: int | None = None
    at_once: bool = False
    wrong: str = ""
    other: bool = False


@dataclass
class Scene:
    """What happened, and what the agent is told to do next."""

    turns: dict[str, tuple[Say, ...]] = field(default_factory=dict)
    record: list[list[Any]] = field(default_factory=list)
    pushed: dict[str, list[Any]] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    cancel: str = "says"
    counts: dict[str, int] = field(default_factory=dict)

    def number(self, task_id: str | None) -> int:
        """Return the next number of a task; tasks side by side do not disturb each other's."""
        name = task_id or ""
        first = int(name.rpartition("-")[2]) * 1000
        self.counts[name] = self.counts.get(name, first) + 1
        return self.counts[name]


class CountedIds(IDGenerator):
    """Numbers in place of random ids."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._numbers = count(1)

    def generate(self, context: IDGeneratorContext) -> str:
        return f"{self._word}-{next(self._numbers)}"


class ScriptedAgent(AgentExecutor):
    """Says what the script of the message says."""

    def __init__(self, stage: Scene) -> None:
        self.stage = stage

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        seen = context.current_task
        for say in self.stage.turns[context.message.message_id]:
            await self._do(say, context, event_queue, seen)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        match self.stage.cancel:
            case "says":
                await event_queue.enqueue_event(
                    self._status(context, TaskState.TASK_STATE_CANCELED, "stopped")
                )
            case "raises":
                raise ValueError("cannot stop")
            case "cannot":
                raise UnsupportedOperationError("no cancelling here")
            case "silent":
                # The official handler never answers where this does not suspend and the task was opened again
                # after its end: it cancels a coroutine of its own before that has begun.
                await asyncio.sleep(0)

    async def _do(
        self, say: Say, context: RequestContext, queue: EventQueue, seen: Task | None
    ) -> None:
        match say.kind:
            case "raise":
                raise ValueError(f"broken {say.text}")
            case "refuse":
                raise UnsupportedOperationError(f"cannot {say.text}")
            case "gate":
                await self.stage.gate.wait()
            case "pause":
                await asyncio.sleep(0)
            case _:
                await queue.enqueue_event(self._event(say, context, seen))

    def _event(self, say: Say, context: RequestContext, seen: Task | None) -> Event:
        match say.kind:
            case "message":
                return self._message(context, say.text)
            case "task":
                return self._task(say, context, seen)
            case "other task":
                task = self._task(say, context, None)
                task.id = "foreign"
                return task
            case "artifact":
                return self._artifact(say, context)
        event = self._status(context, say.state, say.text)
        if say.kind == "foreign status":
            event.task_id = "foreign"
        return event

    def _time(self, context: RequestContext, status: TaskStatus) -> TaskStatus:
        status.timestamp.FromSeconds(self.stage.number(context.task_id))
        return status

    def _message(self, context: RequestContext, text: str) -> Message:
        return Message(
            message_id=f"said-{self.stage.number(context.task_id)}",
            role=Role.ROLE_AGENT,
            task_id=context.task_id,
            context_id=context.context_id,
            parts=[Part(text=text)],
        )

    def _task(self, say: Say, context: RequestContext, seen: Task | None) -> Task:
        if seen is not None and say.name == "a":
            return seen
        return Task(
            id=context.task_id,
            context_id=context.context_id,
            status=self._time(context, TaskStatus(state=say.state)),
            history=[context.message],
        )

    def _status(self, context: RequestContext, state: int, text: str) -> TaskStatusUpdateEvent:
        status = self._time(context, TaskStatus(state=state))
        if text:
            status.message.CopyFrom(self._message(context, text))
        return TaskStatusUpdateEvent(
            task_id=context.task_id,
            context_id=context.context_id,
            status=status,
            metadata={text: len(text)} if text else None,
        )

    def _artifact(self, say: Say, context: RequestContext) -> TaskArtifactUpdateEvent:
        return TaskArtifactUpdateEvent(
            task_id=context.task_id,
            context_id=context.context_id,
            artifact=Artifact(
                artifact_id=say.name,
                parts=[Part(text=say.text)],
                metadata={"n": say.text} if say.text else None,
            ),
            append=say.append,
        )


class RecordingSender(PushNotificationSender):
    """Keeps what would be pushed, and fails now and then."""

    def __init__(self, stage: Scene) -> None:
        self.stage = stage

    async def send_notification(self, task_id: str, event: Any) -> None:
        pushed = self.stage.pushed.setdefault(task_id, [])
        pushed.append(told(event))
        await asyncio.sleep(0)
        if len(pushed) % 3 == 0:
            raise OSError("the webhook is gone")


class Quiet:
    """Knows whether a store is at work."""

    def __init__(self) -> None:
        self.open = 0
        self.begun = 0
        self.idle = asyncio.Event()

    def watch(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def watched(*arguments: Any, **named: Any) -> Any:
            self.open += 1
            self.begun += 1
            self.idle.clear()
            try:
                return await call(*arguments, **named)
            finally:
                self.open -= 1
                if not self.open:
                    self.idle.set()

        return watched

    async def settle(self) -> None:
        """Return when nothing goes on: no call of the store, and nothing else for many turns of the loop."""
        turns = 0
        begun = self.begun
        while turns < QUIET_TURNS:
            # Nothing but the store waits for the world outside, so a store at rest and a loop that was
            # turned this often mean that whatever could happen has happened.
            await (self.idle.wait() if self.open else asyncio.sleep(0))
            turns = 0 if self.open or self.begun != begun else turns + 1
            begun = self.begun


def watched(store: Any, quiet: Quiet) -> Any:
    """Return the same store, observed."""
    kind: type[Any] = VersionedTaskStore if isinstance(store, VersionedTaskStore) else TaskStore
    calls = {name: quiet.watch(getattr(store, name)) for name in ("save", "get", "list", "delete")}

    def bound(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        return lambda _self, *arguments, **named: call(*arguments, **named)

    return type("WatchedStore", (kind,), {name: bound(call) for name, call in calls.items()})()


def told(event: Any) -> Any:
    """Return an event or answer as plain values, without the handler's own times."""
    if event is None:
        return None
    return [type(event).__name__, _timeless(MessageToDict(event))]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: _timeless(v) for k, v in value.items() if k not in ("timestamp", "nextPageToken")
        }
    return [_timeless(item) for item in value] if isinstance(value, list) else value


class Player:
    """Plays one conversation on one handler."""

    def __init__(
        self,
        handler: RequestHandler,
        stage: Scene,
        quiet: Quiet,
        other: RequestHandler | None = None,
    ) -> None:
        self.handler = handler
        self.other = other or handler
        self.stage = stage
        self.quiet = quiet
        self.context = ServerCallContext()
        self.tasks: list[tuple[str, str]] = []
        self._calls: list[asyncio.Task[None]] = []
        self._messages = count(1)

    async def play(self, asks: Sequence[Ask]) -> list[Any]:
        """Return everything that could be seen."""
        for ask in asks:
            await self.start(ask)
        self.stage.gate.set()
        await self.quiet.settle()
        for call, line in zip(self._calls, self.stage.record, strict=True):
            if not call.done():
                line.append("open")
                call.cancel()
        # What a call says when it is cancelled is not compared.
        record = deepcopy(self.stage.record)
        await asyncio.wait(self._calls)
        stored = await self.handler.on_list_tasks(
            ListTasksRequest(include_artifacts=True, page_size=100), self.context
        )
        return [record, self.stage.pushed, told(stored)]

    async def start(self, ask: Ask) -> None:
        """Begin a call, and wait until nothing more happens."""
        line: list[Any] = [ask.kind]
        self.stage.record.append(line)
        call = asyncio.get_running_loop().create_task(self._call(ask, line))
        self._calls.append(call)
        await self.quiet.settle()

    async def _call(self, ask: Ask, line: list[Any]) -> None:
        try:
            await self._answer(ask, line)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, both must raise it
            line.append([type(error).__name__, str(error)])
        else:
            line.append("end")

    async def _answer(self, ask: Ask, line: list[Any]) -> None:
        handler, context = self.other if ask.other else self.handler, self.context
        match ask.kind:
            case "send":
                line.append(told(await handler.on_message_send(self._message(ask), context)))
            case "stream":
                await self._follow(
                    handler.on_message_send_stream(self._message(ask), context), line
                )
            case "leave":
                request = self._message(ask)
                async with aclosing(handler.on_message_send_stream(request, context)) as events:
                    async for event in events:
                        line.append(told(event))
                        break
            case "subscribe":
                request = SubscribeToTaskRequest(id=self._task(ask)[0])
                await self._follow(handler.on_subscribe_to_task(request, context), line)
            case "get":
                request = GetTaskRequest(id=self._task(ask)[0], history_length=ask.history)
                line.append(told(await handler.on_get_task(request, context)))
            case "list":
                request = ListTasksRequest(
                    history_length=ask.history,
                    include_artifacts=ask.at_once,
                    page_size=ask.task,
                )
                line.append(told(await handler.on_list_tasks(request, context)))
            case "cancel":
                self.stage.cancel = ask.wrong or "says"
                request = CancelTaskRequest(id=self._task(ask)[0])
                line.append(told(await handler.on_cancel_task(request, context)))
            case "open":
                self.stage.gate.set()
                self.stage.gate = asyncio.Event()

    async def _follow(self, events: AsyncIterator[Any], line: list[Any]) -> None:
        async with aclosing(events) as stream:  # type: ignore[type-var]
            async for event in stream:
                line.append(told(event))  # noqa: PERF401 - what came before an error counts

    def _task(self, ask: Ask) -> tuple[str, str]:
        if ask.task is None or not self.tasks or ask.wrong == "task":
            return "nothing", "nothing"
        return self.tasks[-1 - ask.task % len(self.tasks)]

    def _message(self, ask: Ask) -> SendMessageRequest:
        number = next(self._messages)
        message = Message(
            message_id=f"asked-{number}", role=Role.ROLE_USER, parts=[Part(text=f"hello {number}")]
        )
        self.stage.turns[message.message_id] = ask.turn
        if ask.task is not None:
            message.task_id, message.context_id = self._task(ask)
        else:
            self.tasks.append((f"task-{len(self.tasks) + 1}", f"context-{len(self.tasks) + 1}"))
        if ask.wrong == "context":
            message.context_id = "elsewhere"
            self.tasks[-1:] = (
                [(self.tasks[-1][0], "elsewhere")] if ask.task is None else self.tasks[-1:]
            )
        if ask.wrong == "parts":
            message.ClearField("parts")
        return SendMessageRequest(
            message=message,
            configuration=SendMessageConfiguration(
                history_length=ask.history, return_immediately=ask.at_once
            ),
        )


class NamedTasks(SimpleRequestContextBuilder):
    """Names a task after the number of the conversation that it begins."""

    def __init__(self) -> None:
        super().__init__(
            task_id_generator=CountedIds("task"), context_id_generator=CountedIds("context")
        )


@asynccontextmanager
async def closing(handler: Any) -> AsyncIterator[Any]:
    """Close a handler at the end."""
    try:
        yield handler
    finally:
        await handler.aclose()


STATES = (
    TaskState.TASK_STATE_SUBMITTED,
    TaskState.TASK_STATE_WORKING,
    TaskState.TASK_STATE_INPUT_REQUIRED,
    TaskState.TASK_STATE_AUTH_REQUIRED,
    TaskState.TASK_STATE_COMPLETED,
    TaskState.TASK_STATE_FAILED,
    TaskState.TASK_STATE_REJECTED,
    TaskState.TASK_STATE_CANCELED,
)
TEXTS = st.sampled_from(("", "one", "two"))
SAYINGS = st.one_of(
    st.builds(Say, st.just("status"), state=st.sampled_from(STATES), text=TEXTS),
    st.builds(Say, st.just("status"), state=st.sampled_from(STATES[1:3])),
    st.builds(
        Say,
        st.just("artifact"),
        text=TEXTS,
        name=st.sampled_from("ab"),
        append=st.booleans(),
    ),
    st.builds(Say, st.just("task"), state=st.sampled_from(STATES), name=st.sampled_from("ab")),
    st.builds(Say, st.sampled_from(("gate", "pause", "pause"))),
    st.builds(Say, st.just("status"), state=st.sampled_from(STATES[1:3]), text=TEXTS),
    st.builds(Say, st.just("artifact"), text=TEXTS, name=st.sampled_from("ab")),
    st.builds(
        Say,
        st.sampled_from(("message", "raise", "refuse", "foreign status", "other task")),
        state=st.sampled_from(STATES),
        text=TEXTS,
    ),
)
FIRST_SAYINGS = st.one_of(
    st.just(Say("task", state=TaskState.TASK_STATE_SUBMITTED)),
    st.just(Say("task", state=TaskState.TASK_STATE_WORKING)),
    st.just(Say("artifact", text="first")),
    st.just(Say("message", text="hi")),
    SAYINGS.filter(lambda say: say.kind not in ("gate", "pause")),
)
TURNS = st.builds(lambda first, rest: (first, *rest), FIRST_SAYINGS, st.lists(SAYINGS, max_size=6))
HISTORIES = st.sampled_from((None, None, None, None, None, 0, 1, 1, 2, 2, 3, -1))
BEGIN = st.builds(
    Ask,
    st.sampled_from(("send", "stream", "leave")),
    turn=TURNS,
    history=HISTORIES,
    at_once=st.booleans(),
)
ASKS = st.one_of(
    BEGIN,
    st.builds(
        Ask,
        st.sampled_from(("send", "send", "stream")),
        task=st.integers(0, 2),
        turn=TURNS,
        history=HISTORIES,
        at_once=st.booleans(),
        wrong=st.sampled_from(("", "", "", "", "task", "context", "parts")),
    ),
    st.builds(
        Ask, st.sampled_from(("get", "subscribe")), task=st.integers(0, 2), history=HISTORIES
    ),
    st.builds(Ask, st.just("list"), task=st.sampled_from((None, 1, 2, 0, 101)), history=HISTORIES),
    st.builds(
        Ask,
        st.just("cancel"),
        task=st.integers(0, 2),
        wrong=st.sampled_from(("says", "says", "raises", "cannot", "silent", "task")),
    ),
    st.just(Ask("open")),
)
CONVERSATIONS = st.builds(lambda first, rest: (first, *rest), BEGIN, st.lists(ASKS, max_size=8))

# What an agent says after its task has ended, here or on another replica, is treated differently on purpose
# where a store knows versions. So there it stops at an end, and says one thing after a gate.
ENDS = frozenset(STATES[4:])


def up_to_the_end(turn: Sequence[Say]) -> tuple[Say, ...]:
    """Return what is said until the task has ended."""
    for number, say in enumerate(turn):
        if say.kind in ("status", "task") and say.state in ENDS:
            return tuple(turn[: number + 1])
    return tuple(turn)


def heard(ask: Ask) -> Ask:
    """Return a call to cancel that the agent answers.

    Else it is chance, with a store that takes its time, which state a call finds that waits for the task.
    """
    return replace(ask, wrong="") if ask.wrong == "silent" else ask


STORED_CONVERSATIONS = CONVERSATIONS.map(lambda asks: tuple(map(heard, asks)))
GATED = st.builds(
    lambda first, rest, last: (first, *rest, Say("gate"), last),
    FIRST_SAYINGS,
    st.lists(SAYINGS.filter(lambda say: say.kind != "gate"), max_size=3),
    SAYINGS,
)
UNGATED = TURNS.map(lambda turn: tuple(say for say in turn if say.kind != "gate"))
CLUSTER_TURNS = st.one_of(GATED, UNGATED).map(up_to_the_end)
CLUSTER_ASKS = st.builds(
    lambda ask, turn, other: replace(heard(ask), turn=turn if ask.turn else (), other=other),
    ASKS,
    CLUSTER_TURNS,
    st.booleans(),
)
CLUSTER_CONVERSATIONS = st.builds(
    lambda first, turn, rest: (replace(first, turn=turn), *rest),
    BEGIN,
    CLUSTER_TURNS,
    st.lists(CLUSTER_ASKS, max_size=6),
)
