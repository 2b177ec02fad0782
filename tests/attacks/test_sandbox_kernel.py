"""Attack: an agent asks the kernel for what leads out: namespaces, tracing, keys, io_uring, mounts."""

import os

import pytest

from hive.execution.drivers.process import ProcessDriver
from hive.execution.walls import kernel
from hive.execution.walls.seccomp import forbidden_numbers
from hive.testing.sandbox_attacks import (
    FORK_INTO_NAMESPACE,
    NEW_USER_NAMESPACE,
    READ_ENVIRONMENT,
    SIGNAL,
    SYSTEM_CALL,
    SYSTEM_CALLS,
    run_outside,
)
from hive.testing.sandbox_suite import run_script

pytestmark = pytest.mark.anyio
NUMBERS = forbidden_numbers(kernel.MACHINE)
CLONE = {kernel.X86_64: 56, kernel.AARCH64: 220}.get(kernel.MACHINE, 0)
SERVED_TO_ANYBODY = (
    "ptrace", "keyctl", "add_key", "request_key", "io_uring_setup", "io_uring_register",
    "process_vm_readv", "pidfd_getfd", "perf_event_open", "userfaultfd", "name_to_handle_at",
    "kcmp", "quotactl", "move_pages", "fsopen", "mount_setattr",
)  # fmt: skip


@pytest.fixture
async def open_driver():
    async with ProcessDriver(without=("seccomp",)) as driver:
        yield driver


@pytest.fixture
async def driver():
    async with ProcessDriver() as driver:
        yield driver


async def ask(driver, tmp_path, script, *arguments):
    return (await run_script(driver, script, tmp_path, arguments=arguments)).text


async def test_every_forbidden_call_is_refused(driver, tmp_path):
    told = await ask(driver, tmp_path, SYSTEM_CALLS, *map(str, NUMBERS.values()))
    assert told.count("REFUSED") == len(NUMBERS)
    assert "PASSED" not in told


async def test_without_the_filter_the_kernel_listens_to_many_of_them(open_driver, tmp_path):
    served = [
        name
        for name in SERVED_TO_ANYBODY
        if "PASSED" in await ask(open_driver, tmp_path, SYSTEM_CALL, str(NUMBERS[name]))
    ]
    assert {"ptrace", "keyctl", "add_key", "io_uring_setup", "process_vm_readv"} <= set(served)


async def test_no_new_user_namespace(driver, open_driver, tmp_path):
    number = str(NUMBERS["unshare"])
    assert "PASSED" in await ask(open_driver, tmp_path, NEW_USER_NAMESPACE, number)
    assert "REFUSED" in await ask(driver, tmp_path, NEW_USER_NAMESPACE, number)


async def test_no_fork_into_a_namespace(driver, open_driver, tmp_path):
    assert "PASSED" in await ask(open_driver, tmp_path, FORK_INTO_NAMESPACE, str(CLONE))
    assert "REFUSED" in await ask(driver, tmp_path, FORK_INTO_NAMESPACE, str(CLONE))


async def test_processes_of_the_host_cannot_be_signalled(driver, tmp_path):
    victim = str(driver.launcher_pid)
    assert "PASSED" in run_outside(SIGNAL, victim)
    assert "REFUSED" in await ask(driver, tmp_path, SIGNAL, victim)


async def test_the_first_process_gives_nothing_away(driver, tmp_path):
    assert "PASSED" in run_outside(READ_ENVIRONMENT, str(os.getpid()))
    assert "REFUSED" in await ask(driver, tmp_path, READ_ENVIRONMENT, "1")


async def test_an_agent_finds_four_descriptors_and_no_more(driver, tmp_path):
    script = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1])"
    assert await ask(driver, tmp_path, script) == "[0, 1, 2, 3]"


async def test_an_agent_inherits_no_variable_of_the_node(driver, tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_SECRET", "treasure")
    told = await ask(driver, tmp_path, "import os; print(dict(os.environ))")
    assert "HIVE_TURN_FD" in told
    assert "treasure" not in told
