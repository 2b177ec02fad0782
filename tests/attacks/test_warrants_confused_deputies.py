"""Agents that borrow what is not theirs: another's wider warrant, another task's, a tool that only looks the same.

Each attack first succeeds with the check `warrant` taken out, so that nothing else would have stopped it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from hive.core.call import EffectClass, Refused, Verb
from hive.core.clock import SystemClock
from hive.core.grant import Grant, HostRule
from hive.core.json import encode
from hive.engines import Migration, load_migrations
from hive.kernel.ports import Attempt
from hive.node.build import SCHEMAS
from hive.security.capability import EVERYTHING, warrant_for_task
from tests.kernel_rig import ALICE, Stage, running_kernel
from tests.warrant_play import Players
from tests.warrant_rig import order, reach, rule, warrant_of

pytestmark = pytest.mark.anyio
MAIL = ("invoke", "mail.send", {"to": "all@example.org"})
WIDE = Grant(tools=("*",), agents=("*",), models=("*",))


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


@pytest.fixture
async def players(database, tmp_path):
    players = Players()
    async with running_kernel(
        database, tmp_path, Stage(play=players.play), labels="watch"
    ) as kernel:
        players.kernel = kernel
        yield players


class Unguarded:
    """The kernel with its check of warrants taken out."""

    def __init__(self, players: Players) -> None:
        self._warrants = players.kernel.guards.warrants

    def __enter__(self) -> None:
        self._warrants.examine = lambda _call, _facts: None

    def __exit__(self, *_: object) -> None:
        del self._warrants.examine


async def only_unguarded(players: Players, to: str = "a") -> None:
    """Let the attack happen twice: it works without the check, and not with it."""
    with Unguarded(players):
        await players.send(to=to)
    assert players.done, f"without the check it goes through: {players.heard}"
    players.done.clear()
    await players.send(to=to)
    assert players.done == []
    assert any("denied by warrant" in line for line in players.heard)


async def test_a_poor_agent_does_not_get_its_mail_sent_by_a_rich_one(players):
    await players.deploy("a", Grant(agents=("rich",)), ("send", "rich", None))
    await players.deploy("rich", WIDE, MAIL)
    await only_unguarded(players)


async def test_three_in_a_row_have_what_the_poorest_has(players):
    await players.deploy("a", WIDE, ("send", "b", None))
    await players.deploy("b", Grant(agents=("c",)), ("send", "c", None))
    await players.deploy("c", WIDE, MAIL)
    await only_unguarded(players)


async def test_an_argument_that_the_warrant_does_not_name_is_refused(players):
    grant = Grant(tools=("mail.send",), rules=(rule("mail.send", to="in:me@example.org"),))
    hidden = {"to": "me@example.org", "bcc": "all@example.org"}
    await players.deploy("a", grant, ("invoke", "mail.send", hidden))
    await only_unguarded(players)


@pytest.mark.parametrize(
    "tool",
    ["mail.se\u0578d", "m\u0430il.send", "mail.send\u200b", "mail\uff0esend", "\u202ednes.liam"],
)
async def test_a_tool_that_looks_like_another_is_refused_also_where_all_are_granted(players, tool):
    await players.deploy("a", WIDE, ("invoke", tool, {}))
    # Some of them are no targets at all; those do not come as far as the warrant.
    with Unguarded(players):
        await players.send()
    players.done.clear()
    await players.send()
    assert players.done == []
    assert players.heard[-1].split("denied by ")[1].split(":")[0] in ("warrant", "schema")


def test_a_host_that_looks_like_another_is_refused_also_where_all_are_granted():
    grant = Grant(hosts=(HostRule(host="*", ports=(443,)),))
    assert grant.allows_host("\u0430pi.example.org", 443), "the grant lets it pass"
    assert reach(warrant_of(grant), "\u0430pi.example.org:443") is not None
    assert reach(warrant_of(grant), "api.example.org:443") is None


async def test_the_warrant_of_another_task_is_worth_nothing(players):
    players.before_last = anyio.Event()
    await players.deploy("a", Grant(tools=("mail.send",)), MAIL)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(players.send)
        with anyio.fail_after(60):
            await players.reached.wait()
        turn = next(iter(players.kernel.turns._turns.values()))
        now = SystemClock().now()
        stolen = order("other", at=now, ends=now + timedelta(hours=1))
        turn.warrant = warrant_for_task(WIDE, None, EVERYTHING, stolen)
        players.before_last.set()
    assert players.done == []
    assert "another task" in players.heard[-1]


async def test_a_turn_without_a_warrant_may_do_nothing(players):
    players.before_last = anyio.Event()
    await players.deploy("a", WIDE, MAIL)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(players.send)
        with anyio.fail_after(60):
            await players.reached.wait()
        next(iter(players.kernel.turns._turns.values())).warrant = None
        players.before_last.set()
    assert players.done == []
    assert "no warrant" in players.heard[-1]


async def test_a_warrant_that_was_never_shown_cannot_be_named(players):
    """Whoever names an id does not get the warrant: what was not shown cannot be judged, so it is refused."""
    await players.deploy("a", WIDE, MAIL)
    attempt = Attempt(
        principal=ALICE,
        verb=Verb.INVOKE,
        target="mail.send",
        effect=EffectClass.ONCE,
        arguments=encode({}),
    )
    kernel = players.kernel
    call = replace(kernel.dispatcher._entrance.make(attempt, None), warrant="w-guessed")
    decision = await kernel.dispatcher._admission.admit(call, b"{}")
    assert decision.check == "facts"


def test_a_chain_that_is_too_deep_ends():
    above, made = None, 0
    for number in range(100):
        found = warrant_for_task(WIDE, above, EVERYTHING, order(str(number)))
        if isinstance(found, Refused):
            break
        above, made = found, made + 1
    assert made == 9
    assert warrant_of(WIDE).depth == 8
