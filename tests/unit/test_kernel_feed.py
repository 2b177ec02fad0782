"""Whoever watches a task hears all of it, and no watcher keeps anybody else waiting."""

from dataclasses import replace

import anyio
import pytest

from hive.core.ids import AgentId, CallId, ContextId, OwnerId, TaskId
from hive.core.task import StatusChanged, Task, TaskState
from hive.kernel.feed import EVENTS_BEHIND_MAX, TaskFeed
from hive.testing.clock import StoppedClock
from tests.unit.test_kernel_replay import NOW

pytestmark = pytest.mark.anyio
TASK = Task(
    id=TaskId("t"),
    context_id=ContextId("c"),
    agent=AgentId("a"),
    owner=OwnerId("o"),
    caller="client:o",
    call=CallId("x"),
    state=TaskState.SUBMITTED,
    created_at=NOW,
    updated_at=NOW,
)


def status(state: TaskState) -> StatusChanged:
    return StatusChanged(task_id=TASK.id, context_id=TASK.context_id, state=state, at=NOW)


async def test_a_watcher_gets_the_task_first_and_ends_when_it_rests():
    feed = TaskFeed(StoppedClock())
    events = feed.open(TASK).watch()
    feed.tell(TASK.id, status(TaskState.WORKING))
    feed.tell(TASK.id, status(TaskState.COMPLETED))
    feed.close(TASK.id)
    with anyio.fail_after(30):
        seen = [event async for event in events]
    assert [event.state for event in seen] == ["submitted", "working", "completed"]
    assert len(feed) == 0


async def test_a_watcher_that_reads_nothing_is_dropped_and_keeps_nobody_waiting():
    feed = TaskFeed(StoppedClock())
    live = feed.open(TASK)
    silent, reader = live.watch(), live.watch()
    await anext(reader)
    for _ in range(EVENTS_BEHIND_MAX + 1):
        feed.tell(TASK.id, status(TaskState.WORKING))
        await anext(reader)
    with anyio.fail_after(30):
        seen = [event async for event in silent]
    assert len(seen) == EVENTS_BEHIND_MAX + 1
    feed.close(TASK.id)
    await reader.aclose()
    await silent.aclose()


async def test_a_watcher_that_leaves_is_forgotten():
    feed = TaskFeed(StoppedClock())
    live = feed.open(TASK)
    events = live.watch()
    await anext(events)
    await events.aclose()
    assert live._watchers == []


async def test_observers_hear_changes_of_tasks_that_nobody_follows_in_order_and_survive_each_other():
    feed = TaskFeed(StoppedClock())
    heard: list[TaskState] = []

    async def broken(_event: object) -> None:
        raise RuntimeError

    async def hear(event: Task | StatusChanged) -> None:
        heard.append(event.state)

    async with anyio.create_task_group() as tasks:
        feed.start(tasks)
        feed.observe(broken)
        end = feed.observe(hear)
        feed.tell(TASK.id, status(TaskState.CANCELED))
        feed.open(TASK)
        await anyio.wait_all_tasks_blocked()
        end()
        feed.tell(TASK.id, status(TaskState.WORKING))
        feed.settle(replace(TASK, state=TaskState.FAILED))
        await anyio.wait_all_tasks_blocked()
        feed.stop()
    assert heard == [TaskState.CANCELED, TaskState.SUBMITTED]
    assert len(feed) == 0
