"""What the node adds to the SDK's answers: the gate's word, the trace, the card of an agent."""

import base64
import json

import httpx
import pytest

from hive.engines import load_migrations
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


async def test_a_refusal_of_the_gate_is_said_with_when_to_come_back(door):
    from hive.core.call import Refused

    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}]}
    door.gate.judge = lambda _attempt: Refused(check="policy", reason="Not today.", detail="secret")
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    async with httpx.AsyncClient() as http:
        said = (await http.post(door.agent("echo"), json=call, headers=HEADERS)).json()
    assert (said["error"]["code"], said["error"]["message"]) == (-32000, "Not today.")
    assert "secret" not in json.dumps(said)
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
