"""The agents of this node: deploy, start, stop, remove; one task tree each; recovery when it begins.

What the supervisor needs of other layers (how to prepare an artifact, which tier) is handed in by the
node as `Placement`.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup

from hive.core.call import Principal
from hive.core.clock import Clock
from hive.core.errors import EngineError, LedgerError, NotFoundError, StateError
from hive.core.grant import Grant
from hive.core.ids import AgentId, TaskId, plain_text
from hive.core.randomness import Randomness
from hive.core.spec import AgentSpec
from hive.core.task import Message, Task, TaskState
from hive.kernel.aside import SideRuns
from hive.kernel.delivery import one_at_a_time
from hive.kernel.feed import TaskFeed
from hive.kernel.flows import Flows
from hive.kernel.host_parts import HostParts
from hive.kernel.hosting import HostedAgent
from hive.kernel.jobs import Ending, TurnEnd, TurnJob
from hive.kernel.logbook import LogBook
from hive.kernel.outcomes import OutcomeDesk
from hive.kernel.patience import patiently
from hive.kernel.places import Placed, Placement, Returning
from hive.kernel.playback import Playback
from hive.kernel.ports import AgentLog, AgentState, AgentView, GateListener
from hive.kernel.record import event
from hive.kernel.recovery import ATTEMPTS_MAX, Recovery
from hive.kernel.registry import AgentRegistry, Deployment
from hive.kernel.turns import TurnBook
from hive.ledger.writer import LedgerWriter
from hive.observability.spans import Tracer

log: Final = logging.getLogger(__name__)
RERUN_PAUSE_S: Final = 0.2
RETURN_TIMEOUT_S: Final = 20.0
DATABASE_TIMEOUT_S: Final = 60.0


class Supervisor:
    """Hosts agents."""

    def __init__(
        self,
        *,
        placement: Placement,
        gates: GateListener,
        turns: TurnBook,
        feed: TaskFeed,
        flows: Flows,
        outcomes: OutcomeDesk,
        logs: LogBook,
        tracer: Tracer,
        registry: AgentRegistry,
        recovery: Recovery,
        writer: LedgerWriter,
        clock: Clock,
        randomness: Randomness,
        run_directory: Path,
        history: Callable[[TurnJob], Awaitable[tuple[Message, ...]]],
    ) -> None:
        self._placement = placement
        self._gates = gates
        self._turns = turns
        self._feed = feed
        self._flows = flows
        self._outcomes = outcomes
        self._logs = logs
        self._tracer = tracer
        self._registry = registry
        self._recovery = recovery
        self._writer = writer
        self._clock = clock
        self._randomness = randomness
        self._run_directory = run_directory
        self._history = history
        self._hosted: dict[AgentId, HostedAgent] = {}
        self._returning: dict[AgentId, Returning] = {}
        self._deciding: set[TaskId] = set()
        self._changing = anyio.Lock()
        self._aside = SideRuns()
        self._tasks: TaskGroup | None = None
        self.shut_in: Callable[[str], bool] = lambda _agent: False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Host what was deployed before; end everything when the context is left."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._feed.start(tasks)
            for deployment in await patiently(self._registry.all, timeout_s=DATABASE_TIMEOUT_S):
                if not deployment.stopped:
                    self._returning[deployment.spec.name] = Returning(deployment)
                    tasks.start_soon(self._return_quietly, deployment)
            try:
                yield
            finally:
                self._feed.stop()
                self.kill_all("the node ends")
                tasks.cancel_scope.cancel()
                self._tasks = None

    def get(self, agent: AgentId) -> AgentView | None:
        """Return one agent, or None."""
        hosted = self._hosted.get(agent)
        if hosted is not None:
            return hosted.view()
        returning = self._returning.get(agent)
        return None if returning is None else returning.view

    async def find(self, agent: AgentId) -> AgentView | None:
        """Return one agent, waiting for it while the node still brings it back."""
        returning = self._returning.get(agent)
        if returning is not None and agent not in self._hosted:
            with anyio.move_on_after(RETURN_TIMEOUT_S):
                await returning.over.wait()
        return self.get(agent)

    def all(self) -> Sequence[AgentView]:
        """Return all agents, by name."""
        names = sorted({*self._hosted, *self._returning})
        return [view for name in names if (view := self.get(name)) is not None]

    def hosted(self) -> Sequence[HostedAgent]:
        """Return the hosted agents themselves, for measuring."""
        return tuple(self._hosted.values())

    async def deploy(
        self,
        principal: Principal,
        spec: AgentSpec,
        grant: Grant,
        on_line: Callable[[str], None] = log.debug,
    ) -> AgentView:
        """Prepare and start an agent under a grant that was confirmed; replaces one of that name.

        Raises:
            SpecError: its source cannot be used.
            BuildError: its environment did not build.
            TierUnavailableError: no tier covers the grant.
            SandboxError: it did not start.
            StateError: it is in quarantine.

        """
        self._refuse_shut_in(spec.name)
        placed = await self._placement.place(spec, grant, on_line)
        await self._registry.keep(spec, grant)
        told = {**placed.described(spec, grant), "by": str(principal)}
        said = event("agent.deployed", told, clock=self._clock, agent=spec.name)
        await self._writer.append(said)
        return await self._host(spec, grant, placed)

    async def start(self, principal: Principal, agent: AgentId) -> AgentView:
        """Start a stopped agent again. Raises NotFoundError, StateError."""
        self._refuse_shut_in(agent)
        deployment = next(
            (one for one in await self._registry.all() if one.spec.name == agent), None
        )
        if deployment is None:
            raise _unknown(agent)
        await self._registry.mark(agent, stopped=False)
        await self._say("agent.started", principal, agent)
        return await self._return(deployment)

    async def stop(self, principal: Principal, agent: AgentId, *, drain_s: float = 0.0) -> None:
        """Stop an agent; its waiting turns stay recorded. Raises NotFoundError."""
        hosted = self._hosted.get(agent)
        if hosted is None and not self._forget_broken(agent):
            raise _unknown(agent)
        if hosted is not None:
            await hosted.stop(drain_s=drain_s)
        await self._registry.mark(agent, stopped=True)
        await self._say("agent.stopped", principal, agent)

    async def remove(self, principal: Principal, agent: AgentId) -> None:
        """Stop an agent and forget its spec; its record stays, its open tasks fail.

        Raises:
            NotFoundError: there is none.

        """
        hosted = self._hosted.pop(agent, None)
        if hosted is None and not self._forget_broken(agent):
            raise _unknown(agent)
        if hosted is not None:
            await hosted.stop(drain_s=0.0)
        await self._registry.forget(agent)
        await self._say("agent.removed", principal, agent)
        for task in await self._recovery.open_tasks(agent):
            self._feed.open(task)
            end = TurnEnd(ending=Ending.FAILED, reason="its agent was removed")
            await self._outcomes.finish(await self._recovery.job(task), end)

    def _forget_broken(self, agent: AgentId) -> bool:
        """Drop an agent that did not come back when the node started; tell whether there was one."""
        returning = self._returning.get(agent)
        if returning is None or not returning.over.is_set():
            return False
        del self._returning[agent]
        return True

    def logs(
        self, agent: AgentId | None, *, last: int = 100, follow: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[AgentLog]]:
        """Read the lines that agents printed."""
        return self._logs.read(agent, last=last, follow=follow)

    def enqueue(self, job: TurnJob) -> None:
        """Let a turn wait for its agent."""
        hosted = self._hosted.get(job.agent)
        if hosted is not None:  # else it is in the ledger, and taken up when the agent is back
            hosted.queue.put(job)

    async def cancel(self, agent: AgentId, task: TaskId) -> bool:
        """Cancel a task's turn; False where none waits or runs."""
        hosted = self._hosted.get(agent)
        return False if hosted is None else await hosted.cancel(task)

    async def end_at_rest(self, task: Task, state: TaskState, reason: str = "") -> Task:
        """End a task that no turn works on; a turn that begins in the same moment is called off."""
        ended = await self._outcomes.end_at_rest(task, state, reason)
        hosted = self._hosted.get(task.agent)
        if hosted is not None:
            hosted.drop(task.id)
        return ended

    async def recount(self, task: TaskId) -> None:
        """Count anew what a task at rest has claimed: a node that began since does not know."""
        await self._recovery.recount(task)

    def kill_all(self, reason: str) -> None:
        """Kill every sandbox at once; may be called from any thread."""
        for hosted in tuple(self._hosted.values()):
            hosted.kill(reason)
        self._aside.kill_all(reason)

    async def aside(
        self, job: TurnJob, playback: Playback, spec: AgentSpec, grant: Grant
    ) -> TurnEnd:
        """Run a turn from a record in a sandbox of its own. Raises StateError, SpecError, SandboxError."""
        placed = await self._placement.place(spec, grant, log.debug)
        return await self._aside.run(job, playback, grant, placed, self._parts())

    def kill(self, agent: AgentId, reason: str) -> bool:
        """Halt an agent and kill its sandboxes at once; may be called from any thread."""
        hosted = self._hosted.get(agent)
        if hosted is not None:
            hosted.halt(reason)
        return hosted is not None

    async def rerun(self, job: TurnJob) -> TurnJob:
        """Return the job that runs a turn again with what the ledger holds of it."""
        while True:
            try:
                task = await self._recovery.task(job.task)
                if task.state.terminal:
                    self._feed.settle(task)
                    raise StateError(f"Task {task.id} has ended, so it is not begun again.")
                again = await self._recovery.job(task)
            except EngineError:
                await anyio.sleep(RERUN_PAUSE_S)
            else:
                again.canceled = job.canceled
                return again

    async def decide(self, principal: Principal, task: TaskId, *, repeat: bool) -> Task:
        """Let a parked task go on, repeating its open effect, or end it. Raises NotFoundError."""
        with one_at_a_time(self._deciding, task):
            held = await self._recovery.decide(task, repeat=repeat, by=str(principal))
            if not repeat:
                self._outcomes.rested(held)
            elif await self.find(held.agent) is not None:
                job = await self._recovery.job(held)
                hosted = self._hosted.get(held.agent)
                if hosted is None or not hosted.holds(task):  # else it was taken up meanwhile
                    self._feed.open(held)
                    self.enqueue(job)
            return held

    async def _return_quietly(self, deployment: Deployment) -> None:
        try:
            await self._return(deployment)
        except Exception as error:
            name = deployment.spec.name
            log.exception("agent.did_not_return", extra={"agent": name})
            self._logs.add(name, f"did not start: {error}", level="error")
            returning = self._returning[name]
            returning.view = replace(
                returning.view, state=AgentState.BROKEN, reason=plain_text(str(error))
            )
            returning.over.set()
        else:
            self._returning.pop(deployment.spec.name).over.set()

    async def _return(self, deployment: Deployment) -> AgentView:
        placed = await self._placement.place(deployment.spec, deployment.grant, log.debug)
        return await self._host(deployment.spec, deployment.grant, placed)

    async def _host(self, spec: AgentSpec, grant: Grant, placed: Placed) -> AgentView:
        async with self._changing:
            hosted = await self._begin(spec, grant, placed)
        await hosted.wait_ready()
        return hosted.view()

    async def _begin(self, spec: AgentSpec, grant: Grant, placed: Placed) -> HostedAgent:
        before = self._hosted.get(spec.name)
        if before is not None:
            await before.stop(drain_s=0.0)
        self._refuse_shut_in(spec.name)
        hosted = HostedAgent(
            spec=spec,
            grant=grant,
            placed=placed,
            parts=self._parts(),
        )
        # From here on new turns wait in its queue; what is older is taken up before it works.
        self._hosted[spec.name] = hosted
        try:
            await patiently(lambda: self._take_up(hosted), timeout_s=DATABASE_TIMEOUT_S)
            if self._tasks is None:
                raise NotFoundError("The node is ending.", fix="Start it again.")  # noqa: TRY301
            self._tasks.start_soon(hosted.serve)
        except BaseException:
            hosted.abandon("its open turns could not be taken up")
            raise
        return hosted

    def _refuse_shut_in(self, agent: str) -> None:
        if self.shut_in(agent):
            raise StateError(f"{agent} is in quarantine.", fix=f"hive release {agent}")

    async def _take_up(self, hosted: HostedAgent) -> None:
        """Queue the turns that were open when the agent or the node ended."""
        name = hosted.spec.name
        open_tasks = await self._recovery.open_tasks(name)
        for task in sorted(open_tasks, key=lambda one: one.created_at):
            job = await self._job_or_end(task)
            if job is None or hosted.holds(task.id) or task.id in hosted.ended:
                continue
            self._feed.open(task)
            if job.attempt > ATTEMPTS_MAX:
                reason = f"its turn was begun {ATTEMPTS_MAX} times and never ended"
                end = TurnEnd(ending=Ending.FAILED, reason=reason)
                await self._outcomes.finish(job, end)
                continue
            hosted.queue.put(job)
        hosted.ended.clear()
        known = {task.id for task in open_tasks}
        for live in self._feed.of_agent(name):
            if live.id not in known and not hosted.holds(live.id):
                self._feed.settle(await self._recovery.task(live.id))

    async def _job_or_end(self, task: Task) -> TurnJob | None:
        """Return the job of an open task; one that cannot be read ends, and keeps no other waiting."""
        try:
            return await self._recovery.job(task)
        except (LedgerError, ValueError) as error:
            log.exception("task.not_taken_up", extra={"task": task.id})
            await self._outcomes.end_at_rest(task, TaskState.FAILED, plain_text(str(error)))
            return None

    def _parts(self) -> HostParts:
        return HostParts(
            gates=self._gates,
            turns=self._turns,
            feed=self._feed,
            flows=self._flows,
            outcomes=self._outcomes,
            logs=self._logs,
            tracer=self._tracer,
            clock=self._clock,
            randomness=self._randomness,
            run_directory=self._run_directory,
            history=self._history,
            rerun=self.rerun,
            note_rerun=self._recovery.note,
        )

    async def _say(self, name: str, principal: Principal, agent: AgentId) -> None:
        body = {"agent": str(agent), "by": str(principal)}
        await self._writer.append(event(name, dict(body), clock=self._clock, agent=agent))


def _unknown(agent: AgentId) -> NotFoundError:
    return NotFoundError(f"There is no agent {agent!r}.", fix="See `hive ps`.")
