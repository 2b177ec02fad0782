"""A node as its MCP clients meet it: official clients through `hive mcp`, tokens, handles over a crash, both bridges."""

import json
import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from hive.protocols.mcp.ports import NEWEST
from hive.protocols.mcp.serving.tasks import EXTENSION
from hive.testing.loopback import serve_app
from hive.testing.node_process import HIVE, node_process

ERAS = ("legacy", "auto")
TIMEOUT_S = 60
AGENTS = '''"""Three agents."""
import time

import hive_guest


def echo(text):
    """Say it again."""
    return f"echo: {text}"


def slow(text):
    """Take as many tenths of a second as the text says."""
    for number in range(int(text)):
        yield f"{number} "
        time.sleep(0.1)


def asker(text, turn):
    """Ask for the city, then tell."""
    if len(turn.history) < 2:
        hive_guest.ask_input("Which city?")
    return f"rain in {text}"
'''


CALLER = '''"""Calls another agent as a server of MCP, with nothing but what is in its environment."""
import json
import os
import urllib.error
import urllib.request

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "caller", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def caller(text):
    """Call the agent that the text names."""
    params = {"name": "ask", "arguments": {"message": "from inside"}, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": "Bearer " + os.environ["HIVE_HANDLE"],
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "ask",
    }
    url = os.environ["HIVE_URL"] + "/mcp/agents/" + text
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
    try:
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
'''


class Sure(BaseModel):
    """What is asked before something is done."""

    yes: bool


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    source = folder / "agents"
    source.mkdir()
    (source / "agents.py").write_text(AGENTS)
    with node_process(folder / "state") as node:
        for name in ("echo", "slow", "asker"):
            node.hive("run", f"{source / 'agents.py'}:{name}", "--yes")
        yield node


def joined(node, era, *words, **options):
    argv = ["-m", "hive", "--state", str(node.state), "mcp", *words]
    return Client(StdioServerParameters(command=sys.executable, args=argv), mode=era, **options)


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_an_operators_client_lists_calls_and_explains(node, era):
    with anyio.fail_after(TIMEOUT_S):
        async with joined(node, era, "node") as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert "approve" not in " ".join(tools).replace("list_approvals", "")
            assert tools["list_agents"].annotations.read_only_hint
            assert tools["cancel_task"].annotations.destructive_hint
            agents = (await client.call_tool("list_agents", {})).structured_content["agents"]
            assert {"asker", "echo", "slow"} <= {one["name"] for one in agents}
            said = await client.call_tool("call_agent", {"agent": "echo", "message": "hi"})
            assert said.content[0].text == "echo: hi"
            task = said.structured_content["task_id"]
            why = (await client.call_tool("why", {"task": task})).structured_content
            assert why["task"]["state"] == "completed"
            assert why["trouble"] == []
            for name in ("spend", "budgets", "node_status", "list_tools", "list_approvals"):
                assert not (await client.call_tool(name, {})).is_error
            trace = (await client.read_resource(f"hive://trace/{task}")).contents[0].text
            assert json.loads(trace)["agent"] == "echo"
            missing = await client.call_tool("describe_agent", {"agent": "nobody"})
            assert missing.is_error


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_an_agent_asks_the_person_at_the_client(node, era):
    async def answer(context, params):
        from mcp_types import ElicitResult

        return ElicitResult(action="accept", content={"message": "Oslo"})

    with anyio.fail_after(TIMEOUT_S):
        async with joined(node, era, "agent", "asker", elicitation_callback=answer) as client:
            result = await client.call_tool("ask", {"message": "weather"})
    assert "rain in Oslo" in result.content[0].text


def post(node, path, method, token="", **params):
    """Send one stateless request; return its status and its answer."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": NEWEST,
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}},
    }
    named = params.get("name") or params.get("taskId")
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": NEWEST,
        "Mcp-Method": method,
        **({"Mcp-Name": named} if named else {}),
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    request = Request(f"{node.url}{path}", data=json.dumps(body).encode(), headers=headers)
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, error.read().decode()


def test_a_clients_token_opens_its_agents_and_nothing_else(node):
    token = node.hive("token", "issue", "acme", "--agent", "echo", "-q").strip()
    status, answer = post(node, "/mcp/agents/echo", "tools/list", token)
    assert status == 200
    assert [one["name"] for one in answer["result"]["tools"]] == ["ask", "get_task"]
    status, answer = post(node, "/mcp/agents/slow", "tools/list", token)
    assert "slow" not in json.dumps(answer) or "result" not in str(answer)
    assert "inputSchema" not in str(answer)
    status, answer = post(node, "/mcp", "tools/call", token, name="list_agents", arguments={})
    assert "echo" not in str(answer)
    for path in ("/mcp", "/mcp/agents/echo", "/mcp/tools"):
        assert post(node, path, "tools/list")[0] == 401


def test_anothers_handle_does_not_exist(node):
    tokens = [node.hive("token", "issue", name, "-q").strip() for name in ("alice", "bob")]
    call = {"name": "ask", "arguments": {"message": "40"}}
    begun = post(node, "/mcp/agents/slow", "tools/call", tokens[0], **call)[1]["result"]
    assert begun["resultType"] == "task"
    task = begun["taskId"]
    for method in ("tasks/get", "tasks/cancel"):
        _, answer = post(node, "/mcp/agents/slow", method, tokens[1], taskId=task)
        assert "-32602" in str(answer)
    _, answer = post(node, "/mcp/agents/slow", "tasks/get", tokens[0], taskId=task)
    assert answer["result"]["status"] == "working"
    post(node, "/mcp/agents/slow", "tasks/cancel", tokens[0], taskId=task)
    _, answer = post(node, "/mcp/agents/slow", "tasks/get", tokens[0], taskId=task)
    assert answer["result"]["status"] == "cancelled"


@pytest.fixture(scope="module")
def calculator():
    """A server of tools on loopback, which asks before it forgets."""
    server = MCPServer("calc")

    @server.tool()
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def forget(ctx: Context) -> str:
        """Ask, then forget."""
        answer = await ctx.elicit("Sure?", Sure)
        return f"{answer.action} {answer.data.yes}" if answer.action == "accept" else "kept"

    app = server.streamable_http_app(streamable_http_path="/mcp")

    class Served:
        async def __aenter__(self):
            from contextlib import AsyncExitStack

            self.stack = AsyncExitStack()
            await self.stack.enter_async_context(app.router.lifespan_context(app))
            return await self.stack.enter_async_context(serve_app(app))

        async def __aexit__(self, *exception):
            await self.stack.aclose()

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Served()) as url:
        yield f"{url}/mcp"


def test_an_agent_calls_those_that_its_grant_names(node, tmp_path):
    (tmp_path / "agent.py").write_text(CALLER)
    spec = 'name = "caller"\nentry = "agent.py:caller"\n[needs]\nagents = ["echo"]\n'
    (tmp_path / "hive-agent.toml").write_text(spec)
    node.hive("run", str(tmp_path), "--yes")
    assert "echo: from inside" in node.send("caller", "echo").answer
    refused = node.send("caller", "slow").answer
    assert "structuredContent" not in refused
    # An agent outside the grant is answered like one that is not there.
    assert "There is no MCP server at this path" in refused
    assert node.send("caller", "nobody").answer == refused


def test_the_tab_key_names_the_agents(node):
    words = {"_HIVE_COMPLETE": "bash_complete", "COMP_WORDS": "hive mcp agent e", "COMP_CWORD": "3"}
    done = subprocess.run(
        [*HIVE],
        env={"HIVE_STATE_DIR": str(node.state), "PATH": "/usr/bin:/bin", **words},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert "echo" in done.stdout
    assert "slow" not in done.stdout


def test_a_server_of_tools_is_an_agent(node, calculator):
    node.hive("tool", "add", "calc", "--url", calculator, "--yes")
    node.hive("run", "mcp:calc", "--yes")
    assert node.hive("call", "calc", 'add {"a": 2, "b": 40}').strip() == "42"
    assert "add" in node.hive("call", "calc", "what can you do?")
    call = {"message": "", "data": {"a": 1, "b": 2}}
    listed = post(node, "/mcp/agents/calc", "tools/list", node.token())[1]["result"]["tools"]
    assert {"ask", "add", "forget"} <= {one["name"] for one in listed}
    told = post(node, "/mcp/agents/calc", "tools/call", node.token(), name="add", arguments=call)
    assert told[1]["result"]["structuredContent"]["data"] == [{"result": 3}]
    task = node.send("calc", "rm {}")
    assert "read" not in task.answer


def test_an_a2a_agent_is_a_server_of_tools(node):
    card = f"{node.url}/a2a/echo/.well-known/agent-card.json"
    shown = f"Authorization=Bearer {node.token()}"
    node.hive("tool", "add", "friend", "--agent", card, "--header", shown, "--yes")
    assert "echo: hello" in node.hive("tool", "call", "friend.ask", "message=hello")


def test_a_handle_outlives_a_node_that_is_killed(node):
    token = node.token()
    call = {"name": "ask", "arguments": {"message": "15"}}
    begun = post(node, "/mcp/agents/slow", "tools/call", token, **call)[1]["result"]
    assert begun["resultType"] == "task"
    node.kill()
    node.start()
    ends_at = time.monotonic() + TIMEOUT_S
    found = {"status": ""}
    while found["status"] != "completed" and time.monotonic() < ends_at:
        found = post(node, "/mcp/agents/slow", "tasks/get", token, taskId=begun["taskId"])[1][
            "result"
        ]
    assert found["status"] == "completed"
    assert "14" in found["result"]["content"][0]["text"]
    assert found["createdAt"] == begun["createdAt"]


@pytest.mark.anyio
async def test_a_session_goes_on_after_the_node_was_killed(node):
    with anyio.fail_after(TIMEOUT_S):
        async with joined(node, "legacy", "agent", "echo") as client:
            await client.call_tool("ask", {"message": "one"})
            await anyio.to_thread.run_sync(node.kill)
            await anyio.to_thread.run_sync(node.start)
            again = await client.call_tool("ask", {"message": "two"})
    assert again.content[0].text == "echo: two"
