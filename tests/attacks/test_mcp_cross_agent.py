"""An agent that uses another's tools: by name, by endpoint, by handle, by what another call left waiting."""

import pytest

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.grant import Grant
from hive.core.ids import AgentId, OwnerId, SandboxId, TurnId
from hive.core.randomness import SystemRandomness
from hive.protocols.mcp.doormen import HandleDoorman
from hive.protocols.mcp.gateway import Gateways
from hive.protocols.mcp.ports import Turned, Visitor
from hive.testing.rehearsal_gate import CALLER, HANDLE, SANDBOX, RehearsalGate
from tests.mcp_gateway_rig import PaperHub, QuietClient, call, refused_call, tool

pytestmark = pytest.mark.anyio


def agent(name: str) -> Principal:
    return Principal(
        kind=PrincipalKind.AGENT,
        name=name,
        owner=OwnerId("alice"),
        agent=AgentId(name),
        sandbox=SandboxId(f"box-{name}"),
        turn=TurnId(f"turn-{name}"),
    )


CLERK, PAYER = Visitor(principal=agent("clerk")), Visitor(principal=agent("payer"))
GRANTS = {"clerk": Grant(tools=("files.read",)), "payer": Grant(tools=("bank.*",))}


def opened(grant_of):
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read"))
    hub.add("bank", tool("pay"))
    gateways = Gateways(
        hub=hub,
        gate=gate,
        grant_of=grant_of,
        clock=SystemClock(),
        randomness=SystemRandomness(),
    )
    return hub, gate, gateways


async def test_another_agents_tool_is_called_only_where_nobody_looks_at_grants():
    hub, _, gateways = opened(lambda _: Grant(tools=("*",)))
    await call(gateways.all, "bank__pay", who=CLERK)
    assert len(hub.asked) == 1

    hub, gate, gateways = opened(lambda who: GRANTS.get(who.name))
    for service, name in (
        (gateways.all, "bank__pay"),
        (gateways.all, "bank.pay"),
        (gateways.all, "pay"),
        (gateways.of("bank"), "pay"),
        (gateways.of("files"), "bank__pay"),
    ):
        assert (await refused_call(service, name, who=CLERK)).code == -32602
    assert hub.asked == []
    assert gate.calls == []


async def test_lists_are_never_answered_from_what_another_agent_saw():
    _, _, gateways = opened(lambda who: GRANTS.get(who.name))
    for _ in range(2):
        for who, sees in ((CLERK, ["files__read"]), (PAYER, ["bank__pay"])):
            found = await gateways.all.answer(who, "tools/list", {}, QuietClient())
            assert [one["name"] for one in found["tools"]] == sees
            assert gateways.all.input_schema(who, "bank__pay") is (
                None if who is CLERK else found["tools"][0]["inputSchema"]
            )


async def test_a_grant_that_shrinks_is_felt_at_once():
    grants = {"clerk": Grant(tools=("*",))}
    _, _, gateways = opened(lambda who: grants.get(who.name))
    await call(gateways.all, "bank__pay", who=CLERK)
    grants["clerk"] = Grant(tools=("files.*",))
    assert (await refused_call(gateways.all, "bank__pay", who=CLERK)).code == -32602
    grants.clear()
    assert (await refused_call(gateways.all, "files__read", who=CLERK)).code == -32602


async def test_a_grant_for_one_server_opens_none_whose_name_begins_the_same():
    hub, _, gateways = opened(lambda _: Grant(tools=("bank.*",)))
    hub.add("bank-x", tool("pay"))
    found = await gateways.all.answer(CLERK, "tools/list", {}, QuietClient())
    assert [one["name"] for one in found["tools"]] == ["bank__pay"]


async def test_a_handle_is_worth_nothing_on_another_sandboxs_socket():
    doorman = HandleDoorman(gate=RehearsalGate())
    headers = {"authorization": f"Bearer {HANDLE}"}
    own = await doorman.identify({"path": "/mcp", "hive.sandbox": SANDBOX}, headers)
    assert own == Visitor(principal=CALLER)
    for scope in ({"path": "/mcp", "hive.sandbox": "box-clerk"}, {"path": "/mcp"}):
        assert isinstance(await doorman.identify(scope, headers), Turned)
    in_path = {"path": f"/mcp/~{HANDLE}", "hive.sandbox": "box-clerk"}
    assert isinstance(await doorman.identify(in_path, {}), Turned)
