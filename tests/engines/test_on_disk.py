"""What was acknowledged is on disk, not on its way there."""

import os
from pathlib import Path

import pytest
from tests.engines.some_node import TABLE

from hive.testing.engines import open_database, open_messaging

pytestmark = pytest.mark.anyio


@pytest.fixture
def flushes(tmp_path):
    """Count the flushes of the disk below the test's folder; others' flushes only add to them."""
    device = tmp_path.stat().st_dev
    name = (str(os.major(device)), str(os.minor(device)))

    def count():
        for line in Path("/proc/diskstats").read_text().splitlines():
            fields = line.split()
            if (fields[0], fields[1]) == name and len(fields) > 18:
                return int(fields[18])
        return None

    if count() is None:
        pytest.skip("the folder for tests lies on no disk that counts its flushes")
    return count


async def test_every_append_to_the_event_log_is_synced_before_it_returns(tmp_path, flushes):
    async with open_messaging(tmp_path) as messaging:
        await messaging.events.append("audit", b"first")
        before = flushes()
        for number in range(100):
            await messaging.events.append("audit", str(number).encode())
        assert flushes() - before >= 100


async def test_every_commit_is_synced_before_it_returns(tmp_path, flushes):
    async with open_database(tmp_path, [TABLE]) as database:
        before = flushes()
        for number in range(100):
            await database.execute("INSERT INTO things VALUES ($1)", number)
        assert flushes() - before >= 100
