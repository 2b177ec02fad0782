"""What the doors may ask of the kernel, and what the kernel needs of others, on one screen.

Doors import nothing else of the kernel. `hive.node` introduces the two sides.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from hive.core.budget import Amounts
from hive.core.call import Call, EffectClass, Outcome, Principal, Refused, Verb
from hive.core.grant import Grant, Tier
from hive.core.ids import AgentId, ContextId, SandboxId, TaskId
from hive.core.json import Json, decode
from hive.core.spec import AgentSpec
from hive.core.task import Message, Task, TaskEvent, TaskState
from hive.execution.ports import Description, Wall
from hive.kernel.budgets import Payers
from hive.security.capability.warrant import Warrant

Frames: TypeAlias = AsyncIterator[bytes]
PROVIDER_TOOLS: Final = "provider_tools"
"""The fact of a question to a model which says that the provider itself looks elsewhere for the answer."""
Act: TypeAlias = Callable[[], Frames]
"""The deed behind a call, as frames in the door's own encoding. Raising records a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a door knows of a call before the kernel gives it an id, a trace and a deadline.

    `arguments` are the canonical bytes that identify the call to a re-run (a request body without
    volatile fields). `facts` are the parts that checks need, for example `{"model": "gpt-4o"}`.
    `reserve` is a sound bound of what the call may spend: taken with the intent, settled with the result.
    `aside` is what leaves with the call besides (headers, fields that say nothing of it): nobody keeps it, the guard reads it.
    `warrant` is one that a caller from elsewhere showed, verified with its proof by the door.
    """

    principal: Principal
    verb: Verb
    target: str
    effect: EffectClass
    arguments: bytes
    size_bytes: int = 0
    timeout_s: float = 300.0
    traceparent: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)
    reserve: Amounts = field(default_factory=dict)
    warrant: Warrant | None = None
    aside: bytes = b""


class Passage(Protocol):
    """An admitted call on its way: iterate its frames; they may be served from the record.

    `redact` are the kinds that the door takes out of what it sends (`hive.security.guardrails.redact`).
    """

    call: Call
    replayed: bool
    redact: frozenset[str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the frames of the deed."""
        ...

    def settle(
        self,
        outcome: Outcome,
        *,
        cost: Mapping[str, Json] | None = None,
        spent: Amounts | None = None,
    ) -> None:
        """Say how it ended, where that is more than "all frames came" (a model's error, a price).

        `spent` replaces the reservation; without it the whole reservation counts as spent.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """Which tasks to list (A2A 1.0, ListTasks). `cursor` is what the page before gave."""

    context_id: ContextId | None = None
    state: TaskState | None = None
    agent: AgentId | None = None
    changed_after: datetime | None = None
    limit: int = 50
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """One page of tasks, newest change first."""

    tasks: tuple[Task, ...]
    total: int
    next_cursor: str = ""


class Delivery(Protocol):
    """A message that an agent accepted: durable before this exists."""

    @property
    def task(self) -> Task:
        """Return the task as it was accepted."""
        ...

    def events(self) -> AsyncIterator[TaskEvent]:
        """Yield the whole task, then every change, and end when it is terminal or waits for input."""
        ...

    async def settled(self) -> Task:
        """Wait until the task is terminal or waits for input; return it whole."""
        ...


class Gate(Protocol):
    """The kernel as the doors see it. Every method records; none raises for an expected no."""

    def resolve_handle(self, sandbox: SandboxId, handle: str) -> Principal | Refused:
        """Return who is calling from this sandbox now: the running turn, or nobody."""
        ...

    def room(self, principal: Principal) -> Amounts:
        """Return what the tightest ceilings leave this caller now; units without a ceiling are missing."""
        ...

    def deliver(self, attempt: Attempt, act: Act) -> AbstractAsyncContextManager[Refused | Passage]:
        """Admit, record the intent, act, record the result. For models, tools, hosts."""
        ...

    async def send(self, attempt: Attempt, agent: AgentId, message: Message) -> Refused | Delivery:
        """Admit a message for an agent, make it durable, wake the agent.

        A message with a task id continues that task.

        Raises:
            NotFoundError: no such agent or task, or it is not the caller's.
            StateError: the task has ended.

        """
        ...

    async def task(self, principal: Principal, task: TaskId) -> Task:
        """Return a task that the caller may see.

        Raises:
            NotFoundError: there is none, or it is another owner's.

        """
        ...

    async def tasks(self, principal: Principal, query: TaskQuery) -> TaskPage:
        """List the tasks that the caller may see."""
        ...

    async def cancel(self, principal: Principal, task: TaskId) -> Task:
        """Cancel a task; return it as it then stands.

        Raises:
            NotFoundError: there is none, or it is another owner's.
            StateError: it has ended.

        """
        ...

    def follow(
        self, principal: Principal, task: TaskId
    ) -> AbstractAsyncContextManager[AsyncIterator[TaskEvent]]:
        """Subscribe to a task: the whole task first, then its changes until it settles.

        Raises:
            NotFoundError: there is none, or it is another owner's.
            StateError: it has ended.

        """
        ...

    def on_change(self, observer: Callable[[TaskEvent], Awaitable[None]]) -> Callable[[], None]:
        """Call `observer` after every durable change of any task; return what ends that."""
        ...


class AgentState(StrEnum):
    """Where a hosted agent stands."""

    STARTING = "starting"
    READY = "ready"
    STOPPED = "stopped"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """A hosted agent as doors and people see it."""

    spec: AgentSpec
    grant: Grant
    state: AgentState
    tier: Tier
    walls: tuple[Wall, ...] = ()
    description: Description | None = None
    sandboxes: int = 0
    turns_running: int = 0
    turns_waiting: int = 0
    restarts: int = 0
    memory_bytes: int = 0
    reason: str = ""
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLog:
    """One line of an agent's log, already stripped of control characters."""

    at: datetime
    agent: AgentId
    text: str
    level: str = "info"
    task_id: TaskId | None = None


class Agents(Protocol):
    """The agents of this node."""

    def get(self, agent: AgentId) -> AgentView | None:
        """Return one agent, or None."""
        ...

    def all(self) -> Sequence[AgentView]:
        """Return all agents, by name."""
        ...

    async def deploy(
        self,
        principal: Principal,
        spec: AgentSpec,
        grant: Grant,
        on_line: Callable[[str], None] = ...,
    ) -> AgentView:
        """Prepare and start an agent under a grant that was confirmed; replaces one of that name.

        `on_line` is told of the progress of building its environment.

        Raises:
            SpecError: its source cannot be used.
            BuildError: its environment did not build.
            TierUnavailableError: no tier covers the grant.

        """
        ...

    async def stop(self, principal: Principal, agent: AgentId, *, drain_s: float = 0.0) -> None:
        """Stop an agent; its queued turns stay queued. Raises NotFoundError."""
        ...

    async def start(self, principal: Principal, agent: AgentId) -> AgentView:
        """Start a stopped agent again. Raises NotFoundError."""
        ...

    async def remove(self, principal: Principal, agent: AgentId) -> None:
        """Stop an agent and forget its spec; its record stays. Raises NotFoundError."""
        ...

    def logs(
        self, agent: AgentId | None, *, last: int = 100, follow: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[AgentLog]]:
        """Read the lines that agents printed."""
        ...


class GateListener(Protocol):
    """Opens the doors on a sandbox's own sockets; made by the node, used by the supervisor."""

    def listen(
        self, sandbox: SandboxId, directory: str
    ) -> AbstractAsyncContextManager[Mapping[str, str]]:
        """Serve `gate.sock` and `egress.sock` in `directory`; give the environment of the agent."""
        ...


class Arguments:
    """The canonical arguments of a call, read as JSON once, by the first check that needs them."""

    __slots__ = ("_document", "_read", "raw")

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = raw
        self._document: Json = None
        self._read = False

    @property
    def document(self) -> Json:
        """Return them as JSON; None where they are something else."""
        if not self._read:
            with suppress(ValueError):
                self._document = decode(self.raw)
            self._read = True
        return self._document


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What the checks need, fetched once: the caller's grant, the agent that is called, the chain.

    `lineage` are the agents that wait above the call, `payers` whose budgets it draws from; `parked` is why the calling turn may not act;
    `turn_over` tells that the turn ended after it was found out who calls.
    """

    grant: Grant | None = None
    agent: AgentView | None = None
    lineage: tuple[AgentId, ...] = ()
    payers: Payers | None = None
    tasks_in_flight: int = 0
    parked: str = ""
    turn_over: bool = False
    arguments: Arguments = field(default_factory=Arguments)
    warrant: Warrant | None = None
