"""A kernel for tests: the real parts on a database, and sandboxes that do what a test tells them.

`Stage` is the sandbox driver: each turn is played by a function of the test, so a test may make a
sandbox do anything at any place, also what no real one does.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from hive.core.budget import Unit
from hive.core.call import EffectClass, Principal, PrincipalKind, Verb
from hive.core.clock import SystemClock
from hive.core.grant import Grant, Limits, Tier
from hive.core.ids import AgentId, ContextId, MessageId, OwnerId, SandboxId, TaskId, TurnId, new_id
from hive.core.json import Json
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.core.task import Message, Part, Role
from hive.engines.ports import Database
from hive.execution.ports import (
    Description,
    GuestEvent,
    Opening,
    Prepared,
    Sandbox,
    SandboxStats,
    Turn,
    TurnDone,
    Wall,
)
from hive.kernel.logbook import LogBook
from hive.kernel.places import Placed
from hive.kernel.ports import Attempt
from hive.kernel.turns import TurnBook
from hive.ledger.writer import Observer
from hive.node.kernel_parts import Ground, Kernel, build_kernel
from hive.observability.spans import SpanFeed, Tracer
from hive.security.policy import StandingPolicy
from hive.testing.engines import settings_in
from hive.testing.ledger import contents_in, open_ledger

Play = Callable[["StagedSandbox", Turn], AsyncIterator[GuestEvent]]
ALICE = Principal(kind=PrincipalKind.CLIENT, name="alice", owner=OwnerId("alice"))
BOB = Principal(kind=PrincipalKind.CLIENT, name="bob", owner=OwnerId("bob"))
OPERATOR = Principal(kind=PrincipalKind.OPERATOR, name="operator", owner=OwnerId("operator"))


def said(text: str, role: Role = Role.AGENT, **more: object) -> Message:
    return Message(id=MessageId(fresh()), role=role, parts=(Part(text=text),), **more)


def fresh() -> str:
    return new_id(SystemClock(), SystemRandomness())


async def answer(_sandbox: "StagedSandbox", turn: Turn) -> AsyncIterator[GuestEvent]:
    """Play a turn that answers what it was asked."""
    yield TurnDone(message=said(turn.message.text))


@dataclass
class StagedSandbox:
    """A sandbox whose turns a test plays."""

    stage: "Stage"
    id: SandboxId
    handle: str
    tier: Tier = Tier.PROCESS
    walls: Sequence[Wall] = ()
    pid: int = 0
    refused: str = ""
    dead: anyio.Event = field(default_factory=anyio.Event)
    canceled: anyio.Event = field(default_factory=anyio.Event)
    reason: str = ""

    async def ready(self, _timeout_s: float) -> Description:
        await self.stage.on_ready(self)
        return Description(shape="function", streams=False)

    def run_turn(self, turn: Turn) -> AsyncIterator[GuestEvent]:
        self.stage.turns.append(turn)
        return self.stage.play(self, turn)

    async def cancel(self, _turn: TurnId) -> None:
        self.canceled.set()

    async def wait_dead(self) -> str:
        await self.stage.on_watch(self)
        await self.dead.wait()
        return self.reason

    async def stats(self) -> SandboxStats:
        return SandboxStats(memory_bytes=0, processes=1, cpu_s=0.0)

    def kill(self, reason: str) -> None:
        self.reason = reason
        self.dead.set()


async def nothing(_sandbox: StagedSandbox) -> None:
    """Let it be."""


@dataclass
class Stage:
    """A tier whose sandboxes exist on paper; `on_...` may raise at that place."""

    play: Play = answer
    on_spawn: Callable[[StagedSandbox], Awaitable[None]] = nothing
    on_ready: Callable[[StagedSandbox], Awaitable[None]] = nothing
    on_watch: Callable[[StagedSandbox], Awaitable[None]] = nothing
    on_leave: Callable[[StagedSandbox], Awaitable[None]] = nothing
    tier: Tier = Tier.PROCESS
    turns: list[Turn] = field(default_factory=list)
    live: list[StagedSandbox] = field(default_factory=list)

    @asynccontextmanager
    async def spawn(
        self, _prepared: Prepared, _grant: Grant, opening: Opening
    ) -> AsyncIterator[Sandbox]:
        sandbox = StagedSandbox(self, opening.sandbox_id, opening.environment["HIVE_HANDLE"])
        await self.on_spawn(sandbox)
        self.live.append(sandbox)
        try:
            yield sandbox
        finally:
            self.live.remove(sandbox)
            await self.on_leave(sandbox)

    async def place(
        self, spec: AgentSpec, _grant: Grant, _on_line: Callable[[str], None]
    ) -> Placed:
        return Placed(
            tier=self.tier, driver=self, prepared=Prepared(spec=spec, argv=("x",), reads=())
        )

    @asynccontextmanager
    async def listen(
        self, _sandbox: SandboxId, _directory: str
    ) -> AsyncIterator[Mapping[str, str]]:
        yield {}


@asynccontextmanager
async def closing_late(logs: LogBook) -> AsyncIterator[None]:
    try:
        yield
    finally:
        logs.close()


@asynccontextmanager
async def running_kernel(
    database: Database,
    tmp_path: Path,
    stage: Stage,
    *,
    exported: SpanFeed | None = None,
    observer: Observer | None = None,
    **settings: object,
) -> AsyncIterator[Kernel]:
    """Run a kernel; leaving the context is its crash: nothing is said good-bye to."""
    feed = exported or SpanFeed()
    run = tmp_path / fresh()
    run.mkdir()
    logs = LogBook(SystemClock(), tmp_path / "logs")
    async with closing_late(logs), open_ledger(database, observer=observer) as writer:
        ground = Ground(
            settings=settings_in(tmp_path, **settings),
            clock=SystemClock(),
            randomness=SystemRandomness(),
            database=database,
            contents=contents_in(database),
            writer=writer,
            turns=TurnBook(SystemRandomness()),
            logs=logs,
            tracer=Tracer(feed, exports=exported is not None),
            run_directory=run,
            policy=await standing_policy(settings_in(tmp_path, **settings)),
        )
        kernel = build_kernel(ground, stage, stage)
        await kernel.budgets.load()
        await kernel.approvals.load()
        async with kernel.supervisor.running():
            yield kernel


async def standing_policy(settings: Settings) -> StandingPolicy:
    async def emit(_name: str, _body: dict[str, Json]) -> None:
        return

    policy = StandingPolicy(settings=settings, clock=SystemClock(), emit=emit)
    await policy.open()
    return policy


async def deploy(kernel: Kernel, name: str = "worker", **limits: object) -> None:
    grant = Grant(limits=Limits(**limits), models=("*",), agents=("*",))
    spec = AgentSpec(
        name=AgentId(name), entry=EntryPoint(kind=StartKind.PYTHON, path="x.py", attribute="f")
    )
    await kernel.supervisor.deploy(OPERATOR, spec, grant)


async def send(
    kernel: Kernel,
    text: str,
    *,
    to: str = "worker",
    by: Principal = ALICE,
    context: str | None = None,
    task: str | None = None,
):
    message = said(
        text,
        Role.USER,
        context_id=None if context is None else ContextId(context),
        task_id=None if task is None else TaskId(task),
    )
    attempt = Attempt(
        principal=by,
        verb=Verb.SEND,
        target=to,
        effect=EffectClass.IDEMPOTENT,
        arguments=text.encode(),
    )
    return await kernel.dispatcher.send(attempt, AgentId(to), message)


def ask(
    principal: Principal,
    text: str = "?",
    *,
    effect: EffectClass = EffectClass.IDEMPOTENT,
    reserve: Mapping[Unit, int] | None = None,
):
    return Attempt(
        principal=principal,
        verb=Verb.ASK,
        target="gpt",
        effect=effect,
        arguments=text.encode(),
        reserve=reserve or {},
    )
