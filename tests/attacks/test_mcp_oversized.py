"""Answers, lists and questions that are far too large: they are named and dropped, and never passed on.

Each of them first passes whole where its bound is lifted.
"""

import pytest

from hive.core.call import Outcome
from hive.protocols.mcp.gateway import catalog, couriers, deeds
from hive.protocols.mcp.gateway.catalog import PAGE_MAX_BYTES, PAGE_MAX_TOOLS
from hive.protocols.mcp.gateway.couriers import QUESTION_MAX_BYTES
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
    visitor,
)

pytestmark = pytest.mark.anyio
NO_BOUND = 1 << 40
GUARDS = pytest.mark.parametrize("guarded", [True, False])


async def huge(*_):
    return {"content": [{"type": "text", "text": "x" * 100_000}]}


@pytest.mark.parametrize(("limit", "passes"), [(1 << 20, True), (10_000, False)])
async def test_a_result_over_the_servers_limit_passes_only_where_the_limit_allows(limit, passes):
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"), respond=huge, result_max_bytes=limit)
    result = await call(gateways_on(hub, gate, "*").all, "files__read")
    assert (len(text_of(result)) == 100_000) is passes
    if not passes:
        assert "10000 bytes" in text_of(result)
        assert gate.outcomes == [Outcome.FAILED]
        assert sum(map(len, gate.calls[0].frames)) < 1000  # nor is it kept


@GUARDS
async def test_an_error_without_end_is_cut(monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(deeds, "MESSAGE_MAX_CHARS", NO_BOUND)

    async def respond(*_):
        raise McpError(-32050, "x" * 1_000_000)

    hub = PaperHub()
    hub.add("files", tool("read"), respond=respond)
    error = await refused_call(gateways_on(hub, RehearsalGate(), "*").all, "files__read")
    assert len(error.message) <= 4000 if guarded else len(error.message) >= 1_000_000


async def test_a_server_that_lists_more_than_a_page_holds_fills_no_answer_beyond_it():
    hub = PaperHub()
    hub.add("many", *(tool(f"t{number:05}") for number in range(PAGE_MAX_TOOLS + 5)))
    service = gateways_on(hub, RehearsalGate(), "*").all
    first = await service.answer(visitor(), "tools/list", {}, QuietClient())
    assert len(first["tools"]) == PAGE_MAX_TOOLS
    cursor = {"cursor": first["nextCursor"]}
    rest = await service.answer(visitor(), "tools/list", cursor, QuietClient())
    assert len(rest["tools"]) == 5


@GUARDS
async def test_a_page_stops_at_its_size(monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(catalog, "PAGE_MAX_BYTES", NO_BOUND)
    hub = PaperHub()
    hub.add("wide", *(tool(f"t{n}", description="x" * (PAGE_MAX_BYTES // 2)) for n in range(3)))
    service = gateways_on(hub, RehearsalGate(), "*").all
    first = await service.answer(visitor(), "tools/list", {}, QuietClient())
    assert len(first["tools"]) == (1 if guarded else 3)


@GUARDS
async def test_a_question_too_large_for_a_client_is_not_asked(monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(couriers, "QUESTION_MAX_BYTES", NO_BOUND)

    async def respond(_method, params, courier):
        size = len(str(params["arguments"]))
        await courier.ask("elicitation/create", {"message": "x" * QUESTION_MAX_BYTES * size})
        return {"content": []}

    hub = PaperHub()
    hub.add("files", tool("read"), respond=respond, revision=OLD)
    client = QuietClient(OLD, client={"elicitation": {}}, answers={"elicitation/create": {}})
    service = gateways_on(hub, RehearsalGate(), "*").all
    if guarded:
        error = await refused_call(service, "files__read", client=client)
        assert "too large" in error.message
        assert client.asked == []
    else:
        await call(service, "files__read", client=client)
        assert len(client.asked) == 1
