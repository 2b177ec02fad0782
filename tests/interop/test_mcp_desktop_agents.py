"""An agent as a server of MCP behind the real front: the official client over HTTP and through `hive mcp`."""

import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import httpx
import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.ids import OwnerId
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings
from hive.core.spec import AgentSkill
from hive.core.task import TaskState
from hive.execution.ports import TextChunk
from hive.protocols.mcp.front.app import McpFront
from hive.protocols.mcp.ports import NEWEST, Turned, Visitor
from hive.protocols.mcp.serving.agent import AgentServices
from hive.protocols.mcp.serving.tasks import EXTENSION
from hive.testing.a2a_door import asker, echo, failer, streamer
from hive.testing.fake_gate import FakeAgents, FakeGate, fake_spec
from hive.testing.loopback import serve_app

pytestmark = pytest.mark.anyio
ERAS = ("legacy", "auto")
WAYS = ("http", "stdio")
SKILL = AgentSkill(id="say.again", name="Say again", description="Says it.", examples=("Hi",))


class Doorman:
    """Knows two people by their tokens."""

    async def identify(self, scope, headers):
        name = headers.get("authorization", "").removeprefix("Bearer ")
        if name not in ("alice", "bob"):
            return Turned(status=401, message="A token is needed.")
        principal = Principal(kind=PrincipalKind.CLIENT, name=name, owner=OwnerId(name))
        return Visitor(principal=principal)


class House:
    """Five agents, their services, and where they are."""

    def __init__(self):
        agents = {"echo": echo, "asker": asker, "failer": failer, "streamer": streamer}
        agents["sleeper"] = self.sleep
        self.began = anyio.Event()
        self.gate = FakeGate(agents)
        specs = [replace(fake_spec(name, description="Helps."), skills=(SKILL,)) for name in agents]
        self.services = AgentServices(
            gate=self.gate,
            agents=FakeAgents(*specs),
            card=lambda view: {"name": view.spec.name},
            clock=SystemClock(),
            randomness=SystemRandomness(),
            version="1",
        )
        self.url = ""

    async def sleep(self, turn):
        """Never answer."""
        self.began.set()
        yield TextChunk(text="zzz")
        await anyio.sleep_forever()

    def service_for(self, visitor, path):
        prefix = "/mcp/agents/"
        return self.services.of(path.removeprefix(prefix)) if path.startswith(prefix) else None

    @asynccontextmanager
    async def client(self, agent, era, way="http", who="alice", **options):
        with anyio.fail_after(30):
            if way == "stdio":
                argv = ["-m", "hive", "mcp", "--url", self.url, "agent", agent]
                environment = {"HIVE_MCP_TOKEN": who}
                target = StdioServerParameters(command=sys.executable, args=argv, env=environment)
                async with Client(target, mode=era, **options) as client:
                    yield client
                return
            from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

            headers = {"Authorization": f"Bearer {who}"}
            async with create_mcp_http_client(headers=headers) as http:
                url = f"{self.url}/mcp/agents/{agent}"
                target = streamable_http_client(url, http_client=http)
                async with Client(target, mode=era, **options) as client:
                    yield client


@pytest.fixture
async def house(anyio_backend):
    house = House()
    front = McpFront(
        service_for=house.service_for, doorman=Doorman(), settings=Settings(), clock=SystemClock()
    )
    async with house.gate.running(), front, serve_app(front) as house.url:
        yield house


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("era", ERAS)
async def test_an_agent_is_listed_called_read_and_prompted(house, era, way):
    async with house.client("echo", era, way) as client:
        assert client.server_info.name == "echo"
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert len(tools) == 3
        assert tools["ask"].output_schema
        (skill,) = [name for name in tools if name.startswith("say_again")]
        result = await client.call_tool(skill, {"message": "hello"})
        assert result.content[0].text == "hello"
        assert result.structured_content["state"] == "completed"
        again = {"message": "more", "context_id": result.structured_content["context_id"]}
        more = await client.call_tool("ask", again)
        assert more.structured_content["context_id"] == again["context_id"]
        card = (await client.list_resources()).resources[0]
        assert '"echo"' in (await client.read_resource(str(card.uri))).contents[0].text
        prompt = (await client.list_prompts()).prompts[0]
        assert "Hi" in (await client.get_prompt(prompt.name)).messages[0].content.text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("era", ERAS)
async def test_an_agents_question_reaches_the_person(house, era, way):
    async def answer(context, params):
        assert params.message == "What is your name?"
        return types.ElicitResult(action="accept", content={"message": "Ada"})

    async with house.client("asker", era, way, elicitation_callback=answer) as client:
        result = await client.call_tool("ask", {"message": "hi"})
        assert result.content[0].text == "Hello Ada"


@pytest.mark.parametrize("era", ERAS)
async def test_pieces_are_progress_and_failures_are_results(house, era):
    heard = []

    async def hear(progress, total, message):
        heard.append(message)

    async with house.client("streamer", era) as client:
        result = await client.call_tool("ask", {"message": "x"}, progress_callback=hear)
        assert "piece 0 piece 1 piece 2" in result.content[0].text
        assert "piece 1 " in heard
    async with house.client("failer", era) as client:
        result = await client.call_tool("ask", {"message": "x"})
        assert result.is_error
        assert "no such invoice" in result.content[0].text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("era", ERAS)
async def test_giving_up_cancels_the_task(house, era, way):
    changed = anyio.Event()

    async def note(event):
        if getattr(event, "state", None) is TaskState.CANCELED:
            changed.set()

    house.gate.on_change(note)
    async with house.client("sleeper", era, way) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "ask", {"message": "x"})
        await house.began.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await changed.wait()
            await client.list_tools()  # a client that leaves at once trips over the late answer


def stateless(method, task="", **params):
    meta = {
        "io.modelcontextprotocol/protocolVersion": NEWEST,
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}},
    }
    if task:
        params["taskId"] = task
    named = task or params.get("name")
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": NEWEST,
        "Mcp-Method": method,
        **({"Mcp-Name": named} if named else {}),
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return {"json": body, "headers": headers}


async def test_a_handle_is_got_cancelled_and_its_owners_alone(house):
    url = f"{house.url}/mcp/agents/sleeper"
    async with httpx.AsyncClient(timeout=20) as http:

        async def ask(who, method, **params):
            sent = stateless(method, **params)
            sent["headers"]["Authorization"] = f"Bearer {who}"
            return (await http.post(url, **sent)).json()

        call = {"name": "ask", "arguments": {"message": "x"}}
        begun = (await ask("alice", "tools/call", **call))["result"]
        assert begun["resultType"] == "task"
        task = begun["taskId"]
        assert (await ask("alice", "tasks/get", task=task))["result"]["status"] == "working"
        assert (await ask("bob", "tasks/get", task=task))["error"]["code"] == -32602
        assert (await ask("bob", "tasks/cancel", task=task))["error"]["code"] == -32602
        assert (await ask("alice", "tasks/cancel", task=task))["result"]["resultType"] == "complete"
        assert (await ask("alice", "tasks/get", task=task))["result"]["status"] == "cancelled"
    assert house.services.of("none") is None
    assert house.services.of("../x") is None
