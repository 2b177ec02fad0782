"""The official Python SDK's client against the door, over every binding and both versions."""

import uuid

import anyio
import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.client.errors import A2AClientError
from a2a.types import (
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskState,
)
from a2a.utils.errors import A2AError, TaskNotCancelableError, TaskNotFoundError

from hive.engines import load_migrations
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture(params=["JSONRPC", "HTTP+JSON"])
def binding(request):
    return request.param


@pytest.fixture
async def door(database):
    async with open_door(database) as door:
        yield door


OPEN = []


@pytest.fixture(autouse=True)
async def closed_clients(anyio_backend):
    yield
    while OPEN:
        await OPEN.pop().aclose()


def http_of(token=OPERATOR_TOKEN):
    http = httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=10)
    OPEN.append(http)
    return http


async def client_of(door, agent, binding, *, streaming=False, token=OPERATOR_TOKEN, polling=False):
    """Connect as a foreign program would: card first, then the binding that it prefers."""
    config = ClientConfig(
        httpx_client=http_of(token),
        streaming=streaming,
        polling=polling,
        supported_protocol_bindings=[binding],
    )
    return await create_client(door.agent(agent), client_config=config)


def asking(text="hi", *, parts=None, task_id="", context_id="", history=None):
    message = Message(
        message_id=str(uuid.uuid4()),
        role=Role.ROLE_USER,
        parts=parts or [Part(text=text)],
        task_id=task_id,
        context_id=context_id,
    )
    request = SendMessageRequest(message=message)
    if history is not None:
        request.configuration.CopyFrom(SendMessageConfiguration(history_length=history))
    return request


async def told(client, request):
    with anyio.fail_after(30):
        return [event async for event in client.send_message(request)]


async def task_of(client, request):
    events = await told(client, request)
    assert [event.WhichOneof("payload") for event in events] == ["task"]
    return events[0].task


async def test_a_message_comes_back_as_a_completed_task(door, binding):
    client = await client_of(door, "echo", binding)
    task = await task_of(client, asking("hello"))
    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    assert task.artifacts[0].parts[0].text == "hello"
    assert task.history[0].parts[0].text == "hello"


async def test_a_client_that_polls_gets_its_task_at_once_and_reads_it_later(door, binding):
    client = await client_of(door, "echo", binding, polling=True)
    task = await task_of(client, asking("later"))
    assert task.status.state == TaskState.TASK_STATE_SUBMITTED
    with anyio.fail_after(30):
        while task.status.state != TaskState.TASK_STATE_COMPLETED:
            task = await client.get_task(GetTaskRequest(id=task.id))
    assert task.artifacts[0].parts[0].text == "later"


async def test_a_stream_begins_with_the_task_and_ends_with_its_end(door, binding):
    client = await client_of(door, "streamer", binding, streaming=True)
    events = await told(client, asking())
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds[0] == "task"
    assert kinds[-1] == "status_update"
    pieces = [event.artifact_update for event in events if event.HasField("artifact_update")]
    assert [piece.append for piece in pieces] == [False, True, True]
    assert [piece.last_chunk for piece in pieces] == [False, False, True]
    assert "".join(piece.artifact.parts[0].text for piece in pieces) == "piece 0 piece 1 piece 2 "
    last = events[-1].status_update.status
    assert last.state == TaskState.TASK_STATE_COMPLETED
    assert last.message.parts[0].text == "done"


async def test_every_kind_of_part_survives_both_ways(door, binding):
    client = await client_of(door, "echo", binding)
    given = [
        Part(text="räksmörgås \u2028"),
        Part(raw=bytes(range(256)), media_type="application/octet-stream", filename="b.bin"),
        Part(url="https://example.com/a?b=c", media_type="text/html"),
        Part(),
    ]
    given[3].data.struct_value.update({"n": 1.5, "list": [True, None, "x"]})
    task = await task_of(client, asking(parts=given))
    assert list(task.artifacts[0].parts) == given


async def test_artifacts_carry_text_bytes_urls_and_data(door, binding):
    client = await client_of(door, "producer", binding)
    text, raw, url, data = (await task_of(client, asking())).artifacts[0].parts
    assert text.text == "report"
    assert (raw.raw, raw.filename) == (b"\x00\xff binary", "a.bin")
    assert url.url == "https://example.com/report.pdf"
    assert data.data.struct_value["rows"][1] == 2.5
    assert data.metadata["kind"] == "table"


async def test_a_task_that_needs_input_goes_on_with_the_answer(door, binding):
    client = await client_of(door, "asker", binding)
    task = await task_of(client, asking("start"))
    assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    assert task.status.message.parts[0].text == "What is your name?"
    again = await task_of(client, asking("Ada", task_id=task.id, context_id=task.context_id))
    assert again.id == task.id
    assert again.status.message.parts[0].text == "Hello Ada"
    assert [one.parts[0].text for one in again.history] == ["start", "What is your name?", "Ada"]


async def test_history_length_shortens_what_comes_back(door, binding):
    client = await client_of(door, "asker", binding)
    task = await task_of(client, asking("start", history=0))
    assert not task.history
    await task_of(client, asking("Ada", task_id=task.id))
    last = await client.get_task(GetTaskRequest(id=task.id, history_length=1))
    assert [one.parts[0].text for one in last.history] == ["Ada"]
    assert len((await client.get_task(GetTaskRequest(id=task.id))).history) == 3


async def test_tasks_are_listed_page_by_page_for_their_context(door, binding):
    client = await client_of(door, "echo", binding)
    ids = {(await task_of(client, asking(str(n), context_id="ctx-1"))).id for n in range(5)}
    await task_of(client, asking("other", context_id="ctx-2"))
    first = await client.list_tasks(ListTasksRequest(context_id="ctx-1", page_size=3))
    assert (len(first.tasks), first.total_size, first.page_size) == (3, 5, 3)
    assert not first.tasks[0].artifacts
    rest = await client.list_tasks(
        ListTasksRequest(
            context_id="ctx-1",
            page_size=3,
            page_token=first.next_page_token,
            include_artifacts=True,
        )
    )
    assert {task.id for task in (*first.tasks, *rest.tasks)} == ids
    assert rest.tasks[0].artifacts
    assert not rest.next_page_token


async def test_a_running_task_can_be_followed_and_canceled_once(door, binding):
    client = await client_of(door, "sleeper", binding, polling=True)
    task = await task_of(client, asking())
    seen = []
    watcher = await client_of(door, "sleeper", binding, streaming=True)
    with anyio.fail_after(30):
        async for event in watcher.subscribe(SubscribeToTaskRequest(id=task.id)):
            seen.append(event)
            if len(seen) == 1:
                canceled = await client.cancel_task(CancelTaskRequest(id=task.id))
                assert canceled.status.state == TaskState.TASK_STATE_CANCELED
    assert seen[0].task.id == task.id
    assert seen[-1].status_update.status.state == TaskState.TASK_STATE_CANCELED
    with pytest.raises(TaskNotCancelableError):
        await client.cancel_task(CancelTaskRequest(id=task.id))


async def test_a_failure_of_the_agent_is_a_failed_task(door, binding):
    client = await client_of(door, "failer", binding)
    task = await task_of(client, asking())
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert "no such invoice" in task.status.message.parts[0].text


async def test_a_missing_task_is_not_found_in_every_method(door, binding):
    client = await client_of(door, "echo", binding)
    missing = str(uuid.uuid4())
    with pytest.raises(TaskNotFoundError):
        await client.get_task(GetTaskRequest(id=missing))
    with pytest.raises(TaskNotFoundError):
        await client.cancel_task(CancelTaskRequest(id=missing))
    with pytest.raises(TaskNotFoundError):
        await told(client, asking(task_id=missing))


async def test_a_finished_task_takes_no_more_messages(door, binding):
    client = await client_of(door, "echo", binding)
    task = await task_of(client, asking())
    with pytest.raises(A2AError, match="takes no message"):
        await told(client, asking("more", task_id=task.id))


async def test_a_caller_without_a_token_is_turned_away(door, binding):
    client = await client_of(door, "echo", binding, token="x" * 20)
    with pytest.raises((A2AClientError, A2AError)):
        await told(client, asking())
    assert not door.gate.attempts


async def node_client(door, token=OPERATOR_TOKEN):
    config = ClientConfig(httpx_client=http_of(token), streaming=False)
    return await create_client(door.url, client_config=config)


@pytest.mark.parametrize("binding", ["JSONRPC"])
async def test_the_extended_card_of_the_node_lists_what_the_caller_may_call(door, binding):
    client = await node_client(door, await door.token("bob", "echo"))
    card = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
    assert [skill.id for skill in card.skills] == ["directory", "echo/echo"]


@pytest.mark.parametrize("binding", ["JSONRPC"])
async def test_the_node_itself_tells_which_agents_are_here(door, binding):
    events = await told(await node_client(door), asking("who is here?"))
    assert "streamer: The streamer." in events[0].message.parts[0].text
    listed = events[0].message.parts[1].data.struct_value["agents"]
    assert listed[0]["card"].startswith(door.url)
