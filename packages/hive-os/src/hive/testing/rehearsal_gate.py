"""A gate for testing doors: it admits what a test says, keeps every attempt, and replays on demand.

It judges nothing by itself. What the kernel really decides is tested with the kernel.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeAlias

import anyio

from hive.core.budget import Amounts
from hive.core.call import (
    Call,
    Outcome,
    Principal,
    PrincipalKind,
    Refused,
    TraceContext,
    sha256_hex,
)
from hive.core.clock import Clock, SystemClock
from hive.core.errors import NotFoundError
from hive.core.ids import (
    AgentId,
    CallId,
    ContextId,
    OwnerId,
    SandboxId,
    SpanId,
    TaskId,
    TraceId,
    TurnId,
)
from hive.core.json import Json
from hive.core.task import Message, Task, TaskEvent, TaskState
from hive.kernel.ports import Act, Attempt, TaskPage, TaskQuery

Judge: TypeAlias = Callable[[Attempt], Refused | None]
SANDBOX = SandboxId("box-1")
HANDLE = "hive-box-1-handle"
CALLER = Principal(
    kind=PrincipalKind.AGENT,
    name="reader",
    owner=OwnerId("alice"),
    agent=AgentId("reader"),
    sandbox=SANDBOX,
    turn=TurnId("turn-1"),
)


@dataclass(slots=True)
class KeptCall:
    """What became of one attempt."""

    attempt: Attempt
    outcome: Outcome | None = None
    cost: Mapping[str, Json] = field(default_factory=dict)
    frames: list[bytes] = field(default_factory=list)
    refused: Refused | None = None
    error: str = ""
    spent: Amounts | None = None


class RehearsedPassage:
    """An admitted call whose frames are kept or, in a re-run, read from what was kept."""

    def __init__(
        self, call: Call, kept: KeptCall, act: Act | None, redact: frozenset[str] = frozenset()
    ) -> None:
        self.call = call
        self.replayed = act is None
        self.redact = redact
        self._kept = kept
        self._act = act

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the frames of the deed."""
        if self._act is None:
            for frame in self._kept.frames:
                yield frame
            return
        async with aclosing(self._act()) as frames:  # type: ignore[type-var]
            async for frame in frames:
                self._kept.frames.append(frame)
                yield frame
        if self._kept.outcome is None:
            self._kept.outcome = Outcome.OK

    def settle(
        self,
        outcome: Outcome,
        *,
        cost: Mapping[str, Json] | None = None,
        spent: Amounts | None = None,
    ) -> None:
        """Say how it ended."""
        self._kept.outcome = outcome
        self._kept.spent = self._kept.spent if spent is None else spent
        self._kept.cost = cost or self._kept.cost


@dataclass(frozen=True, slots=True)
class RehearsedDelivery:
    """A message that was accepted; its task ends when the test says so."""

    task: Task
    done: anyio.Event
    gate: "RehearsalGate"

    async def events(self) -> AsyncIterator[TaskEvent]:
        """Yield the task as it was accepted and as it ended."""
        yield self.task
        await self.done.wait()
        yield self.gate.held[self.task.id]

    async def settled(self) -> Task:
        """Wait for the end."""
        await self.done.wait()
        return self.gate.held[self.task.id]


class RehearsalGate:
    """Satisfy the port `Gate` for one sandbox with one handle."""

    def __init__(
        self,
        *,
        judge: Judge = lambda _attempt: None,
        sandbox: SandboxId = SANDBOX,
        handle: str = HANDLE,
        caller: Principal = CALLER,
        clock: Clock | None = None,
        settle_at_once: bool = True,
    ) -> None:
        self.calls: list[KeptCall] = []
        self.left: Amounts = {}
        self.redact: frozenset[str] = frozenset()
        self.replay: list[KeptCall] = []
        self.sent: list[tuple[Attempt, AgentId, Message]] = []
        self.held: dict[TaskId, Task] = {}
        self._ends: dict[TaskId, anyio.Event] = {}
        self._judge = judge
        self._sandbox = sandbox
        self._handle = handle
        self._caller = caller
        self._clock = clock or SystemClock()
        self._settle_at_once = settle_at_once
        self._observers: list[Callable[[TaskEvent], Awaitable[None]]] = []

    def resolve_handle(self, sandbox: SandboxId, handle: str) -> Principal | Refused:
        """Return the caller for the one handle on the one sandbox."""
        if (sandbox, handle) == (self._sandbox, self._handle):
            return self._caller
        return Refused(check="handle", reason="the handle is not valid here")

    def room(self, principal: Principal) -> Amounts:
        """Return what the tightest ceilings leave this caller now."""
        del principal
        return self.left

    @asynccontextmanager
    async def deliver(
        self, attempt: Attempt, act: Act
    ) -> AsyncIterator[Refused | RehearsedPassage]:
        """Admit or refuse as the judge says; keep what happened."""
        kept = KeptCall(attempt)
        self.calls.append(kept)
        kept.refused = self._judge(attempt)
        if kept.refused is not None:
            yield kept.refused
            return
        recorded = next((one for one in self.replay if self._same(one.attempt, attempt)), None)
        try:
            if recorded is not None:
                yield RehearsedPassage(self._call(attempt), recorded, None)
            else:
                yield RehearsedPassage(self._call(attempt), kept, act, self.redact)
        except BaseException as error:
            kept.error = type(error).__name__
            kept.outcome = kept.outcome or (
                Outcome.FAILED if isinstance(error, Exception) else Outcome.CANCELED
            )
            raise

    async def send(
        self, attempt: Attempt, agent: AgentId, message: Message
    ) -> Refused | RehearsedDelivery:
        """Accept a message as a task."""
        no = self._judge(attempt)
        if no is not None:
            return no
        self.sent.append((attempt, agent, message))
        number = len(self.sent)
        now = self._clock.now()
        task = Task(
            id=TaskId(f"task-{number}"),
            context_id=message.context_id or ContextId(f"context-{number}"),
            agent=agent,
            owner=attempt.principal.owner,
            caller=str(attempt.principal),
            call=CallId(f"call-{number}"),
            state=TaskState.SUBMITTED,
            created_at=now,
            updated_at=now,
        )
        self.held[task.id] = task
        self._ends[task.id] = anyio.Event()
        for observer in self._observers:
            await observer(task)
        delivery = RehearsedDelivery(task, self._ends[task.id], self)
        if self._settle_at_once:
            await self.end(task.id)
        return delivery

    async def end(self, task: TaskId, state: TaskState = TaskState.COMPLETED) -> None:
        """Let a task end."""
        self.held[task] = replace(self.held[task], state=state)
        for observer in self._observers:
            await observer(self.held[task])
        self._ends[task].set()

    async def task(self, principal: Principal, task: TaskId) -> Task:
        """Return a task of its owner."""
        found = self.held.get(task)
        if found is None or found.owner != principal.owner:
            raise NotFoundError("There is no such task.")
        return found

    async def tasks(self, principal: Principal, query: TaskQuery) -> TaskPage:
        """List the caller's tasks."""
        own = tuple(one for one in self.held.values() if one.owner == principal.owner)
        return TaskPage(tasks=own[: query.limit], total=len(own))

    async def cancel(self, principal: Principal, task: TaskId) -> Task:
        """Cancel a task."""
        await self.task(principal, task)
        await self.end(task, TaskState.CANCELED)
        return self.held[task]

    @asynccontextmanager
    async def follow(
        self, principal: Principal, task: TaskId
    ) -> AsyncIterator[AsyncIterator[TaskEvent]]:
        """Follow a task to its end."""
        found = await self.task(principal, task)
        yield RehearsedDelivery(found, self._ends[task], self).events()

    def on_change(self, observer: Callable[[TaskEvent], Awaitable[None]]) -> Callable[[], None]:
        """Call `observer` after every change."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    @property
    def outcomes(self) -> Sequence[Outcome | None]:
        """Return how the delivered calls ended, in order."""
        return [one.outcome for one in self.calls]

    def _same(self, one: Attempt, other: Attempt) -> bool:
        return (one.verb, one.target, one.arguments) == (other.verb, other.target, other.arguments)

    def _call(self, attempt: Attempt) -> Call:
        now = self._clock.now()
        return Call(
            id=CallId(f"call-{len(self.calls)}"),
            principal=attempt.principal,
            verb=attempt.verb,
            target=attempt.target,
            effect=attempt.effect,
            argument_hash=sha256_hex(attempt.arguments),
            at=now,
            deadline=now + timedelta(seconds=attempt.timeout_s),
            trace=TraceContext(trace_id=TraceId("1" * 32), span_id=SpanId("2" * 16)),
        )
