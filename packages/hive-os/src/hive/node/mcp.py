"""MCP at this node: the hub, who may use what of it, and the doors behind which it is found.

Nothing of the protocol's own package is imported here, so that a start does not wait for it. What an agent sees
on its sandbox's socket and what the public port shows are two doors over the same services.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from hive.core.errors import NotFoundError, StateError
from hive.core.json import Json
from hive.core.spec import AgentSkill
from hive.kernel.approvals import Approval, ApprovalState
from hive.kernel.record import event
from hive.node.mcp_serving import agent_services, node_service, tool_skills
from hive.node.routes import names_of
from hive.node.tool_logs import ToolLogs
from hive.node.tools import NodeTools
from hive.protocols.mcp.doormen import HandleDoorman, TokenDoorman, split_handle
from hive.protocols.mcp.front import McpFront
from hive.protocols.mcp.gateway import Gateways
from hive.protocols.mcp.gateway.waiting import ApprovalDesk
from hive.protocols.mcp.hub.hub import HubRegistry
from hive.protocols.mcp.hub.records import ServerRecords
from hive.protocols.mcp.launch import open_launcher
from hive.protocols.mcp.pins.book import PinBook
from hive.protocols.mcp.ports import McpService, Visitor
from hive.protocols.mcp.serving.agent import AgentServices
from hive.security.tokens import OPERATOR, Tokens
from hive.security.vault import Vault

if TYPE_CHECKING:
    from hive.node.build import Node
    from hive.web.ports import Console

SERVERS: Final = "/mcp/servers/"
AGENTS: Final = "/mcp/agents/"
ALL_TOOLS: Final = "/mcp/tools"
ROOT: Final = "/mcp"
_OF_THE_NODE: Final = frozenset({"operate", "observe"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMcp:
    """What is open: the hub, and the two doors."""

    hub: HubRegistry
    pins: PinBook
    tools: NodeTools
    inside: McpFront
    public: McpFront

    def skills_of(self, server: str) -> tuple[AgentSkill, ...]:
        """Return a server's tools as the skills of an agent that stands for it."""
        return tool_skills(self.hub, server)


@dataclass(frozen=True, slots=True, kw_only=True)
class McpEndpoints:
    """Which service stands behind which path."""

    gateways: Gateways
    agents: AgentServices
    node: McpService

    def inside(self, visitor: Visitor, path: str) -> McpService | None:
        """Return what an agent finds on its sandbox's socket."""
        del visitor
        _, plain = split_handle(path)
        return self.gateways.all if plain == ROOT else self._named(plain)

    def public(self, visitor: Visitor, path: str) -> McpService | None:
        """Return what a client finds on the public port."""
        plain = path.rstrip("/")
        if plain == ROOT:
            opened = visitor.scopes is None or visitor.scopes & _OF_THE_NODE
            return self.node if opened else None
        return self.gateways.all if plain == ALL_TOOLS else self._named(plain)

    def _named(self, path: str) -> McpService | None:
        for prefix, find in ((SERVERS, self.gateways.of), (AGENTS, self.agents.of)):
            name = path.removeprefix(prefix)
            if name != path:
                return find(name) if name and "/" not in name else None
        return None


@asynccontextmanager
async def opened_mcp(
    node: "Node", console: "Console", tokens: Tokens, address: str
) -> AsyncIterator[NodeMcp]:
    """Open everything of MCP; leaving the context ends every connection, session and process of it."""
    vault, logs, note = vault_of(node), ToolLogs(node.clock), _note_of(node)
    pins = PinBook(database=node.engines.database, clock=node.clock, note=note)
    await pins.load()
    launcher = open_launcher(
        settings=node.settings,
        environments=node.environments,
        doors=node.placement.tool_doors,
        on_line=logs.add,
    )
    hub = HubRegistry(
        records=ServerRecords(database=node.engines.database, clock=node.clock),
        clock=node.clock,
        pins=pins,
        secret_of=_secret_of(vault),
        launch=launcher.launch,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hub.running())
        gateways = await stack.enter_async_context(_gateways(node, hub))
        inside, public = await _fronts(
            node, _endpoints(node, console, hub, gateways, address), tokens, stack
        )
        tools = NodeTools(
            hub=hub,
            servers=hub,
            gateway=gateways.of,
            pins=pins,
            vault=vault,
            note=note,
            database=node.engines.database,
            clock=node.clock,
            state=str(node.state.path),
            pin=launcher.pin,
            logs=logs,
        )
        yield NodeMcp(hub=hub, pins=pins, tools=tools, inside=inside, public=public)


@asynccontextmanager
async def _gateways(node: "Node", hub: HubRegistry) -> AsyncIterator[Gateways]:
    gateways = Gateways(
        hub=hub,
        gate=node.kernel.dispatcher,
        grant_of=node.ground.turns.grant_of,
        clock=node.clock,
        randomness=node.randomness,
        approvals=ApprovalDesk(decided=_decided(node)),
    )
    async with gateways.running():
        yield gateways


def _endpoints(
    node: "Node", console: "Console", hub: HubRegistry, gateways: Gateways, address: str
) -> McpEndpoints:
    agents = agent_services(node, address)
    own = node_service(node, console, agents.talk, hub=hub, approvals=_waiting(node))
    return McpEndpoints(gateways=gateways, agents=agents, node=own)


async def _fronts(
    node: "Node", endpoints: McpEndpoints, tokens: Tokens, stack: AsyncExitStack
) -> tuple[McpFront, McpFront]:
    """Open both doors: the one on every sandbox's socket, and the one on the public port."""
    inside = McpFront(
        service_for=endpoints.inside,
        doorman=HandleDoorman(gate=node.kernel.dispatcher),
        settings=node.settings,
        clock=node.clock,
        randomness=node.randomness,
    )
    public = McpFront(
        service_for=endpoints.public,
        doorman=TokenDoorman(tokens=tokens, anonymous=node.settings.anonymous),
        settings=node.settings,
        clock=node.clock,
        randomness=node.randomness,
        names=names_of(node.settings),
    )
    await stack.enter_async_context(inside)
    await stack.enter_async_context(public)
    return inside, public


def vault_of(node: "Node") -> Vault:
    """Return the node's vault."""
    return Vault(
        database=node.engines.database,
        master_key=node.state.master_key,
        clock=node.clock,
        randomness=node.randomness,
    )


def _note_of(node: "Node") -> Callable[[str, dict[str, Json]], Awaitable[None]]:
    async def note(name: str, body: dict[str, Json]) -> None:
        said = event(name, {"by": str(OPERATOR), **body}, clock=node.clock)
        await node.kernel.writer.append(said)

    return note


def _secret_of(vault: Vault) -> Callable[[str], Awaitable[str]]:
    async def reveal(name: str) -> str:
        return (await vault.get(name)).reveal()

    return reveal


def _waiting(node: "Node") -> Callable[[], Awaitable[list[Approval]]]:
    async def waiting() -> list[Approval]:
        return [one for one in node.kernel.approvals.open() if one.state is ApprovalState.WAITING]

    return waiting


def _decided(node: "Node") -> Callable[[str], Awaitable[None]]:
    """Return what waits until a question was decided, or nobody can any more."""
    book = node.kernel.approvals

    async def decided(approval: str) -> None:
        told = anyio.Event()

        def hear(one: Approval) -> None:
            if one.id == approval and one.state is not ApprovalState.WAITING:
                told.set()

        forget = book.on_change(hear)
        try:
            try:
                asked = book.get(approval)
            except (NotFoundError, StateError):
                return
            if asked.state is ApprovalState.WAITING:
                left = asked.expires_at - node.clock.now()
                with anyio.move_on_after(left.total_seconds()):
                    await told.wait()
        finally:
            forget()

    return decided
