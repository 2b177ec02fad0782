"""Quarantine is durable, known to every node, and ends only by a person."""

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import NotFoundError
from hive.engines import load_migrations
from hive.security.watchdog import Quarantine

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


async def test_who_is_shut_in_stays_so_after_a_restart(database):
    first = Quarantine(database, SystemClock())
    await first.shut("mallory", by="rule:r", reason="tried \x1b[31mmany hosts")
    again = Quarantine(database, SystemClock())
    await again.load()
    found = again.of("mallory")
    assert found.by == "rule:r"
    assert "\x1b" not in found.reason
    assert again.of("alice") is None


async def test_the_first_reason_stands(database):
    found = Quarantine(database, SystemClock())
    await found.shut("a", by="rule:one", reason="first")
    assert (await found.shut("a", by="rule:two", reason="second")).reason == "first"


async def test_another_node_hears_of_it_and_of_its_end(database):
    here, there = Quarantine(database, SystemClock()), Quarantine(database, SystemClock())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there.watch)
        with anyio.fail_after(30):
            await here.shut("a", by="x", reason="y")
            while there.of("a") is None:
                await database.execute("SELECT pg_notify('hive_quarantine', 'a')")
            await here.release("a")
            while there.of("a") is not None:
                await database.execute("SELECT pg_notify('hive_quarantine', 'a')")
        tasks.cancel_scope.cancel()


async def test_nobody_is_let_out_who_is_not_in(database):
    with pytest.raises(NotFoundError):
        await Quarantine(database, SystemClock()).release("nobody")
