"""The agents of this node: deploy, start, stop, remove; one task tree each; recovery when it begins.

What the supervisor needs of other layers (how to prepare an artifact, which tier) is handed in by the
node as `Placement`.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

from hive.core.call import Principal
from hive.core.clock import Clock
from hive.core.errors import EngineError, NotFoundError
from hive.core.grant import Grant, Tier
from hive.core.ids import AgentId, TaskId, plain_text
from hive.core.randomness import Randomness
from hive.core.spec import AgentSpec
from hive.core.task import Message, Task
from hive.execution.ports import Prepared, SandboxDriver
from hive.kernel.feed import TaskFeed
from hive.kernel.host_parts import HostParts
from hive.kernel.hosting import HostedAgent
from hive.kernel.jobs import Ending, TurnEnd, TurnJob
from hive.kernel.logbook import LogBook
from hive.kernel.outcomes import OutcomeDesk
from hive.kernel.patience import patiently
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where an agent was placed: its tier, the tier's driver, and the artifact that is spawned."""

    tier: Tier
    driver: SandboxDriver
    prepared: Prepared


class Placement(Protocol):
    """Chooses a tier and prepares an agent for it."""

    async def place(self, spec: AgentSpec, grant: Grant, on_line: Callable[[str], None]) -> Placed:
        """Prepare an agent.

        Raises:
            SpecError: its source cannot be used.
            TierUnavailableError: no tier covers the grant.

        """
        ...


class _Returning:
    """An agent that the node is bringing back."""

    def __init__(self, deployment: Deployment) -> None:
        self.over = anyio.Event()
        self.view = AgentView(
            spec=deployment.spec,
            grant=deployment.grant,
            state=AgentState.STARTING,
            tier=Tier.PROCESS,
        )


class Supervisor:
    """Hosts agents."""

    def __init__(
        self,
        *,
        placement: Placement,
        gates: GateListener,
        turns: TurnBook,
        feed: TaskFeed,
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
        self._returning: dict[AgentId, _Returning] = {}
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Host what was deployed before; end everything when the context is left."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._feed.start(tasks)
            for deployment in await patiently(self._registry.all, timeout_s=DATABASE_TIMEOUT_S):
                if not deployment.stopped:
                    self._returning[deployment.spec.name] = _Returning(deployment)
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

        """
        placed = await self._placement.place(spec, grant, on_line)
        await self._registry.keep(spec, grant)
        await self._writer.append(
            event(
                "agent.deployed",
                {
                    "agent": spec.name,
                    "source": spec.digest,
                    "grant": grant.digest,
                    "tier": placed.tier.name.lower(),
                    "by": str(principal),
                },
                clock=self._clock,
                agent=spec.name,
            )
        )
        return await self._host(spec, grant, placed)

    async def start(self, principal: Principal, agent: AgentId) -> AgentView:
        """Start a stopped agent again. Raises NotFoundError."""
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
        if hosted is None:
            raise _unknown(agent)
        await hosted.stop(drain_s=drain_s)
        await self._registry.mark(agent, stopped=True)
        await self._say("agent.stopped", principal, agent)

    async def remove(self, principal: Principal, agent: AgentId) -> None:
        """Stop an agent and forget its spec; its record stays. Raises NotFoundError."""
        hosted = self._hosted.pop(agent, None)
        if hosted is None:
            raise _unknown(agent)
        await hosted.stop(drain_s=0.0)
        await self._registry.forget(agent)
        await self._say("agent.removed", principal, agent)

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

    def kill_all(self, reason: str) -> None:
        """Kill every sandbox at once; may be called from any thread."""
        for hosted in tuple(self._hosted.values()):
            hosted.kill(reason)

    def kill(self, agent: AgentId, reason: str) -> bool:
        """Kill an agent's sandboxes at once; may be called from any thread."""
        hosted = self._hosted.get(agent)
        if hosted is not None:
            hosted.kill(reason)
        return hosted is not None

    async def rerun(self, job: TurnJob) -> TurnJob:
        """Return the job that runs a turn again with what the ledger holds of it."""
        while True:
            try:
                task = await self._recovery.task(job.task)
                again = await self._recovery.job(task)
            except EngineError:
                await anyio.sleep(RERUN_PAUSE_S)
            else:
                again.canceled = job.canceled
                return again

    async def decide(self, principal: Principal, task: TaskId, *, repeat: bool) -> Task:
        """Let a parked task go on, repeating its open effect, or end it. Raises NotFoundError."""
        held = await self._recovery.decide(task, repeat=repeat, by=str(principal))
        if repeat and await self.find(held.agent) is not None:
            job = await self._recovery.job(held)
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
        before = self._hosted.get(spec.name)
        if before is not None:
            await before.stop(drain_s=0.0)
        hosted = HostedAgent(
            spec=spec,
            grant=grant,
            tier=placed.tier,
            prepared=placed.prepared,
            parts=self._parts(placed.driver),
        )
        # From here on new turns wait in its queue; what is older is taken up before it works.
        self._hosted[spec.name] = hosted
        await patiently(lambda: self._take_up(hosted), timeout_s=DATABASE_TIMEOUT_S)
        if self._tasks is None:
            raise NotFoundError("The node is ending.", fix="Start it again.")
        self._tasks.start_soon(hosted.serve)
        await hosted.wait_ready()
        return hosted.view()

    async def _take_up(self, hosted: HostedAgent) -> None:
        """Queue the turns that were open when the agent or the node ended."""
        name = hosted.spec.name
        open_tasks = await self._recovery.open_tasks(name)
        for task in sorted(open_tasks, key=lambda one: one.created_at):
            job = await self._recovery.job(task)
            if hosted.holds(task.id):
                continue
            self._feed.open(task)
            if job.attempt > ATTEMPTS_MAX:
                reason = f"its turn was begun {ATTEMPTS_MAX} times and never ended"
                end = TurnEnd(ending=Ending.FAILED, reason=reason)
                await self._outcomes.finish(job, end)
                continue
            hosted.queue.put(job)
        known = {task.id for task in open_tasks}
        for live in self._feed.of_agent(name):
            if live.id not in known and not hosted.holds(live.id):
                self._feed.settle(await self._recovery.task(live.id))

    def _parts(self, driver: SandboxDriver) -> HostParts:
        return HostParts(
            driver=driver,
            gates=self._gates,
            turns=self._turns,
            feed=self._feed,
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
