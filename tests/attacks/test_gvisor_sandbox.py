"""Attack: getting out of the gvisor tier, or eating the machine from inside; the ways of the process tier, tried anew."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hive.core.errors import SandboxError
from hive.core.grant import Access, Grant, Limits, PathRule
from hive.execution.drivers.gvisor import GvisorDriver
from hive.testing.sandbox_attacks import (
    ABSTRACT_SOCKET,
    DISK,
    ELSEWHERE,
    FORKS,
    HOST_PORT,
    HOST_SOCKET,
    MEMORY,
    READ_FILES,
    WRITE_FILE,
    run_outside,
)
from hive.testing.sandbox_suite import (
    WAIT_S,
    make_opening,
    make_turn,
    prepare_agent,
    run_script,
)
from tests.attacks.test_sandbox_network import listening
from tests.gvisor_rig import gvisor_runs, needs_gvisor

__all__ = ["gvisor_runs"]
pytestmark = [pytest.mark.anyio, needs_gvisor]
MIB = 1 << 20
NODE = """
import sys, json, anyio, psutil
from pathlib import Path
from hive.core.grant import Grant
from hive.execution.drivers.gvisor import GvisorDriver
from hive.testing.sandbox_suite import SMALL, WAIT_S, make_opening, prepare_agent

async def main(folder):
    async with GvisorDriver() as driver:
        prepared = prepare_agent(folder, "def answer(text):\\n    return text\\n")
        async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(folder)) as sandbox:
            await sandbox.ready(WAIT_S)
            family = psutil.Process().children(recursive=True)
            print(json.dumps([process.pid for process in family]), flush=True)
            await anyio.sleep_forever()

anyio.run(main, Path(sys.argv[1]))
"""


def limits(**changed):
    wide = {"memory_bytes": 512 * MIB, "processes_max": 200, "disk_bytes": 64 * MIB, "cpu_s": 30}
    return Limits(**{**wide, **changed})


async def inside(tmp_path, script, *arguments, mounts=(), bound=None):
    async with GvisorDriver() as driver:
        run = await run_script(
            driver, script, tmp_path, arguments=arguments, mounts=mounts, limits=bound or limits()
        )
        return run.text


@pytest.mark.parametrize("way", READ_FILES)
async def test_a_file_outside_the_mounts_cannot_be_read(way, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("treasure")
    secret.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    assert "PASSED treasure" in run_outside(READ_FILES[way], str(secret))
    assert "treasure" not in await inside(tmp_path, READ_FILES[way], str(secret))


async def test_the_hosts_own_files_are_not_there(tmp_path):
    script = "import os\nfor one in ('/etc/shadow', '/proc/1/root/etc/shadow', '/proc/kcore', '/var'):\n    print(os.path.exists(one))"
    assert (await inside(tmp_path, script)).split() == ["False"] * 4


async def test_what_may_only_be_read_is_not_written(tmp_path):
    (tmp_path / "agent.py").write_text("pass\n")
    read = PathRule(host=str(tmp_path), inside="/data/agent")
    write = PathRule(host=str(tmp_path), inside="/data/agent", access=Access.WRITE)
    target = "/data/agent/agent.py"
    assert "PASSED" in await inside(tmp_path, WRITE_FILE, target, mounts=[write])
    assert "REFUSED" in await inside(tmp_path, WRITE_FILE, target, mounts=[read])


async def test_no_socket_of_the_host_is_reached(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with listening(socket.AF_INET, ("127.0.0.1", port)):
        assert "PASSED" in run_outside(HOST_PORT, str(port))
        assert "REFUSED" in await inside(tmp_path, HOST_PORT, str(port))
    name = f"hive-attack-{os.getpid()}"
    with listening(socket.AF_UNIX, "\0" + name):
        assert "PASSED" in run_outside(ABSTRACT_SOCKET, name)
        assert "REFUSED" in await inside(tmp_path, ABSTRACT_SOCKET, name)
    path = f"/tmp/{name}"
    with listening(socket.AF_UNIX, path):
        assert "REFUSED" in await inside(tmp_path, HOST_SOCKET, path)
    Path(path).unlink(missing_ok=True)
    assert "REFUSED" in await inside(tmp_path, ELSEWHERE)


async def test_a_fork_bomb_ends_itself_and_nobody_else(tmp_path):
    bound = limits(processes_max=10)
    try:
        text = await inside(tmp_path, FORKS, "2000", bound=bound)
    except SandboxError:
        text = ""  # the kernel inside ran out of what it may have, and ended
    assert "PASSED" not in text
    assert "hi" in await inside(tmp_path, "print('hi')")


async def test_memory_is_bounded(tmp_path):
    assert "PASSED" in await inside(tmp_path, MEMORY, "2", bound=limits(memory_bytes=1024 * MIB))
    try:
        held = await inside(tmp_path, MEMORY, "8", bound=limits(memory_bytes=128 * MIB))
    except SandboxError:
        held = ""
    assert "PASSED" not in held


@pytest.mark.parametrize("folder", ["/home/agent", "/dev/shm"])
async def test_the_disk_is_bounded(tmp_path, folder):
    assert "PASSED" in await inside(tmp_path, DISK, "1", folder, bound=limits())
    held = await inside(tmp_path, DISK, "64", folder, bound=limits(disk_bytes=8 * MIB))
    assert "PASSED" not in held


async def test_a_loop_is_ended_by_a_kill_and_leaves_nothing(tmp_path):
    source = "def answer(text):\n    while True:\n        pass\n"
    async with GvisorDriver() as driver:
        prepared = prepare_agent(tmp_path, source)
        async with driver.spawn(
            prepared, Grant(limits=limits()), make_opening(tmp_path)
        ) as sandbox:
            await sandbox.ready(WAIT_S)
            family = psutil.Process(sandbox.pid).children(recursive=True)
            assert any("runsc" in " ".join(one.cmdline()) for one in family)
            sandbox.kill("enough")
            with pytest.raises(SandboxError, match="enough"):
                await anext(sandbox.run_turn(make_turn("go")))
        assert not [one for one in family if lives(one.pid)]


async def test_nothing_outlives_a_killed_node(tmp_path):
    command = [sys.executable, "-c", NODE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        pids = json.loads(node.stdout.readline())
        assert len(pids) >= 5
        assert all(map(lives, pids))
        node.send_signal(signal.SIGKILL)
        node.wait()
        ends_at = time.monotonic() + 10
        while any(map(lives, pids)) and time.monotonic() < ends_at:
            pass
        assert not any(map(lives, pids))


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
