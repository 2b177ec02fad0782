"""One hosted agent: its queue of turns, its pool of sandboxes, and how it comes back after a crash.

Each worker keeps one sandbox. A sandbox serves one owner and one turn at a time; another owner, or
traces of something that went on calling after its turn, cost it its life.
"""

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup

from hive.core.errors import SandboxError, SpecError
from hive.core.grant import Grant, Tier
from hive.core.ids import ContextId, SandboxId, TaskId
from hive.core.spec import AgentSpec
from hive.core.task import Message, StatusChanged, TaskState
from hive.execution.ports import (
    Description,
    Sandbox,
    Wall,
)
from hive.kernel.host_parts import HostParts, Slot, first_error
from hive.kernel.jobs import Ending, TurnEnd, TurnJob, TurnQueue, left_record
from hive.kernel.patience import patiently
from hive.kernel.places import Placed
from hive.kernel.ports import AgentState, AgentView
from hive.kernel.recovery import ATTEMPTS_MAX
from hive.kernel.slots import open_slot
from hive.kernel.turn_begin import begun
from hive.kernel.turn_run import TurnRun
from hive.kernel.turns import RunningTurn

log: Final = logging.getLogger(__name__)
READY_TIMEOUT_S: Final = 60.0
RESTARTS_MAX: Final = 6
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MAX_S: Final = 10.0
DATABASE_TIMEOUT_S: Final = 60.0
RAISED_MAX: Final = 1024


@dataclass(slots=True, kw_only=True)
class HostedAgent:
    """One agent of this node."""

    spec: AgentSpec
    grant: Grant
    placed: Placed
    parts: HostParts
    state: AgentState = AgentState.STARTING
    reason: str = ""
    description: Description | None = None
    walls: tuple[Wall, ...] = ()
    restarts: int = 0
    started_at: datetime | None = None
    queue: TurnQueue = field(default_factory=TurnQueue)
    ended: set[TaskId] = field(default_factory=set)
    _running: dict[TaskId, TurnJob] = field(default_factory=dict)
    _held: dict[TaskId, TurnJob] = field(default_factory=dict)
    _slots: dict[SandboxId, Slot] = field(default_factory=dict)
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _raised: "OrderedDict[ContextId, Tier]" = field(default_factory=OrderedDict)
    _settled: anyio.Event = field(default_factory=anyio.Event)
    _gone: anyio.Event = field(default_factory=anyio.Event)
    _idle: anyio.Event = field(default_factory=anyio.Event)

    def view(self) -> AgentView:
        """Return it as doors and people see it."""
        return AgentView(
            spec=self.spec,
            grant=self.grant,
            state=self.state,
            tier=self.placed.tier,
            walls=self.walls,
            description=self.description,
            sandboxes=len(self._slots),
            turns_running=len(self._running),
            turns_waiting=len(self.queue),
            restarts=self.restarts,
            reason=self.reason,
            started_at=self.started_at,
        )

    @property
    def sandboxes(self) -> tuple[Sandbox, ...]:
        """Return its live sandboxes."""
        return tuple(slot.sandbox for slot in self._slots.values())

    @property
    def above(self) -> tuple[Placed, ...]:
        """Return the stronger tiers that its turns may move up to."""
        return self.placed.above

    async def serve(self) -> None:
        """Work until it is stopped."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    for number in range(max(1, self.grant.limits.sandboxes_max)):
                        tasks.start_soon(partial(self._worker, eager=number == 0))
        except Exception as error:
            log.exception("agent.host_crashed", extra={"agent": self.spec.name})
            self._broken(f"the node could not host it: {first_error(error)}")
        finally:
            if self.state is not AgentState.BROKEN:
                self.state = AgentState.STOPPED
            self._settled.set()
            self._gone.set()

    async def wait_ready(self) -> None:
        """Wait until the first sandbox has loaded the agent, or it is clear that none will.

        Raises:
            SandboxError: it did not start.

        """
        await self._settled.wait()
        if self.state is AgentState.BROKEN:
            raise SandboxError(
                f"{self.spec.name} did not start.",
                why=self.reason,
                fix=f"Read `hive logs {self.spec.name}`.",
            )

    async def stop(self, *, drain_s: float) -> None:
        """Let running turns end for a while, then kill everything; waiting turns stay recorded."""
        self.state = AgentState.STOPPED
        with anyio.move_on_after(drain_s):
            await self._drained()
        self.kill("stopped by an operator")
        self._scope.cancel()
        await self._gone.wait()

    async def _drained(self) -> None:
        while self._running:
            self._idle = anyio.Event()
            await self._idle.wait()

    def halt(self, reason: str) -> None:
        """Begin no turn any more and kill all sandboxes at once; may be called from any thread."""
        self.state = AgentState.STOPPED
        self.kill(reason)

    def kill(self, reason: str) -> None:
        """Kill all sandboxes at once; may be called from any thread."""
        for slot in tuple(self._slots.values()):
            slot.sandbox.kill(reason)

    async def cancel(self, task: TaskId) -> bool:
        """Cancel a task's turn, waiting or running; False where it has none."""
        job = self.queue.withdraw(task)
        if job is not None:
            await self._cancel_waiting(self._hold(job))
            return True
        return self._cancel_begun(task)

    def drop(self, task: TaskId) -> None:
        """Let go of a task that was ended at rest; one that is just taken up does not come in."""
        job = self.queue.withdraw(task)
        if job is None and not self._cancel_begun(task) and not self._settled.is_set():
            self.ended.add(task)

    def abandon(self, reason: str) -> None:
        """Say that it will never be served."""
        self._broken(reason)
        self._gone.set()

    async def _cancel_waiting(self, job: TurnJob) -> None:
        job.canceled.set()
        end, written = TurnEnd(ending=Ending.CANCELED, reason="canceled before it began"), False
        try:
            written = await self.parts.outcomes.finish(job, end)
        finally:
            # Also where whoever asked has left: a worker then writes it in its place.
            if written:
                self._held.pop(job.task, None)
            else:
                self._put_back(job)

    def _cancel_begun(self, task: TaskId) -> bool:
        if job := self._running.get(task) or self._held.get(task):
            job.canceled.set()
        return job is not None

    def holds(self, task: TaskId) -> bool:
        """Tell whether a task's turn waits or runs here."""
        return task in self._running or task in self._held or self.queue.holds(task)

    async def _worker(self, *, eager: bool) -> None:
        failures = 0
        waiting: TurnJob | None = None
        while self.state is not AgentState.STOPPED:
            if waiting is None and not eager:
                waiting = self._hold(await self.queue.take(None))
            eager = False
            try:
                async with self._opened(self._place_of(waiting)) as slot:
                    self.description = await slot.sandbox.ready(READY_TIMEOUT_S)
                    self._loaded(slot)
                    failures = 0
                    first, waiting = waiting, None
                    waiting = await self._serve_slot(slot, first)
            except Exception as caught:  # noqa: BLE001  whatever breaks, the agent comes back
                failures += 1
                self.restarts += 1
                if self._gave_up(first_error(caught), failures):
                    if waiting is not None:
                        self._put_back(waiting)
                    return
                eager = waiting is None
                await anyio.sleep(min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (failures - 1)))

    def _gave_up(self, error: Exception, failures: int) -> bool:
        log.warning("agent.sandbox_failed", extra={"agent": self.spec.name}, exc_info=error)
        self.parts.logs.add(self.spec.name, f"sandbox: {error}", level="error")
        if not isinstance(error, SpecError) and failures < RESTARTS_MAX:
            return False
        self._broken(str(error))
        return True

    def _place_of(self, job: TurnJob | None) -> Placed:
        """Return where a turn runs: a conversation that moved up stays there."""
        return self.placed.at_least(None if job is None else self._raised.get(job.context))

    def _hold(self, job: TurnJob) -> TurnJob:
        """Keep a turn in sight that is in no queue and does not run yet."""
        self._held[job.task] = job
        return job

    def _put_back(self, job: TurnJob) -> None:
        self._held.pop(job.task, None)
        self.queue.put(job, first=True)

    def _loaded(self, slot: Slot) -> None:
        self.walls = tuple(slot.sandbox.walls)
        if self.state is not AgentState.STOPPED:
            self.state = AgentState.READY
        self.started_at = self.started_at or self.parts.clock.now()
        self._settled.set()

    def _broken(self, reason: str) -> None:
        self.state = AgentState.BROKEN
        self.reason = reason
        self.parts.logs.add(self.spec.name, f"broken: {reason}", level="error")
        self._settled.set()

    @asynccontextmanager
    async def _opened(self, placed: Placed) -> AsyncIterator[Slot]:
        async with open_slot(self.parts, self.grant, placed) as slot:
            self._slots[slot.id] = slot
            try:
                yield slot
            finally:
                self._slots.pop(slot.id, None)

    async def _serve_slot(self, slot: Slot, job: TurnJob | None) -> TurnJob | None:
        """Run turns in one sandbox; return the turn that needs another one."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, slot)
            while True:
                job = job or await self._next(slot)
                if job is None:
                    break
                if self.state is AgentState.STOPPED:
                    self._put_back(job)
                    await anyio.sleep_forever()
                if slot.owner not in (None, job.owner) or self.parts.turns.strays(slot.id):
                    break
                if slot.sandbox.tier is not self._place_of(job).tier:
                    break
                slot.owner = job.owner
                usable = await self._run(slot, job, tasks)
                job = None
                if slot.dead or not usable:
                    break
            tasks.cancel_scope.cancel()
        return job

    async def _next(self, slot: Slot) -> TurnJob | None:
        """Wait for a turn, or until the sandbox is dead: only this wait may be cut short."""
        with anyio.CancelScope() as slot.idle:
            if slot.dead:
                return None
            return self._hold(await self.queue.take(slot.owner))
        return None

    async def _watch(self, slot: Slot) -> None:
        try:
            reason = await slot.sandbox.wait_dead()
        except Exception as error:  # noqa: BLE001  told in the agent's log, as every other end
            reason = f"it cannot be watched: {error}"
            slot.sandbox.kill(reason)
        self.parts.logs.add(self.spec.name, f"sandbox ended: {reason}", level="warning")
        slot.dead = True
        if slot.idle is not None:
            slot.idle.cancel()

    async def _run(self, slot: Slot, job: TurnJob, tasks: TaskGroup) -> bool:
        """Run one turn; False where the sandbox cannot be used again."""
        turn = self._begin(slot, job)
        run = TurnRun(
            job=job,
            turn=turn,
            sandbox=slot.sandbox,
            clock=self.parts.clock,
            tell=lambda event: self.parts.feed.tell(job.task, event),
            log=lambda line: self.parts.logs.add(
                self.spec.name, line.text, level=line.level, task=job.task
            ),
        )
        try:
            end = left_record(job, await self._turn(slot, job, turn, run, tasks))
            again = end.ending in (Ending.DIED, Ending.RISES) and not job.canceled.is_set()
            if again or not await self._recorded(job, end):
                await self._again(job, end)
        finally:
            self._running.pop(job.task, None)
            self._idle.set()
        return not run.killed and end.ending not in (
            Ending.DIED,
            Ending.PARKED,
            Ending.RISES,
        )

    async def _turn(
        self, slot: Slot, job: TurnJob, turn: RunningTurn, run: TurnRun, tasks: TaskGroup
    ) -> TurnEnd:
        """Run a turn to its end, which is a value whatever breaks: a turn is never forgotten."""
        if job.canceled.is_set():
            return TurnEnd(ending=Ending.CANCELED, reason="canceled before it began")
        try:
            if job.rerun is not None:
                await patiently(partial(self.parts.note_rerun, job), timeout_s=DATABASE_TIMEOUT_S)
            history = await self._history(job)
            self.parts.flows.begin(turn, job, history)
            with self.parts.tracer.start("hive.turn", parent=job.call.trace) as span:
                span.set("hive.sandbox.id", slot.id)
                span.set("hive.turn.attempt", job.attempt)
                return await run.run(history, tasks)
        except Exception as error:
            log.exception("turn.crashed", extra={"agent": self.spec.name, "task": job.task})
            return TurnEnd(
                ending=Ending.DIED, reason=f"the node could not run it: {first_error(error)}"
            )
        finally:
            self.parts.turns.end(turn)
            self.parts.flows.end(turn, run.artifacts)

    async def _history(self, job: TurnJob) -> tuple[Message, ...]:
        if job.playback is not None:
            return job.playback.history
        return await patiently(partial(self.parts.history, job), timeout_s=DATABASE_TIMEOUT_S)

    def _begin(self, slot: Slot, job: TurnJob) -> RunningTurn:
        turn = begun(self.parts, job, slot.id, self.grant)
        self.parts.turns.begin(turn)
        self._held.pop(job.task, None)
        self._running[job.task] = job
        self.parts.feed.tell(
            job.task,
            StatusChanged(
                task_id=job.task,
                context_id=ContextId(job.context),
                state=TaskState.WORKING,
                at=self.parts.clock.now(),
            ),
        )
        return turn

    async def _again(self, job: TurnJob, end: TurnEnd) -> None:
        if job.attempt >= ATTEMPTS_MAX and end.ending is not Ending.RISES:
            reason = f"its turn was cut short {job.attempt} times; the last time: {end.reason}"
            await self._recorded(job, TurnEnd(ending=Ending.FAILED, reason=reason))
            return
        try:
            begins = await self.parts.rerun(job)
            if end.tier is not None:
                self._raised[job.context] = end.tier
                if len(self._raised) > RAISED_MAX:
                    self._raised.popitem(last=False)
            self.queue.put(begins, first=True)
        except Exception:
            # It stays open in the ledger, so the next start of the agent takes it up.
            log.exception("turn.not_taken_up", extra={"agent": self.spec.name, "task": job.task})

    async def _recorded(self, job: TurnJob, end: TurnEnd) -> bool:
        with self.parts.tracer.start("hive.record result", parent=job.call.trace):
            try:
                return await self.parts.outcomes.finish(job, end)
            except Exception:
                log.exception("turn.end_not_recorded", extra={"task": job.task})
                return False
