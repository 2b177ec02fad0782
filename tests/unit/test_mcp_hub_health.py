"""A link at rest: it is asked whether it lives, shows as down when it does not, and is there again in time."""

import anyio
import pytest

from hive.core.errors import EngineUnavailableError
from hive.protocols.mcp.hub import health, pool
from hive.protocols.mcp.ports import McpError, ServerState, Sharing
from hive.testing.clock import StoppedClock
from tests.mcp_hub_rig import ALICE, LineServer, SomeCourier, hub_with, line_spec

pytestmark = pytest.mark.anyio
CALL = {"name": "echo", "arguments": {}}
DONE = {"content": []}


def server_with(answer=None, *, stateless=False):
    return LineServer({"tools/call": DONE, "ping": answer or {}}, stateless=stateless)


async def used(hub, courier=None):
    async with hub.link("line", ALICE, courier=courier) as link:
        return await link.request("tools/call", CALL, timeout_s=20, courier=courier)


async def until(true):
    with anyio.fail_after(20):
        while not true():
            await anyio.lowlevel.checkpoint()


async def looked_after(hub):
    """Let one look pass, with everything that it begins but a new start."""
    hub._pool.look_after()
    await until(lambda: not hub._pool._pinging)


def pings(server, method="ping"):
    return sum(name == method for name, _ in server.heard)


@pytest.mark.parametrize(("stateless", "method"), [(False, "ping"), (True, "server/discover")])
async def test_a_link_at_rest_is_asked_ever_more_seldom_and_in_the_end_no_more(stateless, method):
    server, clock = server_with(stateless=stateless), StoppedClock()
    async with hub_with(line_spec(), launch=server.launch, clock=clock) as hub:
        await used(hub)
        before = pings(server, method)
        asked_at = []
        for second in range(0, 400, 5):
            count = pings(server, method)
            await looked_after(hub)
            if pings(server, method) > count:
                asked_at.append(second)
            clock.advance(5)
        assert asked_at == [15, 30, 60, 120, 240]
        assert pings(server, method) - before == 5
        await used(hub)
        clock.advance(health.PING_FIRST_S)
        await looked_after(hub)
        assert pings(server, method) - before == 6
    assert len(server.starts) == 1


async def test_a_link_in_use_and_one_that_serves_a_single_client_are_not_asked():
    server, clock = server_with(), StoppedClock()
    async with hub_with(line_spec(), launch=server.launch, clock=clock) as hub:
        await used(hub, courier=SomeCourier({"elicitation": {}}))
        async with hub.link("line", ALICE):
            clock.advance(health.PING_FIRST_S)
            (shared,) = [key for key in hub._pool._slots if not key.alone]
            hub._pool._slots[shared].sessions[0].idle_since = clock.monotonic() - 60
            await looked_after(hub)
    assert pings(server) == 0


async def test_an_error_is_a_sign_of_life():
    async def unknown(server, number, params):
        raise McpError(-32601, "no ping here")

    server, clock = server_with(unknown), StoppedClock()
    async with hub_with(line_spec(), launch=server.launch, clock=clock) as hub:
        await used(hub)
        for _ in range(3):
            clock.advance(60)
            await looked_after(hub)
        assert pings(server) == 3
        assert hub.server("line").state is ServerState.READY
    assert len(server.starts) == 1


async def silence(server, number, params):
    return None


async def test_a_server_that_hangs_is_started_again_before_a_call_needs_it(monkeypatch):
    monkeypatch.setattr(health, "PING_TIMEOUT_S", 0.05)
    server, clock = server_with(silence), StoppedClock()
    async with hub_with(line_spec(), launch=server.launch, clock=clock) as hub:
        await used(hub)
        clock.advance(health.PING_FIRST_S)
        await looked_after(hub)
        assert len(server.starts) == 1, "one silence proves nothing"
        assert hub.server("line").state is ServerState.READY
        await looked_after(hub)
        await until(lambda: len(server.starts) == 2 and hub.server("line").links == 1)
        assert hub.server("line").state is ServerState.READY
        server.answers["ping"] = {}
        assert await used(hub) == DONE
    assert len(server.starts) == 2


async def test_a_program_that_ended_at_rest_is_started_again_and_one_that_ended_long_ago_is_not():
    server, clock = server_with(), StoppedClock()
    async with hub_with(line_spec(), launch=server.launch, clock=clock) as hub:
        await used(hub)
        (slot,) = hub._pool._slots.values()
        server.die()
        await until(lambda: slot.sessions[0].wire.ended)
        hub._pool.sweep()
        await until(lambda: len(server.starts) == 2 and hub.server("line").links == 1)
        server.die()
        await until(lambda: slot.sessions[-1].wire.ended)
        clock.advance(health.RECENT_S + 1)
        hub._pool.sweep()
        assert not slot.reopening
        assert hub.server("line").links == 0
    assert len(server.starts) == 2


async def test_a_server_that_does_not_come_back_shows_as_down_and_is_tried_a_few_times(monkeypatch):
    monkeypatch.setattr(pool, "PAUSE_FIRST_S", 0.0)
    server, clock = server_with(), StoppedClock()

    def gone(spec, owner, instance):
        server.starts.append((owner, instance, {}))
        raise EngineUnavailableError("The tool server is gone.")

    way = [server.launch]
    async with hub_with(line_spec(), launch=lambda *which: way[0](*which), clock=clock) as hub:
        await used(hub)
        way[0] = gone
        (slot,) = hub._pool._slots.values()
        server.die()
        await until(lambda: slot.sessions[0].wire.ended)
        clock.advance(health.PING_FIRST_S)
        await looked_after(hub)
        hub._pool.sweep()
        await until(lambda: len(server.starts) == 1 + health.REOPENS_MAX and not slot.reopening)
        view = hub.server("line")
        assert view.state is ServerState.FAILED
        assert "gone" in view.reason
        way[0] = server.launch
        assert await used(hub) == DONE
        assert hub.server("line").state is ServerState.READY


async def test_a_server_that_was_disabled_meanwhile_is_not_opened_again():
    server, clock = server_with(), StoppedClock()
    spec = line_spec(sharing=Sharing.NODE)
    async with hub_with(spec, launch=server.launch, clock=clock) as hub:
        await used(hub)
        ((key, slot),) = hub._pool._slots.items()
        (session,) = slot.sessions
        await hub.set_enabled("line", False)
        hub._pool._reopen_soon(key, slot, session)
        await until(lambda: not slot.reopening)
    assert len(server.starts) == 1
