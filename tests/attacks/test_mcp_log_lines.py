"""Log lines of a server on standard input and output name no request: they must not reach another caller."""

from contextlib import contextmanager

import pytest
from anyio import fail_after

from hive.protocols.mcp.hub.session import LinkSession
from hive.protocols.mcp.ports import Sharing
from tests.mcp_hub_rig import ALICE, BOB, LineServer, SomeCourier, hub_with, line_spec

pytestmark = pytest.mark.anyio
LINE = {"level": "info", "data": "a line about the caller"}


async def chatty(server, number, params):
    await server.say({"method": "notifications/message", "params": LINE})
    return {"content": []}


@contextmanager
def read_by_whoever_asks(session, courier, _caller):
    session.ears.reader = courier
    yield
    session.ears.reader = None


@pytest.mark.parametrize("guarded", [True, False])
async def test_lines_are_read_by_the_caller_who_is_alone_and_by_nobody_once_there_are_two(
    monkeypatch, guarded
):
    if not guarded:
        monkeypatch.setattr(LinkSession, "_read_by", read_by_whoever_asks)
    server = LineServer({"tools/call": chatty}, stateless=True)
    spec = line_spec(sharing=Sharing.NODE)
    async with hub_with(spec, launch=server.launch) as hub:
        with fail_after(20):
            heard = {}
            for step, caller in enumerate([ALICE, ALICE, BOB, ALICE]):
                courier = SomeCourier(revision="2026-07-28")
                async with hub.link("line", caller, courier=courier) as link:
                    params = {"name": "echo", "arguments": {}}
                    await link.request("tools/call", params, timeout_s=10, courier=courier)
                heard[step] = courier.told
    line = ("notifications/message", LINE)
    later = [] if guarded else [line]
    assert heard == {0: [line], 1: [line], 2: later, 3: later}
    assert server.starts == server.starts[:1]
