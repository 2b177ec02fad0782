"""The official stores in SQL behind `SecureA2AServer`: tasks outlive it, and two servers share them."""

import hashlib
from contextlib import AsyncExitStack

import anyio
import pytest
from a2a.server.cluster import DatabaseTaskEventStream, VersionedDatabaseTaskStore
from a2a.server.tasks import DatabasePushNotificationConfigStore, DatabaseTaskStore
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import TaskNotFoundError
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from hive_a2a.identity.api_key import StaticBearer
from hive_a2a.policy import Policy, PushLimits
from tests.interop.sdk_peers.executors import Everything, saying
from tests.interop.sdk_peers.servers import BINDINGS, client_of, secured
from tests.interop.test_sdk_python_client import inbox

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
CALLERS = StaticBearer({name: hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob")})
ANN, BOB = ({"Authorization": f"Bearer {name}"} for name in ("ann", "bob"))
WITHIN = Policy(push=PushLimits(private=True))


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path, anyio_backend):
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/tasks.db")
        else:
            server = request.getfixturevalue("database_server")
            database = await stack.enter_async_context(server.open())
            name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
            url = make_url(server.url(name)).difference_update_query(["app_role"])
            made = create_async_engine(url.set(drivername="postgresql+asyncpg"))
        stack.push_async_callback(made.dispose)
        yield made


def serving(executor, folder, **parts):
    return secured(executor, folder, policy=WITHIN, authenticators=(CALLERS,), **parts)


async def events_of(client, text, **more):
    return [event async for event in client.send_message(saying(text, **more))]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_task_and_its_webhook_outlive_the_server(engine, binding, tmp_path):
    agent = Everything()

    def stores():
        return {
            "task_store": DatabaseTaskStore(engine),
            "push_config_store": DatabasePushNotificationConfigStore(engine),
        }

    with anyio.fail_after(40):
        async with inbox() as (hook, came):
            async with (
                serving(agent, tmp_path, **stores()) as served,
                client_of(served, binding, headers=ANN) as client,
            ):
                task = (await events_of(client, "ask me"))[0].task
                config = pb.TaskPushNotificationConfig(
                    task_id=task.id, id="mine", url=hook, token="t-1"
                )
                await client.create_task_push_notification_config(config)
            async with serving(agent, tmp_path, **stores()) as served:
                async with client_of(served, binding, headers=BOB) as client:
                    with pytest.raises(TaskNotFoundError):
                        await client.get_task(pb.GetTaskRequest(id=task.id))
                    assert not (await client.list_tasks(pb.ListTasksRequest())).tasks
                async with client_of(served, binding, headers=ANN) as client:
                    kept = await client.get_task(pb.GetTaskRequest(id=task.id))
                    assert kept.status.state == pb.TASK_STATE_INPUT_REQUIRED
                    last = (await events_of(client, "done", task=task))[-1]
                    assert last.status_update.status.state == pb.TASK_STATE_COMPLETED
                    listed = (await client.list_tasks(pb.ListTasksRequest())).tasks
                    assert [one.id for one in listed] == [task.id]
                    headers, _ = await came.receive()
                    assert headers["x-a2a-notification-token"] == "t-1"


@pytest.mark.parametrize("binding", BINDINGS)
async def test_two_servers_on_one_database_share_tasks_and_streams(engine, binding, tmp_path):
    agent = Everything()
    async with AsyncExitStack() as stack:
        clients = []
        for name in ("one", "other"):
            store = VersionedDatabaseTaskStore(engine)
            events = DatabaseTaskEventStream(engine, poll_interval_s=0.05)
            await store.initialize()
            await events.initialize()
            replica = serving(agent, tmp_path / name, task_store=store, event_stream=events)
            served = await stack.enter_async_context(replica)
            clients.append(await stack.enter_async_context(client_of(served, binding, headers=ANN)))
        one, other = clients
        with anyio.fail_after(40):
            task = (await events_of(one, "ask me"))[0].task
            last = (await events_of(other, "done", task=task))[-1]
            assert last.status_update.status.state == pb.TASK_STATE_COMPLETED
            assert (await one.get_task(pb.GetTaskRequest(id=task.id))).status.state == (
                pb.TASK_STATE_COMPLETED
            )
            await followed_across(one, other)


async def followed_across(one, other):
    begun, following = anyio.Event(), anyio.Event()
    started, followed = [], []

    async def start():
        async for event in one.send_message(saying("wait for me")):
            started.append(event)
            begun.set()

    async def follow(task_id):
        async for event in other.subscribe(pb.SubscribeToTaskRequest(id=task_id)):
            followed.append(event)
            following.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        await begun.wait()
        task_id = started[0].task.id
        tasks.start_soon(follow, task_id)
        await following.wait()
        cancelled = await one.cancel_task(pb.CancelTaskRequest(id=task_id))
    assert cancelled.status.state == pb.TASK_STATE_CANCELED
    assert followed[0].task.id == task_id
    assert followed[-1].status_update.status.state == pb.TASK_STATE_CANCELED
    seen = await other.get_task(pb.GetTaskRequest(id=task_id))
    assert seen.status.state == pb.TASK_STATE_CANCELED
