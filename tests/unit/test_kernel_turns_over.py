"""A handle means the turn that runs now; what a turn left under way ends with it."""

from datetime import timedelta

import anyio
import pytest

from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.grant import Grant
from hive.core.ids import AgentId, CallId, OwnerId, SandboxId, TaskId, TurnId
from hive.core.randomness import SystemRandomness
from hive.kernel.delivery import within_turn
from hive.kernel.turns import RunningTurn, TurnBook
from tests.unit.test_kernel_replay import CALL

pytestmark = pytest.mark.anyio
BOX = SandboxId("s")


def begun() -> tuple[TurnBook, RunningTurn, str]:
    book = TurnBook(SystemRandomness())
    handle = book.bind(BOX, AgentId("a"), Grant())
    turn = RunningTurn(
        id=TurnId("t"),
        sandbox=BOX,
        agent=AgentId("a"),
        owner=OwnerId("o"),
        task=TaskId("k"),
        call=CallId("c"),
        trace=CALL.trace,
        deadline=CALL.at + timedelta(days=9999),
        grant=Grant(),
    )
    book.begin(turn)
    return book, turn, handle


def later():
    from dataclasses import replace

    return replace(CALL, deadline=SystemClock().now() + timedelta(seconds=60))


async def test_a_handle_means_nobody_on_another_socket_or_between_turns():
    book, turn, handle = begun()
    other = SandboxId("other")
    book.bind(other, AgentId("b"), Grant())
    assert book.resolve(BOX, handle) == turn.principal
    assert isinstance(book.resolve(other, handle), Refused)
    assert isinstance(book.resolve(BOX, handle + "x"), Refused)
    assert book.strays(BOX) == 0
    book.end(turn)
    assert isinstance(book.resolve(BOX, handle), Refused)
    assert book.strays(BOX) == 1
    book.unbind(BOX)
    assert isinstance(book.resolve(BOX, handle), Refused)


async def test_what_is_under_way_is_cut_off_when_its_turn_ends():
    book, turn, _ = begun()
    passed = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:

            async def inner() -> None:
                with within_turn(turn, later(), SystemClock()):
                    await anyio.sleep_forever()
                passed.append("cut")

            tasks.start_soon(inner)
            await anyio.wait_all_tasks_blocked()
            book.end(turn)
    assert passed == ["cut"]
    assert turn.calls == set()


async def test_what_begins_after_its_turn_ended_is_cut_off_at_once():
    book, turn, _ = begun()
    book.end(turn)
    with anyio.fail_after(30), within_turn(turn, later(), SystemClock()):
        await anyio.sleep_forever()
    assert turn.calls == set()
