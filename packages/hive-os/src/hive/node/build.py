"""One node, built: the only place that picks engines and introduces the layers to each other.

Order matters for the start: bind, spawn both engines, import the doors while they come up, then open
epoch, kernel and doors. What is left is undone in the reverse order, whatever happens in between.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

import anyio
from anyio.abc import TaskGroup

from hive.core.clock import Clock
from hive.core.errors import ConfigError, EngineError, LedgerError, TierUnavailableError
from hive.core.grant import Tier
from hive.core.ids import NodeId, SandboxId
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.engines import Engines, Migration, load_migrations, open_engines
from hive.engines.ports import Database
from hive.execution.drivers import DRIVERS as SANDBOXES
from hive.execution.environment import Environments
from hive.execution.ports import LogLine, Probe, SandboxDriver
from hive.execution.prepare import Preparer
from hive.kernel.logbook import LogBook
from hive.kernel.turns import TurnBook
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.contents import Contents
from hive.ledger.drivers import WITNESSES
from hive.ledger.entry import Entry
from hive.ledger.meter import SpendMeter
from hive.ledger.notes import NoteSigner
from hive.ledger.ports import Witness
from hive.ledger.writer import LedgerWriter
from hive.node.gates import SandboxDoors
from hive.node.keeping import trim_copies
from hive.node.kernel_parts import Ground, Kernel, build_kernel
from hive.node.late import LateGate
from hive.node.placement import BuildDoors, TierPlacement, ToolDoors
from hive.node.routes import SandboxRoutes
from hive.node.state import StateFolder
from hive.observability.drivers import COLLECTORS, SPAN_STORES
from hive.observability.export import ForwardedSpans
from hive.observability.ports import SpanStore
from hive.observability.spans import SpanFeed, Tracer
from hive.protocols.egress import EgressDoor

if TYPE_CHECKING:
    from hive.node.llm import NodeModels
    from hive.node.mcp import NodeMcp
    from hive.node.tools import NodeTools

log: Final = logging.getLogger(__name__)
SCHEMAS: Final = (
    "hive.ledger",
    "hive.kernel",
    "hive.security",
    "hive.observability",
    "hive.protocols.a2a",
    "hive.protocols.models",
    "hive.protocols.mcp",
)
SUMMARY_EVERY_S: Final = 30.0


class ProcessTier(SandboxDriver, Protocol):
    """The process tier's driver as the node opens it."""

    async def __aenter__(self) -> "ProcessTier":
        """Start its launcher."""
        ...

    async def __aexit__(self, *exception: object) -> None:
        """Stop it and every sandbox."""
        ...


class WitnessOpener(Protocol):
    """What a row of the table of witnesses has: the class opens itself from its URL."""

    def open(
        self, url: str, *, clock: Clock, randomness: Randomness
    ) -> AbstractAsyncContextManager[Witness]:
        """Open the witness behind a URL."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLedger:
    """The ledger of a running node, and the keys that vouch for it."""

    contents: Contents
    writer: LedgerWriter
    checkpointer: Checkpointer
    signer: NoteSigner
    witness: Witness
    meter: SpendMeter


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
    probes: tuple[Probe, ...]
    spans: SpanStore
    inside: SandboxRoutes
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
    """Open engines, ledger, execution and kernel; `meanwhile` runs while the engines come up.

    Raises what `run_node` raises.
    """
    turns, logs = TurnBook(randomness), LogBook(clock, state.logs)
    async with AsyncExitStack() as stack:
        stack.callback(logs.close)
        engines = await stack.enter_async_context(_engines(settings, meanwhile))
        ledger = await _open_ledger(stack, settings, state, engines, clock, randomness)
        driver, probes = await _open_tier(stack, settings, turns, logs)
        tasks = await stack.enter_async_context(_task_group())
        feed = SpanFeed(spans := span_store(settings, engines.database), clock=clock)
        ground = Ground(
            settings=settings,
            clock=clock,
            randomness=randomness,
            database=engines.database,
            contents=ledger.contents,
            writer=ledger.writer,
            turns=turns,
            logs=logs,
            tracer=Tracer(feed, randomness=randomness, exports=bool(settings.otlp_endpoint)),
            run_directory=run_directory,
        )
        kernel, placement, environments = _kernel(ground, driver, probes, inside := SandboxRoutes())
        await _load(kernel)
        _start_keepers(tasks, feed, ledger, kernel)
        tasks.start_soon(trim_copies, settings, environments, kernel.supervisor, kernel.registry)
        yield Node(
            ground=ground,
            state=state,
            engines=engines,
            ledger=ledger,
            kernel=kernel,
            placement=placement,
            environments=environments,
            probes=probes,
            spans=spans,
            inside=inside,
            tasks=tasks,
        )


async def _load(kernel: Kernel) -> None:
    await kernel.budgets.load()
    await kernel.approvals.load()


def _engines(
    settings: Settings, meanwhile: Callable[[], None]
) -> AbstractAsyncContextManager[Engines]:
    return open_engines(settings, migrations=all_migrations(), meanwhile=meanwhile)


async def _refuse_company(database: Database, node: NodeId) -> None:
    """Let one node at a time host agents from a database: two would run the same turns.

    Raises:
        ConfigError: another node holds a lease.

    """
    others = await database.fetch(
        "SELECT node, max(lease_until) AS until FROM epoch WHERE node <> $1"
        " GROUP BY node HAVING max(lease_until) > clock_timestamp()",
        node,
    )
    if others:
        raise ConfigError(
            "Another node works on this database.",
            why=f"{others[0]['node']} holds it until {others[0]['until']:%H:%M:%S} UTC, or longer.",
            fix="Stop it and wait until then, or give this node another HIVE_DATABASE_URL.",
        )


async def _open_ledger(
    stack: AsyncExitStack,
    settings: Settings,
    state: StateFolder,
    engines: Engines,
    clock: Clock,
    randomness: Randomness,
) -> OpenLedger:
    """Open the next epoch of this node's chain."""
    await _refuse_company(engines.database, state.node_id)
    contents = Contents(engines.database, master_key=state.master_key, randomness=randomness)
    signer = NoteSigner(state.signer_name, state.checkpoint_seed)
    witness = await stack.enter_async_context(witness_of(settings, state, clock, randomness))
    checkpointer = Checkpointer(engines.database, signer=signer, witness=witness, clock=clock)
    meter = SpendMeter(clock)

    def observe(entries: Sequence[Entry]) -> None:
        checkpointer.observe(entries)
        meter.observe(entries)

    writer = await stack.enter_async_context(
        LedgerWriter.open(
            engines.database,
            contents,
            node=state.node_id,
            state_dir=state.path,
            clock=clock,
            randomness=randomness,
            disk_floor_bytes=settings.disk_floor_bytes,
            observer=observe,
        )
    )
    return OpenLedger(
        contents=contents,
        writer=writer,
        checkpointer=checkpointer,
        signer=signer,
        witness=witness,
        meter=meter,
    )


def _kernel(
    ground: Ground, driver: SandboxDriver, probes: tuple[Probe, ...], inside: SandboxRoutes
) -> tuple[Kernel, TierPlacement, Environments]:
    """Put the kernel together; its egress door and its gates need each other, so they meet here."""
    holder: list[Kernel] = []
    egress = EgressDoor(
        gate=LateGate(lambda: holder[0].dispatcher),
        principal_for=ground.turns.principal_without_turn,
        grant_for=ground.turns.grant_in,
        is_builder=ground.turns.builds_in,
        clock=ground.clock,
    )
    gates = SandboxDoors(app=inside, egress=egress)
    doors = BuildDoors(
        gates=gates,
        turns=ground.turns,
        clock=ground.clock,
        randomness=ground.randomness,
        run_directory=ground.run_directory,
    )
    environments = Environments(
        settings=ground.settings, driver=driver, doors=doors, clock=ground.clock
    )
    placement = TierPlacement(
        drivers={Tier.PROCESS: driver},
        probes=lambda: probes,
        preparer=Preparer(
            state=ground.settings.state,
            home=Path.home(),
            environments=environments,
            roots=ground.settings.ssl_cert_file,
        ),
        walls_min=ground.settings.walls_min,
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


def _process_tier(
    settings: Settings, turns: TurnBook, logs: LogBook
) -> AbstractAsyncContextManager[SandboxDriver]:
    def on_log(sandbox: SandboxId, line: LogLine) -> None:
        whose = turns.whose(sandbox)
        if whose is not None:
            agent, task = whose
            logs.add(agent, line.text, level=line.level, task=task)

    make = cast("Callable[..., ProcessTier]", SANDBOXES.load(settings.tiers.split(",")[0]))
    return make(walls_min=settings.walls_min, on_log=on_log)


def span_store(settings: Settings, database: Database) -> SpanStore:
    """Return the span store of the settings."""
    make = cast("Callable[[Database], SpanStore]", SPAN_STORES.load(settings.spans_url))
    store = make(database)
    if not settings.otlp_endpoint:
        return store
    collector = cast("Callable[[str], SpanStore]", COLLECTORS.load(settings.otlp_endpoint))
    return ForwardedSpans(store, collector(settings.otlp_endpoint))


def witness_of(
    settings: Settings, state: StateFolder, clock: Clock, randomness: Randomness
) -> AbstractAsyncContextManager[Witness]:
    """Open the witness of the settings: another key, in the state folder unless a URL names a place."""
    url = settings.witness_url or f"file:{state.path / 'witness'}"
    opener = cast("WitnessOpener", WITNESSES.load(url))
    return opener.open(url, clock=clock, randomness=randomness)


async def _open_tier(
    stack: AsyncExitStack, settings: Settings, turns: TurnBook, logs: LogBook
) -> tuple[SandboxDriver, tuple[Probe, ...]]:
    driver = await stack.enter_async_context(_process_tier(settings, turns, logs))
    return driver, await _probe(driver, settings)


async def _probe(driver: SandboxDriver, settings: Settings) -> tuple[Probe, ...]:
    probe = await driver.probe()
    missing = sorted(set(settings.walls_min) - probe.standing)
    if settings.production and (missing or not probe.available):
        raise TierUnavailableError(
            "This machine cannot give the walls that are demanded.",
            why=probe.reason or f"These do not stand: {', '.join(missing)}.",
            fix="Run `hive doctor`, then change the machine or HIVE_WALLS_MIN.",
        )
    return (probe,)


def _start_keepers(tasks: TaskGroup, feed: SpanFeed, ledger: OpenLedger, kernel: Kernel) -> None:
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
