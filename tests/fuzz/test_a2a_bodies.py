"""Made-up bodies at the real A2A door: each gets an answer of the standard, and none reaches past it broken."""

import json
import random
import time

import httpx
import pytest

from hive.core.settings import Settings
from hive.engines import load_migrations
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door
from tests.fuzz.mutator import SECONDS, SEED, mutations

pytestmark = [pytest.mark.fuzz, pytest.mark.anyio]

MESSAGE = {
    "messageId": "m",
    "role": "ROLE_USER",
    "parts": [{"text": "hi"}, {"data": {"a": [1, None]}}, {"raw": "aGk=", "filename": "f"}],
    "metadata": {"k": "v"},
}
OLD = {
    "messageId": "m",
    "role": "user",
    "kind": "message",
    "parts": [{"kind": "text", "text": "hi"}],
}
PUSH = {"taskId": "t", "url": "https://example.com/", "authentication": {"scheme": "Bearer"}}
CALLS = [
    ("SendMessage", {"message": MESSAGE, "configuration": {"returnImmediately": True}}),
    ("SendStreamingMessage", {"message": MESSAGE}),
    ("GetTask", {"id": "t", "historyLength": 3}),
    ("ListTasks", {"pageSize": 5, "contextId": "c", "status": "TASK_STATE_WORKING"}),
    ("CancelTask", {"id": "t"}),
    ("SubscribeToTask", {"id": "t"}),
    ("CreateTaskPushNotificationConfig", PUSH),
    ("message/send", {"message": OLD}),
    ("tasks/get", {"id": "t"}),
]
RPC = [
    json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": params}).encode()
    for name, params in CALLS
]
REST = [json.dumps(CALLS[0][1]).encode()]
PATHS = [b"/message:send", b"/message:stream", b"/tasks", b"/tasks/t", b"/tasks/t:cancel", b"/card"]


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
async def door(database):
    settings = Settings(body_max_bytes=200_000, request_timeout_s=2.0, requests_per_s=1_000_000)
    async with open_door(database, settings=settings) as door:
        yield door


@pytest.fixture
async def http(anyio_backend):
    async with httpx.AsyncClient(timeout=20) as http:
        yield http


async def tried(http, door, good, dice, *, path=b"", method="POST"):
    headers = {
        "authorization": f"Bearer {OPERATOR_TOKEN}",
        "a2a-version": dice.choice(("1.0", "1.0", "0.3", "")),
        "content-type": "application/json",
    }
    place = door.agent("echo") + path.decode("latin-1").replace("\r", "").replace("\n", "")
    try:
        url = httpx.URL(place)
    except httpx.InvalidURL:
        return 0
    answer = await http.request(method, url, content=good, headers=headers)
    note = f"FUZZ_SEED={SEED} {method} {place!r} {good[:2000]!r} -> {answer.text[:500]!r}"
    assert answer.status_code != 500, note
    assert "Traceback" not in answer.text, note
    if answer.status_code in (404, 405):  # HTTP's own words for a path that no binding has
        return answer.status_code
    if answer.text and "event-stream" not in answer.headers.get("content-type", ""):
        try:
            answer.json()
        except ValueError:
            pytest.fail(note)
    return answer.status_code


async def test_bodies_of_json_rpc(http, door):
    dice = random.Random(SEED)
    seen: set[int] = set()
    ends_at = time.monotonic() + SECONDS * 2
    for body in mutations(RPC, dice):
        seen.add(await tried(http, door, body, dice))
        if time.monotonic() > ends_at:
            break
    assert {200} < seen


async def test_bodies_and_paths_of_rest(http, door):
    dice = random.Random(SEED)
    seen: set[int] = set()
    ends_at = time.monotonic() + SECONDS * 2
    bodies, paths = mutations(REST, dice), mutations(PATHS, dice)
    for body, path in zip(bodies, paths, strict=False):
        method = dice.choice(("POST", "POST", "GET", "DELETE"))
        chosen = dice.choice((PATHS[0], path[:500]))
        if not chosen.startswith(b"/"):
            continue
        seen.add(await tried(http, door, body, dice, path=chosen, method=method))
        if time.monotonic() > ends_at:
            break
    assert len(seen - {0}) > 1
