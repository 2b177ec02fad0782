"""An agent that was shut in tries to go on: in the turn that it is in, through a friend, over a restart of the node.

Each way is open where the check `quarantine` knows nobody who is shut in.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from hive.core.call import Principal, PrincipalKind, Verb
from hive.core.clock import SystemClock
from hive.core.errors import HiveError
from hive.core.grant import Grant
from hive.core.ids import AgentId, OwnerId
from hive.engines import Migration, load_migrations
from hive.kernel.ports import CallFacts
from hive.kernel.wardens import Wardens
from hive.node.build import SCHEMAS
from hive.node.watchdog import Watchdog
from hive.node.watchdog_opening import stripping
from hive.security.watchdog import Alarm, Quarantine, Reaction, shipped_rules
from tests.kernel_rig import Stage, running_kernel
from tests.unit.test_kernel_replay import CALL
from tests.warrant_play import Players, book_on

pytestmark = pytest.mark.anyio
MAIL = ("invoke", "mail.send", {"to": "all@example.org"})
GRANT = Grant(tools=("*",), agents=("*",), models=("*",))


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


@pytest.fixture
async def players(database, tmp_path):
    players = Players()
    stage = Stage(play=players.play)
    async with running_kernel(database, tmp_path, stage, labels="watch") as kernel:
        players.kernel = kernel
        yield players


async def shut(players: Players, database, agent: str) -> None:
    found = Quarantine(database, SystemClock())
    await found.shut(agent, by="operator", reason="to look at it")
    # What a node does when it starts: it knows who is shut in from the database alone.
    again = Quarantine(database, SystemClock())
    await again.load()
    players.kernel.guards.wardens.quarantine = again


@pytest.mark.parametrize("is_shut", [False, True])
async def test_the_turn_that_is_under_way_does_nothing_more(players, database, is_shut):
    players.before_last = anyio.Event()
    await players.deploy("a", GRANT, MAIL)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(players.send)
        with anyio.fail_after(60):
            await players.reached.wait()
        if is_shut:
            await shut(players, database, "a")
        players.before_last.set()
    assert bool(players.done) is not is_shut
    assert ("denied by quarantine" in players.heard[-1]) is is_shut


@pytest.mark.parametrize("is_shut", [False, True])
async def test_a_tool_server_that_was_shut_in_is_not_called_by_others(players, database, is_shut):
    """It answers nobody, or what it says would go on steering those who listen."""
    await players.deploy("a", GRANT, MAIL)
    if is_shut:
        await shut(players, database, "tool:mail")
    await players.send()
    assert bool(players.done) is not is_shut
    assert any("the tool server mail is in quarantine" in line for line in players.heard) is is_shut


@pytest.mark.parametrize("is_shut", [False, True])
async def test_a_friend_cannot_wake_it(players, database, is_shut):
    await players.deploy("a", GRANT, MAIL)
    await players.deploy("friend", GRANT, ("send", "a", None))
    if is_shut:
        await shut(players, database, "a")
    await players.send(to="friend")
    assert bool(players.done) is not is_shut
    assert any("a is in quarantine" in line for line in players.heard) is is_shut


@pytest.mark.parametrize("is_shut", [False, True])
async def test_a_friend_that_it_asks_is_not_asked(players, database, is_shut):
    players.before_last = anyio.Event()
    await players.deploy("friend", GRANT, MAIL)
    await players.deploy("a", GRANT, ("send", "friend", None))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(players.send)
        with anyio.fail_after(60):
            await players.reached.wait()
        if is_shut:
            await shut(players, database, "a")
        players.before_last.set()
    assert bool(players.done) is not is_shut


@pytest.mark.parametrize("is_shut", [False, True])
async def test_a_friend_that_is_already_at_work_for_it_does_nothing_more(
    players, database, is_shut
):
    players.before_last = anyio.Event()
    await players.deploy("friend", GRANT, ("invoke", "mail.draft", {}), MAIL)
    await players.deploy("a", GRANT, ("send", "friend", None), ("invoke", "mail.draft", {}))
    book = players.kernel.guards.warrants.revocations = book_on(database)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(players.send)
        with anyio.fail_after(60):
            await players.reached.wait()
        if is_shut:
            await shut(players, database, "a")
            await stripping(book)(AgentId("a"), "to look at it")
        players.before_last.set()
    assert ("invoke mail.send" in players.done) is not is_shut
    assert any("friend: denied by warrant" in one for one in players.heard) is is_shut
    # It works for others as before.
    players.done.clear()
    await players.send(to="friend")
    assert "invoke mail.send" in players.done


@pytest.mark.parametrize("fails", [False, True])
async def test_a_tool_server_that_looks_for_a_way_out_is_none_of_the_agents(database, fails):
    lines: list[tuple[str, str]] = []
    rule = next(one for one in shipped_rules() if one.reaction is Reaction.QUARANTINE)

    async def note(name, _body, agent) -> None:
        lines.append((name, agent))

    watchdog = Watchdog(
        quarantine=Quarantine(database, SystemClock()), clock=SystemClock(), note=note
    )
    name = "Not a name!" if fails else "tool:files"
    alarm = Alarm(rule=rule, group=name, count=12, agent=name, task="", call="")
    with watchdog._send, watchdog._receive, suppress(HiveError):
        await watchdog._react(alarm)
    assert ("watchdog.alarm", name) in lines
    assert (watchdog.quarantine.of(name) is None) is fails
    if not fails:
        wardens = Wardens(SystemClock())
        wardens.quarantine = watchdog.quarantine
        server = Principal(
            kind=PrincipalKind.AGENT, name=name, owner=OwnerId("o"), agent=AgentId(name)
        )
        call = replace(CALL, principal=server, verb=Verb.REACH, target="evil.example:443")
        assert wardens.examine(call, CallFacts()).check == "quarantine"
