"""The official Python SDK's client against a real node with walled agents, over every binding and both versions."""

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import grpc
import httpx
import pytest
from a2a.client import A2ACardResolver, ClientCallContext, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    A2AError,
    MethodNotFoundError,
    TaskNotCancelableError,
    TaskNotFoundError,
)

from hive.testing.node_process import free_port, node_process

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
AGENTS = Path(__file__).parent / "agents" / "talking.py"
NAMES = ("echo", "counting", "asking", "producing", "slowly", "failing")
WAYS = [
    ("JSONRPC", "1.0"),
    ("HTTP+JSON", "1.0"),
    ("GRPC", "1.0"),
    ("JSONRPC", "0.3"),
    ("HTTP+JSON", "0.3"),
]


@pytest.fixture(scope="module")
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
async def node(anyio_backend, tmp_path_factory):
    # Asynchronous, so that all tests share one event loop: gRPC stays with the first that it sees.
    folder = tmp_path_factory.mktemp("shown")
    (folder / "agent.py").write_text("def agent(text):\n    return text\n")
    (folder / "hive-agent.toml").write_text(
        'name = "shown"\nentry = "agent.py:agent"\npublic = true\n'
    )
    environment = {"HIVE_GRPC_PORT": str(free_port()), "HIVE_PUSH_PRIVATE": "true"}
    with node_process(tmp_path_factory.mktemp("node"), environment) as running:
        for name in NAMES:
            running.hive("run", f"{AGENTS}:{name}", "--name", name, "--yes")
        running.hive("run", str(folder), "--yes")
        yield running


@pytest.fixture(params=WAYS, ids=lambda way: "-".join(way))
def way(request):
    return request.param


class Caller:
    """Connects to agents as a foreign program would: the card first, then one of its interfaces."""

    def __init__(self, node, way, token):
        self.node = node
        self.binding, self.version = way
        self.context = ClientCallContext(service_parameters={"authorization": f"Bearer {token}"})
        self.http = httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=20)
        self.channels = []

    async def to(self, agent, *, streaming=False, polling=False):
        resolver = A2ACardResolver(self.http, f"{self.node.url}/a2a/{agent}")
        card = await resolver.get_agent_card()
        kept = [
            one
            for one in card.supported_interfaces
            if (one.protocol_binding, one.protocol_version) == (self.binding, self.version)
        ]
        assert kept, card.supported_interfaces
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(kept)
        config = ClientConfig(
            httpx_client=self.http,
            streaming=streaming,
            polling=polling,
            grpc_channel_factory=self._channel,
            supported_protocol_bindings=[self.binding],
        )
        return ClientFactory(config).create(card)

    def _channel(self, address):
        self.channels.append(grpc.aio.insecure_channel(address))
        return self.channels[-1]

    async def tell(self, client, request):
        with anyio.fail_after(30):
            return [event async for event in client.send_message(request, context=self.context)]

    async def task(self, client, request):
        events = await self.tell(client, request)
        assert [event.WhichOneof("payload") for event in events] == ["task"]
        return events[0].task

    async def settled(self, client, task_id):
        with anyio.fail_after(30):
            while True:
                task = await client.get_task(GetTaskRequest(id=task_id), context=self.context)
                if task.status.state not in (
                    TaskState.TASK_STATE_SUBMITTED,
                    TaskState.TASK_STATE_WORKING,
                ):
                    return task
                await anyio.sleep(0.05)

    async def close(self):
        await self.http.aclose()
        for channel in self.channels:
            await channel.close()


@pytest.fixture
async def caller(node, way, anyio_backend):
    opened = Caller(node, way, node.token())
    yield opened
    await opened.close()


def saying(text="hi", *, parts=None, push=None, **more):
    message = Message(
        message_id=str(uuid.uuid4()),
        role=Role.ROLE_USER,
        parts=parts or [Part(text=text)],
        **more,
    )
    request = SendMessageRequest(message=message)
    if push is not None:
        request.configuration.CopyFrom(SendMessageConfiguration(task_push_notification_config=push))
    return request


def first_text(message):
    return message.parts[0].text


async def test_an_answer_comes_back_whole(caller):
    task = await caller.task(await caller.to("echo"), saying("räksmörgås \u2028 \U0001f600"))
    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    assert first_text(task.artifacts[0]) == "räksmörgås \u2028 \U0001f600"


async def test_a_task_is_returned_at_once_and_read_later(caller):
    client = await caller.to("slowly", polling=True)
    task = await caller.task(client, saying("0.3"))
    assert task.status.state in (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
    assert first_text((await caller.settled(client, task.id)).artifacts[0]) == "rested"


async def test_a_generator_streams_piece_by_piece(caller):
    events = await caller.tell(await caller.to("counting", streaming=True), saying("4"))
    pieces = [event.artifact_update for event in events if event.HasField("artifact_update")]
    assert "".join(first_text(piece.artifact) for piece in pieces if piece.artifact.parts) == (
        "0 1 2 3 "
    )
    assert len(pieces) >= 2
    assert not pieces[0].append
    assert all(piece.append for piece in pieces[1:])
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_a_question_is_answered_in_the_same_task(caller):
    client = await caller.to("asking")
    task = await caller.task(client, saying("good day"))
    assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    assert first_text(task.status.message) == "What is your name?"
    again = saying("Ada", task_id=task.id, context_id=task.context_id)
    last = await caller.task(client, again)
    assert last.id == task.id
    assert last.status.state == TaskState.TASK_STATE_COMPLETED
    assert first_text(last.artifacts[-1]) == "Hello Ada, you began with good day"


async def test_artifacts_are_text_files_urls_and_data(caller):
    task = await caller.task(await caller.to("producing"), saying())
    report, raw, page, table = (one.parts[0] for one in task.artifacts[:4])
    assert report.text == "# Report"
    assert (raw.raw, raw.filename, raw.media_type) == (
        bytes(range(256)),
        "all.bin",
        "application/octet-stream",
    )
    assert page.url == "https://example.com/a?b=c"
    rows = table.data.struct_value["rows"]
    assert list(rows) == [1, 2.5, None, "x"]


async def test_tasks_of_a_context_are_listed(caller):
    if caller.version == "0.3":
        pytest.skip("protocol 0.3 lists no tasks")
    client = await caller.to("echo")
    context = str(uuid.uuid4())
    ids = {(await caller.task(client, saying(str(n), context_id=context))).id for n in range(3)}
    listed = await client.list_tasks(ListTasksRequest(context_id=context), context=caller.context)
    assert {task.id for task in listed.tasks} == ids
    assert listed.total_size == 3


async def test_a_running_task_is_followed_by_another_and_canceled(caller):
    client = await caller.to("slowly", polling=True)
    task = await caller.task(client, saying("20"))
    watcher = await caller.to("slowly", streaming=True)
    states = []
    with anyio.fail_after(20):
        events = watcher.subscribe(SubscribeToTaskRequest(id=task.id), context=caller.context)
        async for event in events:
            status = event.task.status if event.HasField("task") else event.status_update.status
            if not states:
                asked = CancelTaskRequest(id=task.id)
                canceled = await client.cancel_task(asked, context=caller.context)
                assert canceled.status.state == TaskState.TASK_STATE_CANCELED
            states.append(status.state)
    assert states[-1] == TaskState.TASK_STATE_CANCELED
    unread = (caller.binding, caller.version) == ("HTTP+JSON", "0.3")
    with pytest.raises(A2AClientError if unread else TaskNotCancelableError):
        await client.cancel_task(CancelTaskRequest(id=task.id), context=caller.context)


async def test_a_program_error_is_a_failed_task(caller):
    task = await caller.task(await caller.to("failing"), saying())
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert "no such invoice" in first_text(task.status.message)


async def test_what_does_not_exist_is_said_in_the_words_of_the_protocol(caller):
    client = await caller.to("echo")
    missing = str(uuid.uuid4())
    # The SDK's own client of 0.3 over HTTP+JSON does not read the words that its own server says.
    unread = (caller.binding, caller.version) == ("HTTP+JSON", "0.3")
    not_found = MethodNotFoundError if unread else TaskNotFoundError
    with pytest.raises(not_found):
        await client.get_task(GetTaskRequest(id=missing), context=caller.context)
    with pytest.raises(not_found):
        await client.cancel_task(CancelTaskRequest(id=missing), context=caller.context)
    done = await caller.task(client, saying())
    with pytest.raises((A2AError, A2AClientError), match="400" if unread else "takes no message"):
        await caller.tell(client, saying("more", task_id=done.id))


async def test_a_forged_token_shows_no_card_and_sends_nothing(caller):
    client = await caller.to("echo")
    caller.http.headers["Authorization"] = f"Bearer {'x' * 43}"
    caller.context = ClientCallContext(
        service_parameters={"authorization": caller.http.headers["Authorization"]}
    )
    with pytest.raises(A2AClientError):
        await caller.to("echo")
    with pytest.raises((A2AClientError, A2AError)):
        await caller.tell(client, saying())


async def test_a_private_agents_card_is_for_those_who_may_call_it(node, anyio_backend):
    headers = {"a2a-version": "1.0", "authorization": f"Bearer {node.token()}"}
    async with httpx.AsyncClient(base_url=f"{node.url}/a2a/echo") as http:
        for path in ("/.well-known/agent-card.json", "/extendedAgentCard"):
            assert (await http.get(path, headers={"a2a-version": "1.0"})).status_code == 401
            card = (await http.get(path, headers=headers)).json()
            assert card["name"] == "echo"


async def test_a_public_agents_card_is_for_everybody_and_names_every_binding(node, anyio_backend):
    async with httpx.AsyncClient(base_url=node.url) as http:
        card = (await http.get("/a2a/shown/.well-known/agent-card.json")).json()
        skills = (await http.get("/.well-known/agent-card.json")).json()["skills"]
    ways = [(one["protocolBinding"], one["protocolVersion"]) for one in card["supportedInterfaces"]]
    assert set(ways) == set(WAYS)
    assert "shown/shown" in [skill["id"] for skill in skills]
    assert "echo/echo" not in [skill["id"] for skill in skills]


async def test_a_client_is_told_of_its_task_at_its_own_address(caller):
    with receiver() as (url, told, more):
        push = TaskPushNotificationConfig(url=url, token="my-token")
        client = await caller.to("slowly", polling=True)
        task = await caller.task(client, saying("0.2", push=push))
        while not told or "completed" not in json.dumps(told[-1][1]).lower():
            assert await anyio.to_thread.run_sync(more.wait, 20)
            more.clear()
    headers, body = told[-1]
    assert headers["x-a2a-notification-token"] == "my-token"
    assert task.id in json.dumps(body)


class receiver:  # noqa: N801
    """A client's own HTTP server."""

    def __enter__(self):
        told, more = [], threading.Event()

        class Listens(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                names = {name.lower(): value for name, value in self.headers.items()}
                told.append((names, json.loads(body)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()
                more.set()

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Listens)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook", told, more

    def __exit__(self, *_error):
        self.server.shutdown()
        self.server.server_close()
