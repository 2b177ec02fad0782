"""The announced mode without walls: it works, and says of every wall that it does not stand."""

import socket
import sys
from threading import Thread

import pytest

from hive.core.errors import SandboxError, TierUnavailableError
from hive.core.grant import Grant, PathRule
from hive.execution.drivers.process import ProcessDriver
from hive.testing.sandbox_attacks import HOST_PORT
from hive.testing.sandbox_suite import (
    SANDBOX_CHECKS,
    SMALL,
    WAIT_S,
    make_opening,
    prepare_agent,
    run_script,
)

pytestmark = pytest.mark.anyio
NO_LAUNCHER = "/bin/false"
NEED_NO_WALL = (
    "a command's status and lines come back, stripped",
    "a command that takes too long is ended",
    "a program that is not there is an error",
    "an agent serves one turn after the other",
    "an agent can be killed from any thread, with a reason",
    "the death of an agent is told with its last lines",
)


@pytest.mark.parametrize("sentence", NEED_NO_WALL)
async def test_of_the_mode_without_walls(sentence, tmp_path):
    async with ProcessDriver(allow_none=True, python=NO_LAUNCHER) as driver:
        await SANDBOX_CHECKS[sentence](driver, tmp_path)


async def test_every_wall_is_told_as_not_standing(tmp_path):
    async with ProcessDriver(allow_none=True, python=NO_LAUNCHER) as driver:
        prepared = prepare_agent(tmp_path, "def answer(text):\n    return text\n")
        async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(tmp_path)) as sandbox:
            await sandbox.ready(WAIT_S)
            assert len(sandbox.walls) == 6
            assert not [wall.name for wall in sandbox.walls if wall.stands]
            assert all(wall.detail for wall in sandbox.walls)


async def test_the_gate_is_reached_at_a_port_of_its_own(tmp_path):
    (tmp_path / "suite-gate").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "suite-gate" / "gate.sock"))
        listener.listen(1)

        def greet():
            near, _ = listener.accept()
            with near:
                near.sendall(b"INFO")

        thread = Thread(target=greet, daemon=True)
        thread.start()
        lines = []
        script = "import os, sys; sys.argv[1] = os.environ['GATE'].rpartition(':')[2]\n" + HOST_PORT
        async with ProcessDriver(allow_none=True, python=NO_LAUNCHER) as driver:
            await driver.run(
                (sys.executable, "-I", "-S", "-c", script, ""),
                mounts=(), limits=SMALL, timeout_s=WAIT_S, on_line=lines.append,
                opening=make_opening(tmp_path, environment={"GATE": "127.0.0.1:4100"}),
            )  # fmt: skip
        thread.join(5)
    assert lines == ["PASSED b'INFO'"]


async def test_a_path_that_needs_a_mount_is_refused(tmp_path):
    async with ProcessDriver(allow_none=True, python=NO_LAUNCHER) as driver:
        rule = PathRule(host=str(tmp_path), inside="/data")
        with pytest.raises(SandboxError, match="needs a mount"):
            await run_script(driver, "", tmp_path, mounts=[rule])


async def test_nobody_gets_it_without_asking(tmp_path):
    driver = ProcessDriver(python=NO_LAUNCHER)
    with pytest.raises(TierUnavailableError):
        await run_script(driver, "", tmp_path)
    assert not (await driver.probe()).available


async def test_a_demanded_wall_wins_over_the_permission_to_have_none(tmp_path):
    driver = ProcessDriver(allow_none=True, walls_min=("seccomp",), python=NO_LAUNCHER)
    with pytest.raises(TierUnavailableError):
        await run_script(driver, "", tmp_path)


async def test_a_demanded_wall_that_is_left_out_stops_the_program_before_it_runs(tmp_path):
    ran = tmp_path / "suite-outbox" / "ran"
    async with ProcessDriver(walls_min=("seccomp",), without=("seccomp",)) as driver:
        with pytest.raises(TierUnavailableError, match="seccomp"):
            await run_script(driver, "open('/outbox/ran', 'w')", tmp_path)
    assert not ran.exists()


async def test_a_socket_of_the_node_is_found_where_it_lies(tmp_path):
    lines = []
    inside = {"SPIFFE_ENDPOINT_SOCKET": "unix:///run/hive/identity.sock"}
    opening = make_opening(tmp_path, environment=inside)
    script = "import os; print(os.environ['SPIFFE_ENDPOINT_SOCKET'])"
    async with ProcessDriver(allow_none=True, python=NO_LAUNCHER) as driver:
        status = await driver.run(
            (sys.executable, "-I", "-S", "-c", script),
            mounts=(),
            opening=opening,
            limits=SMALL,
            timeout_s=WAIT_S,
            on_line=lines.append,
        )
    assert (status, lines) == (0, [f"unix://{opening.gate_directory}/identity.sock"])
