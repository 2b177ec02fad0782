"""What the watchdog holds against an agent outlives the node that found it out, once and not twice."""

from datetime import timedelta

import pytest

from hive.core.clock import SystemClock
from hive.core.errors import EngineUnavailableError
from hive.core.ids import NodeId
from hive.engines import load_migrations
from hive.ledger.entry import Draft, EntryKind
from hive.node.build import SCHEMAS
from hive.node.watchdog import Watchdog
from hive.node.watchdog_memory import WatchdogMemory
from hive.security.watchdog import Quarantine, Reputation
from hive.security.watchdog import standing_book as book
from hive.security.watchdog.reputation import HALF_LIFE_S
from hive.testing.ledger import open_ledger

pytestmark = pytest.mark.anyio
NODE = NodeId("n")
MALLORY = "mallory"


@pytest.fixture
def migrations():
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


class LaterClock(SystemClock):
    """A clock of another start of the machine, some time later."""

    def __init__(self, later_s: float = 0.0) -> None:
        self.later_s = later_s

    def now(self):
        return super().now() + timedelta(seconds=self.later_s)

    def monotonic(self):
        return super().monotonic() / 7


def refused(check: str = "grant") -> Draft:
    body = {"decision": "refused", "check": check, "reason": "no"}
    return Draft(
        kind=EntryKind.INTENT, name="reach", body=body, at=SystemClock().now(), agent=MALLORY
    )


def ended(outcome: str) -> Draft:
    return Draft(
        kind=EntryKind.RESULT,
        name=f"send {MALLORY}",
        body={"outcome": outcome},
        at=SystemClock().now(),
        agent="friend",
    )


def alarm() -> Draft:
    return Draft(
        kind=EntryKind.EVENT,
        name="watchdog.alarm",
        body={"rule": "r"},
        at=SystemClock().now(),
        agent=MALLORY,
    )


async def note(name, body, agent):
    """Write nothing: what is on record stands there."""


def watching(database, clock=None):
    clock = clock or SystemClock()
    watchdog = Watchdog(quarantine=Quarantine(database, clock), clock=clock, note=note)
    watchdog._send.close()
    watchdog._receive.close()
    return watchdog, WatchdogMemory(watchdog, database, clock, NODE)


def held_against(watchdog, clock=None) -> tuple[float, int, int]:
    now_s = (clock or SystemClock()).monotonic()
    return (
        watchdog.reputation.score(MALLORY, now_s),
        watchdog._refused.count(MALLORY, now_s),
        watchdog._alarmed.count(MALLORY, now_s),
    )


async def test_a_node_that_was_killed_before_it_saved_counts_its_ledger_again(database):
    first, _ = watching(database)
    async with open_ledger(database, node=NODE, observer=first.observe) as writer:
        for draft in (refused(), refused(), refused("limits"), ended("failed"), ended("ok")):
            await writer.append(draft)
    clock = LaterClock()
    again, memory = watching(database, clock)
    await memory.recall()
    assert held_against(again, clock) == held_against(first) == (round(6 / 11, 2), 2, 0)


async def test_what_was_saved_is_not_counted_twice(database):
    first, memory = watching(database)
    async with open_ledger(database, node=NODE, observer=first.observe) as writer:
        await writer.append(refused())
        await memory.save()
        await writer.append(refused())
        await writer.append(alarm())
    second, memory = watching(database)
    await memory.recall()
    assert held_against(second) == (round(5 / 19, 2), 2, 1)
    await memory.save()
    third, memory = watching(database, LaterClock(60))
    await memory.recall()
    assert held_against(third, LaterClock())[0] == round(5 / 19, 2)


async def test_without_the_memory_a_restart_forgives_everything(database):
    first, _ = watching(database)
    async with open_ledger(database, node=NODE, observer=first.observe) as writer:
        await writer.append(refused())
    assert held_against(first)[0] < 1
    assert held_against(watching(database)[0]) == (1.0, 0, 0)


async def test_what_is_kept_fades_while_no_node_runs(database):
    first, memory = watching(database)
    async with open_ledger(database, node=NODE, observer=first.observe) as writer:
        await writer.append(alarm())
        await writer.append(refused())
    await memory.save()
    clock = LaterClock(HALF_LIFE_S)
    again, memory = watching(database, clock)
    await memory.recall()
    assert held_against(again, clock) == (round(5 / 6, 2), 0, 0)


async def test_what_could_not_be_saved_is_saved_the_next_time(database):
    class Away:
        def transaction(self):
            raise EngineUnavailableError("The database is away.")

    first, memory = watching(database)
    async with open_ledger(database, node=NODE, observer=first.observe) as writer:
        await writer.append(refused())
    away = book.StandingBook(Away(), SystemClock(), NODE)
    with pytest.raises(EngineUnavailableError):
        await away.save(first.reputation, first.counted_to)
    await memory.save()
    assert [row["agent"] for row in await database.fetch("SELECT agent FROM reputation")] == [
        MALLORY
    ]
    assert not first.reputation.changed


async def test_the_table_is_bounded(database, monkeypatch):
    monkeypatch.setattr(book, "AGENTS_MAX", 3)
    reputation, clock = Reputation(), SystemClock()
    for number in range(5):
        reputation.add(f"a{number}", clock.monotonic() + number, bad=1.0)
    kept = book.StandingBook(database, clock, NODE)
    counted = book.CountedLine(chain="n.1", sequence=1, at=clock.now())
    await kept.save(reputation, counted)
    await kept.trim()
    rows = await database.fetch("SELECT agent FROM reputation ORDER BY agent")
    assert [row["agent"] for row in rows] == ["a2", "a3", "a4"]
    fresh = Reputation()
    assert await kept.load(fresh) == counted
    assert not fresh.changed
