"""What the watchdog holds against an agent, as policy sees it: refused by its record, and asked again with it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import anyio
import pytest
from tests.engines.test_policy_at_the_gate import bundle
from tests.kernel_rig import Stage, running_kernel
from tests.warrant_play import Players

from hive.core.clock import SystemClock
from hive.core.grant import Grant
from hive.core.json import Json
from hive.engines import Migration, load_migrations
from hive.kernel.record import event
from hive.ledger.entry import Entry
from hive.node.build import SCHEMAS
from hive.node.policy import AskedRecord
from hive.node.watchdog import Watchdog
from hive.security.policy import PolicyQuestion
from hive.security.policy.again import answer_again
from hive.security.watchdog import Quarantine
from hive.testing.ledger import contents_in

pytestmark = pytest.mark.anyio
GRANT = Grant(models=("gpt",), agents=("*",))
ASK = ("ask", "gpt", {"prompt": "hello"})
FORBIDDEN = ("ask", "another", {"prompt": "hello"})
LOW = 'deny contains "its reputation is too low" if input.reputation < 0.5'
TOLD = """[[rule]]
id = "refused-twice"
title = "Refused twice"
[rule.match]
decision = "refused"
check = "grant"
[rule.count]
at_least = 2
within_s = 60
"""


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


@dataclass
class Watched:
    """A kernel whose watchdog reads its ledger, and every question that its policy was asked."""

    players: Players
    watchdog: Watchdog | None = None
    alarm: anyio.Event = field(default_factory=anyio.Event)
    asked: list[PolicyQuestion] = field(default_factory=list)

    def of(self, agent: str) -> list[PolicyQuestion]:
        return [one for one in self.asked if one.principal.agent == agent]

    def observe(self, entries: Sequence[Entry]) -> None:
        if self.watchdog is not None:
            self.watchdog.observe(entries)


@asynccontextmanager
async def watched(database, tmp_path, rules: str) -> AsyncIterator[Watched]:
    players = Players()
    room = Watched(players)
    stage = Stage(play=players.play)
    async with running_kernel(database, tmp_path, stage, observer=room.observe) as kernel:
        players.kernel = kernel

        async def note(name: str, body: dict[str, Json], agent: str) -> None:
            await kernel.writer.append(event(name, body, clock=SystemClock(), agent=agent))
            room.alarm.set()

        room.watchdog = Watchdog(
            quarantine=Quarantine(database, SystemClock()), clock=SystemClock(), note=note
        )
        policies = kernel.guards.policies
        policies.reputation_of = room.watchdog.score
        policies.counters_of = room.watchdog.counted
        await policies._policy.load(bundle(rules, 1).archive(), by="test")
        decide = policies._policy.decide

        async def seen(question: PolicyQuestion):
            room.asked.append(question)
            return await decide(question)

        policies._policy.decide = seen
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(room.watchdog.run)
            yield room
            tasks.cancel_scope.cancel()
    room.watchdog._send.close()
    room.watchdog._receive.close()


async def test_who_was_refused_too_often_is_refused_what_another_may(database, tmp_path):
    async with watched(database, tmp_path, LOW) as room:
        players = room.players
        await players.deploy("mallory", GRANT, ASK, FORBIDDEN, FORBIDDEN, FORBIDDEN, ASK)
        await players.deploy("alice", GRANT, ASK)
        await players.send(to="mallory")
        await players.send(to="alice")
    mine = [one for one in players.heard if one.startswith("mallory")]
    assert mine[0] == "mallory: ok"
    assert all("denied by grant" in one for one in mine[1:4])
    assert mine[4] == "mallory: denied by policy: its reputation is too low"
    assert players.heard[-1] == "alice: ok"
    assert [one.reputation for one in room.of("mallory")] == [1.0, 0.45]
    assert [one.counters.refusals_last_hour for one in room.of("mallory")] == [0, 3]
    assert {one.reputation for one in room.asked if not one.principal.agent} == {1.0}


async def test_an_alarm_is_counted_and_weighs_more(database, tmp_path):
    rules = 'deny contains "there was an alarm" if input.counters.alarms_last_hour > 0'
    async with watched(database, tmp_path, rules) as room:
        (tmp_path / "watchdog.toml").write_text(TOLD)
        room.watchdog.load_rules(tmp_path)
        players = room.players
        players.before_last = anyio.Event()
        await players.deploy("mallory", GRANT, FORBIDDEN, FORBIDDEN, ASK)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(players.send, to="mallory"))
            with anyio.fail_after(60):
                await room.alarm.wait()
            players.before_last.set()
    assert players.heard[-1] == "mallory: denied by policy: there was an alarm"
    assert room.of("mallory")[-1].reputation == round(5 / 19, 2)


async def test_what_was_asked_of_the_record_is_asked_again_with_it(database, tmp_path):
    async with watched(database, tmp_path, "") as room:
        players = room.players
        await players.deploy("mallory", GRANT, ASK, FORBIDDEN, FORBIDDEN, FORBIDDEN, ASK)
        await players.send(to="mallory")
        assert players.heard[-1] == "mallory: ok"
        # Its record fades and grows; what counted at that moment is what is asked again.
        room.watchdog.reputation.add("mallory", SystemClock().monotonic(), bad=1000)
        other = await players.kernel.guards.policies._policy.answers(bundle(LOW, 2))
        since = SystemClock().now() - timedelta(days=1)
        record = AskedRecord(database, contents_in(database))
        found = [one async for _, one in record.since(since, 100)]
        asked = [one for one in reversed(found) if one.question.principal.agent == "mallory"]
        said = [(await answer_again(other, one)).allow for one in asked]
        held = [(one.question.reputation, one.question.counters) for one in asked]
    assert held == [(one.reputation, one.counters) for one in room.of("mallory")]
    assert said == [True, False]
