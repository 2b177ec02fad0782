"""Questions of servers reach clients of another era, and approvals are told in each one's own words."""

import anyio
import pytest
from anyio import fail_after

from hive.core.call import Outcome, Refused
from hive.protocols.mcp.gateway.waiting import ApprovalDesk
from hive.protocols.mcp.ports import McpError
from hive.testing.rehearsal_gate import RehearsalGate
from tests.mcp_gateway_rig import (
    CLIENT,
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
FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
YES = {"action": "accept", "content": {"which": "b"}}
ASKS = {"elicitation": {"form": {}, "url": {}}}
TASKS = {**ASKS, "extensions": {"io.modelcontextprotocol/tasks": {}}}
DESK = visitor(CLIENT, scopes=frozenset({"tools"}))


async def old_server(method, params, courier):
    """Ask in the middle of a call, as servers with sessions do."""
    try:
        answer = await courier.ask("elicitation/create", FORM)
    except McpError as error:
        return {"content": [{"type": "text", "text": f"could not ask: {error.code}"}]}
    return {"content": [{"type": "text", "text": str(answer)}]}


async def new_server(method, params, courier):
    """Ask by the result, as servers without sessions do."""
    if "inputResponses" not in params:
        return {
            "resultType": "input_required",
            "inputRequests": {"q": {"method": "elicitation/create", "params": FORM}},
            "requestState": "its own",
        }
    said = f"{params['inputResponses']['q']} {params['requestState']}"
    return {"resultType": "complete", "content": [{"type": "text", "text": said}]}


def held(approval="ap-1"):
    return Refused(check="approval", reason="files.read needs a yes", approval=approval)


def opened(gate, respond=old_server, revision=OLD, **more):
    hub = PaperHub()
    hub.add("files", tool("read"), respond=respond, revision=revision)
    return hub, gateways_on(hub, gate, "*", **more)


async def test_an_old_servers_question_reaches_a_stateless_client_and_its_answer_goes_back():
    gate = RehearsalGate()
    hub, gateways = opened(gate)
    client = QuietClient(client=ASKS)
    async with gateways.running():
        with fail_after(5):
            first = await call(gateways.all, "files__read", client=client)
            assert first["resultType"] == "input_required"
            [key] = first["inputRequests"]
            question = first["inputRequests"][key]
            assert question == {"method": "elicitation/create", "params": FORM}
            second = await call(
                gateways.all,
                "files__read",
                client=client,
                requestState=first["requestState"],
                inputResponses={key: YES},
            )
    assert text_of(second) == str(YES)
    assert len(hub.asked) == 1  # the server was called once, and waited
    assert gate.outcomes == [Outcome.OK]


async def test_a_waiting_call_goes_on_for_nobody_else_and_with_no_other_arguments():
    _, gateways = opened(RehearsalGate())
    client = QuietClient(client=ASKS)
    async with gateways.running():
        with fail_after(5):
            first = await call(gateways.all, "files__read", client=client)
            again = {"requestState": first["requestState"], "inputResponses": {"question-1": YES}}
            for other in ({"who": DESK}, {"arguments": {"text": "other"}}):
                error = await refused_call(
                    gateways.all, "files__read", client=client, **{**again, **other}
                )
                assert error.code == -32602
            done = await call(gateways.all, "files__read", client=client, **again)
            assert text_of(done) == str(YES)
            gone = await refused_call(gateways.all, "files__read", client=client, **again)
            assert gone.code == -32602


async def test_calls_that_nobody_comes_back_for_end_and_are_bounded():
    gate = RehearsalGate()
    _, gateways = opened(gate)
    gateways._held._wait_s = 0.01
    gateways._held._per_owner_max = 2
    client = QuietClient(client=ASKS)
    async with gateways.running():
        with fail_after(5):
            await call(gateways.all, "files__read", client=client)
            await call(gateways.all, "files__read", client=client)
            third = await call(gateways.all, "files__read", client=client)
            assert text_of(third) == "could not ask: -32603"
            while gateways._held.count:
                await anyio.lowlevel.checkpoint()
    assert gate.outcomes[:2] == [Outcome.CANCELED, Outcome.CANCELED]


async def test_a_client_that_cannot_be_asked_is_not():
    hub, gateways = opened(RehearsalGate())
    async with gateways.running():
        result = await call(gateways.all, "files__read")
    assert text_of(result) == "could not ask: -32601"
    assert hub.linked[0][2].client == {}


async def test_an_old_server_asks_an_old_client_as_ever():
    _, gateways = opened(RehearsalGate())
    client = QuietClient(OLD, client=ASKS, answers={"elicitation/create": YES})
    result = await call(gateways.all, "files__read", client=client)
    assert client.asked == [("elicitation/create", FORM)]
    assert text_of(result) == str(YES)


async def test_a_new_servers_question_is_asked_of_an_old_client_within_one_call():
    gate = RehearsalGate()
    hub, gateways = opened(gate, new_server, "2026-07-28")
    client = QuietClient(OLD, client=ASKS, answers={"elicitation/create": YES})
    result = await call(gateways.all, "files__read", client=client)
    assert client.asked == [("elicitation/create", FORM)]
    assert text_of(result) == f"{YES} its own"
    assert "resultType" not in result
    assert len(gate.calls) == 1
    assert len(hub.asked) == 2


async def test_a_new_servers_question_is_declined_for_an_old_client_that_cannot_be_asked():
    _, gateways = opened(RehearsalGate(), new_server, "2026-07-28")
    result = await call(gateways.all, "files__read", client=QuietClient(OLD))
    assert text_of(result) == f"{ {'action': 'decline'} } its own"


async def test_a_new_servers_question_passes_to_a_new_client_sealed_to_the_call():
    gate = RehearsalGate()
    _, gateways = opened(gate, new_server, "2026-07-28")
    client = QuietClient(client=ASKS)
    first = await call(gateways.all, "files__read", client=client)
    assert first["inputRequests"]["q"]["params"] == FORM
    assert "its own" not in first["requestState"]
    again = {"requestState": first["requestState"], "inputResponses": {"q": YES}}
    stolen = await refused_call(gateways.all, "files__read", who=DESK, client=client, **again)
    forged = await refused_call(
        gateways.all, "files__read", client=client, **{**again, "requestState": "its own"}
    )
    assert stolen.code == forged.code == -32602
    second = await call(gateways.all, "files__read", client=client, **again)
    assert text_of(second) == f"{YES} its own"
    one, two = (
        gate.calls
    )  # each round is judged by the same arguments, so none slips past a rule on them
    assert one.attempt.arguments == two.attempt.arguments == b"{}"
    assert "answers" in two.attempt.facts


async def test_a_call_that_waits_for_a_person_says_so_to_whoever_only_reads_results():
    hub, gateways = opened(RehearsalGate(judge=lambda _: held()))
    result = await call(gateways.all, "files__read")
    assert result["isError"] is True
    assert "ap-1" in text_of(result)
    assert result["_meta"] == {"hive/check": "approval", "hive/approval": "ap-1"}
    assert hub.asked == []


async def test_no_answer_of_a_client_is_the_yes_that_a_call_waits_for():
    judged = []
    gate = RehearsalGate(judge=lambda attempt: judged.append(attempt) or held())
    hub, gateways = opened(gate)
    client = QuietClient(client=ASKS)
    async with gateways.running():
        first = await call(gateways.all, "files__read", client=client)
        assert first["inputRequests"]["approval"]["params"]["mode"] == "form"
        again = {"requestState": first["requestState"]}
        accepted = {"inputResponses": {"approval": {"action": "accept", "content": {}}}}
        second = await call(gateways.all, "files__read", client=client, **again, **accepted)
        assert second["resultType"] == "input_required"
        declined = {"inputResponses": {"approval": {"action": "decline"}}}
        third = await call(gateways.all, "files__read", client=client, **again, **declined)
        assert third["isError"] is True
    assert len(judged) == 2
    assert hub.asked == []


async def test_the_call_is_made_once_it_is_approved():
    answers = iter([held(), None])
    hub, gateways = opened(RehearsalGate(judge=lambda _: next(answers)))
    client = QuietClient(client={"elicitation": {}})
    async with gateways.running():
        first = await call(gateways.all, "files__read", client=client)
        state = first["requestState"]
        second = await call(gateways.all, "files__read", client=client, requestState=state)
    assert second["resultType"] == "input_required"  # now the server's own question
    assert len(hub.asked) == 1


async def test_people_outside_are_sent_to_the_page_and_agents_are_not():
    desk = ApprovalDesk(page=lambda approval: f"https://hive.example/approvals/{approval}")
    _, gateways = opened(RehearsalGate(judge=lambda _: held()), approvals=desk)
    stateless, old = QuietClient(client=ASKS), QuietClient(OLD, client=ASKS)
    async with gateways.running():
        first = await call(gateways.all, "files__read", who=DESK, client=stateless)
        inside = await call(gateways.all, "files__read", client=stateless)
    asked = first["inputRequests"]["approval"]["params"]
    assert (asked["mode"], asked["url"]) == ("url", "https://hive.example/approvals/ap-1")
    error = await refused_call(gateways.all, "files__read", who=DESK, client=old)
    assert error.code == -32042
    assert error.data["elicitations"][0]["elicitationId"] == "ap-1"
    assert inside["inputRequests"]["approval"]["params"]["mode"] == "form"
    assert (await call(gateways.all, "files__read", client=old))["isError"] is True


async def test_a_client_with_tasks_gets_one_that_ends_when_the_yes_is_there():
    yes = anyio.Event()
    answers = iter([held(), None])
    desk = ApprovalDesk(decided=lambda _approval: yes.wait())
    hub, gateways = opened(
        RehearsalGate(judge=lambda _: next(answers)), approvals=desk, revision="2026-07-28"
    )
    client = QuietClient(client=TASKS)
    async with gateways.running():
        with fail_after(5):
            handle = await call(gateways.all, "files__read", client=client)
            assert handle["resultType"] == "task"
            assert hub.asked == []
            yes.set()
            state = handle
            while state["status"] == "working":
                asked = {"taskId": handle["taskId"]}
                state = await gateways.all.answer(visitor(), "tasks/get", asked, client)
                await anyio.lowlevel.checkpoint()
    assert state["status"] == "completed"
    assert "could not ask" in text_of(state["result"])
