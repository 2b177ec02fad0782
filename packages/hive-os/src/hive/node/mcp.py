"""MCP at this node: the hub, who may use what of it, and the doors behind which it is found.

Nothing of the protocol's own package is imported here, so that a start does not wait for it. What an agent sees
on its sandbox's socket and what the public port shows are two doors over the same services.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from hive.core.call import PrincipalKind
from hive.core.errors import NotFoundError, StateError
from hive.core.json import Json
from hive.core.spec import AgentSkill
from hive.kernel.approvals import Approval, ApprovalState
from hive.kernel.record import event
from hive.node.mcp_serving import agent_services, node_service, tool_skills
from hive.node.routes import names_of
from hive.node.tool_logs import ToolLogs
from hive.node.tool_provenance import ToolProvenance
from hive.node.tool_traits import tool_traits, trusted_tools
from hive.node.tools import NodeTools
from hive.protocols.mcp.doormen import HandleDoorman, TokenDoorman, split_handle
from hive.protocols.mcp.front import McpFront
from hive.protocols.mcp.gateway import Gateways
from hive.protocols.mcp.gateway.waiting import ApprovalDesk
from hive.protocols.mcp.hub.hub import HubRegistry
from hive.protocols.mcp.hub.records import ServerRecords
from hive.protocols.mcp.launch import ServerLauncher, open_launcher
from hive.protocols.mcp.oauth.door import OAuthDoor
from hive.protocols.mcp.oauth.login import UpstreamLogin
from hive.protocols.mcp.oauth.records import GrantNote
from hive.protocols.mcp.pins.book import PinBook
from hive.protocols.mcp.ports import Doorman, McpObject, McpService, Turned, Visitor
from hive.protocols.mcp.serving.agent import AgentServices
from hive.protocols.mcp.serving.node import NodeService
from hive.protocols.mcp.warrants import WARRANT_NONCES, WarrantDoorman
from hive.security.roles import OPERATOR, acting_operator
from hive.security.tokens import Tokens
from hive.security.vault import Vault
from hive.web.tools import ToolLogin
from hive.web.trust import ToolPackageLine

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
    oauth: OAuthDoor
    package: Callable[[str], Awaitable[ToolPackageLine]]

    def skills_of(self, server: str) -> tuple[AgentSkill, ...]:
        """Return a server's tools as the skills of an agent that stands for it."""
        return tool_skills(self.hub, server)


@dataclass(frozen=True, slots=True, kw_only=True)
class McpEndpoints:
    """Which service stands behind which path."""

    gateways: Gateways
    agents: AgentServices
    node: NodeService
    hub: HubRegistry
    door: OAuthDoor

    def inside(self, visitor: Visitor, path: str) -> McpService | None:
        """Return what an agent finds on its sandbox's socket."""
        _, plain = split_handle(path)
        return self.gateways.all if plain == ROOT else self._named(visitor, plain)

    def public(self, visitor: Visitor, path: str) -> McpService | None:
        """Return what a client finds on the public port."""
        plain = path.rstrip("/")
        if plain == ROOT:
            opened = visitor.scopes is None or visitor.scopes & _OF_THE_NODE
            return self.node if opened else None
        server = plain.removeprefix(SERVERS)
        operator = visitor.principal.kind is PrincipalKind.OPERATOR
        if operator and server != plain and self.hub.server(server) is None:
            # Anybody else shall not learn from an answer which servers there are.
            return None
        return self.gateways.all if plain == ALL_TOOLS else self._named(visitor, plain)

    def step_up(self, visitor: Visitor, path: str, method: str, params: McpObject) -> Turned | None:
        """Answer who could do this with a token for more, so that a program asks its user for one."""
        plain = path.rstrip("/")
        lacks = self.node.scope_missing(visitor, method, params) if plain == ROOT else ""
        return (
            self.door.missing(plain, (visitor.scopes or frozenset()) | {lacks}) if lacks else None
        )

    def _named(self, visitor: Visitor, path: str) -> McpService | None:
        name = path.removeprefix(SERVERS)
        if name != path:
            return self.gateways.of(name) if name and "/" not in name else None
        name = path.removeprefix(AGENTS)
        agent = self.agents.of(name) if name != path and name and "/" not in name else None
        # Whoever may not call an agent does not learn that it is there.
        return agent if agent is not None and agent.open_to(visitor) else None


@asynccontextmanager
async def opened_mcp(
    node: "Node",
    console: "Console",
    tokens: Tokens,
    address: str,
) -> AsyncIterator[NodeMcp]:
    """Open everything of MCP; leaving the context ends every connection, session and process of it."""
    vault, logs, note = vault_of(node), ToolLogs(node.clock), _note_of(node)
    pins = PinBook(database=node.engines.database, clock=node.clock, note=note)
    await pins.load()
    launcher, signed = _launcher(node, logs), ToolProvenance.of(node.placement.provenance, note)
    launcher.vouch = signed.vouch
    # Tokens are made for this name of the node, character by character.
    origin = node.settings.public_url.rstrip("/") or address
    login = UpstreamLogin(
        vault=vault, clock=node.clock, randomness=node.randomness, origin=lambda: origin
    )
    hub = _hub(node, pins, vault, login, launcher)
    login.on_login = hub.refresh_soon
    flows = node.kernel.guards.flows
    flows.traits, flows.trusts = tool_traits(hub), trusted_tools(hub)
    door = _oauth_door(node, console, login, origin, note)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hub.running())
        gateways = await stack.enter_async_context(_gateways(node, hub))
        inside, public = await _fronts(
            node,
            _endpoints(node, console, hub, gateways, door, address),
            await _doorman(node, tokens, door, origin),
            stack,
        )
        door.tell_ended(public.end_grant)
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
            login=partial(_begun, hub, login),
            pin=partial(signed.admit, launcher),
            logs=logs,
        )
        named = partial(_package, hub, signed, launcher)
        yield NodeMcp(
            hub=hub, pins=pins, tools=tools, inside=inside, public=public, oauth=door, package=named
        )


async def _package(
    hub: HubRegistry, signed: ToolProvenance, launcher: ServerLauncher, name: str
) -> ToolPackageLine:
    return await signed.describe(hub.server(name), launcher)


def _launcher(node: "Node", logs: ToolLogs) -> ServerLauncher:
    return open_launcher(
        settings=node.settings,
        environments=node.environments,
        doors=node.placement.tool_doors,
        on_line=logs.add,
    )


def _hub(
    node: "Node", pins: PinBook, vault: Vault, login: UpstreamLogin, launcher: ServerLauncher
) -> HubRegistry:
    return HubRegistry(
        records=ServerRecords(database=node.engines.database, clock=node.clock),
        clock=node.clock,
        pins=pins,
        secret_of=_secret_of(vault),
        launch=launcher.launch,
        auth_for=login.auth_for,
    )


def _oauth_door(
    node: "Node",
    console: "Console",
    login: UpstreamLogin,
    origin: str,
    note: GrantNote,
) -> OAuthDoor:
    return OAuthDoor(
        database=node.engines.database,
        clock=node.clock,
        randomness=node.randomness,
        origin=lambda: origin,
        is_operator=console.is_operator,
        login=login,
        issuers=node.settings.oauth_issuers,
        registration=node.settings.oauth_registration,
        note=note,
    )


async def _doorman(node: "Node", tokens: Tokens, door: OAuthDoor, origin: str) -> WarrantDoorman:
    known = TokenDoorman(
        tokens=tokens,
        anonymous=node.settings.anonymous,
        anonymous_tools=node.settings.anonymous_tools,
        recognise_oauth=door.recognise,
        challenge=door.challenge,
    )
    nonces = await node.engines.messaging.key_value(WARRANT_NONCES)
    return WarrantDoorman(known, node.warrants, nonces, node.clock, origin)


@asynccontextmanager
async def _gateways(node: "Node", hub: HubRegistry) -> AsyncIterator[Gateways]:
    gateways = Gateways(
        hub=hub,
        gate=node.kernel.dispatcher,
        grant_of=node.ground.turns.grant_of,
        clock=node.clock,
        randomness=node.randomness,
        approvals=ApprovalDesk(
            decided=_decided(node), page=approval_page(node.settings.public_url)
        ),
    )
    async with gateways.running():
        yield gateways


def _endpoints(
    node: "Node",
    console: "Console",
    hub: HubRegistry,
    gateways: Gateways,
    door: OAuthDoor,
    address: str,
) -> McpEndpoints:
    agents = agent_services(node, address)
    own = node_service(node, console, agents.talk, hub=hub, approvals=_waiting(node))
    return McpEndpoints(gateways=gateways, agents=agents, node=own, hub=hub, door=door)


async def _fronts(
    node: "Node", endpoints: McpEndpoints, doorman: Doorman, stack: AsyncExitStack
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
        doorman=doorman,
        settings=node.settings,
        clock=node.clock,
        randomness=node.randomness,
        names=names_of(node.settings),
        step_up=endpoints.step_up,
    )
    await stack.enter_async_context(inside)
    await stack.enter_async_context(public)
    return inside, public


async def _begun(hub: HubRegistry, login: UpstreamLogin, name: str) -> ToolLogin:
    """Begin to log in at a server as the operator."""
    view = hub.server(name)
    if view is None or not view.spec.oauth:
        return ToolLogin(note=f"{name} wants no login.")
    url = await login.begin(view.spec, OPERATOR.owner)
    return ToolLogin(url=url, note="" if url else "logged in")


def approval_page(public_url: str) -> Callable[[str], str]:
    """Return what says where an operator reads of a call that waits.

    Only an address that was set is told: the one that a node is bound to means another machine to others.
    """
    page = f"{public_url.rstrip('/')}/#approvals" if public_url else ""
    return lambda _approval: page


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
        said = event(name, {"by": str(acting_operator()), **body}, clock=node.clock)
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
