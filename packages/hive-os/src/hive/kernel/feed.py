"""Tasks that are under way, in memory: their state this moment, and whoever watches them.

The ledger has every durable move before it is told here; chunks of a streamed answer are told at once
and become durable with the turn's result.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Final

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.clock import Clock
from hive.core.ids import AgentId, TaskId
from hive.core.task import ArtifactAdded, Task, TaskEvent, TaskMove, TaskState, moved

log: Final = logging.getLogger(__name__)
EVENTS_BEHIND_MAX: Final = 4096
NOTICES_BEHIND_MAX: Final = 4096
PIECES_MAX: Final = 1024


class LiveTask:
    """One task while it is under way."""

    def __init__(self, task: Task, *, at_rest: bool = False) -> None:
        self._task = task
        self._pieces: list[ArtifactAdded] = []
        self._changed_at = task.updated_at
        self._watchers: list[MemoryObjectSendStream[TaskEvent]] = []
        self._settled = anyio.Event()
        if at_rest:
            self._settled.set()

    @property
    def task(self) -> Task:
        """Return the task as it stands; the pieces of a streamed artifact are joined when asked for."""
        if self._pieces:
            for piece in _joined(self._pieces):
                self._task = moved(self._task, piece, self._changed_at)
            self._pieces = []
        return self._task

    @task.setter
    def task(self, task: Task) -> None:
        self._task, self._pieces = task, []

    def apply(self, move: TaskMove, at: datetime) -> None:
        """Take a move and tell the watchers; a watcher that is too far behind loses its stream."""
        if isinstance(move, ArtifactAdded) and move.append:
            self._changed_at = at
            self._pieces.append(move)
            if len(self._pieces) >= PIECES_MAX:
                self._task = self.task
        else:
            self._task = moved(self.task, move, at)
        if isinstance(move, TaskEvent):
            for watcher in tuple(self._watchers):
                try:
                    watcher.send_nowait(move)
                except (anyio.WouldBlock, anyio.BrokenResourceError):
                    self._drop(watcher)

    def replace(self, task: Task) -> None:
        """Take the task as the ledger has it, tell the watchers, and end their streams."""
        self.task = task
        for watcher in tuple(self._watchers):
            with suppress(anyio.WouldBlock, anyio.BrokenResourceError):
                watcher.send_nowait(task)
        self.settle()

    def settle(self) -> None:
        """End all streams: it is at rest."""
        self._settled.set()
        for watcher in tuple(self._watchers):
            self._drop(watcher)

    def wake(self) -> None:
        """Make a task that waited for its client go on."""
        if self._settled.is_set():
            self._settled = anyio.Event()

    async def wait_settled(self) -> Task:
        """Wait until it is at rest."""
        await self._settled.wait()
        return self.task

    def watch(self) -> AsyncIterator[TaskEvent]:
        """Yield the task as it stands now, then what happens to it until it is at rest."""
        first = self.task
        if self._settled.is_set():
            return _only(first)
        send, receive = anyio.create_memory_object_stream[TaskEvent](EVENTS_BEHIND_MAX)
        self._watchers.append(send)
        return self._stream(first, send, receive)

    async def _stream(
        self,
        first: Task,
        send: MemoryObjectSendStream[TaskEvent],
        receive: MemoryObjectReceiveStream[TaskEvent],
    ) -> AsyncIterator[TaskEvent]:
        try:
            yield first
            async for event in receive:
                yield event
        finally:
            self._drop(send)
            receive.close()

    def _drop(self, watcher: MemoryObjectSendStream[TaskEvent]) -> None:
        with suppress(ValueError):
            self._watchers.remove(watcher)
        watcher.close()


def _joined(pieces: list[ArtifactAdded]) -> list[ArtifactAdded]:
    """Join neighbouring pieces of one artifact, so that a long stream is joined once."""
    joined = []
    for _, run in groupby(pieces, lambda piece: piece.artifact.id):
        group = list(run)
        parts = tuple(part for piece in group for part in piece.artifact.parts)
        last = group[-1]
        joined.append(replace(last, artifact=replace(last.artifact, parts=parts)))
    return joined


async def _only(task: Task) -> AsyncIterator[TaskEvent]:
    yield task


class TaskFeed:
    """All live tasks, and the observers of every change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._live: dict[TaskId, LiveTask] = {}
        self._observers: list[Callable[[TaskEvent], Awaitable[None]]] = []
        self._notices: MemoryObjectSendStream[TaskEvent] | None = None
        self.notices_dropped = 0

    def __len__(self) -> int:
        return len(self._live)

    def get(self, task: TaskId) -> LiveTask | None:
        """Return a task that is under way."""
        return self._live.get(task)

    def open(self, task: Task) -> LiveTask:
        """Begin to follow a task."""
        live = self._live.get(task.id)
        if live is None:
            live = self._live[task.id] = LiveTask(task)
        else:
            live.wake()
        self._notify(task)
        return live

    def tell(self, task: TaskId, move: TaskMove) -> None:
        """Apply a move and tell everybody."""
        live = self._live.get(task)
        if live is not None:
            live.apply(move, self._clock.now())
        if isinstance(move, TaskEvent):
            self._notify(move)

    def close(self, task: TaskId) -> None:
        """Stop following a task that is at rest."""
        live = self._live.pop(task, None)
        if live is not None:
            live.settle()

    def of_agent(self, agent: AgentId) -> list[Task]:
        """Return the tasks of an agent that are under way."""
        return [live.task for live in self._live.values() if live.task.agent == agent]

    def states(self) -> Counter[TaskState]:
        """Count the tasks that are under way, by state."""
        return Counter(live.task.state for live in self._live.values())

    def settle(self, task: Task) -> None:
        """Stop following a task that came to rest without a word here; tell how it stands."""
        live = self._live.pop(task.id, None)
        if live is not None:
            live.replace(task)
            self._notify(task)

    def observe(self, observer: Callable[[TaskEvent], Awaitable[None]]) -> Callable[[], None]:
        """Call `observer` after every change; return what ends that."""
        self._observers.append(observer)

        def end() -> None:
            with suppress(ValueError):
                self._observers.remove(observer)

        return end

    def start(self, tasks: TaskGroup) -> None:
        """Begin to serve observers, in the order of changes."""
        send, receive = anyio.create_memory_object_stream[TaskEvent](NOTICES_BEHIND_MAX)
        self._notices = send
        tasks.start_soon(self._serve, receive)

    def stop(self) -> None:
        """Serve observers no more."""
        if self._notices is not None:
            self._notices.close()
            self._notices = None

    def _notify(self, event: TaskEvent) -> None:
        if not self._observers or self._notices is None:
            return
        try:
            self._notices.send_nowait(event)
        except anyio.WouldBlock:
            self.notices_dropped += 1

    async def _serve(self, notices: MemoryObjectReceiveStream[TaskEvent]) -> None:
        with notices:
            await self._serve_all(notices)

    async def _serve_all(self, notices: MemoryObjectReceiveStream[TaskEvent]) -> None:
        async for event in notices:
            for observer in tuple(self._observers):
                try:
                    await observer(event)
                except Exception:
                    log.exception("feed.observer_failed")
