"""A gate that really runs agents, in memory: for testing doors that send messages to agents.

`FakeGate` keeps tasks and runs a given function for each message; `FakeAgents` lists what it hosts. Tasks
move along the kernel's own state machine and are told by the kernel's own feed, so what a door sees
is what it will see in a node. Nothing is durable, and every attempt is admitted unless `judge` objects.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.budget import Amounts
from hive.core.call import Principal, PrincipalKind, Refused
from hive.core.clock import Clock, SystemClock
from hive.core.errors import NotFoundError, StateError
from hive.core.grant import Grant, Tier
from hive.core.ids import (
    AgentId,
    CallId,
    ContextId,
    MessageId,
    SandboxId,
    TaskId,
    TurnId,
    new_id,
)
from hive.core.randomness import SystemRandomness
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.core.task import (
    ArtifactAdded,
    Message,
    Part,
    Role,
    StatusChanged,
    Task,
    TaskEvent,
    TaskState,
)
from hive.execution.ports import (
    ArtifactMade,
    GuestEvent,
    InputNeeded,
    TextChunk,
    Turn,
    TurnDone,
    TurnFailed,
)
from hive.kernel.feed import LiveTask, TaskFeed
from hive.kernel.ports import Act, AgentState, AgentView, Attempt, Passage, TaskPage, TaskQuery

AgentFunction: TypeAlias = Callable[[Turn], AsyncIterator[GuestEvent]]
TURN_S: Final = 60.0
NOTICES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class FakeDelivery:
    """A message that an agent accepted."""

    live: LiveTask
    task: Task

    def events(self) -> AsyncIterator[TaskEvent]:
        """Yield the whole task, then its changes until it settles."""
        return self.live.watch()

    async def settled(self) -> Task:
        """Wait until it settles."""
        return await self.live.wait_settled()


class FakeAgents:
    """The agents of a node that has no sandboxes."""

    def __init__(self, *specs: AgentSpec) -> None:
        self._views: dict[AgentId, AgentView] = {}
        for spec in specs:
            self.add(spec)

    def add(self, spec: AgentSpec) -> None:
        """Host one more agent."""
        self._views[spec.name] = AgentView(
            spec=spec, grant=Grant(), state=AgentState.READY, tier=Tier.PROCESS
        )

    def drop(self, agent: AgentId) -> None:
        """Forget an agent."""
        self._views.pop(agent, None)

    def get(self, agent: AgentId) -> AgentView | None:
        """Return one agent, or None."""
        return self._views.get(agent)

    def all(self) -> Sequence[AgentView]:
        """Return all agents, by name."""
        return [self._views[name] for name in sorted(self._views)]


def fake_spec(name: str, *, description: str = "", public: bool = True) -> AgentSpec:
    """Make the spec of an agent that is one function."""
    entry = EntryPoint(kind=StartKind.PYTHON)
    return AgentSpec(name=AgentId(name), entry=entry, description=description, public=public)


class FakeGate:
    """The port `Gate`, for messages to agents."""

    def __init__(
        self,
        functions: dict[str, AgentFunction],
        *,
        judge: Callable[[Attempt], Refused | None] = lambda _attempt: None,
        handles: dict[tuple[SandboxId, str], Principal] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.attempts: list[Attempt] = []
        self.functions = functions
        self.judge = judge
        self._handles = handles or {}
        self._clock = clock or SystemClock()
        self._randomness = SystemRandomness()
        self._feed = TaskFeed(self._clock)
        self._tasks: dict[TaskId, Task] = {}
        self._scopes: dict[TaskId, anyio.CancelScope] = {}
        self._group: TaskGroup | None = None
        self._observers: list[Callable[[TaskEvent], Awaitable[None]]] = []
        self._notices: MemoryObjectSendStream[TaskEvent] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeGate"]:
        """Run agents while the context is open."""
        self._notices, notices = anyio.create_memory_object_stream[TaskEvent](NOTICES_MAX)
        async with notices, self._notices, anyio.create_task_group() as self._group:
            self._group.start_soon(self._observe, notices)
            yield self
            self._group.cancel_scope.cancel()

    def resolve_handle(self, sandbox: SandboxId, handle: str) -> Principal | Refused:
        """Return who holds this handle on this sandbox."""
        no = Refused(check="handle", reason="The handle is not valid here.")
        return self._handles.get((sandbox, handle), no)

    def room(self, principal: Principal) -> Amounts:
        """Return what the tightest ceilings leave this caller now."""
        del principal
        return {}

    @asynccontextmanager
    async def deliver(self, attempt: Attempt, act: Act) -> AsyncIterator[Refused | Passage]:
        """Refuse: this gate is for messages to agents only."""
        yield Refused(check="fake", reason="This gate delivers messages to agents only.")

    async def send(
        self, attempt: Attempt, agent: AgentId, message: Message
    ) -> Refused | FakeDelivery:
        """Begin or continue a task and run its agent. Raises NotFoundError, StateError."""
        self.attempts.append(attempt)
        no = self.judge(attempt)
        if no is not None:
            return no
        if agent not in self.functions or self._group is None:
            raise NotFoundError(f"There is no agent {agent!r}.")
        task, message = self._accepted(attempt.principal, agent, message)
        self._tasks[task.id] = task
        live = self._feed.open(task)
        live.task = task
        self._group.start_soon(self._run, task, message)
        return FakeDelivery(live, task)

    async def task(self, principal: Principal, task: TaskId) -> Task:
        """Return a task that the caller may see. Raises NotFoundError."""
        live = self._feed.get(task)
        found = live.task if live is not None else self._tasks.get(task)
        if found is None or not _may_see(principal, found):
            raise NotFoundError(f"There is no task {task!r}.")
        return found

    async def tasks(self, principal: Principal, query: TaskQuery) -> TaskPage:
        """List the caller's tasks, newest change first."""
        live = {task: self._feed.get(task) for task in self._tasks}
        now = [one.task if (one := live[task]) else self._tasks[task] for task in self._tasks]
        found = sorted(
            (task for task in now if _may_see(principal, task) and _fits(query, task)),
            key=lambda task: (task.updated_at, task.id),
            reverse=True,
        )
        begin = int(query.cursor) if query.cursor.isdigit() else 0
        page = tuple(found[begin : begin + query.limit])
        more = begin + len(page) < len(found)
        cursor = str(begin + len(page)) if more else ""
        return TaskPage(tasks=page, total=len(found), next_cursor=cursor)

    async def cancel(self, principal: Principal, task: TaskId) -> Task:
        """Cancel a task. Raises NotFoundError, StateError."""
        held = await self.task(principal, task)
        if held.state.terminal:
            raise StateError(f"The task is {held.state.value}, so it cannot be canceled.")
        live = self._feed.get(task) or self._feed.open(held)
        scope = self._scopes.get(task)
        if scope is not None:
            scope.cancel()
        self._settle(held, TaskState.CANCELED, None)
        return live.task

    @asynccontextmanager
    async def follow(
        self, principal: Principal, task: TaskId
    ) -> AsyncIterator[AsyncIterator[TaskEvent]]:
        """Subscribe to a task. Raises NotFoundError, StateError."""
        held = await self.task(principal, task)
        live = self._feed.get(task)
        if live is None:
            raise StateError(f"The task is {held.state.value}: there is nothing to follow.")
        yield live.watch()

    def on_change(self, observer: Callable[[TaskEvent], Awaitable[None]]) -> Callable[[], None]:
        """Call `observer` after every change of any task."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    async def _observe(self, notices: MemoryObjectReceiveStream[TaskEvent]) -> None:
        async for event in notices:
            for observer in tuple(self._observers):
                await observer(event)

    def _move(self, task: TaskId, move: StatusChanged | ArtifactAdded) -> None:
        self._feed.tell(task, move)
        if self._notices is not None:
            self._notices.send_nowait(move)

    def _accepted(
        self, principal: Principal, agent: AgentId, message: Message
    ) -> tuple[Task, Message]:
        now = self._clock.now()
        if message.task_id is not None:
            held = self._tasks.get(message.task_id)
            if held is None or not _may_see(principal, held) or held.agent != agent:
                raise NotFoundError(f"There is no task {message.task_id!r}.")
            if not held.state.interrupted:
                raise StateError(f"The task is {held.state.value}, so it takes no message now.")
            message = replace(message, context_id=held.context_id)
            asked = (held.status_message,) if held.status_message else ()
            return replace(
                held,
                state=TaskState.SUBMITTED,
                history=(*held.history, *asked, message),
                status_message=None,
                updated_at=now,
            ), message
        task_id = TaskId(self._new())
        context = message.context_id or ContextId(self._new())
        message = replace(message, task_id=task_id, context_id=context)
        return Task(
            id=task_id,
            context_id=context,
            agent=agent,
            owner=principal.owner,
            caller=str(principal),
            call=CallId(self._new()),
            state=TaskState.SUBMITTED,
            created_at=now,
            updated_at=now,
            history=(message,),
        ), message

    async def _run(self, task: Task, message: Message) -> None:
        turn = Turn(
            id=TurnId(self._new()),
            task_id=task.id,
            context_id=task.context_id,
            message=message,
            timeout_s=TURN_S,
            history=task.history,
        )
        with anyio.CancelScope() as scope:
            self._scopes[task.id] = scope
            self._tell(task, TaskState.WORKING, None)
            async for event in self.functions[task.agent](turn):
                if self._take(task, event):
                    return
            self._settle(task, TaskState.COMPLETED, None)

    def _take(self, task: Task, event: GuestEvent) -> bool:
        match event:
            case ArtifactMade():
                added = ArtifactAdded(
                    task_id=task.id,
                    context_id=task.context_id,
                    artifact=event.artifact,
                    append=event.append,
                    last_chunk=event.last_chunk,
                )
                self._move(task.id, added)
            case TextChunk():
                self._tell(task, TaskState.WORKING, self._says(task, event.text))
            case InputNeeded():
                self._settle(task, TaskState.INPUT_REQUIRED, event.message)
            case TurnDone():
                self._settle(task, TaskState.COMPLETED, event.message)
            case TurnFailed():
                self._settle(task, TaskState.FAILED, self._says(task, event.error))
            case _:
                pass
        return isinstance(event, InputNeeded | TurnDone | TurnFailed)

    def _tell(self, task: Task, state: TaskState, message: Message | None) -> None:
        changed = StatusChanged(
            task_id=task.id,
            context_id=task.context_id,
            state=state,
            at=self._clock.now(),
            message=message,
        )
        self._move(task.id, changed)

    def _settle(self, task: Task, state: TaskState, message: Message | None) -> None:
        live = self._feed.get(task.id)
        if live is None:
            return
        if message is not None:
            message = replace(message, task_id=task.id, context_id=task.context_id)
        self._tell(task, state, message)
        self._tasks[task.id] = live.task
        self._scopes.pop(task.id, None)
        self._feed.close(task.id)

    def _says(self, task: Task, text: str) -> Message:
        return Message(
            id=MessageId(self._new()),
            role=Role.AGENT,
            parts=(Part(text=text),),
            context_id=task.context_id,
            task_id=task.id,
        )

    def _new(self) -> str:
        return new_id(self._clock, self._randomness)


def _may_see(principal: Principal, task: Task) -> bool:
    if task.owner != principal.owner:
        return False
    return principal.kind is not PrincipalKind.AGENT or task.caller == str(principal)


def _fits(query: TaskQuery, task: Task) -> bool:
    return (
        query.context_id in (None, task.context_id)
        and query.state in (None, task.state)
        and query.agent in (None, task.agent)
        and (query.changed_after is None or task.updated_at >= query.changed_after)
    )
