"""`hive_guest.call` and `agents`: asking others through the node's door, from any kind of agent."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hive.testing.guest_process import a_turn, answer_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio

AGENTS = """
import asyncio, hive_guest

def asks(text):
    name, _, rest = text.partition(" ")
    try:
        return hive_guest.call(name, rest)
    except hive_guest.AgentCallError as error:
        return f"error: {error}"

async def awaits(text):
    one, two = await asyncio.gather(hive_guest.call("writer", text), hive_guest.call("writer", "b"))
    return one + two

def finds(text):
    return " ".join(card["name"] for card in hive_guest.agents())
"""


class _Door(BaseHTTPRequestHandler):
    """The node's door as far as a guest sees it."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((self.path, dict(self.headers), request))
        said = request["params"]["message"]["parts"][0]["text"]
        state = {"please fail": "TASK_STATE_FAILED", "please ask": "TASK_STATE_INPUT_REQUIRED"}
        status = {"state": state.get(said, "TASK_STATE_COMPLETED")}
        if said in state:
            status["message"] = {"role": "ROLE_AGENT", "parts": [{"text": "why?"}]}
        artifact = {"artifactId": "a", "parts": [{"text": f"<{said}>"}]}
        result = {"task": {"id": "t", "status": status, "artifacts": [artifact]}}
        if said == "refuse":
            self._send({"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "No."}})
        else:
            self._send({"jsonrpc": "2.0", "id": request["id"], "result": result})

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers), None))
        self._send({"agents": [{"name": "writer"}, {"name": "reader"}]})

    def _send(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Say nothing: the tests look at what was asked."""


@pytest.fixture
def door():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def open_agent(tmp_path, door):
    (tmp_path / "agents.py").write_text(AGENTS)
    gate = f"127.0.0.1:{door.server_address[1]}"

    def open_named(name):
        arguments = ["--source", str(tmp_path), "--path", "agents.py", "--attribute", name]
        environment = {"HIVE_GATE": gate, "HIVE_HANDLE": "the-handle"}
        return open_guest(arguments, folder=tmp_path, environment=environment)

    return open_named


async def test_a_plain_function_asks_another_agent_within_its_trace(open_agent, door):
    async with open_agent("asks") as guest:
        await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn("writer hello"))

    assert answer_of(events) == "<hello>"
    path, headers, request = door.seen[0]
    assert path == "/a2a/writer"
    assert headers["authorization"] == "Bearer the-handle"
    assert headers["A2A-Version"] == "1.0"
    assert headers["traceparent"] == a_turn().traceparent
    assert request["method"] == "SendMessage"


async def test_an_asynchronous_agent_awaits_several_at_once(open_agent):
    async with open_agent("awaits") as guest:
        await guest.channel.ready(10)
        assert answer_of(await run_to_end(guest.channel, a_turn("a"))) == "<a><b>"


async def test_the_other_agents_are_found(open_agent):
    async with open_agent("finds") as guest:
        await guest.channel.ready(10)
        assert answer_of(await run_to_end(guest.channel, a_turn())) == "writer reader"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("writer please fail", "error: writer is failed: why?"),
        ("writer please ask", "error: writer is input_required: why?"),
        ("writer refuse", "error: writer could not be asked: No. (-32001)"),
        ("../admin x", "error: '../admin' is not the name of an agent"),
    ],
)
async def test_an_agent_that_gives_no_answer_raises(open_agent, text, answer):
    async with open_agent("asks") as guest:
        await guest.channel.ready(10)
        assert answer_of(await run_to_end(guest.channel, a_turn(text))) == answer
