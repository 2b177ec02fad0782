"""`hive mcp` as a desktop client starts it: the official client at one end, the official server at the other.

What passes is both eras, progress, questions in the middle of a call, cancellation, errors, and nothing else.
"""

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager

import anyio
import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION
from pydantic import BaseModel

from hive.testing.loopback import serve_app

pytestmark = pytest.mark.anyio
TIMEOUT_S = 30
ERAS = ("legacy", "auto")


class City(BaseModel):
    """What is asked for."""

    name: str


class Stage:
    """A server, what happened in it, and every request that reached it."""

    def __init__(self):
        self.cancelled = anyio.Event()
        self.slow_began = anyio.Event()
        self.requests = []
        self.app = None
        self.forget = False
        self.server = MCPServer("stage")
        self.server.tool()(self.add)
        self.server.tool()(self.count)
        self.server.tool()(self.fail)
        self.server.tool()(self.weather)
        self.server.tool()(self.slow)

    async def add(self, a: int, b: int) -> int:
        """Add."""
        return a + b

    async def count(self, ctx: Context) -> str:
        """Count to three, aloud."""
        for number in (1, 2, 3):
            await ctx.report_progress(number, 3, f"that is {number}")
        return "counted äöü \u2028 x"

    async def fail(self) -> str:
        """Fail."""
        raise ValueError("on purpose")

    async def weather(self, ctx: Context) -> str:
        """Ask for the city."""
        answer = await ctx.elicit("Which city?", City)
        return f"rain in {answer.data.name}" if answer.action == "accept" else answer.action

    async def slow(self) -> str:
        """Never end."""
        self.slow_began.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled.set()

    async def __call__(self, scope, receive, send):
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        self.requests.append((scope["method"], headers))
        if self.forget and "mcp-session-id" in headers:
            self.forget = False
            start = {"type": "http.response.start", "status": 404, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, send)


@pytest.fixture
async def stage(anyio_backend):
    stage = Stage()
    stage.app = stage.server.streamable_http_app(streamable_http_path="/mcp/tools")
    async with stage.app.router.lifespan_context(stage.app), serve_app(stage) as url:
        stage.url = url
        yield stage


def command(url, *words):
    return [sys.executable, "-m", "hive", "mcp", "--url", url, *words]


@asynccontextmanager
async def joined(stage, era, **options):
    argv = command(stage.url, "tools")
    environment = {"HIVE_MCP_TOKEN": "shown"}  # the SDK adds what a program needs
    parameters = StdioServerParameters(command=argv[0], args=argv[1:], env=environment)
    with anyio.fail_after(TIMEOUT_S):
        async with Client(parameters, mode=era, **options) as client:
            yield client


@pytest.mark.parametrize("era", ERAS)
async def test_calls_progress_and_errors_pass_in_both_eras(stage, era):
    heard = []

    async def hear(progress, total, message):
        heard.append((progress, total, message))

    async with joined(stage, era) as client:
        expected = LATEST_HANDSHAKE_VERSION if era == "legacy" else LATEST_MODERN_VERSION
        assert client.protocol_version == expected
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"add", "count", "fail", "weather", "slow"}
        sum_of = await client.call_tool("add", {"a": 2, "b": 3})
        assert sum_of.structured_content == {"result": 5}
        told = await client.call_tool("count", {}, progress_callback=hear)
        assert told.content[0].text == "counted äöü \u2028 x"
        assert heard == [(n, 3, f"that is {n}") for n in (1, 2, 3)]
        assert (await client.call_tool("fail", {})).is_error
        with pytest.raises(MCPError):
            await client.read_resource("file:///nothing")
    shown = {headers.get("authorization") for _, headers in stage.requests}
    assert shown == {"Bearer shown"}


async def test_a_question_in_the_middle_reaches_the_person(stage):
    async def answer(context, params):
        assert params.message == "Which city?"
        return types.ElicitResult(action="accept", content={"name": "Oslo"})

    async with joined(stage, "legacy", elicitation_callback=answer) as client:
        assert (await client.call_tool("weather", {})).content[0].text == "rain in Oslo"


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_is_given_up_ends_at_the_server(stage, era):
    async with joined(stage, era) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "slow", {})
        await stage.slow_began.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await stage.cancelled.wait()


async def test_calls_run_side_by_side(stage):
    async with joined(stage, "auto") as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "slow", {})
        await stage.slow_began.wait()
        found = await client.call_tool("add", {"a": 1, "b": 1})
        assert found.structured_content == {"result": 2}
        tasks.cancel_scope.cancel()


async def test_a_forgotten_session_begins_again_without_the_client_noticing(stage):
    async with joined(stage, "legacy") as client:
        await client.call_tool("add", {"a": 1, "b": 1})
        stage.forget = True
        found = await client.call_tool("add", {"a": 4, "b": 4})
        assert found.structured_content == {"result": 8}
    sessions = {
        headers["mcp-session-id"] for _, headers in stage.requests if "mcp-session-id" in headers
    }
    assert len(sessions) == 2
    assert stage.requests[-1][0] == "DELETE"


def piped(argv, lines, **options):
    text = "".join(json.dumps(line) + "\n" if not isinstance(line, str) else line for line in lines)
    return subprocess.run(
        argv, input=text.encode(), capture_output=True, timeout=TIMEOUT_S, check=False, **options
    )


CALL = {"jsonrpc": "2.0", "id": "a", "method": "tools/list", "params": {}}


async def test_without_a_node_every_request_is_told_so_on_one_line_each(tmp_path):
    argv = [sys.executable, "-m", "hive", "--state", str(tmp_path), "mcp", "node"]
    done = await anyio.to_thread.run_sync(
        lambda: piped(argv, [CALL, {**CALL, "id": 2}, "no json\n", "[3]\n"])
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    by_id = {str(answer["id"]): answer["error"] for answer in answers}
    assert set(by_id) == {"a", "2", "None"}
    assert "hive up" in by_id["a"]["message"]
    assert [one["error"]["code"] for one in answers if one["id"] is None] == [-32700, -32600]


async def test_a_node_that_goes_away_is_an_error_and_not_the_end():
    argv = command("http://127.0.0.1:9", "node")
    done = await anyio.to_thread.run_sync(lambda: piped(argv, [CALL, {**CALL, "id": "b"}]))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["id"] for answer in answers) == ["a", "b"]
    assert all("hive up" in answer["error"]["message"] for answer in answers)


async def test_a_signal_ends_it_cleanly(stage):
    argv = command(stage.url, "tools")
    async with await anyio.open_process(argv) as process:
        with anyio.fail_after(TIMEOUT_S):
            ask = {**CALL, "method": "initialize"}
            await process.stdin.send(json.dumps(ask).encode() + b"\n")
            await process.stdout.receive()
            process.terminate()
            assert await process.wait() == 0
    assert [method for method, _ in stage.requests][-1] == "DELETE"


@pytest.mark.parametrize("client", ["claude", "vscode", "cursor"])
def test_the_configuration_names_a_command_that_runs(client, tmp_path):
    argv = [sys.executable, "-m", "hive", "--state", str(tmp_path), "mcp", "config"]
    done = subprocess.run(
        [*argv, "--client", client, "agent", "helper"], capture_output=True, timeout=30, check=True
    )
    found = json.loads(done.stdout)
    (servers,) = found.values()
    entry = servers["hive-helper"]
    assert entry["args"] == ["mcp", "agent", "helper"]
    assert entry["env"]["HIVE_STATE_DIR"] == str(tmp_path)
    assert ("servers" in found) == (client == "vscode")
    assert os.access(entry["command"], os.X_OK) or entry["command"] == "hive"
