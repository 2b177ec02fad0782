"""A node from its start to its end: sockets, doors, the operator's thread, and what is told when."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from hive.core.clock import Clock, SystemClock
from hive.core.json import Json
from hive.core.randomness import Randomness, SystemRandomness
from hive.core.settings import Settings
from hive.execution.source import FoundSource
from hive.execution.source_copy import stage
from hive.kernel.ports import AgentView
from hive.kernel.record import event
from hive.mesh import NodeKeys
from hive.node.addresses import address_of, grpc_address_of, tls_of
from hive.node.approvals import approvals_of, tell_of_approvals
from hive.node.attesting import opened_attestation
from hive.node.build import Node, open_node
from hive.node.console import NodeConsole, NodeFace
from hive.node.control import ControlThread, CrossedChapter, FastConsole
from hive.node.crossing import Crossing
from hive.node.deploying import Deployer
from hive.node.engine_status import NO_MODEL, engine_statuses, lasting_degradations
from hive.node.foreign_nodes import KnownPeers
from hive.node.http import App, HttpServer, bind_port
from hive.node.identity import peer_door
from hive.node.keeping import close_log, open_log
from hive.node.own_memory import give_back_freed, keep_own_memory
from hive.node.records import Records
from hive.node.roles import LateRoles
from hive.node.routes import PublicRoutes, SandboxRoutes, names_of
from hive.node.state import StateFolder
from hive.node.witnessing import witness_door
from hive.security.roles import acting_operator
from hive.security.tokens import Tokens
from hive.web.ports import Console
from hive.web.sessions import PageSessions
from hive.web.values import Examination

if TYPE_CHECKING:
    from hive.protocols.a2a.routes import A2ADoor

YOUNG_MAX_OBJECTS: Final = 20_000
DOORS: Final = ("a2a", "models", "mcp", "egress", "inbox", "operator")
_DOOR_MODULES: Final = (
    "hive.protocols.a2a.routes",
    "hive.protocols.models.door",
    "hive.node.mcp",
    "hive.protocols.inbox",
    "hive.web.site",
    "hive.node.chapters",
)


@dataclass(slots=True, kw_only=True)
class Start:
    """What a start begins with."""

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    randomness: Randomness = field(default_factory=SystemRandomness)


async def run_node(settings: Settings, *, on_ready: Callable[[Console], Awaitable[None]]) -> None:
    """Run a node until it is cancelled or an operator ends it; call `on_ready` when it stands.

    Raises:
        ConfigError: a setting cannot be used, or another node holds the port or the state folder.
        EngineError: an engine did not start.
        TierUnavailableError: the walls that are demanded do not stand.

    """
    keep_own_memory()
    ended = anyio.Event()

    async def tell(console: Console) -> None:
        await on_ready(console)

    async with (
        running_node(settings, end=ended.set) as console,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(tell, console)
        await ended.wait()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def running_node(
    settings: Settings, *, end: Callable[[], None] = lambda: None
) -> AsyncIterator[NodeConsole]:
    """Open a node with all its doors; leaving the context ends everything of it."""
    start = Start(settings=settings)
    began = start.clock.monotonic()
    state = StateFolder(settings, start.clock, start.randomness)
    async with AsyncExitStack() as stack:
        stack.enter_context(state.locked())
        stack.callback(close_log, open_log(state.logs, settings))
        public = PublicRoutes(names_of(settings))
        port = bind_port(settings.host, settings.port)
        server = HttpServer(public)
        run_directory = stack.enter_context(state.run_directory())
        # The address answers from now on: "starting" is an answer too.
        await server.listen(port, tls_of(settings))
        stack.push_async_callback(server.aclose)
        address = address_of(settings, port.getsockname()[1])
        node = await stack.enter_async_context(
            open_node(
                settings,
                state=state,
                run_directory=run_directory,
                meanwhile=import_doors,
                clock=start.clock,
                randomness=start.randomness,
            )
        )
        console, face, prepare = await _open_doors(node, public, address, stack, end=end)
        await node.enforcement.protect_house(settings.state)
        await stack.enter_async_context(node.kernel.supervisor.running())
        # Only now: before, a caller would be told that an agent of yesterday does not exist.
        public.a2a = node.inside.a2a
        if node.mcp is not None:
            public.mcp, public.oauth = node.mcp.public, node.mcp.oauth
        await _open_peers(node, stack, face)
        face.ready_ms = round((start.clock.monotonic() - began) * 1000, 1)
        face.ready = True
        spare_collector()
        # Half a second of imports that no start should wait for; the first caller would.
        node.tasks.start_soon(_prepared, prepare)
        yield console


def spare_collector() -> None:
    """Keep what a start made out of the collector's rounds; it lives as long as the node does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX_OBJECTS, 20, 50)


async def _prepared(prepare: Callable[[], Awaitable[None]]) -> None:
    """Prepare the first call; what the start and this freed goes back to the machine."""
    await prepare()
    gc.collect()
    gc.freeze()
    give_back_freed()


def import_doors() -> None:
    """Import what the doors need, while the engines come up."""
    for module in _DOOR_MODULES:
        import_module(module)


async def _open_doors(
    node: Node,
    public: PublicRoutes,
    address: str,
    stack: AsyncExitStack,
    *,
    end: Callable[[], None],
) -> tuple[NodeConsole, NodeFace, Callable[[], Coroutine[Any, Any, None]]]:
    settings, state = node.settings, node.state
    tokens = Tokens(
        database=node.engines.database,
        clock=node.clock,
        randomness=node.randomness,
        operator=state.operator_token,
    )
    await tokens.load()
    keys = NodeKeys(node=state.node_id, signing=state.signing_seed, sealing=state.sealing_seed)
    face = NodeFace(
        settings=settings,
        node_id=state.node_id,
        public_key=keys.public.signing.hex(),
        address=address,
        token_file=str(state.path / "operator.token"),
        started_at=node.clock.now(),
        doors=dict.fromkeys(DOORS, False),
        engines=await engine_statuses(node.engines),
        probes=node.tiers.probes,
        degraded=lasting_degradations(settings, node.tiers.probes),
    )
    console = _console(node, face, tokens, end)
    door = await _open_a2a(node, tokens, address, stack)
    await _open_models(node, face, stack)
    sessions = PageSessions(clock=node.clock, randomness=node.randomness)
    await _open_mcp(node, console, tokens, address, stack, sessions=sessions)
    await _open_inbox(node, keys, stack)
    public.witness = await witness_door(node, stack)
    public.attest = opened_attestation(node)
    face.doors.update(dict.fromkeys(("a2a", "models", "mcp", "egress", "inbox"), True))
    if settings.grpc_port:
        face.doors["grpc"] = True
    public.site = _open_operator(node, console, sessions, stack)
    face.doors["operator"] = True
    node.tasks.start_soon(tokens.watch)
    return console, face, door.prepare


def _console(node: Node, face: NodeFace, tokens: Tokens, end: Callable[[], None]) -> NodeConsole:
    async def examine() -> Examination:
        from hive.node.doctor import examine_node

        return await examine_node(node, face)

    def why_tier(view: AgentView) -> str:
        return node.placement.why(view.spec, view.grant)

    def stage_source(found: FoundSource) -> Path | None:
        return None if found.visible is None else stage(found.visible, node.settings.state)

    records = Records(
        database=node.engines.database,
        store=node.kernel.store,
        spans=node.spans,
        clock=node.clock,
        key=node.ledger.signer.key,
        witness=node.ledger.witness,
        checkpointer=node.ledger.checkpointer,
        entries_written=lambda: node.ledger.writer.head.sequence,
        why_tier=why_tier,
        state=node.state,
        dump=node.engines.dump,
    )
    deployer = Deployer(
        settings=node.settings,
        registry=node.kernel.registry,
        supervisor=node.kernel.supervisor,
        stage=stage_source,
        explain=why_tier,
        clock=node.clock,
        base_url=face.address,
        tool_servers=lambda: [] if node.tools is None else node.tools.server_names(),
        tool_skills=lambda server: () if node.mcp is None else node.mcp.skills_of(server),
        provenance=node.placement.provenance,
    )
    return NodeConsole(
        face=face,
        kernel=node.kernel,
        deployer=deployer,
        records=records,
        tokens=tokens,
        clock=node.clock,
        randomness=node.randomness,
        examine=examine,
        end=end,
    )


async def _open_a2a(node: Node, tokens: Tokens, address: str, stack: AsyncExitStack) -> "A2ADoor":
    from hive.protocols.a2a.push import KEY_PURPOSE
    from hive.protocols.a2a.routes import WARRANT_NONCES, A2ADoor
    from hive_a2a.crypto import derive_key

    door = A2ADoor(
        gate=node.kernel.dispatcher,
        agents=node.kernel.supervisor,
        tokens=tokens,
        database=node.engines.database,
        settings=node.settings,
        clock=node.clock,
        randomness=node.randomness,
        push_key=derive_key(node.state.master_key, info=KEY_PURPOSE),
        keys_folder=node.state.path,
        public_url=node.settings.public_url or address,
        grpc_address=grpc_address_of(node.settings),
        warrants=(node.warrants, await node.engines.messaging.key_value(WARRANT_NONCES)),
    )
    await stack.enter_async_context(door.running())
    if node.settings.grpc_port:
        serve_grpc = import_module("hive.protocols.a2a.grpc_port").serve_grpc
        await stack.enter_async_context(serve_grpc(door, node.settings))
    node.inside.a2a = door
    return door


async def _open_models(node: Node, face: NodeFace, stack: AsyncExitStack) -> None:
    from hive.node.llm import NodeModels, opened_models
    from hive.protocols.models.door import ModelsDoor
    from hive.security.vault import Vault

    database, clock, randomness = node.engines.database, node.clock, node.randomness

    async def note(name: str, body: dict[str, Json]) -> None:
        said = event(name, {**body, "by": str(acting_operator())}, clock=clock)
        await node.kernel.writer.append(said)

    models = NodeModels(
        settings=node.settings,
        database=database,
        vault=Vault(
            database=database,
            master_key=node.state.master_key,
            clock=clock,
            randomness=randomness,
        ),
        note=note,
        clock=clock,
        randomness=randomness,
    )
    lines = list(face.degraded)

    def tell() -> None:
        kept = models.only_scripted
        face.degraded[:] = [line for line in lines if kept or line != NO_MODEL]

    models.on_change = tell
    node.models = await stack.enter_async_context(opened_models(models))
    node.inside.models = ModelsDoor(
        gate=node.kernel.dispatcher, upstream=models.router, settings=node.settings, clock=clock
    )
    node.tasks.start_soon(models.look_around)


async def _open_mcp(
    node: Node,
    console: NodeConsole,
    tokens: Tokens,
    address: str,
    stack: AsyncExitStack,
    *,
    sessions: PageSessions,
) -> None:
    from hive.node.mcp import opened_mcp

    opened = await stack.enter_async_context(opened_mcp(node, console, tokens, address))
    node.mcp, node.tools = opened, opened.tools
    node.inside.mcp = opened.inside
    node.tasks.start_soon(tell_of_approvals, node, address)


async def _open_inbox(node: Node, keys: NodeKeys, stack: AsyncExitStack) -> None:
    from hive.protocols.inbox import BUCKET, InboxDoor

    messaging = node.engines.messaging
    door = InboxDoor(
        bus=messaging.bus,
        nonces=await messaging.key_value(BUCKET),
        gate=node.kernel.dispatcher,
        agents=node.kernel.supervisor,
        keys=keys,
        peers=KnownPeers(keys.public, node.registrar),
        clock=node.clock,
        randomness=node.randomness,
        verify=node.warrants.verify,
    )
    await stack.enter_async_context(door.serve())


async def _open_peers(node: Node, stack: AsyncExitStack, face: NodeFace) -> None:
    doors = SandboxRoutes()
    doors.a2a, doors.mcp = node.inside.a2a, None if node.mcp is None else node.mcp.public
    opened = peer_door(node.identity, node.settings, doors)
    await stack.enter_async_context(opened)
    if node.settings.peer_port:
        face.doors["peers"] = True


def _open_operator(
    node: Node, console: NodeConsole, sessions: PageSessions, stack: AsyncExitStack
) -> App:
    from hive.node.chapters import chapters_of
    from hive.node.spend import NodeSpend
    from hive.web.metrics import MetricsPage
    from hive.web.site import OperatorSite

    chapters = chapters_of(node)
    spend = NodeSpend(node)
    site = OperatorSite(
        console,
        sessions=sessions,
        secure=bool(node.settings.tls_cert),
        chapters=chapters,
        spend=spend,
        approvals=approvals_of(node),
        tools=node.tools,
        roles=LateRoles(node.settings.roles_url),
        metrics=MetricsPage(
            spend, is_operator=console.is_operator, token=node.settings.metrics_token
        ),
    )
    crossing = Crossing(asyncio.get_running_loop())
    fast = FastConsole(
        console,
        crossing,
        status=console.snapshot,
        agents=console.agent_list,
        kill=console.kill_now,
    )
    crossed = [CrossedChapter(chapter, crossing) for chapter in chapters]
    stack.enter_context(ControlThread(fast, sessions, node.state.control, chapters=crossed))
    return site
