"""Log lines of a server on standard input and output name no request: they must not reach another caller."""

import pytest
from anyio import fail_after

from hive.protocols.mcp.ports import Sharing
from tests.mcp_hub_rig import ALICE, BOB, LineServer, SomeCourier, hub_with, line_spec

pytestmark = pytest.mark.anyio
LINE = {"level": "info", "data": "a line about the caller"}


async def chatty(server, number, params):
    await server.say({"method": "notifications/message", "params": LINE})
    return {"content": []}


async def test_lines_are_read_by_the_caller_who_is_alone_and_by_nobody_once_there_are_two():
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
    assert heard == {0: [line], 1: [line], 2: [], 3: []}
    assert server.starts == server.starts[:1]
