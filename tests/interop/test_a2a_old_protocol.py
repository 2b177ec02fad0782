"""Protocol 0.3 over JSON-RPC and HTTP+JSON: what a client from before 1.0 says, and the official 0.3 types read."""

import httpx
import pytest
from a2a.compat.v0_3 import types as old

from hive.engines import load_migrations
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door

pytestmark = pytest.mark.anyio
HEADERS = {"authorization": f"Bearer {OPERATOR_TOKEN}"}


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


def saying(text="hi", **more):
    message = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": text}], **more}
    return {"message": message}


async def rpc(http, door, method, params, *, agent="echo"):
    body = {"jsonrpc": "2.0", "id": "a", "method": method, "params": params}
    answer = await http.post(door.agent(agent), json=body, headers=HEADERS)
    assert answer.status_code == 200
    return answer


async def test_the_card_reads_as_a_card_of_0_3(http, door):
    shown = await http.get(door.agent("echo") + "/.well-known/agent-card.json")
    card = old.AgentCard.model_validate(shown.json())
    assert card.url == door.agent("echo")
    assert card.preferred_transport == "JSONRPC"
    assert card.security == [{"bearer": []}]


async def test_a_message_comes_back_as_a_task_of_0_3(http, door):
    answer = await rpc(http, door, "message/send", saying("hello"))
    task = old.SendMessageResponse.model_validate(answer.json()).root.result
    assert task.kind == "task"
    assert task.status.state is old.TaskState.completed
    assert task.artifacts[0].parts[0].root.text == "hello"
    got = await rpc(http, door, "tasks/get", {"id": task.id})
    assert old.GetTaskResponse.model_validate(got.json()).root.result.id == task.id


async def test_a_stream_of_0_3_ends_with_its_final_event(http, door):
    answer = await rpc(http, door, "message/stream", saying(), agent="streamer")
    frames = [line[5:] for line in answer.text.splitlines() if line.startswith("data:")]
    events = [
        old.SendStreamingMessageResponse.model_validate_json(frame).root.result for frame in frames
    ]
    assert events[0].kind == "task"
    assert events[-1].final
    assert events[-1].status.state is old.TaskState.completed


async def test_input_cancel_and_missing_tasks_are_said_in_0_3(http, door):
    first = (await rpc(http, door, "message/send", saying(), agent="asker")).json()["result"]
    assert first["status"]["state"] == "input-required"
    again = saying("Ada", taskId=first["id"], contextId=first["contextId"])
    last = (await rpc(http, door, "message/send", again, agent="asker")).json()["result"]
    assert last["status"]["state"] == "completed"
    no = await rpc(http, door, "tasks/cancel", {"id": first["id"]}, agent="asker")
    assert no.json()["error"]["code"] == -32002
    missing = await rpc(http, door, "tasks/get", {"id": "nothing"})
    assert missing.json()["error"]["code"] == -32001


async def test_http_json_of_0_3_is_served_under_v1(http, door):
    body = {"message": {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hello"}]}}
    sent = await http.post(door.agent("echo") + "/v1/message:send", json=body, headers=HEADERS)
    task = sent.json()["task"]
    got = await http.get(door.agent("echo") + f"/v1/tasks/{task['id']}", headers=HEADERS)
    assert got.json()["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_nobody_comes_in_by_the_old_protocol_without_a_token(http, door):
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": saying()}
    assert (await http.post(door.agent("echo"), json=body)).status_code == 401
    assert (await http.post(door.agent("echo") + "/v1/message:send", json={})).status_code == 401
    assert not door.gate.attempts
