"""A header that names a harmless tool and a body that calls another: what is called is what the body says."""

import json

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.protocols.mcp.doormen import HandleDoorman, split_handle
from hive.protocols.mcp.front import envelope
from hive.protocols.mcp.front.app import McpFront
from hive.protocols.mcp.ports import NEWEST
from hive.testing.rehearsal_gate import CALLER, HANDLE, SANDBOX, RehearsalGate
from tests.mcp_gateway_rig import PaperHub, gateways_on, tool

pytestmark = pytest.mark.anyio
META = {
    "io.modelcontextprotocol/protocolVersion": NEWEST,
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def post(gate, hub, body, headers, *, tools=("*",), path=f"/mcp/~{HANDLE}"):
    """Send one request to the front of a sandbox's socket and return status and answer."""
    gateways = gateways_on(hub, gate, *tools, caller=CALLER)
    sent = []

    waiting = [json.dumps(body).encode()]

    async def receive():
        if not waiting:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": waiting.pop(), "more_body": False}

    async def send(message):
        sent.append(message)

    given = {
        "host": "127.0.0.1:4100",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": NEWEST,
        **headers,
    }
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
        "hive.sandbox": SANDBOX,
    }
    front = McpFront(
        service_for=lambda _, asked: gateways.all if split_handle(asked)[1] == "/mcp" else None,
        doorman=HandleDoorman(gate=gate),
        settings=Settings(),
        clock=SystemClock(),
    )
    with anyio.fail_after(10):
        async with front:
            await front(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], content


def asked(name):
    params = {"name": name, "arguments": {}, "_meta": META}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def files():
    hub = PaperHub()
    hub.add("files", tool("read"), tool("erase"))
    return hub


async def test_header_and_body_that_agree_call_the_tool():
    hub, gate = files(), RehearsalGate()
    headers = {"mcp-method": "tools/call", "mcp-name": "files__read"}
    status, content = await post(gate, hub, asked("files__read"), headers)
    assert status == 200, content
    assert [one.attempt.target for one in gate.calls] == ["files.read"]


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp-method": "tools/call", "mcp-name": "files__read"},
        {"mcp-method": "tools/list", "mcp-name": "files__erase"},
        {"mcp-method": "tools/call"},
        {"mcp-name": "files__erase"},
        {},
    ],
)
async def test_header_and_body_that_differ_call_nothing(headers):
    hub, gate = files(), RehearsalGate()
    status, content = await post(gate, hub, asked("files__erase"), headers)
    assert status == 400, content
    assert gate.calls == []
    assert hub.asked == []


async def test_without_the_comparison_what_a_proxy_let_pass_as_reading_erases(monkeypatch):
    monkeypatch.setattr(envelope, "_compare_name", lambda _asked, _head: None)
    hub, gate = files(), RehearsalGate()
    headers = {"mcp-method": "tools/call", "mcp-name": "files__read"}
    status, content = await post(gate, hub, asked("files__erase"), headers)
    assert status == 200, content
    assert [one.attempt.target for one in gate.calls] == ["files.erase"]


async def test_a_header_never_lends_its_name_to_a_call():
    hub, gate = files(), RehearsalGate()
    headers = {"mcp-method": "tools/call", "mcp-name": "files__read"}
    old = {**headers, "mcp-protocol-version": "2025-11-25"}
    for given in (headers, old):
        await post(gate, hub, asked("files__erase"), given, tools=("files.read",))
    assert gate.calls == []
    assert hub.asked == []
