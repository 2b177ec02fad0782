"""An agent is shut in while the database is away; whoever can disturb the database would get out by that."""

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import EngineUnavailableError
from hive.core.ids import AgentId
from hive.engines import load_migrations
from hive.node.watchdog import Watchdog
from hive.security.watchdog import Quarantine

pytestmark = pytest.mark.anyio
MALLORY = AgentId("mallory")


class Outage:
    """A database that is away when it is told so."""

    def __init__(self, database) -> None:
        self._database = database
        self.away = True

    def __getattr__(self, name):
        if self.away:
            raise EngineUnavailableError("The database is away.")
        return getattr(self._database, name)


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


def watchdog_on(quarantine, done):
    async def note(name, body, agent):
        done.append(name)

    async def halt(agent, reason):
        done.append(f"halt {agent}")

    return Watchdog(quarantine=quarantine, clock=SystemClock(), note=note, confine=(halt,))


async def test_its_sandboxes_end_also_where_nothing_can_be_kept(database):
    done: list[str] = []
    quarantine = Quarantine(Outage(database), SystemClock())
    watchdog = watchdog_on(quarantine, done)
    with watchdog._send, watchdog._receive, pytest.raises(EngineUnavailableError):
        await watchdog.shut(MALLORY, by="rule:r", reason="x")
    assert done == ["halt mallory"]
    assert quarantine.of(MALLORY) is not None


async def test_what_the_database_says_after_an_outage_lets_nobody_out(database):
    outage = Outage(database)
    quarantine = Quarantine(outage, SystemClock())
    with pytest.raises(EngineUnavailableError):
        await quarantine.shut(MALLORY, by="rule:r", reason="x")
    outage.away = False
    await quarantine.load()
    assert quarantine.of(MALLORY) is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(quarantine.watch)
        with anyio.fail_after(30):
            while not await database.fetch("SELECT 1 FROM quarantine WHERE agent = 'mallory'"):
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    again = Quarantine(database, SystemClock())
    await again.load()
    assert again.of(MALLORY) is not None, "and it stays so after a restart"


async def test_a_second_order_keeps_what_the_first_could_not(database):
    outage = Outage(database)
    quarantine = Quarantine(outage, SystemClock())
    with pytest.raises(EngineUnavailableError):
        await quarantine.shut(MALLORY, by="rule:r", reason="x")
    outage.away = False
    await quarantine.shut(MALLORY, by="operator", reason="y")
    assert await database.fetch("SELECT 1 FROM quarantine WHERE agent = 'mallory'")


async def test_what_was_read_before_the_order_lets_nobody_out(database):
    class Late(Outage):
        """The database as it was a moment ago: the order falls between the question and its answer."""

        async def fetch(self, sql):
            rows = await self._database.fetch(sql)
            if not self.away:
                return rows
            self.away = False
            await quarantine.shut(MALLORY, by="operator", reason="x")
            return rows

    late = Late(database)
    quarantine = Quarantine(late, SystemClock())
    await quarantine.load()
    assert quarantine.of(MALLORY) is not None


async def test_another_node_ends_what_it_runs_of_it(database):
    here, there = Quarantine(database, SystemClock()), Quarantine(database, SystemClock())
    heard, told = anyio.Event(), []

    async def halt(found):
        told.append(found.agent)
        heard.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there.watch, halt)
        with anyio.fail_after(30):
            await here.shut(MALLORY, by="operator", reason="x")
            while not heard.is_set():
                await database.execute("SELECT pg_notify('hive_quarantine', 'mallory')")
        tasks.cancel_scope.cancel()
    assert told == [MALLORY]
