"""Runs again: a replay that touches nothing, a fork that goes live from a step, two runs compared."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from hive.core.call import (
    EffectClass,
    Principal,
    PrincipalKind,
    Refused,
    TraceContext,
    Verb,
)
from hive.core.clock import Clock
from hive.core.errors import BadInputError, NotFoundError, StateError
from hive.core.grant import Grant
from hive.core.ids import MessageId, SpanId, TaskId, TraceId, new_id
from hive.core.json import Json, encode
from hive.core.randomness import Randomness
from hive.core.spec import AgentSpec
from hive.core.task import Message, Part, Task, TaskState
from hive.kernel.desk import TaskDesk
from hive.kernel.jobs import Ending, TurnEnd, TurnJob
from hive.kernel.letters import SPOKEN_BY, speaker
from hive.kernel.masks import first_difference
from hive.kernel.playback import Divergence, Playback, Served
from hive.kernel.ports import Attempt
from hive.kernel.record import event
from hive.kernel.run_record import (
    FORK_DEPTH_MAX,
    FORKED_AT,
    FORKED_FROM,
    FORKED_MESSAGE,
    ForkOrigin,
    RunReader,
    RunRecord,
    RunTurn,
    served_of,
)
from hive.kernel.sending import MessageSender
from hive.kernel.supervisor import Supervisor
from hive.ledger.asked import AskedKeeper
from hive.ledger.tasks import TaskStore
from hive.ledger.writer import LedgerWriter

_STATES: Final = {
    Ending.DONE: TaskState.COMPLETED,
    Ending.INPUT: TaskState.INPUT_REQUIRED,
    Ending.FAILED: TaskState.FAILED,
    Ending.DIED: TaskState.FAILED,
    Ending.CANCELED: TaskState.CANCELED,
    Ending.PARKED: TaskState.AUTH_REQUIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How a replay ended: `divergence` is None where the run came out as it was."""

    run: RunRecord
    playback: Playback
    state: TaskState
    divergence: Divergence | None


class RunBook:
    """Reads a run with all that was served to it, and lines it up to be served again."""

    def __init__(
        self, *, store: TaskStore, reader: RunReader, desk: TaskDesk, keeper: AskedKeeper
    ) -> None:
        self._store = store
        self._reader = reader
        self._desk = desk
        self._keeper = keeper

    async def read(self, principal: Principal, run: TaskId, *, depth: int = 0) -> RunRecord:
        """Return a run; an operator sees all, anybody else his own.

        Raises:
            NotFoundError: there is none, or it is another owner's.
            LedgerError: it cannot be read.

        """
        task = await self._store.get(run)
        if task is None or not _may_read(principal, task):
            raise NotFoundError(f"There is no run {run!r}.", fix="See `hive ps` or `hive trace`.")
        origin = await self._reader.origin_of(task)
        if origin is None:
            return await self._reader.read(task)
        if depth >= FORK_DEPTH_MAX:
            raise StateError(
                "A fork of a fork, too many times over.", why=f"{FORK_DEPTH_MAX} are followed."
            )
        before = await self.read(principal, origin.run, depth=depth + 1)
        return await self._reader.read(task, inherited=served_of(before, origin.at))

    async def playback(
        self,
        record: RunRecord,
        *,
        origin: ForkOrigin | None = None,
        on_served: Callable[[Served], None] | None = None,
    ) -> Playback:
        """Line up the newest turn of a run: to be replayed, or to be the beginning of a fork."""
        turn = record.last
        history = await self._desk.history_before(record.task, turn.message, turn.call.principal)
        return Playback(
            run=record.task.id,
            steps=tuple(step.played() for step in turn.steps),
            keeper=self._keeper,
            history=history,
            live_from=None if origin is None else origin.at,
            by_position=origin is not None and origin.other_message,
            on_served=on_served or (lambda _served: None),
        )

    async def of_fork(self, task: Task) -> Playback | None:
        """Return what serves the beginning of a fork whose turn runs again; None for any other task."""
        origin = await self._reader.origin_of(task)
        if origin is None:
            return None
        reading = Principal(kind=PrincipalKind.NODE, name="hive", owner=task.owner)
        return await self.playback(await self.read(reading, origin.run), origin=origin)


class Runs:
    """Replays and forks."""

    def __init__(
        self,
        *,
        book: RunBook,
        supervisor: Supervisor,
        sender: MessageSender,
        writer: LedgerWriter,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._book = book
        self._supervisor = supervisor
        self._sender = sender
        self._writer = writer
        self._clock = clock
        self._randomness = randomness

    async def read(self, principal: Principal, run: TaskId) -> RunRecord:
        """Return a run. Raises NotFoundError, LedgerError."""
        return await self._book.read(principal, run)

    async def replay(
        self,
        principal: Principal,
        run: TaskId,
        *,
        spec: AgentSpec,
        grant: Grant,
        on_served: Callable[[Served], None] | None = None,
    ) -> Replayed:
        """Run the newest turn of a run again; every call of it is served from the record.

        Raises:
            NotFoundError: there is no such run, or it is another owner's.
            StateError: it has not ended, or too many replays run.
            SpecError: the agent cannot be loaded.

        """
        record = await self._book.read(principal, run)
        task = record.task
        if not (task.state.terminal or task.state is TaskState.INPUT_REQUIRED):
            raise StateError(
                f"The run is {task.state.value}, so there is no outcome to compare with.",
                fix="Wait until it has ended.",
            )
        playback = await self._book.playback(record, on_served=on_served)
        end = await self._supervisor.aside(self._job(record), playback, spec, grant)
        if end.ending is not Ending.CANCELED:
            playback.finish(end.reason)
        divergence = playback.divergence or outcome_divergence(record, end)
        replayed = Replayed(
            run=record, playback=playback, state=_STATES[end.ending], divergence=divergence
        )
        await self._writer.append(
            event(
                "run.replayed",
                {
                    "task": task.id,
                    "by": str(principal),
                    "source": spec.digest,
                    "identical": divergence is None,
                    "step": None if divergence is None else divergence.step,
                    "reason": "" if divergence is None else divergence.reason,
                },
                clock=self._clock,
                agent=task.agent,
                owner=task.owner,
                task=task.id,
            )
        )
        return replayed

    async def fork(
        self, principal: Principal, run: TaskId, *, at: int, text: str | None = None
    ) -> Task:
        """Open a task that is served the steps before `at` from a run, and is live from there on.

        Raises:
            NotFoundError: there is no such run or agent, or it is another owner's.
            BadInputError: it has no such step.
            StateError: it was refused.

        """
        record = await self._book.read(principal, run)
        last = record.last
        first = last.steps[0].number if last.steps else 1
        if not first <= at <= first + len(last.steps):
            raise BadInputError(
                f"The run has no step {at} to fork at.",
                why=f"Its newest turn has the steps {first} to {first + len(last.steps) - 1}.",
                fix="See `hive journal RUN`.",
            )
        origin = ForkOrigin(run=run, at=at, other_message=text is not None)
        parts = last.message.parts if text is None else (Part(text=text),)
        message = Message(id=MessageId(self._fresh()), role=last.message.role, parts=parts)
        attempt = Attempt(
            principal=replace(principal, owner=record.task.owner),
            verb=Verb.SEND,
            target=record.task.agent,
            effect=EffectClass.IDEMPOTENT,
            arguments=encode({"fork": run, "at": at, "message": message.id}),
            facts=_facts_of(origin, last, principal),
        )
        playback = await self._book.playback(record, origin=origin)
        sent = await self._sender.send(
            attempt, record.task.agent, message, turn=None, playback=playback
        )
        if isinstance(sent, Refused):
            raise StateError("The fork was refused.", why=sent.reason)
        await self._writer.append(
            event(
                "run.forked",
                {"from": str(run), "at": at, "task": sent.task.id, "by": str(principal)},
                clock=self._clock,
                agent=record.task.agent,
                owner=record.task.owner,
                task=sent.task.id,
            )
        )
        return sent.task

    def _job(self, record: RunRecord) -> TurnJob:
        """Return the job of a replay; its trace is its own, so that nothing of it is drawn as the run's."""
        call = record.last.call
        trace = TraceContext(
            trace_id=TraceId(self._randomness.token(16).hex()),
            span_id=SpanId(self._randomness.token(8).hex()),
        )
        return TurnJob(
            call=replace(call, trace=trace),
            agent=record.task.agent,
            owner=record.task.owner,
            task=record.task.id,
            context=record.task.context_id,
            message=record.last.message,
            warrant=record.last.warrant,
        )

    def _fresh(self) -> str:
        return new_id(self._clock, self._randomness)


def _facts_of(origin: ForkOrigin, last: RunTurn, principal: Principal) -> dict[str, Json]:
    """Return what the line of a fork says; its message stays that of whoever sent it, unless it is another one."""
    return {
        FORKED_FROM: str(origin.run),
        FORKED_AT: origin.at,
        FORKED_MESSAGE: origin.other_message,
        SPOKEN_BY: principal.kind.value if origin.other_message else speaker(last.call),
    }


def outcome_divergence(record: RunRecord, end: TurnEnd) -> Divergence | None:
    """Return where the end of a replay differs from the run's; None where it does not."""
    task = record.task
    expected_state, actual_state = task.state, _STATES[end.ending]
    if expected_state is not actual_state:
        return Divergence(
            step=0,
            reason=f"it ends otherwise{': ' + end.reason if end.reason else ''}",
            expected=expected_state.value,
            actual=actual_state.value,
        )
    made = task.artifacts
    if len(record.turns) > 1:  # what earlier turns made comes first, and is not compared
        made = made[max(0, len(made) - len(end.artifacts)) :]
    then = [_product(one.name, one.parts) for one in made]
    now = [_product(one.name, one.parts) for one in end.artifacts]
    if actual_state is TaskState.INPUT_REQUIRED:
        then.append(_product("question", task.status_message.parts if task.status_message else ()))
        now.append(_product("question", end.message.parts if end.message else ()))
    difference = first_difference(encode(then), encode(now))
    if difference is None:
        return None
    return Divergence(
        step=0,
        reason="its answer is another one",
        expected=difference.expected,
        actual=difference.actual,
        difference=difference,
    )


def _product(name: str, parts: tuple[Part, ...]) -> object:
    return {"name": name, "parts": parts}


def _may_read(principal: Principal, task: Task) -> bool:
    if principal.kind in (PrincipalKind.OPERATOR, PrincipalKind.NODE):
        return True
    return principal.kind is not PrincipalKind.AGENT and principal.owner == task.owner
