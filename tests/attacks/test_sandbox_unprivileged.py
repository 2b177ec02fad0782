"""The same walls without root: a node that runs as `nobody` holds its agents as well."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"
NODE = """
import anyio, json, sys
from pathlib import Path
from hive.core.errors import TierUnavailableError
from hive.execution.drivers.process import ProcessDriver
from hive.execution.walls import kernel
from hive.execution.walls.seccomp import forbidden_numbers
from hive.testing import sandbox_attacks as attacks
from hive.testing.sandbox_suite import SANDBOX_CHECKS, SMALL, run_script

async def main(folder, secret):
    told = {}
    async with ProcessDriver() as driver:
        probe = await driver.probe()
        told["standing"], told["reason"] = sorted(probe.standing), probe.reason
        async def attack(name, script, *arguments):
            run = await run_script(driver, script, folder, arguments=arguments, limits=SMALL)
            told[name] = run.text
        for name, script in attacks.READ_FILES.items():
            await attack("read " + name, script, secret)
        for name, script in attacks.SOCKETS.items():
            await attack("socket " + name, script)
        numbers = forbidden_numbers(kernel.MACHINE)
        await attack("calls", attacks.SYSTEM_CALLS, *map(str, numbers.values()))
        await attack("namespace", attacks.NEW_USER_NAMESPACE, str(numbers["unshare"]))
        await attack("host signal", attacks.SIGNAL, str(driver.launcher_pid))
        await attack("environment", attacks.READ_ENVIRONMENT, "1")
        await attack("forks", attacks.FORKS, "100")
        for name, check in SANDBOX_CHECKS.items():
            place = folder / name.replace(" ", "-").replace("'", "")
            place.mkdir()
            await check(driver, place)
            told["check " + name] = "REFUSED"
    async with ProcessDriver(walls_min=("cgroup",)) as driver:
        try:
            await run_script(driver, "print('PASSED')", folder)
        except TierUnavailableError as error:
            told["demanded"] = "REFUSED " + error.why
    print(json.dumps(told))

anyio.run(main, Path(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def folder():
    place = Path(tempfile.mkdtemp(prefix="hive-nobody-"))
    os.chown(place, NOBODY, NOBODY)
    yield place
    shutil.rmtree(place)


def runnable():
    """Tell whether a Python that everybody may run fits the packages of this one."""
    if os.geteuid() != 0:
        return False
    command = [SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError:
        return False
    return found.stdout.split() == [str(part) for part in sys.version_info[:2]]


@pytest.mark.skipif("not runnable()", reason="needs root and a system Python of this version")
def test_the_walls_stand_without_root(folder):
    secret = folder / "secret"
    secret.write_text("treasure")
    node = subprocess.run(
        [SYSTEM_PYTHON, "-c", NODE, str(folder), str(secret)],
        capture_output=True, text=True, timeout=100, check=False,
        user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path),
             "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert node.returncode == 0, node.stderr
    told = json.loads(node.stdout)
    standing = {"namespaces", "landlock", "seccomp", "no-network", "unprivileged"}
    assert standing <= set(told.pop("standing")), told["reason"]
    told.pop("reason")
    forks = told.pop("forks").splitlines()
    assert "REFUSED" in forks[0]
    assert int(forks[-1]) < 64
    passed = {name: text for name, text in told.items() if "PASSED" in text}
    assert passed == {}
    assert all("REFUSED" in text for text in told.values())
