"""After a crash: which turns were under way, and what they had been told.

A task that is neither at rest nor ended has a turn to run. Its intent is in the ledger, and so is every
inner call of it with the result it got; from these a job is made that runs the same turn by the same
call id.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from hive.core.call import (
    Call,
    Claim,
    EffectClass,
    Outcome,
    Principal,
    PrincipalKind,
    TraceContext,
    Verb,
)
from hive.core.clock import Clock
from hive.core.errors import LedgerError, NotFoundError
from hive.core.ids import AgentId, CallId, SpanId, TaskId, TraceId
from hive.core.task import Message, Role, StatusChanged, Task, TaskState
from hive.engines.ports import Database
from hive.kernel.claims import ClaimBook
from hive.kernel.jobs import TurnJob
from hive.kernel.record import event, frames_of
from hive.kernel.replay import RecordedCall, Rerun
from hive.kernel.turns import CHAIN_DEPTH_MAX
from hive.ledger.entry import Draft, Entry, EntryKind
from hive.ledger.journal import Journal, Step
from hive.ledger.rows import entries_of_task
from hive.ledger.tasks import TaskStore
from hive.ledger.writer import LedgerWriter

ATTEMPTS_MAX: Final = 6
RECOVERED: Final = "turn.recovered"
REPEAT_ALLOWED: Final = "effect.repeat"


class ClaimLine(msgspec.Struct, frozen=True):
    """A claim as an intent's body holds it."""

    kind: str
    scope: str
    amount: int = 1
    limit: int = 1


class Body(msgspec.Struct, frozen=True):
    """The parts of an entry's body that recovery reads."""

    verb: str = "send"
    target: str = ""
    effect: str = "once"
    argument_hash: str = ""
    principal: str = "node:hive"
    parent: str | None = None
    decision: str = ""
    outcome: str = ""
    call: str = ""
    deadline: str = ""
    claims: list[ClaimLine] = []


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
    ) -> None:
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
        own = _newest_turn(task, steps)
        inner = await self._journal.children(own.call)
        self._count(task.id, steps)
        message = _newest_message(task)
        events = await self._journal.events(task.id)
        attempt = 2 + sum(1 for entry in events if _began_again(entry, own.call))
        allowed = frozenset(
            step.call for step in inner for one in step.decisions if one.name == REPEAT_ALLOWED
        )
        call = _call_of(own.intent)
        return TurnJob(
            call=call,
            agent=task.agent,
            owner=task.owner,
            task=task.id,
            context=task.context_id,
            message=message,
            rerun=Rerun.of([_recorded(step) for step in inner if _admitted(step)], allowed=allowed),
            attempt=attempt,
            ancestors=await self._ancestors(call),
        )

    async def recount(self, task: TaskId) -> None:
        """Count what a task at rest has claimed so far, as the ledger has it."""
        self._count(task, await self._journal.task(task))

    def _count(self, task: TaskId, steps: list[Step]) -> None:
        self._claims.forget(f"task:{task} ")
        for step in steps:
            self._claims.restore(_claims_of(step.intent))

    async def _ancestors(self, call: Call) -> tuple[AgentId, ...]:
        """Return the agents whose turns wait for a call, nearest last."""
        above: list[AgentId] = []
        parent = call.parent
        while parent is not None and len(above) < CHAIN_DEPTH_MAX:
            step = (await self._journal.recorded([parent])).get(parent)
            if step is None:
                break
            body = _body(step.intent)
            above.append(AgentId(body.target))
            parent = None if body.parent is None else CallId(body.parent)
        return tuple(reversed(above))

    async def parked(self) -> list[tuple[Task, Entry]]:
        """Return the tasks that wait for a person, each with the line that holds it."""
        found = []
        for task in await self._store.open_tasks():
            if task.state is TaskState.AUTH_REQUIRED:
                holds = [
                    entry
                    for entry in await entries_of_task(self._database, task.id)
                    if entry.kind is EntryKind.HOLD
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


def _newest_turn(task: Task, steps: list[Step]) -> Step:
    """Return the call that opened or last continued a task; each message to it is a turn of its own."""
    turns = [step for step in steps if _body(step.intent).verb == Verb.SEND]
    if not turns:
        raise LedgerError(
            f"Task {task.id} cannot be taken up.",
            why="The ledger holds no call that opened it.",
            fix="Run `hive audit verify`.",
        )
    return turns[-1]


def _newest_message(task: Task) -> Message:
    for one in reversed(task.history):
        if one.role is Role.USER:
            return one
    raise LedgerError(
        f"Task {task.id} cannot be taken up.",
        why="Its messages cannot be read: the owner's key is gone.",
        fix="Cancel it.",
    )


def _began_again(entry: Entry, call: CallId) -> bool:
    return entry.name == RECOVERED and _body(entry).call == call


def _admitted(step: Step) -> bool:
    return _body(step.intent).decision == "admitted"


def _recorded(step: Step) -> RecordedCall:
    body = _body(step.intent)
    child = step.intent.task if body.verb == Verb.SEND else None
    frames = frames_of(step.content) if step.content is not None else ()
    return RecordedCall(
        id=CallId(str(step.intent.call)),
        key=(body.verb, body.target, body.argument_hash),
        effect=EffectClass(body.effect),
        outcome=_known_outcome(step, frames),
        frames=frames,
        task=None if child is None else TaskId(child),
        target=body.target,
    )


def _known_outcome(step: Step, frames: tuple[bytes, ...]) -> Outcome | None:
    """Return how a call ended, None where its record cannot stand for it.

    What was cut off, or was too large to keep, is as good as open: it is done again where it may be.
    """
    if step.result is None:
        return None
    outcome = Outcome(_body(step.result).outcome)
    if _body(step.intent).verb == Verb.SEND:
        return outcome
    if step.content is None or (outcome is not Outcome.OK and not frames):
        return None
    return None if outcome is Outcome.CANCELED else outcome


def _call_of(entry: Entry) -> Call:
    body = _body(entry)
    kind, _, name = body.principal.partition(":")
    return Call(
        id=CallId(str(entry.call)),
        principal=Principal(kind=PrincipalKind(kind), name=name, owner=entry.owner),
        verb=Verb(body.verb),
        target=body.target,
        effect=EffectClass(body.effect),
        argument_hash=body.argument_hash,
        at=entry.at,
        deadline=datetime.fromisoformat(body.deadline),
        trace=TraceContext(trace_id=TraceId(entry.trace_id), span_id=SpanId(entry.span_id)),
        parent=None if body.parent is None else CallId(body.parent),
        task=entry.task,
    )


def _claims_of(entry: Entry) -> list[Claim]:
    return [
        Claim(kind=one.kind, scope=one.scope, amount=one.amount, limit=one.limit)
        for one in _body(entry).claims
    ]


def _body(entry: Entry) -> Body:
    return msgspec.json.decode(entry.body.encode(), type=Body)
