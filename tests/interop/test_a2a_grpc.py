"""The official Python SDK's client over gRPC: the same operations, limits and refusals as over HTTP."""

import uuid

import anyio
import grpc
import pytest
from a2a.client import ClientCallContext, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    GetTaskRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    TaskState,
)
from a2a.utils.errors import TaskNotFoundError
from google.protobuf.json_format import ParseDict

from hive.core.ids import AgentId
from hive.core.settings import Settings
from hive.engines import load_migrations
from hive.protocols.a2a.card import CardWriter
from hive.protocols.a2a.grpc_port import serve_grpc
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door

pytestmark = pytest.mark.anyio
SETTINGS = Settings(grpc_port=-1, body_max_bytes=20_000)


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
async def door(database):
    async with (
        open_door(database, settings=SETTINGS) as door,
        serve_grpc(door.door, SETTINGS) as port,
    ):
        door.door.cards = CardWriter(public_url=door.url, grpc_address=f"127.0.0.1:{port}")
        yield door


@pytest.fixture
async def connect(door):
    channels = []

    def channel(address):
        channels.append(grpc.aio.insecure_channel(address))
        return channels[-1]

    def client(agent, *, streaming=False):
        view = door.agents.get(AgentId(agent))
        card = ParseDict(door.door.cards.agent(view), AgentCard(), ignore_unknown_fields=True)
        config = ClientConfig(
            streaming=streaming,
            grpc_channel_factory=channel,
            supported_protocol_bindings=["GRPC"],
        )
        return ClientFactory(config).create(card)

    yield client
    for one in channels:
        await one.close()


def showing(token):
    return ClientCallContext(service_parameters={"authorization": f"Bearer {token}"})


OPERATOR = showing(OPERATOR_TOKEN)


def asking(text="hi", **more):
    parts = [Part(text=text)]
    message = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_USER, parts=parts, **more)
    return SendMessageRequest(message=message)


async def told(client, request, context=OPERATOR):
    with anyio.fail_after(30):
        return [event async for event in client.send_message(request, context=context)]


async def test_the_tenant_of_the_card_chooses_the_agent(connect):
    echoed = (await told(connect("echo"), asking("hello")))[0].task
    assert echoed.artifacts[0].parts[0].text == "hello"
    failed = (await told(connect("failer"), asking()))[0].task
    assert failed.status.state == TaskState.TASK_STATE_FAILED


async def test_a_stream_ends_with_the_end_of_its_task(connect):
    events = await told(connect("streamer", streaming=True), asking())
    assert events[0].HasField("task")
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_input_get_and_cancel_work(connect):
    client = connect("asker")
    task = (await told(client, asking()))[0].task
    assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    got = await client.get_task(GetTaskRequest(id=task.id), context=OPERATOR)
    assert got.id == task.id
    canceled = await client.cancel_task(CancelTaskRequest(id=task.id), context=OPERATOR)
    assert canceled.status.state == TaskState.TASK_STATE_CANCELED
    with pytest.raises(TaskNotFoundError):
        await client.get_task(GetTaskRequest(id=str(uuid.uuid4())), context=OPERATOR)


@pytest.mark.parametrize("context", [None, showing("forged")])
async def test_a_caller_without_a_token_is_turned_away(connect, door, context):
    with pytest.raises(A2AClientError, match="UNAUTHENTICATED"):
        await told(connect("echo"), asking(), context)
    assert not door.gate.attempts


async def test_a_token_opens_only_the_agents_it_names(connect, door):
    token = await door.token("bob", "echo")
    assert (await told(connect("echo"), asking(), showing(token)))[0].HasField("task")
    with pytest.raises(A2AClientError, match="PERMISSION_DENIED"):
        await told(connect("asker"), asking(), showing(token))


async def test_another_owners_task_is_not_there(connect, door):
    task = (await told(connect("asker"), asking()))[0].task
    mallory = showing(await door.token("mallory"))
    with pytest.raises(TaskNotFoundError):
        await connect("asker").get_task(GetTaskRequest(id=task.id), context=mallory)


async def test_an_oversized_message_is_refused(connect, door):
    with pytest.raises(A2AClientError, match="RESOURCE_EXHAUSTED"):
        await told(connect("echo"), asking("x" * 30_000))
    assert not door.gate.attempts
