"""The front answers what the official package's server answers: the same requests, made up at random, to both."""

import base64
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import mcp_types as types
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from hive.core.clock import SystemClock
from hive.core.json import Json
from hive.protocols.mcp.front import McpFront
from hive.protocols.mcp.ports import McpError
from tests.mcp_front_rig import (
    META,
    TOOL,
    NamedDoor,
    SmallService,
    settings_of,
    shake_hands,
    stateless,
)

Answer = tuple[int, object, object]


def official_server() -> Server[object]:
    """Return the small service's tools as a server of the official package."""

    async def listed(context: object, params: object) -> types.ListToolsResult:
        del context, params
        return types.ListToolsResult(tools=[types.Tool.model_validate(TOOL)])

    async def called(context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        del context
        if params.name != "echo":
            raise McpErrorOf.unknown(params.name)
        said = json.dumps(params.arguments or {}, sort_keys=True)
        return types.CallToolResult(content=[types.TextContent(type="text", text=said)])

    return Server("small", version="1", on_list_tools=listed, on_call_tool=called)


class McpErrorOf:
    """Errors of the small service in the words of the official package."""

    @staticmethod
    def unknown(name: str) -> Exception:
        """Return the error for a tool that is not there."""
        error = McpError(-32602, "Unknown tool", {"tool": name})
        return MCPError(error.code, error.message, error.data)


class BothServers:
    """Front and official server in one event loop, each behind an HTTP client."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Start both."""
        service = SmallService()
        front = McpFront(
            service_for=lambda visitor, path: service,
            doorman=NamedDoor(),
            settings=settings_of(),
            clock=SystemClock(),
        )
        await self._stack.enter_async_context(front)
        manager = StreamableHTTPSessionManager(official_server(), json_response=True)
        await self._stack.enter_async_context(manager.run())
        self._clients = [
            await self._stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=app),
                    base_url="http://127.0.0.1",
                    headers={"authorization": "Bearer ada"},
                )
            )
            for app in (front, manager.handle_request)
        ]
        self._old = [await shake_hands(client, "/mcp") for client in self._clients]
        for client, old in zip(self._clients, self._old, strict=True):
            note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            assert (await client.post("/mcp", json=note, headers=old.headers)).status_code == 202

    async def close(self) -> None:
        """Stop both."""
        await self._stack.aclose()

    async def _send(self, content: bytes, headers: dict[str, str], *, old: bool) -> list[Answer]:
        answers: list[Answer] = []
        for client, session in zip(self._clients, self._old, strict=True):
            head = {"content-type": "application/json", **headers}
            head |= session.headers if old else {}
            answer = await client.post("/mcp", content=content, headers=head)
            answers.append((answer.status_code, *_told(answer)))
        return answers

    def ask(self, content: bytes, headers: dict[str, str], *, old: bool = False) -> list[Answer]:
        """Send the same to both and return what each says."""

        async def send() -> list[Answer]:
            return await self._send(content, headers, old=old)

        return self._portal.call(send)


def _told(answer: httpx.Response) -> tuple[object, object]:
    """Return id and result, or the code of the error: its words are each server's own."""
    if not answer.content or not answer.headers["content-type"].startswith("application/json"):
        return None, None
    body = answer.json()
    if "error" in body:
        return body.get("id"), body["error"]["code"]
    return body["id"], body["result"]


def _assert_same(ours: Answer, theirs: Answer) -> None:
    if theirs[1] is None and theirs[2] == -32600:
        # The front names the request where its id can be read although the rest is wrong.
        ours = (ours[0], None, ours[2])
    assert ours == theirs


@pytest.fixture(scope="module")
def both() -> Iterator[BothServers]:
    with start_blocking_portal() as portal:
        servers = BothServers(portal)
        with portal.wrap_async_context_manager(_opened(servers)):
            yield servers


def _opened(servers: BothServers) -> AsyncExitStack:
    class Opened(AsyncExitStack):
        async def __aenter__(self) -> "Opened":
            await servers.open()
            return self

        async def __aexit__(self, *error: object) -> bool:
            await servers.close()
            return False

    return Opened()


plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=6), values, max_size=4)
names = st.sampled_from(["echo", "echo", "echo", "other", ""]) | st.text(max_size=6)
keys = st.integers(-(2**60), 2**60) | st.text(max_size=12)
methods = st.sampled_from(
    ["tools/call", "tools/call", "tools/list", "server/discover", "no/such", "prompts/list"]
)
breaks = st.lists(
    st.sampled_from(
        [
            "no meta",
            "no version",
            "no capabilities",
            "other method",
            "other name",
            "no name",
            "no method",
            "other version",
            "both versions",
            "null id",
            "list id",
            "float id",
            "no jsonrpc",
            "list params",
            "region",
            "wrong region",
            "base64 region",
            "bad base64",
            "count",
            "wrong count",
            "notification",
        ]
    ),
    max_size=2,
    unique=True,
)


HEADERS = {
    "other method": {"mcp-method": "tools/listx"},
    "other name": {"mcp-name": "another"},
    "other version": {"mcp-protocol-version": "2027-01-01"},
    "both versions": {"mcp-protocol-version": "2027-01-01"},
    "no name": {"mcp-name": None},
    "no method": {"mcp-method": None},
    "region": {"mcp-param-region": "eu"},
    "wrong region": {"mcp-param-region": "us"},
    "base64 region": {"mcp-param-region": "=?base64?ZXU=?="},
    "bad base64": {"mcp-param-region": "=?base64?ZXU?="},
    "count": {"mcp-param-count": "42.0"},
    "wrong count": {"mcp-param-count": "43"},
}
BODIES: dict[str, dict[str, Json]] = {
    "null id": {"id": None},
    "list id": {"id": [1]},
    "float id": {"id": 1.5},
    "no jsonrpc": {"jsonrpc": 2},
    "list params": {"params": [1]},
}


def _broken(body: dict[str, Json], headers: dict[str, str], how: str) -> None:
    for name, value in HEADERS.get(how, {}).items():
        headers.pop(name, None)
        if value is not None:
            headers[name] = value
    params = body["params"]
    if isinstance(params, dict):
        _break_params(params, how)
    body |= BODIES.get(how, {})
    if how == "notification":
        body.pop("id", None)


def _break_params(params: dict[str, Json], how: str) -> None:
    meta, given = params.get("_meta"), params.get("arguments")
    if isinstance(meta, dict):
        gone = {"no version": "protocolVersion", "no capabilities": "clientCapabilities"}.get(how)
        meta.pop(META + str(gone), None)
        if how == "both versions":
            meta[META + "protocolVersion"] = "2027-01-01"
    if isinstance(given, dict):
        given |= {"region": "eu"} if "region" in how or "base64" in how else {}
        given |= {"count": 42} if "count" in how else {}
    if how == "no meta":
        params.pop("_meta", None)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(method=methods, name=names, given_=arguments, key=keys, how=breaks)
def test_both_say_the_same_to_a_stateless_request(
    both: BothServers, method: str, name: str, given_: dict[str, Json], key: Json, how: list[str]
) -> None:
    params: dict[str, Json] = {}
    if method == "tools/call":
        params = {"name": name, "arguments": given_}
        given_.pop("region", None)
        given_.pop("count", None)
    body, headers = stateless(method, params, key=key)
    said = str(headers.get("mcp-name", "x"))
    if not said.isascii() or not said.isprintable() or said != said.strip():
        wrapped = base64.b64encode(name.encode()).decode()
        headers["mcp-name"] = f"=?base64?{wrapped}?="
    for one in how:
        _broken(body, headers, one)
    ours, theirs = both.ask(json.dumps(body).encode(), headers)
    if method == "server/discover" and theirs[0] == 200 and isinstance(ours[2], dict):
        # The small service says that it can do more.
        assert ours[2].keys() == theirs[2].keys()
    else:
        _assert_same(ours, theirs)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(["tools/call", "tools/call", "tools/list", "ping", "no/such"]),
    name=names,
    given_=arguments,
    key=keys,
)
def test_both_say_the_same_in_a_session(
    both: BothServers, method: str, name: str, given_: dict[str, Json], key: Json
) -> None:
    params: Json = {"name": name, "arguments": given_} if method == "tools/call" else {}
    body = {"jsonrpc": "2.0", "id": key, "method": method, "params": params}
    ours, theirs = both.ask(json.dumps(body).encode(), {}, old=True)
    assert ours == theirs


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=40) | values.map(lambda value: json.dumps(value).encode()))
def test_both_refuse_the_same_rubbish(both: BothServers, content: bytes) -> None:
    _, headers = stateless("tools/list")
    _assert_same(*both.ask(content, headers))
