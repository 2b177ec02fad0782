"""What the tests of the gvisor tier share: they need root, and a runsc that runs (Debian and Ubuntu: apt-get install runsc)."""

from functools import cache

import anyio
import pytest

from hive.execution.drivers.gvisor import GvisorDriver


@cache
def why_not() -> str:
    """Say why gVisor does not run here, or nothing; found out by running it."""

    async def probed():
        async with GvisorDriver() as driver:
            return await driver.probe()

    found = anyio.run(probed)
    return "" if found.available else found.reason


@pytest.fixture(scope="session")
def gvisor_runs():
    """Skip where gVisor does not run, and say why."""
    if reason := why_not():
        pytest.skip(f"gVisor does not run here: {reason}")


needs_gvisor = pytest.mark.usefixtures("gvisor_runs")
