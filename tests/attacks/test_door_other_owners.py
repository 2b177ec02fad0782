"""Another owner's task: for whoever does not own it, it is not there, in any method of any binding."""

import httpx
import pytest

from hive.engines import load_migrations
from hive.testing.a2a_door import open_door

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
async def door(database):
    async with open_door(database) as door:
        yield door


@pytest.fixture
async def http(anyio_backend):
    async with httpx.AsyncClient(timeout=10) as http:
        yield http


async def rpc(http, door, token, method, params, *, agent="asker"):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"authorization": f"Bearer {token}", "a2a-version": "1.0"}
    return (await http.post(door.agent(agent), json=body, headers=headers)).json()


def saying(text="hi", **more):
    return {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}], **more}}


async def a_waiting_task(http, door, token):
    answer = await rpc(http, door, token, "SendMessage", saying())
    return answer["result"]["task"]["id"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("GetTask", lambda task: {"id": task}),
        ("CancelTask", lambda task: {"id": task}),
        ("SubscribeToTask", lambda task: {"id": task}),
        ("SendMessage", lambda task: saying("Mallory", taskId=task)),
        ("SendStreamingMessage", lambda task: saying("Mallory", taskId=task)),
        (
            "CreateTaskPushNotificationConfig",
            lambda task: {"taskId": task, "url": "http://127.0.0.1:1/"},
        ),
        ("ListTaskPushNotificationConfigs", lambda task: {"taskId": task}),
        ("GetTaskPushNotificationConfig", lambda task: {"taskId": task, "id": "x"}),
        ("DeleteTaskPushNotificationConfig", lambda task: {"taskId": task, "id": "x"}),
    ],
)
async def test_a_stranger_cannot_tell_a_foreign_task_from_a_missing_one(http, door, method, params):
    alice, mallory = await door.token("alice"), await door.token("mallory")
    task = await a_waiting_task(http, door, alice)
    foreign = await rpc(http, door, mallory, method, params(task))
    missing = await rpc(http, door, mallory, method, params("0" * 8 + task[8:]))
    assert foreign["error"]["code"] == -32001
    assert foreign == missing
    held = await rpc(http, door, alice, "GetTask", {"id": task})
    assert held["result"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert len(held["result"]["history"]) == 1


async def test_a_list_shows_the_callers_own_tasks_only(http, door):
    alice, mallory = await door.token("alice"), await door.token("mallory")
    task = await a_waiting_task(http, door, alice)
    assert (await rpc(http, door, mallory, "ListTasks", {}))["result"]["totalSize"] == 0
    mine = await rpc(http, door, alice, "ListTasks", {})
    assert [one["id"] for one in mine["result"]["tasks"]] == [task]


async def test_a_task_is_not_there_under_another_agent(http, door):
    alice = await door.token("alice")
    task = await a_waiting_task(http, door, alice)
    for method in ("GetTask", "CancelTask", "SubscribeToTask"):
        answer = await rpc(http, door, alice, method, {"id": task}, agent="echo")
        assert answer["error"]["code"] == -32001
    listed = await rpc(http, door, alice, "ListTasks", {}, agent="echo")
    assert listed["result"]["totalSize"] == 0


@pytest.mark.parametrize("task", ["*", ">", "", "../x", "a b", "x" * 200])
async def test_a_wildcard_is_no_task_id(http, door, task):
    alice = await door.token("alice")
    await a_waiting_task(http, door, alice)
    for method in ("GetTask", "CancelTask", "SubscribeToTask"):
        answer = await rpc(http, door, alice, method, {"id": task})
        assert answer["error"]["code"] == -32602
