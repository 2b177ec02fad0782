"""An agent calls tools with `hive_guest.tools`, or through the shim where it can only start a command."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import anyio
import pytest
from anyio import fail_after
from anyio.to_thread import run_sync

import hive_guest
from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.node.http import HttpServer, bind_port, from_sandbox
from hive.protocols.mcp.doormen import HandleDoorman, split_handle
from hive.protocols.mcp.front import McpFront
from hive.protocols.mcp.ports import McpService
from hive.testing.rehearsal_gate import CALLER, HANDLE, SANDBOX, RehearsalGate
from hive_guest.mcp import StdioShim
from hive_guest.tool_headers import header_value, headers_for, marks_of
from hive_guest.tools import ToolCallError, tools, use
from tests.mcp_gateway_rig import PaperHub, gateways_on, tool

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def gate_of(hub: PaperHub, gate: RehearsalGate) -> AsyncIterator[str]:
    """Serve the gate of a sandbox on a port; give its address."""
    gateways = gateways_on(hub, gate, "*", caller=CALLER)

    def service_for(_: object, path: str) -> McpService | None:
        plain = split_handle(path)[1]
        server = plain.removeprefix("/mcp/servers/")
        return gateways.all if plain == "/mcp" else gateways.of(server)

    front = McpFront(
        service_for=service_for,
        doorman=HandleDoorman(gate=gate),
        settings=Settings(),
        clock=SystemClock(),
    )
    async with gateways.running(), front:
        server = HttpServer(from_sandbox(front, SANDBOX))
        sock = bind_port("127.0.0.1", 0)
        await server.listen(sock)
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            await server.aclose()


@pytest.fixture
def hub() -> PaperHub:
    async def structured(*_):
        return {"content": [], "structuredContent": {"n": 1}}

    found = PaperHub()
    found.add("files", tool("read"), tool("odd ü"))
    found.add("math", tool("add"), respond=structured)
    return found


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setenv("HIVE_HANDLE", HANDLE)
    return monkeypatch


async def test_an_agent_finds_and_uses_tools_with_nothing_but_the_standard_library(
    hub, environment
):
    gate = RehearsalGate()
    with fail_after(20):
        async with gate_of(hub, gate) as address:
            environment.setenv("HIVE_GATE", address)
            found = await run_sync(tools)
            assert "files__read" in [one["name"] for one in found]
            assert await run_sync(lambda: use("files__read", text="a")) == '{"text":"a"}'
            assert await run_sync(lambda: use("math__add")) == {"n": 1}
            assert await run_sync(lambda: use("odd ü", server="files", text="b")) == '{"text":"b"}'
    assert [kept.attempt.target for kept in gate.calls][-1] == "files.odd ü"


MARKED = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "deep": {
            "type": "object",
            "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry-Run"}},
        },
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "plain": {"type": "string"},
    },
}
MARKED_CALL = {"region": "eu wést", "deep": {"dry": True}, "plain": "x"}


async def test_arguments_that_a_tool_wants_in_headers_stand_there(hub, environment):
    gate = RehearsalGate()
    hub.put("files", tool("move", inputSchema=MARKED))
    with fail_after(20):
        async with gate_of(hub, gate) as address:
            environment.setenv("HIVE_GATE", address)
            environment.setattr("hive_guest.tools._GATES", [])
            assert (
                json.loads(await run_sync(lambda: use("files__move", **MARKED_CALL))) == MARKED_CALL
            )
            environment.setattr("hive_guest.tools._GATES", [])
            found = await run_sync(lambda: use("move", server="files", count=3))
            assert json.loads(found) == {"count": 3}
            assert await run_sync(lambda: use("files__read", text="a")) == '{"text":"a"}'
    assert [kept.attempt.target for kept in gate.calls] == [
        "files.move",
        "files.move",
        "files.read",
    ]


async def test_a_tool_that_is_marked_in_another_way_by_now_is_looked_at_again(hub, environment):
    hub.put("files", tool("move", inputSchema={"type": "object"}))
    with fail_after(20):
        async with gate_of(hub, RehearsalGate()) as address:
            environment.setenv("HIVE_GATE", address)
            environment.setattr("hive_guest.tools._GATES", [])
            await run_sync(lambda: use("files__move", region="eu"))
            hub.put("files", tool("move", inputSchema=MARKED))
            assert json.loads(await run_sync(lambda: use("files__move", region="eu"))) == {
                "region": "eu"
            }


async def test_the_shim_repeats_marked_arguments_for_a_client_that_cannot(hub, environment):
    hub.put("files", tool("move", inputSchema=MARKED))
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    asked = {"name": "files__move", "arguments": MARKED_CALL, "_meta": meta}
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    calling = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": asked}
    out = BytesIO()
    with fail_after(20):
        async with gate_of(hub, RehearsalGate()) as address:
            environment.setenv("HIVE_GATE", address)
            host, _, port = address.rpartition(":")
            carrier = StdioShim((host, int(port)), "/mcp", out)
            for message in (calling, listing, calling):
                await run_sync(carrier._forward, message)
    first, _, last = map(json.loads, out.getvalue().splitlines())
    assert first["error"]["code"] == -32020
    assert json.loads(last["result"]["content"][0]["text"]) == MARKED_CALL


def test_marks_are_read_where_an_argument_can_stand_and_nowhere_else():
    schema = {
        "items": {"properties": {"a": {"x-mcp-header": "A"}}},
        "x-mcp-header": "Root",
        **MARKED,
    }
    assert marks_of(schema) == {
        ("region",): "Region",
        ("deep", "dry"): "Dry-Run",
        ("count",): "Count",
    }
    assert marks_of({"properties": {"a": {"x-mcp-header": "a\r\nb: c"}}}) == {}
    written = headers_for(marks_of(MARKED), {"region": "a\r\nb: c", "deep": 1, "count": None})
    assert list(written) == ["mcp-param-region"]
    assert written["mcp-param-region"].isprintable()


async def test_a_tool_that_waits_for_a_person_says_which_approval_it_is(hub, environment):
    no = Refused(check="approval", reason="needs a yes", approval="ap-1")
    with fail_after(20):
        async with gate_of(hub, RehearsalGate(judge=lambda _: no)) as address:
            environment.setenv("HIVE_GATE", address)
            with pytest.raises(ToolCallError, match="waits for a person's approval") as error:
                await run_sync(lambda: use("files__read"))
            assert error.value.approval == "ap-1"
            with pytest.raises(ToolCallError, match="Unknown tool"):
                await run_sync(lambda: use("files__none"))
            with pytest.raises(ToolCallError, match="not the name of a server"):
                await run_sync(lambda: tools("../a2a"))


async def shim(address: str, *lines: object) -> list[dict]:
    """Run the shim as a program: these lines in, its lines out."""
    source = str(Path(hive_guest.__file__).parent.parent)
    environment = {
        "HIVE_GATE": address,
        "HIVE_HANDLE": HANDLE,
        "PYTHONPATH": source,
    }
    said = "".join(json.dumps(line) + "\n" for line in lines).encode()
    command = [sys.executable, "-m", "hive_guest.mcp"]
    done = await anyio.run_process(command, input=said, env=environment, check=False)
    assert done.stderr == b""
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_a_client_of_either_era_reaches_its_tools_through_the_shim(hub):
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    called = {"name": "files__read", "arguments": {"text": "a"}}
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    with fail_after(30):
        async with gate_of(hub, RehearsalGate()) as address:
            old = await shim(
                address,
                {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
                {"jsonrpc": "2.0", "method": "notifications/initialized"},
                {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": called},
            )
            new = await shim(
                address,
                "no object",
                {
                    "jsonrpc": "2.0",
                    "id": "x",
                    "method": "tools/call",
                    "params": {**called, "_meta": meta},
                },
            )
    assert {one["id"]: one for one in old}[2]["result"]["content"][0]["text"] == '{"text":"a"}'
    assert [one["error"]["code"] for one in new if "error" in one] == [-32700]
    assert {one["id"]: one for one in new}["x"]["result"]["resultType"] == "complete"


async def test_a_gate_that_is_not_there_is_an_answer_too():
    with fail_after(20):
        [answer] = await shim("127.0.0.1:9", {"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert answer["error"]["message"].startswith("no answer")


@pytest.mark.parametrize("name", ["plain", "odd ü", " space", "=?base64?x?=", "a\r\nb: c"])
def test_a_name_in_a_header_cannot_end_it(name):
    written = header_value(name)
    assert written.isascii()
    assert written.isprintable()
    assert (written == name) is (name == "plain")
