"""The gvisor tier does what every tier must do, on a kernel that is not the host's."""

import os

import pytest
from tests.gvisor_rig import gvisor_runs, needs_gvisor

from hive.core.errors import TierUnavailableError
from hive.core.grant import Tier
from hive.execution.drivers import DRIVERS
from hive.execution.drivers.gvisor import GvisorDriver
from hive.testing.sandbox_suite import SANDBOX_CHECKS, make_opening, run_script

__all__ = ["gvisor_runs"]
pytestmark = pytest.mark.anyio


@needs_gvisor
@pytest.mark.parametrize("sentence", SANDBOX_CHECKS)
async def test_of_the_gvisor_tier(sentence, tmp_path):
    async with GvisorDriver() as driver:
        await SANDBOX_CHECKS[sentence](driver, tmp_path)


@needs_gvisor
async def test_the_kernel_inside_is_another_and_its_store_is_out_of_sight(tmp_path):
    script = (
        "import os\nprint(os.uname().release)\nprint(os.getuid(), os.listdir('/.gvisor'))\n"
        "try:\n    open('/.gvisor/x', 'w')\nexcept OSError:\n    print('refused')"
    )
    async with GvisorDriver() as driver:
        run = await run_script(driver, script, tmp_path)
    release, *told = run.lines
    assert release != os.uname().release
    assert told == ["1000 []", "refused"]


async def test_without_runsc_the_tier_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    driver = DRIVERS.load("gvisor:")()
    assert driver.tier is Tier.GVISOR
    probe = await driver.probe()
    assert not probe.available
    assert "runsc is not installed" in probe.reason
    with pytest.raises(TierUnavailableError, match="runsc"):
        await driver.run(
            ("/bin/true",), mounts=(), opening=make_opening(tmp_path), limits=None, timeout_s=1, on_line=print
        )  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may start runsc")
async def test_an_ordinary_user_is_told_that_root_is_needed():
    probe = await DRIVERS.load("gvisor:")(runsc="/bin/true").probe()
    assert not probe.available
    assert "root" in probe.reason
