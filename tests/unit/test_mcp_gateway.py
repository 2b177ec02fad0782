"""The gateway lists and calls what the grant names, checks both sides of a call, and speaks of nothing else."""

import json
import re

import anyio
import pytest
from anyio import fail_after

from hive.core.call import EffectClass, Outcome, Refused, Verb
from hive.core.errors import EngineTimeoutError, EngineUnavailableError, TooLargeError
from hive.core.json import decode
from hive.protocols.mcp.gateway.catalog import PAGE_MAX_BYTES
from hive.protocols.mcp.gateway.names import outward_name
from hive.protocols.mcp.ports import ListChange, McpError, PinState
from hive.testing.rehearsal_gate import RehearsalGate
from tests.mcp_gateway_rig import (
    AGENT,
    CLIENT,
    OLD,
    OPERATOR,
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
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def names(service, who=None, client=None):
    found = await service.answer(who or visitor(), "tools/list", {}, client or QuietClient())
    return [one["name"] for one in found["tools"]]


async def test_an_agent_sees_and_calls_what_its_grant_names():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"), tool("write"))
    hub.add("web", tool("get"))
    service = gateways_on(hub, gate, "files.read", "web.*").all
    assert await names(service) == ["files__read", "web__get"]
    result = await call(service, "files__read", arguments={"text": "a"})
    assert text_of(result) == '{"text":"a"}'
    [kept] = gate.calls
    assert kept.attempt.verb is Verb.INVOKE
    assert kept.attempt.target == "files.read"
    assert kept.attempt.arguments == b'{"text":"a"}'
    assert kept.attempt.facts["definition"] == hub.pinned["files.read"].definition.digest
    assert kept.outcome is Outcome.OK


async def test_what_the_record_serves_again_reads_as_it_read_the_first_time():
    hub, gate = PaperHub(), RehearsalGate()
    block = {"type": "text", "text": "a", "annotations": {"priority": 1, "audience": ["user"]}}

    async def respond(_method, _params, _courier):
        return {"isError": False, "content": [block]}

    hub.add("files", tool("read"), respond=respond)
    result = await call(gateways_on(hub, gate, "files.*").all, "files__read", arguments={})
    [kept] = gate.calls
    served = decode(b"".join(kept.frames))["result"]
    assert json.dumps(served) == json.dumps(result)


async def test_a_tool_out_of_grant_and_one_that_is_not_there_get_the_same_answer():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"), tool("write"))
    service = gateways_on(hub, gate, "files.read").all
    forbidden = await refused_call(service, "files__write")
    missing = await refused_call(service, "files__nothing")
    assert (forbidden.code, forbidden.data) == (missing.code, missing.data) == (-32602, None)
    assert forbidden.message.replace("write", "nothing") == missing.message
    assert gate.calls == []


async def test_a_grant_that_the_gate_finds_smaller_is_no_oracle_either():
    hub = PaperHub()
    hub.add("files", tool("read"))
    gate = RehearsalGate(judge=lambda _: Refused(check="grant", reason="no"))
    error = await refused_call(gateways_on(hub, gate, "*").all, "files__read")
    assert (error.code, error.message) == (-32602, "Unknown tool: files__read")


@pytest.mark.parametrize("state", [PinState.FLAGGED, PinState.CHANGED, PinState.SHADOWING])
async def test_a_tool_that_is_not_pinned_is_neither_listed_nor_called(state):
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"))
    service = gateways_on(hub, gate, "*").all
    assert await names(service) == ["files__read"]
    hub.put("files", tool("read", description="Now other."), state)
    assert await names(service) == []
    assert (await refused_call(service, "files__read")).code == -32602


async def test_operators_and_clients_see_all_where_their_token_opens_tools():
    hub = PaperHub()
    hub.add("files", tool("read"))
    service = gateways_on(hub, RehearsalGate()).all
    assert await names(service) == []
    assert await names(service, visitor(OPERATOR)) == ["files__read"]
    assert await names(service, visitor(CLIENT, scopes=frozenset({"tools"}))) == ["files__read"]
    narrow = visitor(CLIENT, scopes=frozenset({"agents"}))
    assert await names(service, narrow) == []
    assert (await refused_call(service, "files__read", who=narrow)).code == -32602


async def test_an_endpoint_of_one_server_keeps_its_names_and_shows_no_other_server():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("odd.name"))
    hub.add("web", tool("get"))
    gateways = gateways_on(hub, gate, "*")
    assert await names(gateways.of("files")) == ["odd.name"]
    assert (await refused_call(gateways.of("files"), "get")).code == -32602
    await call(gateways.of("files"), "odd.name")
    assert gate.calls[0].attempt.target == "files.odd.name"


async def test_a_server_that_is_not_granted_looks_like_one_that_is_not_there():
    hub = PaperHub()
    hub.add("files", tool("read"), capabilities={"resources": {}, "prompts": {}})
    gateways = gateways_on(hub, RehearsalGate(), "web.*")
    there, nowhere = gateways.of("files"), gateways.of("nowhere")
    assert there.capabilities(visitor()) == nowhere.capabilities(visitor())
    for service in (there, nowhere):
        assert await names(service) == []
        with pytest.raises(McpError, match="no method"):
            await service.answer(visitor(), "resources/list", {}, QuietClient())


async def test_the_effect_is_the_operators_word_before_the_servers_hint():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add(
        "files",
        tool("look", annotations={"readOnlyHint": True}),
        tool("put", annotations={"idempotentHint": True}),
        tool("lie", annotations={"readOnlyHint": True}),
        tool("plain"),
        effects={"lie": EffectClass.ONCE},
    )
    hub.put("files", tool("seen", annotations={"readOnlyHint": True}), by="operator")
    service = gateways_on(hub, gate, "*").all
    for name in ("seen", "look", "put", "lie", "plain"):
        await call(service, f"files__{name}")
    assert [kept.attempt.effect for kept in gate.calls] == [
        EffectClass.PURE,
        EffectClass.IDEMPOTENT,
        EffectClass.IDEMPOTENT,
        EffectClass.ONCE,
        EffectClass.ONCE,
    ]


async def test_arguments_are_known_by_their_meaning_and_not_by_what_changes_each_time():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read", inputSchema={"type": "object"}))
    service = gateways_on(hub, gate, "*").all
    await call(service, "files__read", arguments={"a": 1, "b": 2}, _meta={"progressToken": 1})
    await call(service, "files__read", arguments={"b": 2, "a": 1}, _meta={"progressToken": 2})
    await call(service, "files__read", arguments={"b": 2, "a": 3})
    first, second, third = (one.attempt.arguments for one in gate.calls)
    assert first == second != third


async def test_only_the_trace_of_the_call_and_the_progress_token_go_on_to_a_server():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"))
    meta = {"progressToken": "p", "authorization": "Bearer k", "traceparent": "00-x", "cookie": "c"}
    await call(gateways_on(hub, gate, "*").all, "files__read", _meta=meta)
    [(_, params)] = hub.asked
    assert params["_meta"] == {
        "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
        "progressToken": "p",
    }


async def test_arguments_that_do_not_fit_never_reach_the_gate():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("math", tool("half", inputSchema=NUMBER))
    service = gateways_on(hub, gate, "*").all
    result = await call(service, "math__half", arguments={"n": "one"})
    assert result["isError"] is True
    assert re.search(r"n: .*integer", text_of(result))
    assert gate.calls == []
    assert (await call(service, "math__half", arguments={"n": 1})).get("isError") is None


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"content": []}, "promised a structured result"),
        ({"content": [], "structuredContent": {"n": "x"}}, "not of its schema"),
        ({"content": "text"}, "no result"),
        ({"content": [1]}, "no result"),
        ({}, "no result"),
    ],
)
async def test_a_result_that_is_not_what_was_promised_is_an_error_that_says_so(answer, says):
    async def respond(*_):
        return answer

    hub, gate = PaperHub(), RehearsalGate()
    hub.add("math", tool("half", outputSchema=NUMBER), respond=respond)
    result = await call(gateways_on(hub, gate, "*").all, "math__half")
    assert result["isError"] is True
    assert says in text_of(result)
    assert "structuredContent" not in result
    assert gate.outcomes == [Outcome.FAILED]


async def test_a_tools_own_error_passes_and_is_recorded_as_a_failure():
    async def respond(*_):
        return {"content": [{"type": "text", "text": "no such file"}], "isError": True}

    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read", outputSchema=NUMBER), respond=respond)
    result = await call(gateways_on(hub, gate, "*").all, "files__read")
    assert text_of(result) == "no such file"
    assert gate.outcomes == [Outcome.FAILED]


async def test_an_error_of_the_server_is_the_clients_error():
    async def respond(*_):
        raise McpError(-32050, "disk\x1b[31m on fire", {"disk": 1})

    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"), respond=respond)
    error = await refused_call(gateways_on(hub, gate, "*").all, "files__read")
    assert (error.code, error.message, error.data) == (-32050, "disk on fire", {"disk": 1})
    assert gate.outcomes == [Outcome.FAILED]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (EngineTimeoutError("late"), "did not answer within 60 s; whether it did something"),
        (EngineUnavailableError("gone"), "cannot be reached now; nothing was done"),
        (TooLargeError("large"), "over its limit"),
    ],
)
async def test_a_server_that_fails_is_told_in_words_of_ours(error, says):
    async def respond(*_):
        raise error

    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"), respond=respond)
    result = await call(gateways_on(hub, gate, "*").all, "files__read")
    assert result["isError"] is True
    assert says in text_of(result)


async def test_a_connection_that_broke_after_the_request_left_does_not_say_nothing_was_done():
    async def respond(*_):
        raise EngineUnavailableError("gone") from OSError("reset")

    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"), respond=respond)
    result = await call(gateways_on(hub, gate, "*").all, "files__read")
    assert "not known" in text_of(result)


async def test_a_refusal_is_a_result_in_plain_words_that_a_program_can_read_too():
    hub = PaperHub()
    hub.add("files", tool("read"))
    no = Refused(check="policy", reason="not on \x1b[31mSundays", retry_after_s=2.0)
    result = await call(gateways_on(hub, RehearsalGate(judge=lambda _: no), "*").all, "files__read")
    assert text_of(result) == "The call was refused: not on Sundays. Try again in 2 s."
    assert result["_meta"] == {"hive/check": "policy"}
    assert hub.asked == []


async def test_a_call_that_is_made_again_is_told_what_it_was_told_before():
    hub, gate = PaperHub(), RehearsalGate()
    numbers = iter(range(10))

    async def respond(*_):
        number = next(numbers)
        if number == 1:
            raise McpError(-32050, "broken")
        if number == 2:
            raise EngineTimeoutError("late")
        return {"content": [{"type": "text", "text": str(number)}]}

    hub.add("files", tool("read"), respond=respond)
    service = gateways_on(hub, gate, "*").all
    first = await call(service, "files__read", arguments={"text": "0"})
    broken = await refused_call(service, "files__read", arguments={"text": "1"})
    late = await call(service, "files__read", arguments={"text": "2"})
    gate.replay = list(gate.calls)
    assert await call(service, "files__read", arguments={"text": "0"}) == first
    again = await refused_call(service, "files__read", arguments={"text": "1"})
    assert (again.code, again.message) == (broken.code, broken.message)
    assert await call(service, "files__read", arguments={"text": "2"}) == late
    assert len(hub.asked) == 3


async def test_pages_go_on_where_they_stopped_though_tools_come_and_go():
    hub = PaperHub()
    wide = "x" * (PAGE_MAX_BYTES // 4)
    hub.add("files", *(tool(f"t{number}", description=wide) for number in range(6)))
    service = gateways_on(hub, RehearsalGate(), "*").all
    first = await service.answer(visitor(), "tools/list", {}, QuietClient())
    assert [one["name"] for one in first["tools"]] == ["files__t0", "files__t1", "files__t2"]
    del hub.pinned["files.t1"]
    hub.put("files", tool("a"))
    rest = await service.answer(
        visitor(), "tools/list", {"cursor": first["nextCursor"]}, QuietClient()
    )
    assert [one["name"] for one in rest["tools"]] == ["files__t3", "files__t4", "files__t5"]
    assert "nextCursor" not in rest
    with pytest.raises(McpError, match="cursor"):
        await service.answer(visitor(), "tools/list", {"cursor": "\u2603"}, QuietClient())


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("files", "a.b"),
        ("files", "x" * 100),
        ("s" * 63, "read"),
        ("files", "snow\u2603man"),
        ("files", "a-0123456789abcdef"),
    ],
)
def test_a_name_that_no_provider_takes_is_shortened_the_same_way_each_time(server, name):
    made = outward_name(server, name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", made)
    assert made == outward_name(server, name)
    assert made != outward_name(server, name + "x")


def test_no_server_can_choose_a_name_that_is_another_tools():
    victim = outward_name("files", "read/all")
    assert victim.startswith("files__")
    assert outward_name("files", victim.removeprefix("files__")) != victim
    assert outward_name("files", "a__b") != outward_name("files__a", "b")


async def test_a_change_is_told_to_those_who_see_that_server():
    hub = PaperHub()
    hub.add("files", tool("read"))
    gateways = gateways_on(hub, RehearsalGate(), "files.read")
    async with gateways.all.changes(visitor()) as changes:
        for server in ("web", "files", "files"):
            hub.observers[0](ListChange(server=server, kind="tools"))
        hub.observers[0](ListChange(server="files", kind="prompts"))
        with fail_after(5):
            assert await anext(changes) == ListChange(server="files", kind="tools")
        with anyio.move_on_after(0.01) as waited:
            await anext(changes)
        assert waited.cancelled_caught
    assert hub.observers == []


async def test_an_old_client_reads_no_word_of_the_newest_revision():
    async def respond(*_):
        return {"content": [], "resultType": "complete", "ttlMs": 1}

    hub = PaperHub()
    hub.add("files", tool("read"), respond=respond)
    service = gateways_on(hub, RehearsalGate(), "*").all
    assert await call(service, "files__read", client=QuietClient(OLD)) == {"content": []}


async def test_resources_and_prompts_pass_as_calls_of_their_own():
    async def respond(method, params, _):
        return {"contents": [{"uri": params["uri"], "text": "a"}], "from": method}

    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"), respond=respond, capabilities={"resources": {}, "prompts": {}})
    named = gateways_on(hub, gate, "files.@resources").of("files")
    read = {"uri": "file:///a", "_meta": {"authorization": "k"}}
    assert "resources" in named.capabilities(visitor())
    assert "prompts" not in named.capabilities(visitor())
    found = await named.answer(visitor(), "resources/read", read, QuietClient())
    assert found["contents"][0]["uri"] == "file:///a"
    [kept] = gate.calls
    assert kept.attempt.target == "files.@resources"
    assert kept.attempt.effect is EffectClass.IDEMPOTENT
    assert decode(kept.attempt.arguments) == {
        "method": "resources/read",
        "params": {"uri": "file:///a"},
    }
    assert set(hub.asked[0][1]["_meta"]) == {"traceparent"}
    with pytest.raises(McpError, match="no method"):
        await named.answer(visitor(), "prompts/get", {"name": "p"}, QuietClient())
    tools_only = gateways_on(hub, gate, "files.read").of("files")
    with pytest.raises(McpError, match="no method"):
        await tools_only.answer(visitor(), "resources/read", read, QuietClient())


async def test_what_a_server_is_asked_in_is_the_callers_name():
    hub = PaperHub()
    hub.add("files", tool("read"))
    await call(gateways_on(hub, RehearsalGate(), "*").all, "files__read")
    assert [(server, who) for server, who, _ in hub.linked] == [("files", AGENT)]
