"""The process tier does what every tier must do."""

import pytest

from hive.execution.drivers import DRIVERS
from hive.execution.drivers.process import ProcessDriver
from hive.testing.sandbox_suite import SANDBOX_CHECKS

pytestmark = pytest.mark.anyio


def test_the_process_tier_is_the_default():
    assert DRIVERS.load("process:") is ProcessDriver


@pytest.mark.parametrize("sentence", SANDBOX_CHECKS)
async def test_of_the_process_tier(sentence, tmp_path):
    async with ProcessDriver() as driver:
        await SANDBOX_CHECKS[sentence](driver, tmp_path)
