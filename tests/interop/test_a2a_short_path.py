"""The short path of JSON-RPC answers what the official dispatcher would answer, word for word."""

import base64
import json
import time

import httpx
import pytest
from a2a.types import ListTasksResponse, SendMessageResponse, Task
from google.protobuf.json_format import ParseDict

from hive.engines import load_migrations
from hive.protocols.a2a import json_rpc
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door

pytestmark = pytest.mark.anyio
HEADERS = {"authorization": f"Bearer {OPERATOR_TOKEN}", "a2a-version": "1.0"}
PARTS = [
    {"text": "ä\u2028\U0001f600"},
    {"raw": base64.b64encode(b"\x00\xff").decode(), "filename": "a.bin"},
    {"url": "https://example.com/", "mediaType": "text/html"},
    {"data": {"a": [1, 2.5, None, True, {"b": ""}]}, "metadata": {"k": 1}},
    {"data": None},
    {"text": ""},
]


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
async def door(database):
    async with open_door(database) as door:
        yield door


async def both(door, monkeypatch, method, params, *, agent="echo"):
    """Ask the same twice: on the short path, and with the short path closed."""
    body = {"jsonrpc": "2.0", "id": "x", "method": method, "params": params}
    async with httpx.AsyncClient() as http:
        short = (await http.post(door.agent(agent), json=body, headers=HEADERS)).json()
        with monkeypatch.context() as closed:
            closed.setattr(json_rpc, "METHODS", {})
            official = (await http.post(door.agent(agent), json=body, headers=HEADERS)).json()
    return short, official


def without_ids(task):
    text = json.dumps(task)
    for name in (task["id"], task["contextId"], task["status"]["timestamp"]):
        text = text.replace(name, "*")
    return json.loads(text)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"configuration": {"historyLength": 0}},
        {"configuration": {"returnImmediately": True}},
        {"metadata": {"a": 1}, "unknownField": 7},
    ],
)
async def test_a_sent_message_is_answered_alike(door, monkeypatch, more):
    message = {"messageId": "m", "role": "ROLE_USER", "parts": PARTS, "metadata": {"n": "v"}}
    message |= {"extensions": ["https://example.com/e"], "referenceTaskIds": ["t-1"]}
    short, official = await both(door, monkeypatch, "SendMessage", {"message": message, **more})
    read = [ParseDict(one["result"], SendMessageResponse()) for one in (short, official)]
    assert all(one.task.id for one in read)
    tasks = [without_ids(one["result"]["task"]) for one in (short, official)]
    for task in tasks:
        task["status"].pop("timestamp")
    assert ParseDict(tasks[0], Task()) == ParseDict(tasks[1], Task())


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        ("GetTask", {}, Task),
        ("GetTask", {"historyLength": 1}, Task),
        ("ListTasks", {}, ListTasksResponse),
        ("ListTasks", {"includeArtifacts": True, "pageSize": 1}, ListTasksResponse),
        ("ListTasks", {"status": "TASK_STATE_COMPLETED"}, ListTasksResponse),
        ("ListTasks", {"status": "TASK_STATE_FAILED"}, ListTasksResponse),
        ("ListTasks", {"statusTimestampAfter": "2020-01-01T00:00:00Z"}, ListTasksResponse),
    ],
)
async def test_what_is_read_is_answered_alike(door, monkeypatch, method, params, kind):
    message = {"messageId": "m", "role": "ROLE_USER", "parts": PARTS}
    sent, _ = await both(door, monkeypatch, "SendMessage", {"message": message})
    if method == "GetTask":
        params = {**params, "id": sent["result"]["task"]["id"]}
    short, official = await both(door, monkeypatch, method, params)
    assert ParseDict(short["result"], kind()) == ParseDict(official["result"], kind())


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("GetTask", {"id": "missing"}),
        ("GetTask", {"id": "*"}),
        ("GetTask", {"id": "missing", "historyLength": -1}),
        ("CancelTask", {"id": "missing"}),
        ("SubscribeToTask", {"id": "missing"}),
        ("ListTasks", {"pageSize": 0}),
        ("ListTasks", {"pageSize": 101}),
        ("SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{}]}}),
        (
            "SendMessage",
            {
                "tenant": "x",
                "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}]},
            },
        ),
    ],
)
async def test_what_is_wrong_is_wrong_alike(door, monkeypatch, method, params):
    short, official = await both(door, monkeypatch, method, params)
    assert short["error"]["code"] == official["error"]["code"]


@pytest.mark.parametrize(
    "message",
    [
        {"message_id": "m", "role": "ROLE_USER", "parts": [{"text": "a"}]},
        {"messageId": "m", "role": 1, "parts": [{"text": "a"}]},
        {"messageId": "m", "role": "ROLE_USER", "parts": [{"raw": "_-8"}]},
        {"messageId": "m", "role": "ROLE_USER", "context_id": "mine", "parts": [{"text": "a"}]},
    ],
)
async def test_rare_forms_of_protojson_are_understood(door, message):
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    async with httpx.AsyncClient() as http:
        answer = (await http.post(door.agent("echo"), json=body, headers=HEADERS)).json()
    task = answer["result"]["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    if "context_id" in message:
        assert task["contextId"] == "mine"


async def test_a_refusal_of_the_gate_is_said_alike_with_when_to_come_back(door, monkeypatch):
    from hive.core.call import Refused

    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}]}
    door.gate.judge = lambda _attempt: Refused(check="policy", reason="Not today.", detail="secret")
    short, official = await both(door, monkeypatch, "SendMessage", {"message": message})
    assert short == official
    assert (short["error"]["code"], short["error"]["message"]) == (-32000, "Not today.")
    assert "secret" not in json.dumps(short)
    door.gate.judge = lambda _attempt: Refused(check="rate", reason="Slow.", retry_after_s=3.0)
    async with httpx.AsyncClient() as http:
        for path in ("", "/message:send"):
            body = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "SendMessage",
                "params": {"message": message},
            }
            body = body if not path else {"message": message}
            answer = await http.post(door.agent("echo") + path, json=body, headers=HEADERS)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


async def test_the_trace_of_a_request_reaches_the_gate(door):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    async with httpx.AsyncClient(headers={**HEADERS, "traceparent": trace}) as http:
        await http.post(door.agent("echo"), json=body)
        await http.post(door.agent("echo") + "/message:send", json={"message": message})
    assert [attempt.traceparent for attempt in door.gate.attempts] == [trace, trace]
    assert door.gate.attempts[0].arguments == door.gate.attempts[1].arguments


async def test_a_card_is_not_sent_twice_to_whoever_has_it(door):
    url = door.agent("echo") + "/.well-known/agent-card.json"
    async with httpx.AsyncClient() as http:
        first = await http.get(url)
        again = await http.get(url, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_the_short_path_costs_under_a_millisecond_of_cpu(door):
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    transport = httpx.ASGITransport(app=door.door)
    async with httpx.AsyncClient(transport=transport, headers=HEADERS) as http:
        for _ in range(20):
            await http.post("http://node/a2a/echo", json=body)
        began = time.process_time()
        for _ in range(100):
            await http.post("http://node/a2a/echo", json=body)
    assert (time.process_time() - began) / 100 < 0.0012 * 2  # the client shares this process
