"""The official Python client against the endpoint: both HTTP bindings and gRPC, 1.0 and 0.3, on real sockets."""

import subprocess
import sys
from contextlib import AsyncExitStack

import grpc
import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError, TaskNotCancelableError, TaskNotFoundError
from tests.wire_rig import EchoAgent, WordAuthenticator, card_of, endpoint, official_handler

from hive_a2a.call import CALL_KEY
from hive_a2a.grpc_server import serving_grpc
from hive_a2a.handler import FastRequestHandler, MemoryTaskStore
from hive_a2a.policy import Policy
from hive_a2a.wire.serve import serving

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
WAYS = [
    (binding, version) for binding in ("JSONRPC", "HTTP+JSON", "GRPC") for version in ("1.0", "0.3")
]


def request_of(text: str = "hello") -> pb.SendMessageRequest:
    request = pb.SendMessageRequest()
    request.message.message_id, request.message.role = "m", pb.ROLE_USER
    request.message.parts.add(text=text)
    return request


class Ann(httpx.Auth):
    def auth_flow(self, request):
        request.headers["authorization"] = "Bearer ann"
        yield request


def named(details):
    metadata = (*(details.metadata or ()), ("authorization", "Bearer ann"))
    return details._replace(metadata=grpc.aio.Metadata(*metadata))


class AnnOnCalls(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation, details, request):
        return await continuation(named(details), request)


class AnnOnStreams(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation, details, request):
        return await continuation(named(details), request)


@pytest.fixture(params=[False, True], ids=["official", "fast"])
def agent_and_handler(request):
    agent = EchoAgent()
    if request.param:
        return agent, FastRequestHandler(
            agent_executor=agent, task_store=MemoryTaskStore(), agent_card=card_of()
        )
    return agent, official_handler(agent)


@pytest.mark.parametrize(("binding", "version"), WAYS)
async def test_the_official_client_sends_follows_reads_and_cancels(
    agent_and_handler, binding, version
):
    agent, handler = agent_and_handler
    door = endpoint(handler=handler)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(door))
        grpc_port = await stack.enter_async_context(
            serving_grpc(door.guarded, policy=Policy.secure(), authenticators=[WordAuthenticator()])
        )
        http = await stack.enter_async_context(httpx.AsyncClient(auth=Ann()))
        url = f"127.0.0.1:{grpc_port}" if binding == "GRPC" else f"http://127.0.0.1:{port}"
        card = card_of()
        del card.supported_interfaces[:]
        card.supported_interfaces.add(url=url, protocol_binding=binding, protocol_version=version)
        for streaming in (True, False):
            config = ClientConfig(
                httpx_client=http,
                streaming=streaming,
                supported_protocol_bindings=[binding],
                grpc_channel_factory=lambda address: grpc.aio.insecure_channel(
                    address, interceptors=[AnnOnCalls(), AnnOnStreams()]
                ),
            )
            client = await create_client(card, client_config=config)
            task = await converse(client, streaming=streaming)
            got = await client.get_task(pb.GetTaskRequest(id=task))
            assert got.artifacts[0].parts[0].text == "hello"
            with pytest.raises(TaskNotCancelableError if version == "1.0" else A2AError):
                await client.cancel_task(pb.CancelTaskRequest(id=task))
            with pytest.raises(TaskNotFoundError if version == "1.0" else A2AError):
                await client.get_task(pb.GetTaskRequest(id="nope"))
            if version == "1.0":
                page = await client.list_tasks(pb.ListTasksRequest(page_size=1))
                assert page.tasks[0].id == task
            if binding == "GRPC":
                await client.close()
    seen = agent.seen[0].call_context.state[CALL_KEY]
    assert (seen.version, seen.binding.value) == (version, binding)
    assert seen.caller.name == "word:ann"


async def converse(client, *, streaming: bool) -> str:
    kinds, task = [], ""
    async for event in client.send_message(request_of()):
        kind = event.WhichOneof("payload")
        kinds.append(kind)
        if kind == "task":
            task = event.task.id
    if streaming:
        assert kinds == ["task", "artifact_update", "status_update"]
    else:
        assert kinds == ["task"]
    return task


async def test_the_card_is_found_and_chosen_by_the_client():
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(endpoint()))
        http = await stack.enter_async_context(httpx.AsyncClient())
        answer = await http.get(f"http://127.0.0.1:{port}/.well-known/agent-card.json")
        again = await http.get(
            f"http://127.0.0.1:{port}/.well-known/agent-card.json",
            headers={"if-none-match": answer.headers["etag"]},
        )
    assert answer.json()["name"] == "echo"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "first",
    [
        "import hive_a2a.grpc_server",
        "from hive_a2a.wire.official import official_routes; official_routes(None)",
    ],
)
def test_the_official_client_still_speaks_old_grpc_where_the_server_was_imported_first(first):
    code = f"{first}\nfrom a2a.client import client_factory as f\nassert f.CompatGrpcTransport"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
