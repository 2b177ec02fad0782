"""The official Python client against `SecureA2AServer`, and `SecureA2AClient` against the official server.

Over every binding, in 1.0 and 0.3, with the open policy and with credentials under the secure one.
"""

import hashlib
import json
from contextlib import asynccontextmanager

import anyio
import pytest
from a2a.client.errors import A2AClientError
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import (
    A2AError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import ParseDict
from tests.interop.sdk_peers.executors import Everything, saying
from tests.interop.sdk_peers.servers import (
    BINDINGS,
    WAYS,
    card_at,
    client_of,
    official,
    secured,
)

from hive.testing.loopback import serve_app
from hive_a2a.client import SecureA2AClient
from hive_a2a.identity.api_key import ApiKeys, StaticBearer
from hive_a2a.policy import ClientPolicy, Policy, PushLimits

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
DIGESTS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob")}
LOOPBACK = Policy(push=PushLimits(private=True))
DOORS = {
    "open": (Policy.open(), (), {}),
    "bearer": (LOOPBACK, (StaticBearer(DIGESTS),), {"Authorization": "Bearer ann"}),
    "key": (LOOPBACK, (ApiKeys(DIGESTS),), {"X-API-Key": "ann"}),
}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_A2A_HOME", str(tmp_path / "home"))


@asynccontextmanager
async def inbox():
    """A webhook, and what came to it."""
    send, receive = anyio.create_memory_object_stream(50)

    async def app(scope, asked, answer):
        body, more = b"", True
        while more:
            event = await asked()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        await send.send((headers, body))
        await answer({"type": "http.response.start", "status": 200, "headers": []})
        await answer({"type": "http.response.body", "body": b""})

    async with serve_app(app) as url:
        yield f"{url}/hook", receive
    send.close()
    receive.close()


async def events_of(client, text, **more):
    return [event async for event in client.send_message(saying(text, **more))]


async def sends_and_reads(client, version):
    events = await events_of(client, "count to four")
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds == ["task", "status_update", *["artifact_update"] * 5, "status_update"]
    task = events[0].task
    got = await client.get_task(pb.GetTaskRequest(id=task.id, history_length=1))
    assert got.status.state == pb.TASK_STATE_COMPLETED
    assert [one.parts[0].text for one in got.artifacts if len(one.parts) == 1] == ["done"]
    (greeting,) = await events_of(client, "greet me")
    assert greeting.message.parts[0].text == "Hello World"
    first = (await events_of(client, "ask me something"))[0].task
    answered = await events_of(client, "done", task=first)
    assert answered[-1].status_update.status.state == pb.TASK_STATE_COMPLETED
    if version == "1.0":
        page = await client.list_tasks(pb.ListTasksRequest(context_id=first.context_id))
        assert [one.id for one in page.tasks] == [first.id]
    return task


async def is_told_what_is_wrong(client, version, task):
    missing = TaskNotFoundError if version == "1.0" else A2AError
    final = TaskNotCancelableError if version == "1.0" else A2AError
    closed = UnsupportedOperationError if version == "1.0" else A2AError
    with pytest.raises(missing):
        await client.get_task(pb.GetTaskRequest(id="nowhere"))
    with pytest.raises(missing):
        await client.cancel_task(pb.CancelTaskRequest(id="nowhere"))
    with pytest.raises(final):
        await client.cancel_task(pb.CancelTaskRequest(id=task.id))
    with pytest.raises(closed):
        await events_of(client, "again", task=task)
    with pytest.raises(closed):
        _ = [one async for one in client.subscribe(pb.SubscribeToTaskRequest(id=task.id))]


async def follows_and_cancels(client):
    events, begun = [], anyio.Event()

    async def start():
        async for event in client.send_message(saying("wait for me")):
            events.append(event)
            begun.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        await begun.wait()
        task = events[0].task
        followed, following = [], anyio.Event()

        async def follow():
            async for event in client.subscribe(pb.SubscribeToTaskRequest(id=task.id)):
                followed.append(event)
                following.set()

        tasks.start_soon(follow)
        await following.wait()
        cancelled = await client.cancel_task(pb.CancelTaskRequest(id=task.id))
    assert cancelled.status.state == pb.TASK_STATE_CANCELED
    for seen in (events, followed):
        assert seen[0].task.id == task.id
        assert seen[-1].status_update.status.state == pb.TASK_STATE_CANCELED


async def is_notified(client, *, whole=True):
    async with inbox() as (hook, came):
        task = (await events_of(client, "ask"))[0].task
        config = pb.TaskPushNotificationConfig(task_id=task.id, id="mine", url=hook, token="t-1")
        made = await client.create_task_push_notification_config(config)
        assert (made.id, made.url) == ("mine", hook)
        wanted = pb.GetTaskPushNotificationConfigRequest(task_id=task.id, id="mine")
        assert (await client.get_task_push_notification_config(wanted)).url == hook
        listing = pb.ListTaskPushNotificationConfigsRequest(task_id=task.id)
        if whole:
            listed = await client.list_task_push_notification_configs(listing)
            assert [one.id for one in listed.configs] == ["mine"]
        await events_of(client, "done", task=task)
        while True:
            headers, body = await came.receive()
            assert headers["x-a2a-notification-token"] == "t-1"
            told = ParseDict(json.loads(body), pb.StreamResponse())
            if told.status_update.status.state == pb.TASK_STATE_COMPLETED:
                break
        if not whole:
            return
        gone = pb.DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="mine")
        await client.delete_task_push_notification_config(gone)
        listed = await client.list_task_push_notification_configs(listing)
        assert not listed.configs


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("binding", "version"), WAYS)
async def test_the_official_client_does_all_that_it_can(binding, version, door, tmp_path):
    policy, authenticators, headers = DOORS[door]
    serving = secured(Everything(), tmp_path, policy=policy, authenticators=authenticators)
    with anyio.fail_after(40):
        async with (
            serving as served,
            client_of(served, binding, version, headers=headers) as client,
        ):
            task = await sends_and_reads(client, version)
            await is_told_what_is_wrong(client, version, task)
            await follows_and_cancels(client)
            # What the official client of 0.3 cannot ask for over HTTP+JSON.
            whole = (binding, version) != ("HTTP+JSON", "0.3")
            await is_notified(client, whole=whole)
        async with secured(
            Everything(), tmp_path / "again", policy=policy, authenticators=authenticators
        ) as served:
            unary = client_of(served, binding, version, streaming=False, headers=headers)
            async with unary as client:
                (event,) = await events_of(client, "work for me")
                assert event.task.artifacts[0].parts[0].text == "heard work for me"


@pytest.mark.parametrize(("binding", "version"), WAYS)
async def test_a_client_without_a_credential_is_refused(binding, version, tmp_path):
    serving = secured(
        Everything(), tmp_path, authenticators=(StaticBearer(DIGESTS),), policy=LOOPBACK
    )
    async with serving as served, client_of(served, binding, version) as client:
        with pytest.raises((A2AClientError, A2AError)):
            await events_of(client, "work")
        with pytest.raises((A2AClientError, A2AError)):
            await client.get_task(pb.GetTaskRequest(id="nowhere"))


@pytest.mark.parametrize("binding", BINDINGS)
async def test_who_is_known_reads_the_extended_card(binding, tmp_path):
    extended = card_at(1, 1, extended_agent_card=True)
    extended.description = "More for those who are known."
    serving = secured(
        Everything(),
        tmp_path,
        authenticators=(StaticBearer(DIGESTS),),
        policy=LOOPBACK,
        extended_card=extended,
        card={"extended_agent_card": True},
    )
    wanted = pb.GetExtendedAgentCardRequest()
    async with serving as served:
        async with client_of(served, binding, headers={"Authorization": "Bearer ann"}) as client:
            assert (await client.get_extended_agent_card(wanted)).description[:4] == "More"
        async with client_of(served, binding) as client:
            with pytest.raises((A2AClientError, A2AError)):
                await client.get_extended_agent_card(wanted)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_nobody_sees_the_task_of_another(binding, tmp_path):
    serving = secured(
        Everything(), tmp_path, authenticators=(StaticBearer(DIGESTS),), policy=LOOPBACK
    )
    async with serving as served:
        async with client_of(served, binding, headers={"Authorization": "Bearer ann"}) as ann:
            task = (await events_of(ann, "ask"))[0].task
        async with client_of(served, binding, headers={"Authorization": "Bearer bob"}) as bob:
            with pytest.raises(TaskNotFoundError):
                await bob.get_task(pb.GetTaskRequest(id=task.id))
            with pytest.raises(TaskNotFoundError):
                await bob.cancel_task(pb.CancelTaskRequest(id=task.id))
            with pytest.raises(TaskNotFoundError):
                await events_of(bob, "done", task=task)
            assert not (await bob.list_tasks(pb.ListTasksRequest())).tasks


@pytest.mark.parametrize(("binding", "version"), WAYS)
async def test_the_secure_client_calls_a_plain_official_server(binding, version):
    async with official(Everything(), versions=(version,)) as served:
        connecting = SecureA2AClient.connect(
            served.url, policy=ClientPolicy.open(), bindings=[binding]
        )
        with anyio.fail_after(30):
            async with connecting as client:
                task = await sends_and_reads(client, version)
                await is_told_what_is_wrong(client, version, task)
                await follows_and_cancels(client)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_secure_client_does_not_trust_a_plain_server_by_itself(binding):
    async with official(Everything()) as served:
        with pytest.raises(Exception, match="sign"):
            await SecureA2AClient.connect(served.url, bindings=[binding])


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_secure_client_and_server_talk_sealed(binding, tmp_path):
    plain = []
    serving = secured(Everything(), tmp_path, policy=Policy.open())
    async with serving as served:
        connecting = SecureA2AClient.connect(
            served.url, bindings=[binding], on_plain=lambda *told: plain.append(told)
        )
        with anyio.fail_after(30):
            async with connecting as client:
                task = await sends_and_reads(client, "1.0")
                await is_told_what_is_wrong(client, "1.0", task)
                await follows_and_cancels(client)
                await is_notified(client)
    assert not plain
