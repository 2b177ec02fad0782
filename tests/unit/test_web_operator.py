"""The operator API answers in its own words, and only to the operator."""

import json
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.testing.console import MOMENT, TOKEN, MemoryConsole
from hive.web.operator import OperatorApi
from hive.web.sessions import PageSessions
from hive.web.values import AuditRecord, LogRecord

pytestmark = pytest.mark.anyio


def api(console: MemoryConsole, *, guarded: bool = False) -> OperatorApi:
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    return OperatorApi(console, sessions=sessions, guarded=guarded)


@pytest.fixture
def console() -> MemoryConsole:
    return MemoryConsole()


@pytest.fixture
async def client(console) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=api(console))
    async with httpx.AsyncClient(transport=transport, base_url="http://hive") as opened:
        yield opened


@pytest.fixture
async def stranger(console) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=api(console, guarded=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://hive") as opened:
        yield opened


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": f"hive_page={TOKEN}"},
    ],
)
async def test_the_public_port_answers_nobody_without_the_operators_token(stranger, headers):
    for method, path in (("GET", "status"), ("POST", "shutdown"), ("GET", "nothing-here")):
        answer = await stranger.request(method, f"/api/{path}", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "E090"


async def test_the_token_opens_the_api_on_the_public_port(stranger):
    answer = await stranger.get("/api/status", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.json()["node_id"] == "node-1"


async def test_an_unknown_agent_is_told_with_code_reason_and_fix(client):
    answer = await client.get("/api/agents/nobody")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "code": "E040",
        "what": "There is no such agent.",
        "why": "",
        "fix": "hive ps",
    }


@pytest.mark.parametrize("name", ["A", "a.b", "a*", "%3E", "a%20b", "-a", "a" * 64])
async def test_a_name_that_could_be_a_wildcard_or_a_path_is_refused(client, name):
    answer = await client.post(f"/api/agents/{name}/stop")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "E030"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"source": 7, "folder": "/"}',
        b'{"source": "a", "folder": "/", "more": 1}',
        b"[" * 100_000,
    ],
)
async def test_a_malformed_order_is_refused_and_changes_nothing(client, console, body):
    answer = await client.post("/api/agents", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "E031"
    assert console.orders == []


async def test_an_oversized_order_is_refused(client, console):
    answer = await client.post("/api/agents", content=b" " * ((32 << 20) + 1))
    assert answer.status_code == 413
    assert console.orders == []


@pytest.mark.parametrize("last", ["-1", "nan", "inf", "1e99", "x"])
async def test_a_number_out_of_range_is_refused(client, last):
    answer = await client.get("/api/logs", params={"last": last})
    assert answer.status_code == 400


async def test_a_deployment_streams_its_steps_and_then_the_agent_is_there(client):
    order = {"source": "./a.py:agent", "folder": "/work", "name": "adder"}
    answer = await client.post("/api/agents", json=order)
    stages = [json.loads(line)["stage"] for line in answer.text.splitlines()]
    assert stages == ["progress", "found", "card", "ready"]
    assert [agent["name"] for agent in (await client.get("/api/agents")).json()] == ["adder"]


async def test_a_stream_that_fails_before_its_first_line_has_the_errors_own_status(client):
    answer = await client.post("/api/agents/nobody/call", json={"pieces": [{"text": "hello"}]})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "E040"


async def test_a_stream_that_fails_midway_ends_with_the_error_as_its_last_line(console, client):
    async def broken(order):
        async for step in MemoryConsole.deploy(console, order):
            yield step
            message = "the secret stays in the log"
            raise RuntimeError(message)

    console.deploy = broken
    answer = await client.post("/api/agents", json={"source": "a", "folder": "/"})
    last = json.loads(answer.text.splitlines()[-1])
    assert answer.status_code == 200
    assert last["error"]["code"] == "E001"
    assert "secret" not in answer.text


async def test_a_follower_gets_lines_as_they_are_printed_and_ends_when_its_client_goes(console):
    """Speaks ASGI itself, since only so the test decides when the client goes away."""
    console.say(LogRecord(at=MOMENT, agent="adder", text="first"))
    sent, gone = [], anyio.Event()
    second = anyio.Event()

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(event):
        sent.append(event)
        if b"first" in event.get("body", b""):
            console.say(LogRecord(at=MOMENT, agent="adder", text="second"))
        if b"second" in event.get("body", b""):
            second.set()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/logs",
        "headers": [],
        "query_string": b"follow=1&last=10",
    }
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api(console), scope, receive, send)
            await second.wait()
            gone.set()
    assert sent[-1].get("more_body", False) is False


async def test_the_newest_entries_of_the_ledger_come_oldest_first(console, client):
    for sequence in range(5):
        console.append(_entry(sequence))
    answer = await client.get("/api/audit/tail", params={"last": "2"})
    assert [json.loads(line)["sequence"] for line in answer.text.splitlines()] == [3, 4]
    everything = await client.get("/api/audit/tail", params={"last": "0"})
    assert len(everything.text.splitlines()) == 5


async def test_tokens_are_made_listed_without_their_secret_and_revoked(client):
    made = (await client.post("/api/tokens", json={"owner": "alice"})).json()
    assert made["token"] not in (await client.get("/api/tokens")).text
    await client.delete(f"/api/tokens/{made['summary']['id']}")
    assert (await client.get("/api/tokens")).json() == []


async def test_a_stop_reaches_the_node(console, client):
    await client.post("/api/shutdown")
    assert console.stopping


def _entry(sequence: int) -> AuditRecord:
    return AuditRecord(
        chain="node-1/1",
        sequence=sequence,
        kind="intent",
        name="send",
        at=MOMENT,
        agent="adder",
        call="call-1",
        task="task-1",
        body="{}",
        previous_hash="00",
        hash="11",
    )
