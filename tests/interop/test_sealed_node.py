"""The secure SDK's client against a real node: cards under a signature, calls end to end encrypted, one record."""

import json
import uuid
from pathlib import Path

import anyio
import httpx
import pytest
from a2a.types import (
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    TaskState,
)

from hive.testing.node_process import free_port, node_process
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.policies import Tofu
from hive_a2a.client import SecureA2AClient
from hive_a2a.identity.credentials import BearerToken
from hive_a2a.policy import ClientPolicy, Sealing
from hive_a2a.sealed.memory import PeersInMemory

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
AGENTS = Path(__file__).parent / "agents" / "talking.py"
GRPC_PORT = free_port()
SECRET = "the-vault-opens-at-noon"


@pytest.fixture(scope="module")
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
async def node(anyio_backend, tmp_path_factory):
    # Asynchronous, so that all tests share one event loop: gRPC stays with the first that it sees.
    environment = {"HIVE_GRPC_PORT": str(GRPC_PORT), "HIVE_REQUESTS_PER_S": "1000"}
    with node_process(tmp_path_factory.mktemp("node"), environment) as running:
        for name in ("echo", "slowly"):
            deploy(running, tmp_path_factory.mktemp(name), name)
        yield running


def deploy(node, folder, name):
    """Deploy an agent whose card everybody may read."""
    (folder / "talking.py").write_text(AGENTS.read_text())
    spec = f'name = "{name}"\nentry = "talking.py:{name}"\npublic = true\n'
    (folder / "hive-agent.toml").write_text(spec)
    node.hive("run", str(folder), "--yes")


def connect(node, name="echo", binding="JSONRPC", **more):
    given = {
        "policy": ClientPolicy(sealing=Sealing.REQUIRED),
        "trust": Tofu(),
        "keys": AgentKeys.ephemeral(),
        "memory": PeersInMemory(),
        "bindings": (binding,),
    }
    origins = [node.url, f"http://127.0.0.1:{GRPC_PORT}"]
    given["auth"] = BearerToken(node.token(), origins)
    return SecureA2AClient.connect(f"{node.url}/a2a/{name}", **{**given, **more})


def saying(text):
    message = Message(message_id=uuid.uuid4().hex, role=Role.ROLE_USER, parts=[Part(text=text)])
    return SendMessageRequest(message=message)


async def last_task(client, text):
    task = None
    async for event in client.send_message(saying(text)):
        if event.WhichOneof("payload") == "task":
            task = event.task
    return task


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON", "GRPC"])
async def test_a_sealed_client_does_what_a_plain_one_does(node, binding):
    async with connect(node, binding=binding) as client:
        task = await last_task(client, SECRET)
        got = await client.get_task(GetTaskRequest(id=task.id))
        assert got.status.state == TaskState.TASK_STATE_COMPLETED
        assert got.artifacts[0].parts[0].text == SECRET
        listed = await client.list_tasks(ListTasksRequest())
        assert task.id in [one.id for one in listed.tasks]
        card = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
        assert card.signatures
    async with connect(node, "slowly", binding=binding) as client:
        async for event in client.send_message(saying("30")):
            if event.WhichOneof("payload") == "task":
                canceled = await client.cancel_task(CancelTaskRequest(id=event.task.id))
                assert canceled.status.state == TaskState.TASK_STATE_CANCELED


async def test_who_listens_on_the_way_reads_neither_words_nor_token(node):
    heard = bytearray()

    class Listening(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            if request.method != "GET":
                heard.extend(await request.aread())
                heard.extend(repr(request.headers.raw).encode())
            answer = await super().handle_async_request(request)
            if request.method != "GET":
                content = await answer.aread()
                heard.extend(content)
                return httpx.Response(answer.status_code, headers=answer.headers, content=content)
            return answer

    async with connect(node, transport=Listening()) as client:
        task = await last_task(client, SECRET)
    assert task is not None
    assert len(heard) > 500
    for word in (SECRET, node.token(), task.id):
        assert word.encode() not in heard


async def test_one_sealed_call_is_one_intent_and_one_result_on_one_chain(node):
    def entries():
        told = json.loads(node.hive("audit", "verify", "--json"))
        return told["entries"]

    async with connect(node, policy=ClientPolicy(sealing=Sealing.REQUIRED, streaming=False)) as one:
        await last_task(one, "warm")
        before = entries()
        await last_task(one, "counted")
        assert entries() - before == 2
    assert not list(node.state.rglob("audit-*.log"))


async def test_a_required_seal_refuses_plain_calls_and_the_card_says_so(tmp_path):
    with node_process(tmp_path / "node", {"HIVE_A2A_SEALING": "required"}) as node:
        folder = tmp_path / "agent"
        folder.mkdir()
        deploy(node, folder, "echo")
        headers = {"authorization": f"Bearer {node.token()}", "a2a-version": "1.0"}
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "GetTask",
            "params": {"id": "t"},
        }
        async with httpx.AsyncClient(headers=headers) as http:
            plain = await http.post(f"{node.url}/a2a/echo", json=body)
            assert plain.json()["error"]["code"] == -32008
            page = await http.get(f"{node.url}/a2a/echo/.well-known/agent-card.json")
            card = page.json()
        uris = {one["uri"]: one.get("required") for one in card["capabilities"]["extensions"]}
        assert uris["urn:hive-a2a:noise:1"] is True
        async with connect(node) as client:
            with anyio.fail_after(60):
                assert (await last_task(client, "hello")) is not None
