"""Signed notices of how tasks stand, on `hive.agents.{id}.status`: an id and a state, never content."""

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.clock import Clock
from hive.core.errors import EngineError
from hive.core.ids import AgentId, TaskId
from hive.core.task import StatusChanged, Task, TaskEvent, TaskState
from hive.engines.ports import Bus
from hive.mesh import NodeKeys, Notice, sign_notice
from hive.mesh.subjects import agent_status

log = logging.getLogger(__name__)

_Change: TypeAlias = tuple[AgentId, TaskId, TaskState]
GATHER_S: Final = 0.03
TASKS_KNOWN_MAX: Final = 10_000
NOTICES_WAITING_MAX: Final = 4096


class StatusPublisher:
    """Turn changes of tasks into notices; when the bus is slow, notices are dropped and counted."""

    def __init__(self, *, bus: Bus, keys: NodeKeys, clock: Clock) -> None:
        self._bus = bus
        self._keys = keys
        self._clock = clock
        self._agents: OrderedDict[TaskId, AgentId] = OrderedDict()
        self._sequence = 0
        self._inlet: MemoryObjectSendStream[_Change] | None = None
        self.dropped = 0

    def belongs(self, task: TaskId, agent: AgentId) -> None:
        """Note whose task it is."""
        self._agents[task] = agent
        self._agents.move_to_end(task)
        while len(self._agents) > TASKS_KNOWN_MAX:
            self._agents.popitem(last=False)

    async def observe(self, event: TaskEvent) -> None:
        """Take a change; never waits."""
        match event:
            case Task():
                self.belongs(event.id, event.agent)
                task, state = event.id, event.state
            case StatusChanged():
                task, state = event.task_id, event.state
            case _:
                return
        agent = self._agents.get(task)
        if agent is None:
            return
        try:
            if self._inlet is not None:
                self._inlet.send_nowait((agent, task, state))
        except anyio.WouldBlock:
            self.dropped += 1

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publish what is observed, in order, until the context ends.

        Changes of `GATHER_S` leave together: one write to the bus instead of one each.
        """
        inlet, outlet = anyio.create_memory_object_stream[_Change](NOTICES_WAITING_MAX)
        async with inlet, outlet, anyio.create_task_group() as tasks:
            self._inlet = inlet
            tasks.start_soon(self._run, outlet)
            try:
                yield
            finally:
                self._inlet = None
                tasks.cancel_scope.cancel()

    async def _run(self, outlet: MemoryObjectReceiveStream[_Change]) -> None:
        async for change in outlet:
            changes = [change]
            await anyio.sleep(GATHER_S)
            with suppress(anyio.WouldBlock, anyio.EndOfStream):
                while True:
                    changes.append(outlet.receive_nowait())
            for agent, task, state in changes:
                await self._publish(agent, task, state)

    async def _publish(self, agent: AgentId, task: TaskId, state: TaskState) -> None:
        self._sequence += 1
        subject = agent_status(agent)
        notice = Notice(
            node=self._keys.node,
            subject=subject,
            task=task,
            state=state.value,
            at_ms=int(self._clock.now().timestamp() * 1000),
            sequence=self._sequence,
        )
        try:
            await self._bus.publish(subject, sign_notice(notice, keys=self._keys))
        except EngineError as error:
            self.dropped += 1
            log.debug("status.not_published", extra={"code": error.code})
