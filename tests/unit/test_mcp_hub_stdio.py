"""A server on two pipes: whose answer is whose, what its death does, and what it may say unasked."""

import json

import anyio
import pytest

from hive.core.errors import (
    EngineTimeoutError,
    EngineUnavailableError,
    NotFoundError,
    StateError,
    TooLargeError,
)
from hive.protocols.mcp.ports import McpError, ServerState, Sharing
from tests.mcp_hub_rig import ALICE, BOB, LineServer, SomeCourier, TrustingPins, hub_with, line_spec

pytestmark = pytest.mark.anyio
CALL = {"name": "echo", "arguments": {"text": "hi"}}


async def echo(server, number, params):
    return {"content": [{"type": "text", "text": params["arguments"]["text"]}]}


async def silence(server, number, params):
    return None


async def called(hub, *, who=ALICE, timeout_s=5.0, courier=None, method="tools/call", params=None):
    async with hub.link("line", who, courier=courier) as link:
        return await link.request(
            method, params or dict(CALL), timeout_s=timeout_s, courier=courier
        )


@pytest.mark.parametrize("stateless", [True, False])
async def test_a_tool_is_called_in_both_eras(stateless):
    server = LineServer({"tools/call": echo}, stateless=stateless)
    async with hub_with(line_spec(), launch=server.launch) as hub:
        result = await called(hub)
        assert result["content"][0]["text"] == "hi"
        assert hub.server("line").state is ServerState.READY
        assert hub.server("line").revision == ("2026-07-28" if stateless else "2025-11-25")
    assert server.living == 0


async def test_a_stateless_request_says_who_asks_and_an_older_one_does_not():
    params = {
        **CALL,
        "_meta": {"io.modelcontextprotocol/protocolVersion": "lie", "traceparent": "t"},
    }
    seen = {}
    for stateless in (True, False):
        server = LineServer({"tools/call": echo}, stateless=stateless)
        async with hub_with(line_spec(), launch=server.launch) as hub:
            await called(hub, params=params)
        seen[stateless] = next(said for method, said in server.heard if method == "tools/call")
    meta = seen[True]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "hive"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {}
    assert meta["traceparent"] == "t"
    assert seen[False]["_meta"] == {"traceparent": "t"}


async def test_answers_out_of_order_reach_those_who_asked():
    held = []

    async def later(server, number, params):
        held.append((number, params["arguments"]["text"]))
        if len(held) == 2:
            for number, text in reversed(held):
                await server.say({"id": number, "result": {"content": [{"text": text}]}})

    server = LineServer({"tools/call": later})
    texts = {}
    async with hub_with(line_spec(), launch=server.launch) as hub:

        async def ask(text):
            result = await called(hub, params={"name": "echo", "arguments": {"text": text}})
            texts[text] = result["content"][0]["text"]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "one")
            tasks.start_soon(ask, "two")
    assert texts == {"one": "one", "two": "two"}
    assert len(server.starts) == 1


async def test_a_dead_server_fails_its_requests_at_once_and_is_started_again():
    async def die(server, number, params):
        server.die()

    server = LineServer({"tools/call": die})
    async with hub_with(line_spec(), launch=server.launch) as hub:
        with anyio.fail_after(2), pytest.raises(EngineUnavailableError) as caught:
            await called(hub, timeout_s=60)
        assert caught.value.__cause__ is not None, "the call may have been carried out"
        server.answers["tools/call"] = echo
        assert (await called(hub))["content"][0]["text"] == "hi"
    assert len(server.starts) == 2


async def test_a_server_that_does_not_start_is_left_alone_for_a_moment():
    server = LineServer()

    async def never(server, number, params):
        raise McpError(-32603, "I am broken")

    server.answers["initialize"] = never
    server.stateless = True
    server.answers["server/discover"] = never
    del server.answers["tools/list"]

    async with hub_with(line_spec(), launch=server.launch) as hub:
        server._result = lambda number, method, params: never(server, number, params)
        for _ in range(3):
            with pytest.raises(EngineUnavailableError, match="I am broken") as caught:
                await called(hub)
            assert caught.value.__cause__ is None
        assert hub.server("line").state is ServerState.FAILED
    assert len(server.starts) == 1


async def test_a_timeout_tells_the_server():
    server = LineServer({"tools/call": silence})
    async with hub_with(line_spec(), launch=server.launch) as hub:
        with pytest.raises(EngineTimeoutError):
            await called(hub, timeout_s=0.05)
        with anyio.fail_after(2):
            while not any(m == "notifications/cancelled" for m, _ in server.notes):
                await anyio.lowlevel.checkpoint()
    asked = [index for index, (method, _) in enumerate(server.heard) if method == "tools/call"]
    assert asked


async def test_an_answer_over_its_bound_is_refused_and_the_next_one_is_read():
    async def huge(server, number, params):
        return {"content": [{"text": "x" * params["arguments"]["size"]}]}

    server = LineServer({"tools/call": huge})
    spec = line_spec(result_max_bytes=10_000)
    async with hub_with(spec, launch=server.launch) as hub:
        for size in (20_000, 400_000):
            with pytest.raises(TooLargeError):
                await called(hub, params={"name": "echo", "arguments": {"size": size}})
            assert await called(hub, params={"name": "echo", "arguments": {"size": 10}})
    assert len(server.starts) == 1


async def test_lines_cut_anywhere_and_lines_that_are_no_json_are_read():
    async def cut(server, number, params):
        said = json.dumps({"jsonrpc": "2.0", "id": number, "result": {"content": []}}) + "\n"
        await server.say_raw(b"Starting up...\n\n")
        for letter in said.encode():
            await server.say_raw(bytes([letter]))

    server = LineServer({"tools/call": cut})
    async with hub_with(line_spec(), launch=server.launch) as hub:
        assert await called(hub) == {"content": []}


async def test_a_server_that_floods_is_cut_off():
    async def flood(server, number, params):
        line = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        for _ in range(60):
            await server.say_raw((line + "\n").encode() * 100)

    server = LineServer({"tools/call": flood})
    async with hub_with(line_spec(), launch=server.launch) as hub:
        with anyio.fail_after(5), pytest.raises(EngineUnavailableError):
            await called(hub, timeout_s=60)


async def test_progress_reaches_the_client_that_asked_under_its_own_name():
    async def work(server, number, params):
        token = params["_meta"]["progressToken"]
        await server.say(
            {
                "method": "notifications/progress",
                "params": {"progressToken": token, "progress": 1, "message": params["name"]},
            }
        )
        return {"content": []}

    server = LineServer({"tools/call": work})
    heard = {}
    async with hub_with(line_spec(sharing=Sharing.NODE), launch=server.launch) as hub:

        async def ask(who, name):
            courier = heard[name] = SomeCourier()
            params = {"name": name, "_meta": {"progressToken": "same"}}
            await called(hub, who=who, params=params, courier=courier)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, ALICE, "a")
            tasks.start_soon(ask, BOB, "b")
    for name, courier in heard.items():
        ((method, params),) = courier.told
        assert method == "notifications/progress"
        assert params == {"progressToken": "same", "progress": 1, "message": name}
    assert len(server.starts) == 1


async def ask_for_a_name(server, number, params):
    await server.say({"id": "q1", "method": "elicitation/create", "params": {"message": "Name?"}})


async def test_a_question_of_an_older_server_reaches_its_client_and_nobody_else():
    server = LineServer({"tools/call": ask_for_a_name})
    with_form = {"elicitation": {"form": {}}}
    alice, bob = SomeCourier(with_form), SomeCourier(with_form)
    async with (
        hub_with(line_spec(sharing=Sharing.NODE), launch=server.launch) as hub,
        hub.link("line", BOB, courier=bob),
    ):
        with pytest.raises(EngineTimeoutError):
            await called(hub, courier=alice, timeout_s=0.3)
    assert alice.asked == [("elicitation/create", {"message": "Name?"})]
    assert bob.asked == []
    answer = next(message for kind, message in server.heard if kind == "answer")
    assert answer["id"] == "q1"
    assert answer["result"] == {"action": "accept", "content": {}}


async def test_a_question_on_a_shared_connection_is_refused():
    server = LineServer({"tools/call": ask_for_a_name})
    async with hub_with(line_spec(), launch=server.launch) as hub:
        with pytest.raises(EngineTimeoutError):
            await called(hub, timeout_s=0.1)
    answer = next(message for kind, message in server.heard if kind == "answer")
    assert answer["error"]["code"] == -32601


async def test_a_ping_of_the_server_is_answered():
    async def ping(server, number, params):
        await server.say({"id": 7, "method": "ping"})
        return {"content": []}

    server = LineServer({"tools/call": ping})
    async with hub_with(line_spec(), launch=server.launch) as hub:
        await called(hub)
        with anyio.fail_after(2):
            while not any(kind == "answer" for kind, _ in server.heard):
                await anyio.lowlevel.checkpoint()


async def test_owners_share_no_connection_unless_the_node_does():
    for sharing, starts in ((Sharing.OWNER, 2), (Sharing.NODE, 1), (Sharing.SANDBOX, 2)):
        server = LineServer({"tools/call": echo})
        async with hub_with(line_spec(sharing=sharing), launch=server.launch) as hub:
            for who in (ALICE, BOB, ALICE):
                await called(hub, who=who)
        assert len(server.starts) == starts, sharing


async def test_secrets_are_taken_when_a_connection_is_made_and_kept_nowhere():
    server = LineServer({"tools/call": echo})
    spec = line_spec(environment={"API_KEY": "secret:line-key", "HOME_PAGE": "x"})
    secrets = {"line-key": "s3cret"}
    async with hub_with(spec, launch=server.launch, secrets=secrets) as hub:
        await called(hub)
        assert "s3cret" not in repr(hub.server("line"))
    assert server.starts[0][2] == {"API_KEY": "s3cret", "HOME_PAGE": "x"}


async def test_nobody_reaches_a_server_that_is_disabled_or_gone():
    server = LineServer({"tools/call": echo})
    async with hub_with(line_spec(), launch=server.launch) as hub:
        await called(hub)
        await hub.set_enabled("line", False)
        with pytest.raises(StateError):
            await called(hub)
        assert hub.tools() == ()
        with anyio.fail_after(2):
            while server.living:
                await anyio.lowlevel.checkpoint()
        await hub.set_enabled("line", True)
        await called(hub)
        await hub.remove("line")
        with pytest.raises(NotFoundError):
            await called(hub)


async def test_a_changed_list_is_read_again_and_told():
    server = LineServer(capabilities={"tools": {"listChanged": True}})
    pins = TrustingPins()
    changes = []
    async with hub_with(line_spec(), launch=server.launch, pins=pins) as hub:
        await hub.refresh("line")
        assert [tool.definition.full_name for tool in hub.tools()] == ["line.echo"]
        told = anyio.Event()
        hub.on_change(lambda change: (changes.append(change), told.set()))
        before = hub.revision
        server.answers["tools/list"] = {"tools": [{"name": "other", "inputSchema": {}}]}
        pins.blocked.add("line.other")
        async with hub.link("line", ALICE):
            await server.say({"method": "notifications/tools/list_changed"})
            with anyio.fail_after(3):
                await told.wait()
        assert hub.revision > before
        assert hub.tool("line.echo") is None
        assert not hub.tool("line.other").usable
        assert hub.server("line").blocked == 1
        assert changes[0].server == "line"
        assert changes[0].kind == "tools"


async def test_a_watched_resource_is_asked_for_in_the_words_of_each_era():
    listening = anyio.Event()
    wanted = []

    async def listen(server, number, params):
        wanted.append(params["notifications"])
        listening.set()

    async def subscribe(server, number, params):
        wanted.append(params["uri"])
        listening.set()
        return {}

    for stateless in (True, False):
        listening = anyio.Event()
        server = LineServer(
            {"subscriptions/listen": listen, "resources/subscribe": subscribe},
            stateless=stateless,
            capabilities={"resources": {"subscribe": True}},
        )
        changes = []
        async with hub_with(line_spec(), launch=server.launch) as hub:
            told = anyio.Event()

            def hear(change, changes=changes, told=told):
                if change.kind == "resource":
                    changes.append(change.uri)
                    told.set()

            hub.on_change(hear)
            params = {"uri": "note://one"}
            await called(hub, method="resources/subscribe", params=params)
            with anyio.fail_after(3):
                await listening.wait()
                await server.say({"method": "notifications/resources/updated", "params": params})
                await told.wait()
        assert changes == ["note://one"]
    assert wanted == [{"resourceSubscriptions": ["note://one"]}, "note://one"]
