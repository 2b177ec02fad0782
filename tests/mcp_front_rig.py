"""A front with a small service behind it, spoken to over ASGI or over a real socket."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.ids import OwnerId
from hive.core.json import Json
from hive.core.settings import Settings, load_settings
from hive.protocols.mcp.front import FrontLimits, McpFront
from hive.protocols.mcp.ports import (
    NEWEST,
    Courier,
    ListChange,
    McpError,
    McpObject,
    Turned,
    Visitor,
)
from hive.testing.loopback import serve_app

META = "io.modelcontextprotocol/"
SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
    },
}
TOOL: Json = {"name": "echo", "description": "Say it again.", "inputSchema": dict(SCHEMA)}
ACCEPT = "application/json, text/event-stream"


def visitor(name: str, kind: PrincipalKind = PrincipalKind.CLIENT) -> Visitor:
    """Return a visitor of a name."""
    return Visitor(principal=Principal(kind=kind, name=name, owner=OwnerId(name)))


class NamedDoor:
    """Knows people by their bearer token, which is their name; nobody has none."""

    async def identify(
        self, scope: Mapping[str, object], headers: Mapping[str, str]
    ) -> Visitor | Turned:
        """Return who it is."""
        del scope
        name = headers.get("authorization", "").removeprefix("Bearer ")
        if not name:
            return Turned(
                status=401,
                message="Log in.",
                headers={"WWW-Authenticate": 'Bearer resource_metadata="http://x/.well-known"'},
            )
        return visitor(name)


@dataclass
class SmallService:
    """Echoes, waits, asks and notifies; `calls` are what reached it."""

    calls: list[tuple[str, str, McpObject]] = field(default_factory=list)
    cancelled: anyio.Event = field(default_factory=anyio.Event)
    started: anyio.Event = field(default_factory=anyio.Event)
    release: anyio.Event = field(default_factory=anyio.Event)
    watched: anyio.Event = field(default_factory=anyio.Event)
    watchers: list[Callable[[ListChange], None]] = field(default_factory=list)

    info: Mapping[str, Json] = field(default_factory=lambda: {"name": "small", "version": "1"})
    instructions: str = ""

    def capabilities(self, visitor: Visitor) -> Mapping[str, Json]:
        """Return what there is."""
        del visitor
        return {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}}

    async def answer(
        self, visitor: Visitor, method: str, params: McpObject, courier: Courier
    ) -> McpObject:
        """Answer one request."""
        self.calls.append((visitor.principal.name, method, params))
        if method == "tools/list":
            return {"tools": [TOOL]}
        if method in ("resources/subscribe", "logging/setLevel"):
            return {}
        if method != "tools/call":
            raise McpError(-32601, "Method not found")
        return await self._call(params, courier)

    async def _call(self, params: McpObject, courier: Courier) -> McpObject:
        match params["name"]:
            case "echo":
                return _text(json.dumps(params.get("arguments", {}), sort_keys=True))
            case "wait":
                await self._hold()
                return _text("waited")
            case "notify":
                for level in ("debug", "warning"):
                    said: McpObject = {"level": level, "data": level}
                    await courier.notify("notifications/message", said)
                step: McpObject = {"progressToken": "p", "progress": 1}
                await courier.notify("notifications/progress", step)
                if params.get("arguments") == {"hold": True}:
                    await self._hold()
                return _text("notified")
            case "ask":
                asked: McpObject = {"message": "?", "requestedSchema": {"type": "object"}}
                self.started.set()
                answer = await courier.ask("elicitation/create", asked)
                return _text(json.dumps(answer, sort_keys=True))
            case "crash":
                message = "a secret of the inside"
                raise RuntimeError(message)
        raise McpError(-32602, "Unknown tool", {"tool": params["name"]})

    async def _hold(self) -> None:
        self.started.set()
        try:
            await self.release.wait()
        except BaseException:
            self.cancelled.set()
            raise

    def input_schema(self, visitor: Visitor, tool: str) -> Mapping[str, Json] | None:
        """Return what a tool takes."""
        del visitor
        return SCHEMA if tool == "echo" else None

    @asynccontextmanager
    async def changes(self, visitor: Visitor) -> AsyncIterator[AsyncIterator[ListChange]]:
        """Watch the lists."""
        del visitor
        send, receive = anyio.create_memory_object_stream[ListChange](16)
        self.watchers.append(send.send_nowait)
        self.watched.set()
        with send, receive:
            yield receive


def _text(said: str) -> McpObject:
    return {"content": [{"type": "text", "text": said}], "isError": False}


def settings_of(**more: object) -> Settings:
    """Return settings with defaults, and these."""
    return load_settings({"HOME": "/nonexistent"}, **more)


@asynccontextmanager
async def small_front(
    limits: FrontLimits | None = None, **more: object
) -> AsyncIterator[tuple[str, SmallService, McpFront]]:
    """Serve a front on a free loopback port; give its URL, the service, and the front."""
    service, front = made_front(limits, **more)
    async with front, serve_app(front) as url:
        yield f"{url}/mcp", service, front


def made_front(limits: FrontLimits | None = None, **more: object) -> tuple[SmallService, McpFront]:
    """Return a front that nobody has opened, and its service."""
    service = SmallService()
    front = McpFront(
        service_for=lambda visitor, path: service if path.startswith("/mcp") else None,
        doorman=NamedDoor(),
        settings=settings_of(**more),
        clock=SystemClock(),
        names=frozenset({"localhost", "127.0.0.1"}),
        limits=limits,
    )
    return service, front


def stateless(
    method: str,
    params: Mapping[str, Json] | None = None,
    *,
    key: Json = 1,
    meta: Mapping[str, Json] | None = None,
    capabilities: Mapping[str, Json] | None = None,
) -> tuple[dict[str, Json], dict[str, str]]:
    """Return body and headers of a request of the stateless revision."""
    whole: dict[str, Json] = {
        **(params or {}),
        "_meta": {
            META + "protocolVersion": NEWEST,
            META + "clientCapabilities": dict(capabilities or {}),
            **(meta or {}),
        },
    }
    headers = {"mcp-protocol-version": NEWEST, "mcp-method": method, "accept": ACCEPT}
    for named in ("name", "uri"):
        if isinstance(whole.get(named), str):
            headers["mcp-name"] = str(whole[named])
    return {"jsonrpc": "2.0", "id": key, "method": method, "params": whole}, headers


@dataclass
class OldClient:
    """A client that shook hands; `post` sends one message of its session."""

    http: httpx.AsyncClient
    url: str
    session: str
    revision: str

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of its session."""
        return {
            "mcp-session-id": self.session,
            "mcp-protocol-version": self.revision,
            "accept": ACCEPT,
        }

    def body(self, method: str, params: Json = None, *, key: Json = 1) -> dict[str, Json]:
        """Return the body of a request."""
        return {"jsonrpc": "2.0", "id": key, "method": method, "params": params or {}}

    async def call(self, name: str, arguments: Json = None, *, key: Json = 1) -> httpx.Response:
        """Call a tool."""
        body = self.body("tools/call", {"name": name, "arguments": arguments or {}}, key=key)
        return await self.http.post(self.url, json=body, headers=self.headers)


async def shake_hands(
    http: httpx.AsyncClient,
    url: str,
    revision: str = "2025-11-25",
    capabilities: Json = None,
) -> OldClient:
    """Open a session."""
    params: Json = {
        "protocolVersion": revision,
        "capabilities": capabilities or {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    body: Json = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = await http.post(url, json=body, headers={"accept": ACCEPT})
    assert answer.status_code == 200, answer.text
    agreed = answer.json()["result"]["protocolVersion"]
    return OldClient(http, url, answer.headers["mcp-session-id"], agreed)


def events_of(text: str) -> list[dict[str, object]]:
    """Return the messages of a stream."""
    return [
        json.loads(line.removeprefix("data: "))
        for line in text.splitlines()
        if line.startswith("data: {")
    ]


@asynccontextmanager
async def http_client(name: str = "ada") -> AsyncIterator[httpx.AsyncClient]:
    """Give an HTTP client of a person."""
    headers = {"authorization": f"Bearer {name}"} if name else {}
    async with httpx.AsyncClient(headers=headers, timeout=10) as http:
        yield http
