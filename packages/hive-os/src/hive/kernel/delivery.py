"""A message on its way to an agent, and the bounds of a call: its deadline, its turn, its task."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio

from hive.core.call import Call, Verb
from hive.core.clock import Clock
from hive.core.errors import StateError
from hive.core.ids import TaskId
from hive.core.task import Task, TaskEvent
from hive.kernel.feed import LiveTask
from hive.kernel.turns import RunningTurn


@contextmanager
def within_turn(turn: RunningTurn | None, call: Call, clock: Clock) -> Iterator[None]:
    """Cut a call off at its deadline, and with the turn that it was made in."""
    remaining_s = (call.deadline - clock.now()).total_seconds()
    with anyio.move_on_after(max(0.0, remaining_s)) as scope:
        if turn is None:
            yield
            return
        turn.calls.add(scope)
        if call.verb is Verb.REACH:
            turn.connections.add(scope)
        if turn.over:  # it ended while the intent was written
            scope.cancel()
        try:
            yield
        finally:
            turn.calls.discard(scope)
            turn.connections.discard(scope)


@contextmanager
def one_at_a_time(taken: set[TaskId], task: TaskId) -> Iterator[None]:
    """Let one message at a time continue a task."""
    if task in taken:
        raise StateError("The task is already being continued.", fix="Wait, then get the task.")
    taken.add(task)
    try:
        yield
    finally:
        taken.discard(task)


class TaskDelivery:
    """A message that an agent accepted."""

    def __init__(self, live: LiveTask) -> None:
        self._live = live
        self.task = live.task

    def events(self) -> AsyncIterator[TaskEvent]:
        """Yield the whole task, then its changes until it is at rest."""
        return self._live.watch()

    async def settled(self) -> Task:
        """Wait until it is at rest."""
        return await self._live.wait_settled()
