"""After a crash: which turns were under way, and what they had been told.

A task that is neither at rest nor ended has a turn to run. Its intent is in the ledger, and so is every
inner call of it with the result it got; from these a job is made that runs the same turn by the same
call id.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from hive.core.call import Call
from hive.core.clock import Clock
from hive.core.errors import NotFoundError
from hive.core.ids import AgentId, CallId, TaskId
from hive.core.task import StatusChanged, Task, TaskState
from hive.engines.ports import Database
from hive.kernel.budgets import unit_of
from hive.kernel.claims import ClaimBook, task_budget
from hive.kernel.jobs import TurnJob
from hive.kernel.lines import (
    admitted,
    call_of,
    claims_of,
    line_body,
    newest_message,
    newest_turn,
    recorded_call,
    warrant_of,
)
from hive.kernel.playback import Playback
from hive.kernel.record import PARKED, event
from hive.kernel.replay import Rerun
from hive.kernel.run_record import FORKED_FROM
from hive.kernel.turns import CHAIN_DEPTH_MAX
from hive.ledger.entry import Draft, Entry, EntryKind
from hive.ledger.journal import Journal, Step
from hive.ledger.rows import entries_of_task
from hive.ledger.tasks import TaskStore
from hive.ledger.writer import LedgerWriter
from hive.security.capability.warrant import Warrant

ATTEMPTS_MAX: Final = 6
RECOVERED: Final = "turn.recovered"
REPEAT_ALLOWED: Final = "effect.repeat"


class Recovery:
    """Makes jobs of open tasks."""

    def __init__(
        self,
        *,
        store: TaskStore,
        journal: Journal,
        writer: LedgerWriter,
        claims: ClaimBook,
        clock: Clock,
        database: Database,
        of_fork: Callable[[Task], Awaitable[Playback | None]],
    ) -> None:
        self._of_fork = of_fork
        self._database = database
        self._store = store
        self._journal = journal
        self._writer = writer
        self._claims = claims
        self._clock = clock

    async def open_tasks(self, agent: AgentId) -> list[Task]:
        """Return the tasks of an agent whose turns did not end."""
        return [
            task
            for task in await self._store.open_tasks()
            if task.agent == agent and not task.state.interrupted
        ]

    async def task(self, task: TaskId) -> Task:
        """Return a task as the ledger has it.

        Raises:
            NotFoundError: there is none.

        """
        held = await self._store.get(task)
        if held is None:
            raise NotFoundError(f"There is no task {task!r}.")
        return held

    async def job(self, task: Task) -> TurnJob:
        """Return the job that runs a task's turn again, and count its claims anew."""
        steps = await self._journal.task(task.id)
        own = newest_turn(task, steps)
        inner = await self._journal.children(own.call)
        self._count(task.id, steps)
        message = newest_message(task)
        events = await self._journal.events(task.id)
        attempt = 2 + sum(1 for entry in events if _began_again(entry, own.call))
        allowed = frozenset(
            step.call for step in inner for one in step.decisions if one.name == REPEAT_ALLOWED
        )
        call = call_of(own.intent)
        agents, tasks = await self._above(call)
        return TurnJob(
            call=call,
            agent=task.agent,
            owner=task.owner,
            task=task.id,
            context=task.context_id,
            message=message,
            rerun=Rerun.of(
                [recorded_call(step) for step in inner if admitted(step)], allowed=allowed
            ),
            playback=await self._of_fork(task)
            if FORKED_FROM in line_body(own.intent).facts
            else None,
            warrant=warrant_of(own.intent),
            attempt=attempt,
            ancestors=agents,
            ancestor_tasks=tasks,
        )

    async def warrant(self, task: Task) -> Warrant | None:
        """Return the warrant of a task's newest turn, None where the record has none."""
        return warrant_of(newest_turn(task, await self._journal.task(task.id)).intent)

    async def recount(self, task: TaskId) -> None:
        """Count what a task at rest has claimed so far, as the ledger has it."""
        self._count(task, await self._journal.task(task), goes_on=False)

    def _count(self, task: TaskId, steps: list[Step], *, goes_on: bool = True) -> None:
        self._claims.forget(task_budget(task, "models.calls"))
        for step in steps:
            claims = claims_of(step.intent)
            self._claims.restore(one for one in claims if unit_of(one.scope) is None)
            if goes_on and step.open:
                self._claims.restore_open(task, step.call, tuple(claims))

    async def _above(self, call: Call) -> tuple[tuple[AgentId, ...], tuple[TaskId, ...]]:
        """Return the agents whose turns wait for a call, nearest last, and their tasks."""
        agents: list[AgentId] = []
        tasks: list[TaskId] = []
        parent = call.parent
        while parent is not None and len(agents) < CHAIN_DEPTH_MAX:
            step = (await self._journal.recorded([parent])).get(parent)
            if step is None:
                break
            body = line_body(step.intent)
            agents.append(AgentId(body.target))
            if step.intent.task is not None:
                tasks.append(step.intent.task)
            parent = None if body.parent is None else CallId(body.parent)
        return tuple(reversed(agents)), tuple(reversed(tasks))

    async def parked(self) -> list[tuple[Task, Entry]]:
        """Return the tasks that wait for a person, each with the line that holds it."""
        found = []
        for task in await self._store.open_tasks():
            if task.state is TaskState.AUTH_REQUIRED:
                holds = [
                    entry
                    for entry in await entries_of_task(self._database, task.id)
                    if entry.kind is EntryKind.HOLD and entry.name == PARKED
                ]
                if holds:
                    found.append((task, holds[-1]))
        return found

    async def decide(self, task: TaskId, *, repeat: bool, by: str) -> Task:
        """Write a person's decision about a parked task, and the move that follows from it.

        Raises:
            NotFoundError: no such task is parked.

        """
        waiting = [pair for pair in await self.parked() if pair[0].id == task]
        if not waiting:
            raise NotFoundError(f"No task {task!r} is parked.", fix="See `hive parked`.")
        held, line = waiting[0]
        state = TaskState.SUBMITTED if repeat else TaskState.FAILED
        move = StatusChanged(
            task_id=held.id, context_id=held.context_id, state=state, at=self._clock.now()
        )
        decision = Draft(
            kind=EntryKind.DECISION,
            name=REPEAT_ALLOWED if repeat else "effect.abandoned",
            body={"call": line.call, "by": by},
            at=self._clock.now(),
            owner=held.owner,
            call=line.call,
            task=held.id,
            agent=held.agent,
            moves=(move,),
        )
        await self._writer.append(decision)
        return replace(held, state=state, status_message=None)

    async def note(self, job: TurnJob) -> None:
        """Write that a turn begins again, so that one that kills its node does so only so often."""
        await self._writer.append(
            event(
                RECOVERED,
                {"call": job.call.id, "attempt": job.attempt},
                clock=self._clock,
                agent=job.agent,
                owner=job.owner,
                task=job.task,
            )
        )


def _began_again(entry: Entry, call: CallId) -> bool:
    return entry.name == RECOVERED and line_body(entry).call == call
