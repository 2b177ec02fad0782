"""A server at a URL: what each era sends, what is never followed or read, and what is done again safely."""

import json
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest

from hive.core.call import EffectClass
from hive.core.errors import (
    ConfigError,
    EngineTimeoutError,
    EngineUnavailableError,
    StateError,
    TooLargeError,
)
from hive.node.http import HttpServer, bind_port
from hive.protocols.mcp.drivers.flood import NOTES_MAX
from hive.protocols.mcp.gateway.deeds import ServerRequest, failure_text
from hive.protocols.mcp.hub.health import PING_FIRST_S
from hive.protocols.mcp.ports import McpError, ServerSpec, ServerState, TransportKind
from hive.testing.clock import StoppedClock
from tests.mcp_hub_rig import ALICE, ECHO, SomeCourier, hub_with

pytestmark = pytest.mark.anyio
CALL = {"name": "echo", "arguments": {"text": "hé"}}
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}


class WebServer:
    """An MCP server that answers as a test says: `answers` maps a method to (status, headers, pieces)."""

    def __init__(self, *, stateless=True, **answers):
        self.stateless = stateless
        self.answers = answers
        self.heard = []
        self.sessions = 0
        self.address = ""
        self.left = anyio.Event()

    async def __call__(self, scope, receive, send):
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            if not event.get("more_body"):
                break
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        message = json.loads(body) if body else {}
        method = message.get("method", scope["method"])
        self.heard.append((method, headers, message))
        answer = self.answers.get(method) or self._usual(method)
        if callable(answer):
            answer = await answer(self, headers, message, receive)
        status, more, pieces = answer
        lines = {"content-type": "application/json", **more}
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(key.encode(), value.encode()) for key, value in lines.items()],
            }
        )
        for piece in pieces:
            if callable(piece):
                await piece(receive)
                return
            said = piece if isinstance(piece, bytes) else answered(message, piece)
            await send({"type": "http.response.body", "body": said, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _usual(self, method):
        if method == "server/discover" and self.stateless:
            return 200, {}, [DISCOVERED]
        if method == "initialize" and not self.stateless:
            self.sessions += 1
            said = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
            return 200, {"mcp-session-id": f"session-{self.sessions}"}, [said]
        if method == "tools/list":
            return 200, {}, [{"tools": [ECHO]}]
        if method == "tools/call":
            return 200, {}, [{"content": []}]
        if method.startswith("notifications/") or method == "DELETE":
            return 202, {}, []
        return 405 if method == "GET" else 404, {}, []

    def said(self, method):
        return [(headers, message) for name, headers, message in self.heard if name == method]


def answered(message, result):
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()


def event(message, **fields):
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, f"data: {json.dumps(message)}", "", ""]).encode()


def stream(*pieces):
    return 200, {"content-type": "text/event-stream"}, pieces


@asynccontextmanager
async def serving(server, **changed):
    http = HttpServer(server)
    port = bind_port("127.0.0.1", 0)
    await http.listen(port, None)
    server.address = f"http://127.0.0.1:{port.getsockname()[1]}"
    more = {key: changed.pop(key) for key in ("auth_for", "clock") if key in changed}
    spec = ServerSpec(
        name="web", transport=TransportKind.HTTP, url=f"{server.address}/mcp", **changed
    )
    try:
        async with hub_with(spec, **more) as hub:
            yield hub
    finally:
        await http.aclose()


async def called(hub, *, timeout_s=5.0, courier=None, params=None):
    async with hub.link("web", ALICE, courier=courier) as link:
        return await link.request(
            "tools/call", params or CALL, timeout_s=timeout_s, courier=courier
        )


async def test_a_stateless_call_repeats_in_headers_what_its_body_says():
    server = WebServer()
    async with serving(server) as hub:
        await called(hub, params={"name": "écho", "arguments": {}})
    ((headers, message),) = server.said("tools/call")
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert headers["mcp-method"] == "tools/call"
    assert headers["mcp-name"] == "=?base64?w6ljaG8=?="
    assert "mcp-session-id" not in headers
    assert message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert not server.said("initialize")


async def test_marked_arguments_stand_in_headers_too():
    schema = {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    }
    bad = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}
    tools = [{"name": "echo", "inputSchema": schema}, {"name": "bad", "inputSchema": bad}]
    server = WebServer(**{"tools/list": (200, {}, [{"tools": tools}])})
    async with serving(server) as hub:
        await hub.refresh("web")
        assert [tool.definition.name for tool in hub.tools()] == ["echo"]
        await called(hub, params={"name": "echo", "arguments": {"region": "eu west"}})
    ((headers, _),) = server.said("tools/call")
    assert headers["mcp-param-region"] == "eu west"


async def test_an_older_server_gets_a_handshake_a_session_and_a_goodbye():
    server = WebServer(stateless=False)
    async with serving(server) as hub:
        await called(hub)
        assert hub.server("web").revision == "2025-11-25"
    ((headers, message),) = server.said("tools/call")
    assert headers["mcp-session-id"] == "session-1"
    assert headers["mcp-protocol-version"] == "2025-11-25"
    assert "mcp-method" not in headers
    assert "_meta" not in message["params"]
    assert server.said("notifications/initialized")
    assert server.said("DELETE")[0][0]["mcp-session-id"] == "session-1"


async def test_a_lost_session_is_made_anew_and_the_call_arrives_once():
    async def call(server, headers, message, receive):
        if headers["mcp-session-id"] == "session-1":
            return 404, {}, []
        return 200, {}, [{"content": ["done"]}]

    server = WebServer(stateless=False, **{"tools/call": call})
    async with serving(server) as hub:
        assert await called(hub) == {"content": ["done"]}
        assert server.sessions == 2
        assert len(server.said("tools/call")) == 2


@pytest.mark.parametrize(
    ("words", "sessions"),
    [("Bad Request: No valid session ID provided", 2), ("Bad Request: no such tool", 1)],
)
async def test_a_bad_request_is_a_lost_session_only_where_it_says_so(words, sessions):
    async def call(server, headers, message, receive):
        if headers["mcp-session-id"] == "session-1":
            error = f'{{"jsonrpc":"2.0","id":null,"error":{{"code":-32000,"message":"{words}"}}}}'
            return 400, {}, [error.encode()]
        return 200, {}, [{"content": ["done"]}]

    server = WebServer(stateless=False, **{"tools/call": call})
    async with serving(server) as hub:
        if sessions == 2:
            assert await called(hub) == {"content": ["done"]}
        else:
            with pytest.raises(McpError, match=words):
                await called(hub)
        assert server.sessions == sessions


async def test_a_server_that_loses_every_session_is_not_asked_for_ever():
    server = WebServer(stateless=False, **{"tools/call": (404, {}, [])})
    async with serving(server) as hub:
        with pytest.raises(EngineUnavailableError) as caught:
            await called(hub)
    assert caught.value.__cause__ is None
    assert len(server.said("tools/call")) == 2


async def test_a_call_that_broke_after_it_left_is_not_repeated():
    async def cut(server, headers, message, receive):
        return 200, {"content-length": "1000"}, [b"{"]

    server = WebServer(**{"tools/call": cut})
    async with serving(server) as hub:
        with pytest.raises(EngineUnavailableError) as caught:
            await called(hub)
    assert caught.value.__cause__ is not None
    assert len(server.said("tools/call")) == 1


async def test_a_server_that_is_not_there_had_nothing():
    server = WebServer()
    async with serving(server):
        pass
    spec = ServerSpec(name="web", transport=TransportKind.HTTP, url=f"{server.address}/mcp")
    async with hub_with(spec) as hub:
        with pytest.raises(EngineUnavailableError) as caught:
            await called(hub)
        assert caught.value.__cause__ is None
        assert hub.server("web").state is ServerState.FAILED


async def test_a_stream_tells_progress_asks_and_answers():
    async def work(server, headers, message, receive):
        token = message["params"]["_meta"]["progressToken"]
        return stream(
            event({"method": "notifications/progress", "params": {"progressToken": token}}),
            event({"id": "q", "method": "elicitation/create", "params": {"message": "?"}}),
            b": a comment\r\n\r\n",
            event({"jsonrpc": "2.0", "id": message["id"], "result": {"content": ["x"]}}),
        )

    server = WebServer(stateless=False, **{"tools/call": work})
    courier = SomeCourier({"elicitation": {}})
    async with serving(server) as hub:
        params = {**CALL, "_meta": {"progressToken": "mine"}}
        assert await called(hub, courier=courier, params=params) == {"content": ["x"]}
        assert courier.told == [("notifications/progress", {"progressToken": "mine"})]
        with anyio.fail_after(2):
            while not any("result" in message for _, message in server.said("POST")):
                await anyio.lowlevel.checkpoint()
    assert courier.asked == [("elicitation/create", {"message": "?"})]
    shared, alone = server.said("initialize")
    assert shared[1]["params"]["capabilities"] == {}
    assert alone[1]["params"]["capabilities"] == {"elicitation": {}}


async def test_a_stream_that_is_cut_is_taken_up_again_where_it_ended():
    numbers = []

    async def begin(server, headers, message, receive):
        numbers.append(message["id"])
        return stream(b"id: e1\nretry: 1\ndata: \n\n")

    async def resume(server, headers, message, receive):
        if "last-event-id" not in headers:
            return 405, {}, []
        assert headers["last-event-id"] == "e1"
        return stream(event({"jsonrpc": "2.0", "id": numbers[0], "result": {"content": ["late"]}}))

    server = WebServer(stateless=False, **{"tools/call": begin, "GET": resume})
    async with serving(server) as hub:
        assert await called(hub) == {"content": ["late"]}


async def test_giving_up_is_told_to_an_older_server_and_seen_by_a_newer_one():
    for stateless in (True, False):

        async def wait(server, headers, message, receive):
            with anyio.fail_after(5):
                while (await receive())["type"] != "http.disconnect":
                    pass
            server.left.set()
            return 200, {}, []

        server = WebServer(stateless=stateless, **{"tools/call": wait})
        async with serving(server) as hub:
            with pytest.raises(EngineTimeoutError):
                await called(hub, timeout_s=0.1)
            with anyio.fail_after(2):
                await server.left.wait()
                while not stateless and not server.said("notifications/cancelled"):
                    await anyio.lowlevel.checkpoint()
        assert bool(server.said("notifications/cancelled")) is not stateless


@pytest.mark.parametrize("as_stream", [True, False])
async def test_a_large_answer_is_not_read_to_its_end(as_stream):
    async def no_end(receive):
        while (await receive())["type"] != "http.disconnect":
            pass

    kind = "text/event-stream" if as_stream else "application/json"
    begin = b'data: {"result": "' if as_stream else b'{"result": "'
    pieces = [begin, *[b"x" * 10_000] * 7, no_end]
    server = WebServer(**{"tools/call": (200, {"content-type": kind}, pieces)})
    async with serving(server, result_max_bytes=50_000) as hub:
        with anyio.fail_after(3), pytest.raises(TooLargeError):
            await called(hub, timeout_s=60)


async def test_a_redirect_to_another_host_is_not_followed():
    server = WebServer(**{"tools/call": (307, {"location": "http://localhost:1/mcp"}, [])})
    async with serving(server) as hub:
        with pytest.raises(EngineUnavailableError, match="another host") as caught:
            await called(hub)
    assert caught.value.__cause__ is not None, "whoever redirects has read the call"


@pytest.mark.parametrize("place", ["/mcp", "http://[", "//elsewhere.example/mcp", ""])
@pytest.mark.parametrize("status", [307, 308])
async def test_a_call_that_was_sent_elsewhere_in_vain_is_not_called_undone(status, place):
    server = WebServer(**{"tools/call": (status, {"location": place}, [])})
    async with serving(server) as hub:
        with pytest.raises(EngineUnavailableError) as caught:
            await called(hub)
    request = ServerRequest(
        server="web",
        method="tools/call",
        params=CALL,
        target="web.echo",
        effect=EffectClass.ONCE,
        arguments=b"{}",
        timeout_s=5.0,
        result_max_bytes=1000,
    )
    assert "not known" in failure_text(caught.value, request)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_leads_a_call_to_another_origin(status):
    other = WebServer()
    async with serving(other):
        there = {"location": f"{other.address}/mcp"}
        server = WebServer(**{"tools/call": (status, there, [])})
        async with serving(server) as hub:
            with pytest.raises((EngineUnavailableError, McpError)):
                await called(hub)
    assert other.heard == []


async def test_a_session_that_was_lost_at_rest_is_made_anew_before_a_call_needs_it():
    async def forgets(server, headers, message, receive):
        return (404, {}, []) if headers["mcp-session-id"] == "session-1" else (200, {}, [{}])

    server, clock = WebServer(stateless=False, ping=forgets), StoppedClock()
    async with serving(server, clock=clock) as hub:
        await called(hub)
        clock.advance(PING_FIRST_S)
        hub._pool.look_after()
        with anyio.fail_after(20):
            while server.sessions < 2 or not hub.server("web").links:
                await anyio.lowlevel.checkpoint()
        await called(hub)
    assert [headers["mcp-session-id"] for headers, _ in server.said("tools/call")] == [
        "session-1",
        "session-2",
    ]


async def test_events_that_are_no_messages_are_counted_too():
    async def noise(server, headers, message, receive):
        return stream(b"event: other\ndata: x\n\n" * (NOTES_MAX + 1), no_end)

    async def no_end(receive):
        while (await receive())["type"] != "http.disconnect":
            pass

    server = WebServer(**{"tools/call": noise})
    async with serving(server) as hub:
        with anyio.fail_after(30), pytest.raises(EngineUnavailableError, match="unasked"):
            await called(hub, timeout_s=60)


async def test_a_server_that_learnt_the_newest_revision_is_asked_again_when_it_is_refreshed():
    server = WebServer(stateless=False)
    async with serving(server) as hub:
        await hub.refresh("web")
        assert hub.server("web").revision == "2025-11-25"
        server.stateless = True
        server.answers["initialize"] = (404, {}, [])
        await hub.refresh("web")
        assert hub.server("web").revision == "2026-07-28"
        await called(hub)
    ((headers, _),) = server.said("tools/call")
    assert headers["mcp-protocol-version"] == "2026-07-28"


async def test_a_server_of_both_eras_is_lifted_to_the_newest_by_a_refresh_and_not_by_each_connection():
    server = WebServer(stateless=False)
    async with serving(server) as hub:
        await called(hub)
        server.stateless = True
        handshake = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        server.answers["initialize"] = (200, {}, [handshake])
        hub._pool.forget("web")
        await called(hub)
        assert hub.server("web").revision == "2025-11-25"
        await hub.refresh("web")
        assert hub.server("web").revision == "2026-07-28"


async def test_a_redirect_within_the_server_is_followed():
    async def elsewhere(server, headers, message, receive):
        moved = len(server.said("tools/call")) == 1
        return (308, {"location": "/other/"}, []) if moved else (200, {}, [{"content": []}])

    server = WebServer(**{"tools/call": elsewhere})
    async with serving(server) as hub:
        assert await called(hub) == {"content": []}


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/mcp", "http://2852039166/mcp", "http://[fd00:ec2::254]/mcp"],
)
async def test_a_metadata_service_is_no_tool_server(url):
    spec = ServerSpec(name="web", transport=TransportKind.HTTP, url=url)
    async with hub_with(spec) as hub:
        with anyio.fail_after(3), pytest.raises(EngineUnavailableError, match="may be connected"):
            await called(hub)


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "http://u:p@x/", "http://x/a b", "x"])
async def test_a_url_that_is_none_is_refused_when_it_is_added(url):
    async with hub_with() as hub:
        with pytest.raises(ConfigError):
            await hub.add(ServerSpec(name="web", transport=TransportKind.HTTP, url=url))


async def test_a_server_that_wants_a_login_says_so():
    server = WebServer(**{"server/discover": (401, {}, [])})
    async with serving(server) as hub:
        with pytest.raises(StateError, match="login"):
            await called(hub)
        assert hub.server("web").state is ServerState.NEEDS_LOGIN


async def test_a_login_signs_every_request_and_is_told_of_a_refusal():
    class Login(httpx2.Auth):
        def __init__(self):
            self.token = "old"

        async def async_auth_flow(self, request):
            request.headers["authorization"] = f"Bearer {self.token}"
            response = yield request
            if response.status_code == 401:
                self.token = "new"
                request.headers["authorization"] = f"Bearer {self.token}"
                yield request

    async def call(server, headers, message, receive):
        if headers["authorization"] == "Bearer old":
            return 401, {}, []
        return 200, {}, [{"content": []}]

    server = WebServer(**{"tools/call": call})
    login = Login()
    http = HttpServer(server)
    port = bind_port("127.0.0.1", 0)
    await http.listen(port, None)
    url = f"http://127.0.0.1:{port.getsockname()[1]}/mcp"
    spec = ServerSpec(name="web", transport=TransportKind.HTTP, url=url, oauth=True)
    try:
        async with hub_with(spec, auth_for=lambda spec, owner: login) as hub:
            assert await called(hub) == {"content": []}
    finally:
        await http.aclose()
    shown = [headers["authorization"] for headers, _ in server.said("tools/call")]
    assert shown == ["Bearer old", "Bearer new"]


async def test_an_error_in_the_body_of_a_refusal_is_the_answer():
    async def refuse(server, headers, message, receive):
        fault = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32602, "message": "no"}}
        return 400, {}, [json.dumps(fault).encode()]

    server = WebServer(**{"tools/call": refuse})
    async with serving(server) as hub:
        with pytest.raises(McpError) as caught:
            await called(hub)
    assert caught.value.code == -32602


async def test_pages_that_lead_in_a_circle_end():
    async def page(server, headers, message, receive):
        return 200, {}, [{"tools": [ECHO], "nextCursor": "again"}]

    server = WebServer(**{"tools/list": page})
    async with serving(server) as hub:
        view = await hub.refresh("web")
        assert view.tools == 1
        assert "circle" in view.reason
    assert len(server.said("tools/list")) == 2


async def test_pages_without_an_end_end():
    async def page(server, headers, message, receive):
        number = len(server.said("tools/list"))
        tools = [{"name": f"t{number}-{i}", "inputSchema": {}} for i in range(10)]
        return 200, {}, [{"tools": tools, "nextCursor": f"{number}"}]

    server = WebServer(**{"tools/list": page})
    async with serving(server) as hub:
        view = await hub.refresh("web")
    assert view.tools == 2000
    assert "pages" in view.reason
