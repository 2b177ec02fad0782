"""One node, built: the only place that picks engines and introduces the layers to each other.

Order matters for the start: bind, spawn both engines, import the doors while they come up, then open
epoch, kernel and doors. What is left is undone in the reverse order, whatever happens in between.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from hive.core.clock import Clock
from hive.core.errors import EngineError, LedgerError
from hive.core.ids import SandboxId
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.engines import Engines, Migration, load_migrations, open_engines
from hive.execution.components import Components
from hive.execution.environment import Environments
from hive.execution.ports import LogLine
from hive.execution.prepare import Preparer
from hive.kernel.logbook import LogBook
from hive.kernel.rising import Rising
from hive.kernel.turns import TurnBook
from hive.ledger.writer import LedgerWriter
from hive.memory import Values
from hive.node.enforcing import Enforcement, begin_early, open_enforcement
from hive.node.foreign_nodes import open_registrar
from hive.node.gates import SandboxDoors
from hive.node.guard import GuardedValues, opened_scanner, secrets_of
from hive.node.identity import EarlyIdentity, NodeIdentity, SandboxIdentities, keep_identity
from hive.node.keeping import trim_copies
from hive.node.kernel_parts import Ground, Kernel, build_kernel
from hive.node.late import LateGate
from hive.node.ledger_opening import OpenLedger, open_ledger
from hive.node.opening import span_store
from hive.node.placement import BuildDoors, TierPlacement, ToolDoors
from hive.node.policy_opening import open_policy
from hive.node.provenance import provenance_of
from hive.node.relations import LateRelations, open_relations
from hive.node.routes import SandboxRoutes
from hive.node.state import StateFolder
from hive.node.tiers import Tiers, opened_tiers
from hive.node.warrants import open_warrants
from hive.node.watchdog import Watchdog
from hive.node.watchdog_opening import open_watchdog
from hive.observability.ports import SpanStore
from hive.observability.spans import SpanFeed, Tracer
from hive.protocols.egress import EgressDoor
from hive.protocols.own import OwnDoor
from hive.security.capability import WarrantBook
from hive.security.identity.registration import NodeRegistrar

if TYPE_CHECKING:
    from hive.node.llm import NodeModels
    from hive.node.mcp import NodeMcp
    from hive.node.tools import NodeTools

log: Final = logging.getLogger(__name__)
SCHEMAS: Final = (
    "hive.ledger",
    "hive.kernel",
    "hive.memory",
    "hive.security",
    "hive.observability",
    "hive.protocols.a2a",
    "hive.protocols.models",
    "hive.protocols.mcp",
)
SUMMARY_EVERY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a node has before any engine is up."""

    settings: Settings
    clock: Clock
    randomness: Randomness
    turns: TurnBook
    logs: LogBook
    run_directory: Path


@dataclass(slots=True, kw_only=True)
class Node:
    """The parts of a running node that doors, console and doctor need."""

    ground: Ground
    state: StateFolder
    engines: Engines
    ledger: OpenLedger
    kernel: Kernel
    placement: TierPlacement
    environments: Environments
    tiers: Tiers
    spans: SpanStore
    inside: SandboxRoutes
    identity: NodeIdentity
    registrar: NodeRegistrar
    warrants: WarrantBook
    relations: LateRelations
    watchdog: Watchdog
    enforcement: Enforcement
    tasks: TaskGroup
    models: "NodeModels | None" = None
    tools: "NodeTools | None" = None
    mcp: "NodeMcp | None" = None

    @property
    def settings(self) -> Settings:
        """Return the settings it was built with."""
        return self.ground.settings

    @property
    def clock(self) -> Clock:
        """Return its clock."""
        return self.ground.clock

    @property
    def randomness(self) -> Randomness:
        """Return its source of randomness."""
        return self.ground.randomness


def all_migrations() -> Sequence[Migration]:
    """Return the schema of every layer, in the order in which they build on each other."""
    return [migration for package in SCHEMAS for migration in load_migrations(package)]


@asynccontextmanager
async def open_node(
    settings: Settings,
    *,
    state: StateFolder,
    run_directory: Path,
    meanwhile: Callable[[], None],
    clock: Clock,
    randomness: Randomness,
) -> AsyncIterator[Node]:
    """Open engines, ledger, execution and kernel; `meanwhile` runs while engines come up. Raises what `run_node` raises."""
    turns, logs = TurnBook(randomness), LogBook(clock, state.logs)
    async with AsyncExitStack() as stack:
        stack.callback(logs.close)
        early = EarlyIdentity(stack, settings, state, clock=clock, randomness=randomness)
        enforcer = begin_early(stack, settings)
        engines = await stack.enter_async_context(_engines(settings, meanwhile, early))
        ledger = await open_ledger(stack, settings, state, engines, clock, randomness)
        tiers = await stack.enter_async_context(opened_tiers(settings, _lines_to(turns, logs)))
        tasks = await stack.enter_async_context(_task_group())
        feed = SpanFeed(spans := span_store(settings, engines.database), clock=clock)
        begun = Beginning(settings, clock, randomness, turns, logs, run_directory)
        ground = await _ground(stack, tasks, engines, ledger, feed, begun)
        enforcement = await open_enforcement(tasks, ground, tiers, enforcer)
        identity, inside = await early.identity(ledger.writer), SandboxRoutes()
        kernel, placement, environments = _kernel(ground, tiers, inside, identity, enforcement)
        inside.own, kernel.guards.policies.spiffe_id = _own_door(ground, kernel), identity.name_of
        warrants = await open_warrants(ground, state, kernel.guards.warrants)
        relations = open_relations(stack, ground, kernel.guards.policies)
        watchdog = await open_watchdog(tasks, ground, kernel, identity, ledger.followers, warrants)
        await _load(kernel, secrets_of(ground, state))
        _start_keepers(tasks, feed, ledger, kernel, environments, settings, identity)
        yield Node(
            ground=ground,
            state=state,
            engines=engines,
            ledger=ledger,
            kernel=kernel,
            placement=placement,
            environments=environments,
            tiers=tiers,
            spans=spans,
            inside=inside,
            identity=identity,
            registrar=await open_registrar(tasks, ground, state),
            warrants=warrants,
            relations=relations,
            watchdog=watchdog,
            enforcement=enforcement,
            tasks=tasks,
        )


async def _ground(
    stack: AsyncExitStack,
    tasks: TaskGroup,
    engines: Engines,
    ledger: OpenLedger,
    feed: SpanFeed,
    begun: Beginning,
) -> Ground:
    """Return what the kernel stands on; the guard and the policy are opened here."""
    settings, clock = begun.settings, begun.clock
    exports = bool(settings.otlp_endpoint)
    return Ground(
        settings=settings,
        clock=clock,
        randomness=begun.randomness,
        database=engines.database,
        contents=ledger.contents,
        writer=ledger.writer,
        turns=begun.turns,
        logs=begun.logs,
        tracer=Tracer(feed, randomness=begun.randomness, exports=exports),
        run_directory=begun.run_directory,
        scanner=await stack.enter_async_context(opened_scanner(settings, clock)),
        policy=await open_policy(stack, tasks, settings, clock, ledger.writer),
    )


def _own_door(ground: Ground, kernel: Kernel) -> OwnDoor:
    return OwnDoor(
        gate=kernel.dispatcher,
        values=Values(ground.database),
        rising=Rising(ground.turns, kernel.supervisor.hosted),
    )


async def _load(kernel: Kernel, values: GuardedValues) -> None:
    kernel.guards.scans.known = values.current
    await kernel.budgets.load()
    await kernel.approvals.load()


def _engines(
    settings: Settings, meanwhile: Callable[[], None], early: EarlyIdentity
) -> AbstractAsyncContextManager[Engines]:
    return open_engines(
        settings,
        migrations=all_migrations(),
        meanwhile=meanwhile,
        on_database=early.begin,
        client_tls=early.client_tls,
        database_tls=early.database.context,
    )


def _kernel(
    ground: Ground,
    tiers: Tiers,
    inside: SandboxRoutes,
    identity: NodeIdentity,
    enforcement: Enforcement,
) -> tuple[Kernel, TierPlacement, Environments]:
    """Put the kernel together; its egress door and its gates need each other, so they meet here."""
    holder: list[Kernel] = []
    egress = EgressDoor(
        gate=LateGate(lambda: holder[0].dispatcher),
        principal_for=ground.turns.principal_without_turn,
        grant_for=ground.turns.grant_in,
        is_builder=ground.turns.builds_in,
        objection_to=enforcement.objection_to,
        clock=ground.clock,
    )
    identities = SandboxIdentities(identity.service, ground.turns, tiers.first_process)
    gates = SandboxDoors(app=inside, egress=egress, identity=identities)
    doors = BuildDoors(
        gates=gates,
        turns=ground.turns,
        clock=ground.clock,
        randomness=ground.randomness,
        run_directory=ground.run_directory,
    )
    environments = Environments(
        settings=ground.settings, driver=tiers.builder, doors=doors, clock=ground.clock
    )
    placement = TierPlacement(
        tiers=tiers,
        preparer=Preparer(
            state=ground.settings.state,
            home=Path.home(),
            environments=environments,
            roots=ground.settings.ssl_cert_file,
            components=Components(ground.settings.state, tiers.builder),
        ),
        walls_min=ground.settings.walls_min,
        provenance=provenance_of(ground.settings, ground.database, ground.clock),
        tool_doors=ToolDoors(
            egress=egress,
            turns=ground.turns,
            clock=ground.clock,
            randomness=ground.randomness,
            run_directory=ground.run_directory,
        ),
    )
    holder.append(build_kernel(ground, placement, gates))
    return holder[0], placement, environments


@asynccontextmanager
async def _task_group() -> AsyncIterator[TaskGroup]:
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        finally:
            tasks.cancel_scope.cancel()


def _lines_to(turns: TurnBook, logs: LogBook) -> Callable[[SandboxId, LogLine], None]:
    def on_log(sandbox: SandboxId, line: LogLine) -> None:
        whose = turns.whose(sandbox)
        if whose is not None:
            agent, task = whose
            logs.add(agent, line.text, level=line.level, task=task)

    return on_log


def _start_keepers(
    tasks: TaskGroup,
    feed: SpanFeed,
    ledger: OpenLedger,
    kernel: Kernel,
    environments: Environments,
    settings: Settings,
    identity: NodeIdentity,
) -> None:
    keep_identity(tasks, identity)
    tasks.start_soon(trim_copies, settings, environments, kernel.supervisor, kernel.registry)
    tasks.start_soon(feed.run)
    tasks.start_soon(ledger.checkpointer.run)
    tasks.start_soon(_summarise_refusals, kernel, ledger.writer)


async def _summarise_refusals(kernel: Kernel, writer: LedgerWriter) -> None:
    while True:
        await anyio.sleep(SUMMARY_EVERY_S)
        draft = kernel.refusals.summary()
        if draft is not None:
            try:
                await writer.append(draft)
            except (EngineError, LedgerError):
                log.warning("refusals.summary_not_written")
