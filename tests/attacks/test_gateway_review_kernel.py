"""An agent that wants its ceiling anew: by leaving early, by a fork."""

from types import SimpleNamespace

import pytest

from hive.core.budget import Unit
from hive.core.call import Claim, Refused
from hive.core.ids import TaskId
from hive.kernel.claims import ENDED_KEPT_MAX, ClaimBook
from hive.kernel.dispatch import Dispatcher
from hive.kernel.flows import Flows
from hive.kernel.playback import Playback
from hive.ledger.asked import AskedKeeper
from hive.security.labels import FlowBook
from hive.testing.clock import StoppedClock

SUM = "task:parent tokens forever"


def claim(amount, limit=100):
    return Claim(kind="budget", scope=SUM, amount=amount, limit=limit)


def gate(*, turn, admission):
    return Dispatcher(
        admission=admission,
        entrance=None,
        sender=None,
        writer=None,
        supervisor=None,
        turns=SimpleNamespace(running=lambda _turn: turn),
        feed=None,
        desk=None,
        flows=Flows(FlowBook()),
        scans=None,
        clock=StoppedClock(),
    )


def test_a_parent_that_leaves_early_does_not_open_the_ceiling_for_its_children():
    book = ClaimBook(StoppedClock())
    assert book.take((claim(90),)) is None
    book.end_task(TaskId("parent"))
    assert isinstance(book.take((claim(90),)), Refused)


def test_the_sums_of_tasks_that_ended_are_bounded():
    book = ClaimBook(StoppedClock())
    book.take((claim(90),))
    book.end_task(TaskId("parent"))
    for number in range(ENDED_KEPT_MAX):
        book.end_task(TaskId(f"t{number}"))
    assert book.sums("task:") == []


@pytest.mark.parametrize(("live_from", "room"), [(None, {}), (5, {Unit.TOKENS: 7})])
def test_a_fork_has_its_ceiling_while_it_is_still_served(live_from, room):
    """One of its later calls may come first and goes live: without a limit it would have none."""
    step = SimpleNamespace(number=1)
    playback = Playback(run=TaskId("run"), steps=(step,), keeper=AskedKeeper(), live_from=live_from)
    turn = SimpleNamespace(playback=playback)
    admission = SimpleNamespace(room=lambda _turn: {Unit.TOKENS: 7})
    assert gate(turn=turn, admission=admission).room(SimpleNamespace(turn="t")) == room
