"""All tasks in whose name something runs or may go on, and every asyncio task that runs for them.

A task that rests (it waits for its user, say) costs a few hundred bytes until it is let go: after
`interrupted_task_timeout`, or as the longest resting one where `RESTING_TASKS_MAX` rest. Its next
message then finds it in the store.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from hive_a2a.handler.live import OngoingTask
from hive_a2a.handler.record import INTERRUPTED

log = logging.getLogger(__name__)

RESTING_TASKS_MAX: Final = 10_000
CLOSE_MAX_S: Final = 10.0


class OngoingTasks:
    """The live tasks of one handler."""

    def __init__(
        self, interrupted_task_timeout: float | None, *, resting_max: int = RESTING_TASKS_MAX
    ) -> None:
        self._idle_s = interrupted_task_timeout
        self._resting_max = resting_max
        self._live: dict[str, OngoingTask] = {}
        # Ended, though a turn of theirs still runs.
        self._outlasted: dict[str, OngoingTask] = {}
        self._resting: dict[str, asyncio.TimerHandle | None] = {}
        self._turns: set[asyncio.Task[None]] = set()
        self._works: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._live)

    @property
    def running(self) -> int:
        """Return how many asyncio tasks run for them."""
        return len(self._turns) + len(self._works)

    def admit(self) -> None:
        """Let new work begin.

        Raises:
            RuntimeError: the handler is closed.

        """
        if self._closed:
            raise RuntimeError("The handler is closed.")

    def reopen(self) -> None:
        """Let work begin again after an end; what ran before it is over."""
        self._closed = False

    def find(self, task_id: str) -> OngoingTask | None:
        """Return a live task; None where there is none. One that was asked for is not let go."""
        live = self._live.get(task_id)
        if live is not None:
            self._wake(task_id)
        return live

    def outlasted(self, task_id: str) -> bool:
        """Tell whether a task ended while a turn of it goes on, and nothing took its place."""
        return task_id in self._outlasted

    def add(self, live: OngoingTask) -> None:
        """Keep a new one."""
        self._outlasted.pop(live.task_id, None)
        self._live[live.task_id] = live

    def turn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a turn, and hold it until it is over."""
        # In the caller's context variables; why not an anyio group: see `hive_a2a.handler.live`.
        task = asyncio.get_running_loop().create_task(work)
        self._turns.add(task)
        task.add_done_callback(self._turns.discard)

    def work(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run what must not be cancelled, and hold it until it is over."""
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return task

    def ended(self, live: OngoingTask) -> None:
        """Forget one that has ended, but for a turn that goes on; another may have taken its place."""
        if self._live.get(live.task_id) is live:
            del self._live[live.task_id]
            self._wake(live.task_id)
            if live.busy:
                self._outlasted[live.task_id] = live
        elif not live.busy and self._outlasted.get(live.task_id) is live:
            del self._outlasted[live.task_id]

    def rests(self, live: OngoingTask) -> None:
        """Hear that nothing runs for one."""
        if self._live.get(live.task_id) is not live:
            return
        self._wake(live.task_id)
        timer = None
        if self._idle_s is not None:
            timer = asyncio.get_running_loop().call_later(self._idle_s, self._let_go, live)
        self._resting[live.task_id] = timer
        if len(self._resting) > self._resting_max:
            self._live[next(iter(self._resting))].finish()

    def _wake(self, task_id: str) -> None:
        timer = self._resting.pop(task_id, None)
        if timer is not None:
            timer.cancel()

    def _let_go(self, live: OngoingTask) -> None:
        task = live.record.task
        if live.resting and task is not None and task.status.state in INTERRUPTED:
            live.finish()

    async def aclose(self) -> None:
        """Let nothing begin any more, stop what runs, and wait for it."""
        self._closed = True
        ending = tuple(self._live.values())
        for live in ending:
            live.stop()
        for task in tuple(self._turns):
            task.cancel()
        rest = self._turns | self._works
        if rest:
            _, late = await asyncio.wait(rest, timeout=CLOSE_MAX_S)
            if late:
                log.error("a2a.turns_do_not_end", extra={"count": len(late)})
        for live in ending:
            # A turn that was cancelled before its first step told nobody.
            live.finish()
