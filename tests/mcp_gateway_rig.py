"""A hub for tests of the gateway: servers are functions of the test, and nothing is sent anywhere."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from hive.core.call import EffectClass, Principal, PrincipalKind, sha256_hex
from hive.core.clock import SystemClock
from hive.core.errors import EngineTimeoutError
from hive.core.grant import Grant
from hive.core.ids import AgentId, OwnerId, SandboxId, TurnId
from hive.core.json import Json, encode
from hive.core.randomness import SystemRandomness
from hive.protocols.mcp.gateway import Gateways
from hive.protocols.mcp.ports import (
    FIRST_SIGHT,
    NEWEST,
    Courier,
    ListChange,
    McpError,
    McpObject,
    PinnedTool,
    PinState,
    ServerSpec,
    ServerState,
    ServerView,
    ToolDefinition,
    TransportKind,
    Visitor,
)

OLD = "2025-11-25"
Respond = Callable[[str, McpObject, Courier | None], Awaitable[McpObject]]
AGENT = Principal(
    kind=PrincipalKind.AGENT,
    name="reader",
    owner=OwnerId("alice"),
    agent=AgentId("reader"),
    sandbox=SandboxId("box-1"),
    turn=TurnId("turn-1"),
)
OPERATOR = Principal(kind=PrincipalKind.OPERATOR, name="operator", owner=OwnerId("operator"))
CLIENT = Principal(kind=PrincipalKind.CLIENT, name="desk", owner=OwnerId("carol"))


async def echo(method: str, params: McpObject, courier: Courier | None) -> McpObject:
    return {"content": [{"type": "text", "text": encode(params.get("arguments")).decode()}]}


def text_of(result: McpObject) -> str:
    return result["content"][0]["text"]


@dataclass
class QuietClient:
    """A client that answers as a test says and keeps what it heard."""

    revision: str = NEWEST
    client: Mapping[str, Json] = field(default_factory=dict)
    answers: dict[str, McpObject] = field(default_factory=dict)
    heard: list[tuple[str, McpObject]] = field(default_factory=list)
    asked: list[tuple[str, McpObject]] = field(default_factory=list)

    async def notify(self, method: str, params: McpObject) -> None:
        self.heard.append((method, params))

    async def ask(self, method: str, params: McpObject) -> McpObject:
        self.asked.append((method, params))
        return self.answers[method]


@dataclass
class PaperLink:
    view: ServerView
    respond: Respond
    asked: list[tuple[str, McpObject]]

    async def request(
        self,
        method: str,
        params: McpObject,
        *,
        timeout_s: float,
        courier: Courier | None = None,
    ) -> McpObject:
        self.asked.append((method, dict(params)))
        with anyio.move_on_after(timeout_s):
            return await self.respond(method, params, courier)
        raise EngineTimeoutError("late")


@dataclass
class PaperHub:
    """Servers on paper."""

    revision: int = 1
    views: dict[str, ServerView] = field(default_factory=dict)
    pinned: dict[str, PinnedTool] = field(default_factory=dict)
    responds: dict[str, Respond] = field(default_factory=dict)
    asked: list[tuple[str, McpObject]] = field(default_factory=list)
    linked: list[tuple[str, Principal, Courier | None]] = field(default_factory=list)
    observers: list[Callable[[ListChange], None]] = field(default_factory=list)

    def add(
        self,
        server: str,
        *tools: McpObject,
        respond: Respond = echo,
        revision: str = NEWEST,
        capabilities: Mapping[str, Json] | None = None,
        **spec: object,
    ) -> None:
        self.views[server] = ServerView(
            spec=ServerSpec(name=server, transport=TransportKind.HTTP, url="http://x", **spec),
            state=ServerState.READY,
            revision=revision,
            capabilities=capabilities or {},
        )
        self.responds[server] = respond
        for tool in tools:
            self.put(server, tool)

    def put(
        self,
        server: str,
        tool: McpObject,
        state: PinState = PinState.PINNED,
        *,
        by: str = FIRST_SIGHT,
    ) -> None:
        definition = ToolDefinition(
            server=server, name=tool["name"], raw=tool, digest=sha256_hex(encode(tool))
        )
        self.pinned[definition.full_name] = PinnedTool(
            definition=definition, state=state, effect=EffectClass.ONCE, approved_by=by
        )
        self.revision += 1

    def servers(self) -> list[ServerView]:
        return [self.views[name] for name in sorted(self.views)]

    def server(self, name: str) -> ServerView | None:
        return self.views.get(name)

    def tools(self) -> list[PinnedTool]:
        return [self.pinned[name] for name in sorted(self.pinned)]

    def tool(self, full_name: str) -> PinnedTool | None:
        return self.pinned.get(full_name)

    @asynccontextmanager
    async def link(
        self, server: str, caller: Principal, *, courier: Courier | None = None
    ) -> AsyncIterator[PaperLink]:
        self.linked.append((server, caller, courier))
        yield PaperLink(self.views[server], self.responds[server], self.asked)

    def on_change(self, observer: Callable[[ListChange], None]) -> Callable[[], None]:
        self.observers.append(observer)
        return lambda: self.observers.remove(observer)


def tool(name: str, **more: Json) -> McpObject:
    schema: Json = {"type": "object", "properties": {"text": {"type": "string"}}}
    return {"name": name, "description": f"Does {name}.", "inputSchema": schema, **more}


def visitor(principal: Principal = AGENT, **more: object) -> Visitor:
    return Visitor(principal=principal, **more)


def gateways_on(
    hub: PaperHub, gate: object, *tools: str, caller: Principal = AGENT, **more: object
) -> Gateways:
    """Build the gateway for one agent whose grant names these tools."""
    grant = Grant(tools=tools)
    return Gateways(
        hub=hub,
        gate=gate,
        grant_of=lambda principal: grant if principal == caller else None,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        **more,
    )


async def call(service, name: str, *, who=None, client=None, **params: Json) -> McpObject:
    asked: McpObject = {"name": name, **params}
    return await service.answer(who or visitor(), "tools/call", asked, client or QuietClient())


async def refused_call(service, name: str, **more: object) -> McpError:
    try:
        result = await call(service, name, **more)
    except McpError as error:
        return error
    raise AssertionError(result)
