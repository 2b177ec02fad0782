"""Attack: something is killed, and a sandbox lives on without anybody watching it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from hive.core.grant import Grant, PathRule
from hive.execution.drivers.process import ProcessDriver
from hive.execution.walls import cgroups
from hive.testing.sandbox_suite import SMALL, WAIT_S, make_opening, prepare_agent, run_script

pytestmark = pytest.mark.anyio

NODE = """
import sys, json, anyio, psutil
from pathlib import Path
from hive.core.grant import Grant
from hive.execution.drivers.process import ProcessDriver
from hive.testing.sandbox_suite import SMALL, WAIT_S, make_opening, prepare_agent

SOURCE = '''
import os, signal
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
def answer(text):
    return text
'''

async def main(folder):
    async with ProcessDriver() as driver:
        prepared = prepare_agent(folder, SOURCE)
        async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(folder)) as sandbox:
            await sandbox.ready(WAIT_S)
            family = psutil.Process().children(recursive=True)
            print(json.dumps([process.pid for process in family]), flush=True)
            await anyio.sleep_forever()

anyio.run(main, Path(sys.argv[1]))
"""


def alive(pids):
    return [pid for pid in pids if _lives(pid)]


def _lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_nothing_outlives_a_killed_node(tmp_path):
    command = [sys.executable, "-c", NODE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        pids = json.loads(node.stdout.readline())
        assert len(pids) >= 7  # launcher, keeper, first process, agent, and its three children
        assert alive(pids) == pids
        handles = [psutil.Process(pid) for pid in pids]
        node.send_signal(signal.SIGKILL)
        psutil.wait_procs(handles, timeout=30)
        assert alive(pids) == []


@pytest.mark.parametrize("victim", ["launcher", "keeper", "first"])
async def test_a_sandbox_dies_with_what_holds_it(victim, tmp_path):
    async with ProcessDriver() as driver:
        prepared = prepare_agent(tmp_path, "def answer(text):\n    return text\n")
        async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(tmp_path)) as sandbox:
            await sandbox.ready(WAIT_S)
            first = psutil.Process(sandbox.pid)
            family = [first, *first.children(recursive=True)]
            assert len(family) == 2
            pid = {
                "launcher": driver.launcher_pid,
                "keeper": first.ppid(),
                "first": sandbox.pid,
            }[victim]
            os.kill(pid, signal.SIGKILL)
            with anyio.fail_after(30):
                assert await sandbox.wait_dead()
            psutil.wait_procs(family, timeout=30)
            assert alive([process.pid for process in family]) == []
        run = await run_script(driver, "print('again')", tmp_path)
        assert run.lines == ("again",)


async def test_leaving_the_context_leaves_no_process_and_no_group(tmp_path):
    async with ProcessDriver() as driver:
        prepared = prepare_agent(tmp_path, "def answer(text):\n    return text\n")
        async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(tmp_path)) as sandbox:
            await sandbox.ready(WAIT_S)
            keeper = psutil.Process(sandbox.pid).parent()
            assert keeper is not None
            family = [keeper, *keeper.children(recursive=True)]
            assert len(family) == 3
            groups = _groups_with(driver.launcher_pid, sandbox.pid)
        psutil.wait_procs(family, timeout=30)
        assert alive([process.pid for process in family]) == []
        await _until(lambda: not any(place.exists() for place in groups))
        await _only_what_is_begun_ahead(driver)


async def test_groups_that_a_killed_launcher_left_are_removed_by_the_next(tmp_path):
    above = cgroups.parents()
    if not above.complete:
        pytest.skip("no cgroup may be written here")
    async with ProcessDriver() as driver:
        prepared = prepare_agent(tmp_path, "def answer(text):\n    return text\n")
        async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(tmp_path)) as sandbox:
            await sandbox.ready(WAIT_S)
            killed = driver.launcher_pid
            assert len(_groups_with(killed, sandbox.pid)) == 2
            os.kill(killed, signal.SIGKILL)
            with anyio.fail_after(30):
                await sandbox.wait_dead()
        await run_script(driver, "", tmp_path)
        assert _groups_of(killed) == []


def _groups_with(launcher, pid):
    return [
        found
        for found in _groups_of(launcher)
        if str(pid) in (found / "cgroup.procs").read_text().split()
    ]


async def _until(condition):
    with anyio.fail_after(10):
        while True:
            if found := condition():
                return found
            await anyio.sleep(0.01)


async def _only_what_is_begun_ahead(driver):
    """Wait until the launcher has nothing but one keeper with one first process, which wait for a plan."""

    def alone():
        family = psutil.Process(driver.launcher_pid).children(recursive=True)
        groups = {found.name for found in _groups_of(driver.launcher_pid)}
        return len(family) <= 2 and len(groups) <= 1

    await _until(alone)


def _groups_of(launcher):
    above = cgroups.parents()
    places = {above.memory, above.processes} - {""}
    return [found for place in places for found in Path(place).glob(f"hive-sandbox-{launcher}-*")]


async def test_a_spawn_that_is_cancelled_leaves_nothing(tmp_path):
    async with ProcessDriver() as driver:
        prepared = prepare_agent(tmp_path, "import time\ntime.sleep(60)\n")
        with anyio.move_on_after(0.3) as scope:
            async with driver.spawn(
                prepared, Grant(limits=SMALL), make_opening(tmp_path)
            ) as sandbox:
                await sandbox.ready(WAIT_S)
        assert scope.cancelled_caught
        await _only_what_is_begun_ahead(driver)


async def test_what_was_begun_ahead_does_not_outlive_its_launcher(tmp_path):
    async with ProcessDriver() as driver:
        await run_script(driver, "", tmp_path)
        launcher = psutil.Process(driver.launcher_pid)
        await _until(lambda: len(launcher.children(recursive=True)) >= 2)
        waiting = launcher.children(recursive=True)
        launcher.kill()
        psutil.wait_procs(waiting, timeout=30)
        assert alive([process.pid for process in waiting]) == []


async def test_a_sandbox_begun_ahead_does_not_show_the_mounts_of_before(tmp_path):
    """A folder that the host mounts later must not be shown as it was."""
    place = tmp_path / "later"
    place.mkdir()
    (place / "seen").write_text("before")
    async with ProcessDriver() as driver:
        await run_script(driver, "", tmp_path)
        await anyio.sleep(0.5)
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=False).returncode:
            pytest.skip("nothing may be mounted here")
        try:
            (place / "seen").write_text("after")
            rule = PathRule(host=str(place), inside="/data")
            script = "print(open('/data/seen').read())"
            run = await run_script(driver, script, tmp_path, mounts=(rule,))
            assert run.lines == ("after",)
            # Nor does one that waits keep the folder busy.
            await anyio.sleep(0.5)
            assert subprocess.run(["umount", str(place)], check=False).returncode == 0
            await _until(lambda: not any(str(place) in table for table in _mount_tables()))
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def _mount_tables():
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "mountinfo").read_text()
        except OSError:
            continue
