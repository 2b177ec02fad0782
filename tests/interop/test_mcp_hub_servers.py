"""The hub against servers of the official package: streamable HTTP of both eras, the older SSE, and stdio."""

import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from tests.mcp_hub_rig import ALICE, SomeCourier, hub_with, line_spec

from hive.core.errors import EngineUnavailableError
from hive.protocols.mcp.drivers.http import HttpWire
from hive.protocols.mcp.drivers.sse import SseWire
from hive.protocols.mcp.drivers.stdio import StdioWire
from hive.protocols.mcp.ports import McpError, ServerSpec, ServerState, TransportKind

pytestmark = pytest.mark.anyio
SERVER = Path(__file__).parent / "mcp_servers" / "official.py"


class Pipes:
    """The input and output of one process."""

    def __init__(self, process):
        self._process = process

    async def send(self, item):
        await self._process.stdin.send(item)

    async def receive(self, max_bytes=65536):
        return await self._process.stdout.receive(max_bytes)


class ProcessesAsTheyAre:
    """Processes without walls: what is tested is the wire."""

    def __init__(self):
        self.processes = []

    @asynccontextmanager
    async def launch(self, spec, owner, instance):
        process = await anyio.open_process([sys.executable, str(SERVER), "stdio"], stderr=None)
        self.processes.append(process)
        try:
            yield Pipes(process)
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.aclose()


def of_an_older_era(wire):
    """Return a wire on which the newest revision is not known, as if the node were older."""

    class OlderWire(wire):
        async def ask(self, method, params, **more):
            if method == "server/discover":
                raise McpError(-32601, "unknown")
            return await super().ask(method, params, **more)

    return OlderWire


@pytest.fixture(scope="module")
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(SERVER), str(number)])
    try:
        wait_for(number, process)
        yield number
    finally:
        process.kill()
        process.wait()


def wait_for(number, process):
    async def until():
        with anyio.fail_after(30):
            while process.poll() is None:
                try:
                    async with await anyio.connect_tcp("127.0.0.1", number):
                        return
                except OSError:
                    await anyio.sleep(0.05)
        message = "the server ended"
        raise AssertionError(message)

    anyio.run(until)


@asynccontextmanager
async def hub_on(kind, port):
    transport, _, era = kind.partition("-")
    older = era == "older"
    wires = {"http": HttpWire, "sse": SseWire, "stdio": StdioWire}
    wire = of_an_older_era(wires[transport]) if older else wires[transport]
    pipes = ProcessesAsTheyAre()
    if transport == "stdio":
        spec = line_spec("official")
    else:
        path = "mcp" if transport == "http" else "old/sse"
        url = f"http://127.0.0.1:{port}/{path}"
        spec = ServerSpec(name="official", transport=TransportKind(transport), url=url)
    async with hub_with(spec, launch=pipes.launch, wire_for=lambda _: wire) as hub:
        hub.pipes = pipes
        yield hub


KINDS = ["http-newest", "http-older", "sse-newest", "sse-older", "stdio-newest", "stdio-older"]


async def call(hub, name, arguments, *, courier=None, **meta):
    params = {"name": name, "arguments": arguments, **({"_meta": meta} if meta else {})}
    async with hub.link("official", ALICE, courier=courier) as link:
        return await link.request("tools/call", params, timeout_s=20, courier=courier)


@pytest.mark.parametrize("kind", KINDS)
async def test_tools_are_listed_and_called(kind, port):
    async with hub_on(kind, port) as hub:
        view = await hub.refresh("official")
        assert view.state is ServerState.READY
        assert view.revision == ("2025-11-25" if kind.endswith("older") else "2026-07-28")
        assert view.info["name"] == "official"
        assert {"official.echo", "official.count"} <= {
            tool.definition.full_name for tool in hub.tools()
        }
        result = await call(hub, "echo", {"text": "grüße\n"})
        assert result["structuredContent"] == {"result": "grüße\n"}
        async with hub.link("official", ALICE) as link:
            read = await link.request("resources/read", {"uri": "note://one"}, timeout_s=20)
        assert read["contents"][0]["text"] == "a note"


@pytest.mark.parametrize("kind", KINDS)
async def test_progress_comes_while_the_tool_works(kind, port):
    courier = SomeCourier()
    async with hub_on(kind, port) as hub:
        result = await call(hub, "count", {"to": 3}, courier=courier, progressToken="mine")
    assert result["content"][0]["text"] == "counted"
    told = [params for method, params in courier.told if method == "notifications/progress"]
    assert [params["progress"] for params in told] == [0, 1, 2]
    assert {params["progressToken"] for params in told} == {"mine"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.endswith("older")])
async def test_a_question_reaches_the_client_and_its_answer_the_server(kind, port):
    answer = {"action": "accept", "content": {"name": "Ada"}}
    courier = SomeCourier({"elicitation": {"form": {}}}, answer)
    async with hub_on(kind, port) as hub:
        result = await call(hub, "greet", {}, courier=courier)
    assert result["content"][0]["text"] == "Hello Ada"
    assert courier.asked[0][0] == "elicitation/create"


@pytest.mark.parametrize("kind", ["stdio-newest", "stdio-older"])
async def test_a_killed_process_fails_its_call_and_comes_back(kind, port):
    async with hub_on(kind, port) as hub:
        await call(hub, "echo", {"text": "a"})
        failed = anyio.Event()

        async def count_for_long():
            with pytest.raises(EngineUnavailableError):
                await call(hub, "count", {"to": 10**9}, courier=courier, progressToken=1)
            failed.set()

        courier = SomeCourier()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count_for_long)
            with anyio.fail_after(10):
                await courier.heard.wait()
            hub.pipes.processes[-1].kill()
            with anyio.fail_after(2):
                await failed.wait()
        assert (await call(hub, "echo", {"text": "b"}))["content"][0]["text"] == "b"


@pytest.mark.parametrize("kind", ["http-older", "sse-older", "stdio-older"])
async def test_a_tool_that_is_added_later_appears(kind, port):
    async with hub_on(kind, port) as hub:
        await hub.refresh("official")
        grown = anyio.Event()
        hub.on_change(lambda change: grown.set() if change.kind == "tools" else None)
        await call(hub, "grow", {})
        with anyio.fail_after(10):
            await grown.wait()
        assert hub.tool("official.echo_again") is not None
