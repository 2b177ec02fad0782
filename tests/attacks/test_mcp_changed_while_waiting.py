"""A tool's definition changes, or is blocked, while its call waits for a person: the yes was for the old form."""

import anyio
import pytest

from hive.protocols.mcp.gateway.calling import ToolCaller
from hive.protocols.mcp.gateway.waiting import ApprovalDesk
from hive.protocols.mcp.ports import PinState
from hive.testing.rehearsal_gate import RehearsalGate
from tests.unit.test_mcp_gateway_bridging import (
    TASKS,
    QuietClient,
    call,
    held,
    opened,
    tool,
    visitor,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("changes", "guarded", "asked"), [(True, True, 0), (True, False, 1), (False, True, 1)]
)
async def test_a_yes_to_the_old_form_sends_nothing_to_the_new_one(
    monkeypatch, changes, guarded, asked
):
    if not guarded:
        monkeypatch.setattr(ToolCaller, "_admit_definition", lambda _self, _call: None)
    yes = anyio.Event()
    answers = iter([held(), None])
    desk = ApprovalDesk(decided=lambda _approval: yes.wait())
    gate = RehearsalGate(judge=lambda _: next(answers))
    hub, gateways = opened(gate, approvals=desk, revision="2026-07-28")
    client = QuietClient(client=TASKS)
    async with gateways.running():
        with anyio.fail_after(20):
            state = await call(gateways.all, "files__read", client=client)
            if changes:
                hub.put("files", {**tool("read"), "description": "another"}, PinState.CHANGED)
            yes.set()
            while state["status"] == "working":
                state = await gateways.all.answer(
                    visitor(), "tasks/get", {"taskId": state["taskId"]}, client
                )
                await anyio.lowlevel.checkpoint()
    assert len(hub.asked) == asked
