"""A server that floods its caller with notifications or questions is heard up to a bound, and no further.

Each flood first runs with its bound lifted, and then all of it arrives.
"""

import pytest

from hive.protocols.mcp.gateway import couriers
from hive.protocols.mcp.gateway.couriers import (
    NOTES_MAX,
    NOTES_MAX_BYTES,
    QUESTIONS_MAX,
    ROUNDS_MAX,
)
from hive.protocols.mcp.ports import McpError
from hive.testing.rehearsal_gate import RehearsalGate
from tests.mcp_gateway_rig import (
    OLD,
    PaperHub,
    QuietClient,
    call,
    gateways_on,
    refused_call,
    text_of,
    tool,
)

pytestmark = pytest.mark.anyio
NO_BOUND = 1 << 40
DONE = {"content": [{"type": "text", "text": "done"}]}


def opened(respond, revision=OLD):
    hub = PaperHub()
    hub.add("files", tool("read"), respond=respond, revision=revision)
    return gateways_on(hub, RehearsalGate(), "*").all


@pytest.mark.parametrize("guarded", [True, False])
async def test_notifications_stop_at_a_number_and_the_call_goes_on(monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(couriers, "NOTES_MAX", NO_BOUND)

    async def respond(_method, _params, courier):
        for number in range(NOTES_MAX * 5):
            await courier.notify("notifications/progress", {"progress": number})
        return DONE

    client = QuietClient(OLD)
    assert text_of(await call(opened(respond), "files__read", client=client)) == "done"
    assert len(client.heard) == (NOTES_MAX if guarded else NOTES_MAX * 5)


@pytest.mark.parametrize("guarded", [True, False])
async def test_notifications_stop_at_a_size(monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(couriers, "NOTES_MAX_BYTES", NO_BOUND)

    async def respond(_method, _params, courier):
        for _ in range(100):
            await courier.notify("notifications/message", {"data": "x" * (NOTES_MAX_BYTES // 10)})
        return DONE

    client = QuietClient(OLD)
    await call(opened(respond), "files__read", client=client)
    assert 0 < len(client.heard) <= 10 if guarded else len(client.heard) == 100


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_client_is_not_asked_without_end(monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(couriers, "QUESTIONS_MAX", NO_BOUND)

    async def respond(_method, _params, courier):
        asked = 0
        try:
            for _ in range(1000):
                await courier.ask("elicitation/create", {"message": "your password?"})
                asked += 1
        except McpError:
            return {"content": [{"type": "text", "text": str(asked)}]}
        return DONE

    client = QuietClient(OLD, client={"elicitation": {}}, answers={"elicitation/create": {}})
    told = text_of(await call(opened(respond), "files__read", client=client))
    assert told == (str(QUESTIONS_MAX) if guarded else "done")
    assert len(client.asked) == (QUESTIONS_MAX if guarded else 1000)


async def test_a_server_of_the_newest_revision_does_not_ask_without_end_either():
    async def respond(*_):
        asked = {"method": "elicitation/create", "params": {"message": "?"}}
        return {"resultType": "input_required", "inputRequests": {"q": asked}}

    client = QuietClient(OLD, client={"elicitation": {}}, answers={"elicitation/create": {}})
    error = await refused_call(opened(respond, "2026-07-28"), "files__read", client=client)
    assert "without an end" in error.message
    assert len(client.asked) == ROUNDS_MAX


async def test_a_client_is_asked_nothing_that_it_did_not_offer():
    async def respond(_method, _params, courier):
        said = []
        for method in ("sampling/createMessage", "roots/list", "tools/call", "ping"):
            try:
                await courier.ask(method, {})
            except McpError as error:
                said.append(str(error.code))
        return {"content": [{"type": "text", "text": " ".join(said)}]}

    client = QuietClient(OLD, client={"elicitation": {}})
    result = await call(opened(respond), "files__read", client=client)
    assert text_of(result) == "-32601 -32601 -32601 -32601"
    assert client.asked == []
    # Who offered one of them is asked it.
    answers = {"sampling/createMessage": {}}
    client = QuietClient(OLD, client={"sampling": {}}, answers=answers)
    await call(opened(respond), "files__read", client=client)
    assert [method for method, _ in client.asked] == ["sampling/createMessage"]
