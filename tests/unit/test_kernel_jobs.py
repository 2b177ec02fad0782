"""Turns wait in order, kept together by owner within bounds."""

from dataclasses import replace

import anyio
import pytest

from hive.core.ids import AgentId, ContextId, MessageId, OwnerId, TaskId
from hive.core.task import Message, Role
from hive.kernel.jobs import SAME_OWNER_STREAK_MAX, TurnJob, TurnQueue
from tests.unit.test_kernel_replay import CALL

pytestmark = pytest.mark.anyio


def job(number: int, owner: str) -> TurnJob:
    return TurnJob(
        call=replace(CALL, deadline=CALL.at),
        agent=AgentId("a"),
        owner=OwnerId(owner),
        task=TaskId(str(number)),
        context=ContextId("c"),
        message=Message(id=MessageId("m"), role=Role.USER, parts=()),
    )


async def test_turns_of_the_owner_who_is_served_come_first():
    queue = TurnQueue()
    for number, owner in enumerate(("bob", "alice", "bob", "alice")):
        queue.put(job(number, owner))
    taken = [(await queue.take(OwnerId("alice"))).task for _ in range(2)]
    assert taken == ["1", "3"]


async def test_no_owner_keeps_the_others_waiting_for_ever():
    queue = TurnQueue()
    queue.put(job(0, "bob"))
    for number in range(1, 40):
        queue.put(job(number, "alice"))
    taken = [(await queue.take(OwnerId("alice"))).task for _ in range(SAME_OWNER_STREAK_MAX + 2)]
    assert "0" in taken


async def test_whoever_waits_is_woken_by_the_next_turn():
    queue = TurnQueue()
    taken = []

    async def wait() -> None:
        taken.append(await queue.take(None))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            queue.put(job(1, "alice"))
    assert [one.task for one in taken] == ["1"]


async def test_a_canceled_turn_leaves_the_line():
    queue = TurnQueue()
    queue.put(job(1, "alice"))
    assert queue.withdraw(TaskId("1")).task == "1"
    assert queue.withdraw(TaskId("1")) is None
    assert len(queue) == 0


async def test_every_one_of_several_who_wait_gets_a_turn():
    queue = TurnQueue()
    taken = []

    async def wait() -> None:
        taken.append((await queue.take(None)).task)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            for number in range(3):
                queue.put(job(number, "alice"))
    assert sorted(taken) == ["0", "1", "2"]


def test_who_runs_a_turn_hears_once_that_it_is_to_stop_also_when_that_was_said_before():
    canceled, heard = job(1, "alice").canceled, []
    with canceled.heard_by(lambda: heard.append("first run")):
        canceled.set()
        canceled.set()
    assert heard == ["first run"]
    with canceled.heard_by(lambda: heard.append("again")):
        pass
    assert heard == ["first run", "again"]


def test_nobody_hears_of_a_stop_after_the_turn_is_over():
    canceled, heard = job(1, "alice").canceled, []
    with canceled.heard_by(lambda: heard.append("too late")):
        pass
    canceled.set()
    assert canceled.is_set()
    assert heard == []
