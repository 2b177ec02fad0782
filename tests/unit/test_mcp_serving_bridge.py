"""`mcp:SERVER` as an agent: how it is found, and what it makes of a message; the gate is a small HTTP server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from hive.core.errors import SpecError
from hive.core.grant import Grant
from hive.execution.source import find_source
from hive.execution.source_copy import stage
from hive.execution.source_server import server_of
from hive.execution.tool_agent import agent as tool_agent
from hive_guest.api import GuestTurn, NeedInput
from hive_guest.parts import parts_of
from hive_guest.shapes import Failure

TOOLS = [
    {
        "name": "read",
        "description": "Reads a file.\nMore.",
        "inputSchema": {"properties": {"p": {}}},
    },
    {
        "name": "where",
        "inputSchema": {"properties": {"city": {"type": "string", "x-mcp-header": "City"}}},
    },
    {"name": "now", "inputSchema": {"type": "object"}},
]


class Gate:
    """A server's endpoint at the gate, as far as this agent uses it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.results: dict[str, Any] = {}
        self.stream = False

    def answer(self, body: Any) -> dict[str, Any]:
        """Answer one request."""
        if body["method"] == "tools/list":
            return {"result": {"tools": TOOLS}}
        found: dict[str, Any] = self.results[body["params"]["name"]]
        return found


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    state = Gate()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.requests.append((self.path, dict(self.headers.items()), body))
            data = json.dumps({"jsonrpc": "2.0", "id": 1, **state.answer(body)}).encode()
            kind = "application/json"
            if state.stream:
                note = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'
                data = b"data: " + note + b"\r\n\r\nevent: message\r\ndata: " + data + b"\r\n\r\n"
                kind = "text/event-stream"
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("HIVE_GATE", f"127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HIVE_HANDLE", "the-handle")
        monkeypatch.setattr(tool_agent, "SERVER", "files")
        yield state
        server.shutdown()
        thread.join()


def turn(*parts: dict[str, Any], history: list[Any] | None = None, **more: Any) -> GuestTurn:
    message = {"messageId": "m", "role": "ROLE_USER", "parts": list(parts), **more}
    frame = {"turn": "t", "message": message, "history": history or [], "timeout_s": 5}
    return GuestTurn(frame, None)  # type: ignore[arg-type]


def run(*parts: dict[str, Any], **more: Any) -> Any:
    now = turn(*parts, **more)
    return tool_agent.agent(now.text, now)


def test_a_server_is_named_as_a_source(tmp_path: Path) -> None:
    found = find_source("mcp:My_Files", cwd=tmp_path, home=tmp_path)
    assert found.spec.name == "my-files"
    assert found.spec.needs == Grant(tools=("My_Files.*",))
    assert server_of(found.spec) == "My_Files"
    assert found.visible is not None
    assert list(found.visible.paths) == ["agent.py"]
    assert (stage(found.visible, tmp_path) / "agent.py").is_file()
    assert find_source("mcp:fs", cwd=tmp_path, home=tmp_path, name="x").spec.name == "x"


@pytest.mark.parametrize("text", ["mcp:", "mcp:../x", "mcp:a.b", "mcp:a b", "mcp:" + "x" * 70])
def test_other_words_are_no_server(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError):
        find_source(text, cwd=tmp_path, home=tmp_path)


def test_any_other_message_is_told_what_can_be_called(gate: Gate) -> None:
    answer = run({"text": "hello there"})
    assert 'read {"p": "..."}' in answer
    assert "Reads a file." in answer
    assert gate.requests[0][0] == "/mcp/servers/files"
    assert gate.requests[0][1]["Authorization"] == "Bearer the-handle"


@pytest.mark.parametrize(
    "message",
    [
        {"text": 'read {"p": 1}'},
        {"text": '{"tool": "read", "arguments": {"p": 1}}'},
        {"data": {"tool": "read", "arguments": {"p": 1}}},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_named_in_text_or_data(gate: Gate, message: dict[str, Any], stream: bool) -> None:
    gate.stream = stream
    content = [
        {"type": "text", "text": "inside"},
        {"type": "image", "data": "AAA=", "mimeType": "i/p"},
    ]
    gate.results["read"] = {"result": {"content": content, "structuredContent": {"a": 1}}}
    parts = parts_of(run(message))
    assert [next(iter(one)) for one in parts] == ["text", "raw", "data"]
    _, headers, body = gate.requests[-1]
    assert body["params"]["name"] == headers["Mcp-Name"] == "read"
    assert body["params"]["arguments"] == {"p": 1}


def test_a_skill_that_was_asked_for_is_the_tool(gate: Gate) -> None:
    gate.results["read"] = {"result": {"content": []}}
    run({"text": ""}, {"data": {"p": 2}}, metadata={"skillId": "read"})
    assert gate.requests[-1][2]["params"]["arguments"] == {"p": 2}


def test_arguments_that_are_headers_are_repeated_there(gate: Gate) -> None:
    gate.results["where"] = {"result": {"content": []}}
    run({"text": 'where {"city": "Malmö"}'})
    assert gate.requests[-1][1]["Mcp-Param-City"] == "=?base64?TWFsbcO2?="


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"error": {"code": -1, "message": "refused by the grant"}}, "refused by the grant"),
        (
            {"result": {"isError": True, "content": [{"type": "text", "text": "no file"}]}},
            "no file",
        ),
    ],
)
def test_a_refusal_or_a_failure_fails_the_turn(gate: Gate, result: Any, said: str) -> None:
    gate.results["now"] = result
    (failure,) = run({"text": "now"})
    assert isinstance(failure, Failure)
    assert said in failure.error


def test_a_tool_that_is_not_there_is_no_call(gate: Gate) -> None:
    (failure,) = run({"data": {"tool": "rm"}})
    assert "rm" in failure.error
    assert [body["method"] for _, _, body in gate.requests] == ["tools/list"]


def test_a_tools_question_becomes_the_agents_and_its_answer_goes_back(gate: Gate) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "string"}}}
    asked = {
        "method": "elicitation/create",
        "params": {"message": "Sure?", "requestedSchema": schema},
    }
    gate.results["now"] = {
        "result": {
            "resultType": "input_required",
            "inputRequests": {"k": asked},
            "requestState": "sealed",
        }
    }
    with pytest.raises(NeedInput) as needed:
        run({"text": "now"})
    parts = parts_of(needed.value.question)
    assert parts[0]["text"] == "Sure?"
    assert parts[1]["data"]["requestedSchema"] == schema
    gate.results["now"] = {"result": {"content": [{"type": "text", "text": "done"}]}}
    question = {"role": "ROLE_AGENT", "messageId": "q", "parts": parts}
    answer = run({"text": "yes"}, history=[question])
    assert parts_of(answer)[0]["text"] == "done"
    params = gate.requests[-1][2]["params"]
    assert params["requestState"] == "sealed"
    assert params["inputResponses"] == {"k": {"action": "accept", "content": {"ok": "yes"}}}
