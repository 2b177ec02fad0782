"""A server that never answers holds up its own call for its time, and nobody else's."""

import anyio
import pytest
from anyio import fail_after

from hive.core.call import Outcome
from hive.testing.rehearsal_gate import RehearsalGate
from tests.mcp_gateway_rig import (
    OLD,
    PaperHub,
    QuietClient,
    call,
    gateways_on,
    text_of,
    tool,
)

pytestmark = pytest.mark.anyio


async def never(*_):
    await anyio.sleep_forever()


def opened(timeout_s, gate, respond=never, **more):
    hub = PaperHub()
    hub.add("dead", tool("wait"), respond=respond, timeout_s=timeout_s, **more)
    hub.add("live", tool("echo"))
    return gateways_on(hub, gate, "*")


async def test_a_call_waits_for_its_servers_time_and_says_that_nothing_is_known():
    gate = RehearsalGate()
    with fail_after(5):
        result = await call(opened(0.01, gate).all, "dead__wait")
    assert "did not answer within 0.01 s; whether it did something is not known" in text_of(result)
    assert gate.outcomes == [Outcome.FAILED]
    # Without that time it would wait as long as anybody lets it.
    with anyio.move_on_after(0.1) as waited:
        await call(opened(3600.0, RehearsalGate()).all, "dead__wait")
    assert waited.cancelled_caught


async def test_others_are_answered_while_many_wait():
    gateways = opened(3600.0, RehearsalGate())
    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(call, gateways.all, "dead__wait")
        with fail_after(5):
            assert text_of(await call(gateways.all, "live__echo")) == "{}"
        tasks.cancel_scope.cancel()


async def test_a_client_that_leaves_ends_what_it_began():
    left = anyio.Event()
    began = anyio.Event()

    async def respond(*_):
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            left.set()

    for client in (QuietClient(), QuietClient(client={"elicitation": {}})):
        left, began = anyio.Event(), anyio.Event()
        gate = RehearsalGate()
        gateways = opened(3600.0, gate, respond, revision=OLD)
        with fail_after(5):
            async with gateways.running(), anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: call(gateways.all, "dead__wait", client=client))  # noqa: B023
                await began.wait()
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await left.wait()
        assert gate.outcomes == [Outcome.CANCELED]
