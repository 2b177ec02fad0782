"""A build goes out on the node's own behalf: to its index, wherever that lies, and nowhere further."""

import contextlib

import pytest
from anyio import fail_after

from hive.core.call import Principal, Refused
from hive.core.clock import SystemClock
from hive.core.grant import Grant, HostRule
from hive.core.ids import AgentId, SandboxId
from hive.core.randomness import SystemRandomness
from hive.kernel.turns import TurnBook
from hive.protocols.egress import EgressDoor, EgressLimits
from hive.testing.proxy_client import exchange, served_bytes, status_of
from hive.testing.rehearsal_gate import SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def door_to(tmp_path, address, *, builder):
    """Serve a sandbox for which every name leads to one address."""

    async def resolve(_host, _port):
        return (address,)

    turns = TurnBook(SystemRandomness())
    turns.bind(SANDBOX, AgentId("builder-operator"), Grant(), builds=builder)
    door = EgressDoor(
        gate=RehearsalGate(),
        principal_for=turns.principal_without_turn,
        grant_for=turns.grant_in,
        is_builder=turns.builds_in,
        clock=SystemClock(),
        resolve=resolve,
        limits=EgressLimits(connect_timeout_s=0.5, idle_timeout_s=0.2),
    )
    path = tmp_path / "egress.sock"
    async with door.serve_unix(path, SANDBOX):
        with fail_after(15):
            yield path


async def test_an_index_of_ones_own_network_is_reached_by_name_by_a_build_alone(tmp_path):
    async with served_bytes(b"a wheel", []) as port:
        request = f"CONNECT index.example:{port} HTTP/1.1\r\n\r\n".encode()
        async with door_to(tmp_path, "127.0.0.1", builder=True) as path:
            built = await exchange(path, request)
        async with door_to(tmp_path, "127.0.0.1", builder=False) as path:
            agent = await exchange(path, request)
    assert (status_of(built), status_of(agent)) == (200, 403)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::ffff:169.254.169.254"]
)
async def test_a_build_is_never_led_to_a_metadata_service(tmp_path, address):
    async with door_to(tmp_path, address, builder=True) as path:
        got = await exchange(path, b"CONNECT index.example:80 HTTP/1.1\r\n\r\n")
    assert status_of(got) == 403


def test_an_agent_that_may_install_packages_is_no_builder_between_its_turns():
    turns = TurnBook(SystemRandomness())
    sandbox = SandboxId("s-1")
    grant = Grant(packages=True, hosts=(HostRule(host="index.example", ports=(443,)),))
    turns.bind(sandbox, AgentId("installer"), grant)
    assert isinstance(turns.principal_without_turn(sandbox), Refused)
    assert turns.strays(sandbox) == 1
    turns.unbind(sandbox)
    turns.bind(sandbox, AgentId("installer"), grant, builds=True)
    assert isinstance(turns.principal_without_turn(sandbox), Principal)
