"""A whole node between clients of MCP and servers of MCP: what was added survives a kill, and its doors let the right ones in."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from hive.testing.node_process import free_port, node_process

SERVER = Path(__file__).parents[1] / "interop" / "mcp_servers" / "official.py"


@pytest.fixture(scope="module")
def official():
    port = free_port()
    process = subprocess.Popen([sys.executable, str(SERVER), str(port)])
    try:
        anyio.run(answering, port)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


async def answering(port):
    with anyio.fail_after(30):
        while True:
            try:
                async with await anyio.connect_tcp("127.0.0.1", port):
                    return
            except OSError:
                await anyio.sleep(0.05)


@pytest.fixture(scope="module")
def node(tmp_path_factory, official):
    with node_process(tmp_path_factory.mktemp("node")) as found:
        found.hive("tool", "add", "official", "--url", official, "--yes")
        yield found


def asked(node, path, ask, *, token=None):
    async def main():
        shown = {"authorization": f"Bearer {token or node.token()}"}
        async with httpx2.AsyncClient(headers=shown) as http:
            transport = streamable_http_client(f"{node.url}{path}", http_client=http)
            async with Client(transport) as client:
                return await ask(client)

    return anyio.run(main)


async def names(client):
    return {tool.name for tool in (await client.list_tools()).tools}


async def echo(client):
    return (await client.call_tool("echo", {"text": "over"})).content[0].text


def test_a_server_is_found_below_its_own_name_and_among_all(node):
    assert "echo" in asked(node, "/mcp/servers/official", names)
    assert "official__echo" in asked(node, "/mcp/tools", names)
    assert asked(node, "/mcp/servers/official", echo) == "over"


def test_the_node_itself_is_a_server_for_its_operator(node):
    assert "list_agents" in asked(node, "/mcp", names)


def test_nobody_without_a_token_gets_in(node):
    for path in ("/mcp", "/mcp/tools", "/mcp/servers/official", "/mcp/agents/x"):
        reply = httpx2.post(f"{node.url}{path}", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert reply.status_code == 401, path


def test_there_is_no_server_of_an_unknown_name(node):
    with pytest.raises((MCPError, ExceptionGroup)):
        asked(node, "/mcp/servers/nobody", echo)


def test_what_was_added_is_there_after_a_kill(node):
    before = asked(node, "/mcp/tools", names)
    node.kill()
    node.start()
    assert asked(node, "/mcp/tools", names) == before
    assert asked(node, "/mcp/servers/official", echo) == "over"
    listed = json.loads(node.hive("tool", "list", "--json"))
    assert "official" in str(listed)
