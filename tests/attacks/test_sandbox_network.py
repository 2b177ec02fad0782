"""Attack: an agent reaches the node's database, its bus or the world past the gate."""

import os
import socket
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from hive.execution.drivers.process import ProcessDriver
from hive.testing.sandbox_attacks import (
    ABSTRACT_SOCKET,
    ELSEWHERE,
    HOST_PORT,
    HOST_SOCKET,
    SOCKETS,
    run_outside,
)
from hive.testing.sandbox_suite import run_script

pytestmark = pytest.mark.anyio


@contextmanager
def listening(family, address):
    """Greet whoever connects, as a database or a bus on the host would."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(4)
        listener.settimeout(20)

        def greet():
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with near, suppress(OSError):
                near.sendall(b"INFO")

        thread = Thread(target=greet, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            with socket.socket(family, socket.SOCK_STREAM) as last:
                last.connect(listener.getsockname())
            thread.join(5)


async def inside(tmp_path, script, *arguments, without=()):
    async with ProcessDriver(without=without) as driver:
        run = await run_script(driver, script, tmp_path, arguments=arguments)
        return run.text


@pytest.mark.parametrize(
    ("without", "expected"), [((), "REFUSED"), (("no-network",), "PASSED b'INFO'")]
)
async def test_a_port_on_the_host_s_loopback_is_out_of_reach(without, expected, tmp_path):
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as (_, port):
        assert expected in await inside(tmp_path, HOST_PORT, str(port), without=without)


@pytest.mark.parametrize(
    ("without", "expected"), [((), "REFUSED"), (("no-network", "landlock"), "PASSED b'INFO'")]
)
async def test_an_abstract_socket_of_the_host_is_out_of_reach(without, expected, tmp_path):
    name = f"hive-attack-{os.getpid()}"
    with listening(socket.AF_UNIX, "\0" + name):
        assert expected in await inside(tmp_path, ABSTRACT_SOCKET, name, without=without)


async def test_landlock_alone_closes_abstract_sockets_too(tmp_path):
    name = f"hive-attack-alone-{os.getpid()}"
    with listening(socket.AF_UNIX, "\0" + name):
        told = await inside(tmp_path, ABSTRACT_SOCKET, name, without=("no-network",))
    assert "REFUSED" in told


async def test_a_socket_file_outside_the_mounts_is_out_of_reach(tmp_path):
    path = str(tmp_path / "s.PGSQL.5432")
    with listening(socket.AF_UNIX, path):
        assert "PASSED b'INFO'" in run_outside(HOST_SOCKET, path)
    (tmp_path / "s.PGSQL.5432").unlink()
    with listening(socket.AF_UNIX, path):
        assert "REFUSED" in await inside(tmp_path, HOST_SOCKET, path)


async def test_no_other_address_has_a_route(tmp_path):
    assert "unreachable" in await inside(tmp_path, ELSEWHERE)


@pytest.mark.parametrize("kind", SOCKETS)
async def test_no_socket_beside_local_and_plain_internet_ones_can_be_made(kind, tmp_path):
    if "PASSED" not in run_outside(SOCKETS[kind]):
        pytest.skip(f"this kernel or user has no {kind} sockets to attack")
    assert "REFUSED" in await inside(tmp_path, SOCKETS[kind])


async def test_the_gate_s_port_leads_to_the_gate_s_socket(tmp_path):
    gate = tmp_path / "suite-gate"
    gate.mkdir()
    with listening(socket.AF_UNIX, str(gate / "gate.sock")):
        assert "PASSED b'INFO'" in await inside(tmp_path, HOST_PORT, "4100")
