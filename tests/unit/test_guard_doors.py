"""What is owed is taken out by the door, on the way out: of a model's question and of a tool's arguments."""

import json
from contextlib import asynccontextmanager

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor
from hive.protocols.models.ports import Dialect, ModelHead
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate
from tests.mcp_gateway_rig import PaperHub, call, gateways_on, tool

pytestmark = pytest.mark.anyio
TEXT = "ana@corp.example or AKIAIOSFODNN7EXAMPLE"
QUESTION = {
    "model": "m",
    "messages": [{"role": "user", "content": TEXT}],
    "user": "ana@corp.example",
}


class Answer:
    head = ModelHead(status=200, headers=(("content-type", "application/json"),))

    async def chunks(self):
        yield b"{}"


class Provider:
    """A provider that keeps what it is sent."""

    dialects = frozenset(Dialect)

    def __init__(self):
        self.bodies = []

    @asynccontextmanager
    async def ask(self, request):
        assert json.loads(request.body) == dict(request.document)
        self.bodies.append(json.loads(request.body))
        yield Answer()

    async def models(self):
        return ["m"]


async def asked(redact):
    gate, provider = RehearsalGate(), Provider()
    gate.redact = frozenset(redact)
    waiting = [{"type": "http.request", "body": json.dumps(QUESTION).encode()}]

    async def receive():
        if waiting:
            return waiting.pop()
        await anyio.sleep_forever()
        return None

    async def send(_message):
        return

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {HANDLE}".encode()),
        ],
        "hive.sandbox": SANDBOX,
    }
    door = ModelsDoor(gate=gate, upstream=provider, settings=Settings(), clock=SystemClock())
    with anyio.fail_after(30):
        await door(scope, receive, send)
    return provider.bodies[0]


async def test_a_model_does_not_get_what_is_owed():
    assert await asked(()) == QUESTION
    sent = await asked({"email"})
    assert sent["messages"][0]["content"] == "[redacted email] or AKIAIOSFODNN7EXAMPLE"
    assert (sent["user"], sent["model"]) == ("[redacted email]", "m")
    assert "AKIA" not in json.dumps(await asked({"secret"}))


async def test_a_tool_does_not_get_what_is_owed():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("mail", tool("send"))
    service = gateways_on(hub, gate, "mail.*").all
    await call(service, "mail__send", arguments={"text": TEXT})
    gate.redact = frozenset({"email", "secret"})
    await call(service, "mail__send", arguments={"text": TEXT})
    first, second = (params for method, params in hub.asked if method == "tools/call")
    assert first["arguments"] == {"text": TEXT}
    assert second["arguments"] == {"text": "[redacted email] or [redacted secret]"}
    assert second["name"] == "send"
