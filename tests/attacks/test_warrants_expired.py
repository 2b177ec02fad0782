"""Somebody goes on after his time: a turn that is still running, a task that is taken up again, a holder elsewhere.

Each first passes where nobody looks at the time.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.errors import IdentityError
from hive.core.grant import Grant
from hive.engines import Migration, load_migrations
from hive.node.build import SCHEMAS
from hive.security.capability import EVERYTHING, MintOrder, warrant_for_task
from hive.security.capability.derive import joined
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.grammar import terms_in
from hive.security.capability.ports import WarrantOpening
from hive.testing.clock import StoppedClock
from hive_a2a.crypto import new_signing_pair
from tests.kernel_rig import Stage, running_kernel
from tests.warrant_play import Players
from tests.warrant_rig import DAY, NOW, invoke, order

MAIL = ("invoke", "mail.send", {"to": "all@example.org"})
GRANT = Grant(tools=("mail.send",))


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


@pytest.mark.anyio
@pytest.mark.parametrize("looks", [False, True])
async def test_a_turn_that_outlives_its_warrant_does_nothing_more(database, tmp_path, looks):
    players = Players()
    players.before_last = anyio.Event()
    stage = Stage(play=players.play)
    async with running_kernel(database, tmp_path, stage, labels="watch") as kernel:
        players.kernel = kernel
        if not looks:
            kernel.guards.warrants.examine = lambda _call, _facts: None
        await players.deploy("a", GRANT, MAIL)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(players.send)
            with anyio.fail_after(60):
                await players.reached.wait()
            turn = next(iter(kernel.turns._turns.values()))
            turn.warrant = replace(turn.warrant, not_after=SystemClock().now())
            players.before_last.set()
    assert bool(players.done) is not looks
    assert ("expired" in players.heard[-1]) is looks


def test_a_task_that_goes_on_does_not_win_time_back():
    first = warrant_for_task(GRANT, None, EVERYTHING, order("a", ends=NOW + DAY))
    later = warrant_for_task(GRANT, None, EVERYTHING, order("a", at=NOW, ends=NOW + 9 * DAY))
    assert invoke(later, "mail.send", now=NOW + 2 * DAY) is None, "the new one alone lets it pass"
    both = joined(later, first)
    assert isinstance(invoke(both, "mail.send", now=NOW + 2 * DAY), Refused)


def test_whoever_is_asked_does_not_live_longer_than_who_asks():
    poor = warrant_for_task(Grant(agents=("b",), tools=("*",)), None, EVERYTHING, order("a"))
    long = order("b", ends=NOW + 9 * DAY)
    alone = warrant_for_task(GRANT, None, EVERYTHING, long)
    assert invoke(alone, "mail.send", now=NOW + 2 * DAY) is None
    asked = warrant_for_task(GRANT, poor, EVERYTHING, long)
    assert isinstance(invoke(asked, "mail.send", now=NOW + 2 * DAY), Refused)


def test_a_holder_elsewhere_shows_it_after_its_end():
    clock = StoppedClock(SystemClock().now())
    holder = new_signing_pair()
    opening = WarrantOpening(url="tenuo:", root=b"r" * 32, clock=clock)
    engine = WARRANTS.load("tenuo:").open(opening)
    terms = (terms_in(["tool mail.send"]),)
    token = engine.mint(MintOrder(terms=terms, holder=holder.public, ttl_s=60))
    engine.verify(token)
    late = StoppedClock(clock.now() + timedelta(seconds=90))
    there = WARRANTS.load("tenuo:").open(replace(opening, clock=late))
    assert there.parse(token).id, "it reads like any other"
    with pytest.raises(IdentityError):
        there.verify(token)
