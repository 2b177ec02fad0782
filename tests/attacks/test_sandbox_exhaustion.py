"""Attack: an agent eats the machine: processes, memory, disk, log."""

import pytest

from hive.core.errors import SandboxError
from hive.core.grant import Grant, Limits
from hive.execution.drivers.process import ProcessDriver
from hive.testing.sandbox_attacks import DISK, FORKS, MEMORY
from hive.testing.sandbox_suite import (
    WAIT_S,
    make_opening,
    make_turn,
    prepare_agent,
    run_script,
)

pytestmark = pytest.mark.anyio
MIB = 1 << 20


def limits(**changed):
    wide = {"memory_bytes": 512 * MIB, "processes_max": 200, "disk_bytes": 64 * MIB, "cpu_s": 30}
    return Limits(**{**wide, **changed})


async def inside(tmp_path, script, *arguments, bound, without=()):
    async with ProcessDriver(without=without) as driver:
        return await run_script(driver, script, tmp_path, arguments=arguments, limits=bound)


@pytest.mark.parametrize("without", [(), ("cgroup",)])
async def test_a_fork_bomb_stops_at_its_limit(without, tmp_path):
    free = await inside(tmp_path, FORKS, "100", bound=limits(), without=without)
    assert "PASSED" in free.text
    bound = limits(processes_max=40)
    held = await inside(tmp_path, FORKS, "100", bound=bound, without=without)
    assert "REFUSED" in held.text
    assert int(held.lines[-1]) < 40


async def test_the_memory_of_all_processes_together_is_bounded(tmp_path):
    async with ProcessDriver() as driver:
        if "cgroup" not in (await driver.probe()).standing:
            pytest.skip("no cgroup may be written here, so only single processes are bounded")
    assert "PASSED" in (await inside(tmp_path, MEMORY, "8", bound=limits())).text
    held = await inside(tmp_path, MEMORY, "8", bound=limits(memory_bytes=64 * MIB))
    assert "PASSED" not in held.text


async def test_without_a_cgroup_each_process_has_a_bound(tmp_path):
    script = "held = bytearray(128 << 20); print('PASSED')"
    free = await inside(tmp_path, script, bound=limits(), without=("cgroup",))
    assert "PASSED" in free.text
    bound = limits(memory_bytes=64 * MIB)
    held = await inside(tmp_path, script, bound=bound, without=("cgroup",))
    assert "MemoryError" in held.text


async def test_an_agent_that_is_killed_for_memory_is_told_so(tmp_path):
    source = "def answer(text):\n    return str(len(b'x' * (400 << 20)))\n"
    bound = Grant(limits=limits(memory_bytes=96 * MIB))
    async with ProcessDriver() as driver:
        if "cgroup" not in (await driver.probe()).standing:
            pytest.skip("no cgroup may be written here")
        prepared = prepare_agent(tmp_path, source)
        async with driver.spawn(prepared, bound, make_opening(tmp_path)) as sandbox:
            await sandbox.ready(WAIT_S)
            with pytest.raises(SandboxError, match="killed it for memory"):
                async for _ in sandbox.run_turn(make_turn("eat")):
                    pass


@pytest.mark.parametrize("place", ["/tmp", "/home/agent", "/dev/shm"])
async def test_a_disk_fill_stops_at_its_limit(place, tmp_path):
    assert "PASSED" in (await inside(tmp_path, DISK, "20", place, bound=limits())).text
    held = await inside(tmp_path, DISK, "20", place, bound=limits(disk_bytes=8 * MIB))
    assert "REFUSED [Errno 28]" in held.text


async def test_an_outbox_that_grows_past_its_limit_ends_the_sandbox(tmp_path):
    source = (
        "def answer(text):\n"
        "    for number in range(24):\n"
        "        with open('/outbox/%d' % number, 'wb') as file:\n"
        "            file.write(b'x' * (1 << 20))\n"
        "    import time\n"
        "    time.sleep(30 if text == 'wait' else 0)\n"
        "    return 'PASSED'\n"
    )
    prepared = prepare_agent(tmp_path, source)
    async with ProcessDriver() as driver:
        grant = Grant(limits=limits(disk_bytes=8 * MIB))
        async with driver.spawn(prepared, grant, make_opening(tmp_path)) as sandbox:
            await sandbox.ready(WAIT_S)
            with pytest.raises(SandboxError, match="outbox"):
                async for _ in sandbox.run_turn(make_turn("wait")):
                    pass


async def test_a_flood_of_lines_is_cut_and_the_cut_is_told(tmp_path):
    script = "for number in range(50_000): print('line', number)"
    run = await inside(tmp_path, script, bound=limits())
    assert len(run.lines) < 10_000
    assert "were dropped" in run.text
    assert run.status == 0


async def test_processor_time_is_bounded(tmp_path):
    run = await inside(tmp_path, "while True: pass", bound=limits(cpu_s=1))
    assert run.status in (128 + 24, 128 + 9)
