"""How a turn's end becomes durable, and then known: the result entry and the task's last move."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import anyio

from hive.core.call import Outcome
from hive.core.clock import Clock
from hive.core.errors import BadInputError, EngineError, LedgerError, StateError
from hive.core.ids import ContextId, MessageId, TaskId, new_id, plain_text
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.core.task import (
    ArtifactAdded,
    Message,
    Part,
    Role,
    StatusChanged,
    Task,
    TaskMove,
    TaskState,
)
from hive.kernel.claims import ClaimBook
from hive.kernel.feed import TaskFeed
from hive.kernel.jobs import Ending, TurnEnd, TurnJob
from hive.kernel.record import event, hold, result
from hive.ledger.entry import Draft
from hive.ledger.writer import LedgerWriter

log: Final = logging.getLogger(__name__)
WRITE_TIMEOUT_S: Final = 60.0
WRITE_PAUSE_S: Final = 0.1
REASON_MAX_CHARS: Final = 4000

_STATES: Final = {
    Ending.DONE: (TaskState.COMPLETED, Outcome.OK),
    Ending.INPUT: (TaskState.INPUT_REQUIRED, Outcome.OK),
    Ending.FAILED: (TaskState.FAILED, Outcome.FAILED),
    Ending.DIED: (TaskState.FAILED, Outcome.FAILED),
    Ending.CANCELED: (TaskState.CANCELED, Outcome.CANCELED),
    Ending.PARKED: (TaskState.AUTH_REQUIRED, Outcome.PARKED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeDesk:
    """Writes results and tells the feed, in this order."""

    writer: LedgerWriter
    feed: TaskFeed
    claims: ClaimBook
    clock: Clock
    randomness: Randomness

    async def finish(self, job: TurnJob, end: TurnEnd) -> bool:
        """Make a turn's end durable and known; False where the record could not be written.

        A task whose end was not written stays open, and its turn runs again at the next start.
        """
        state, outcome = _STATES[end.ending]
        status = StatusChanged(
            task_id=job.task,
            context_id=job.context,
            state=state,
            at=self.clock.now(),
            message=self._status_message(job, end),
        )
        artifacts = tuple(
            ArtifactAdded(task_id=job.task, context_id=job.context, artifact=artifact)
            for artifact in end.artifacts
        )
        draft = result(
            job.call,
            outcome,
            clock=self.clock,
            agent=job.agent,
            task=job.task,
            note=end.reason,
            cost={"model_calls": self.claims.spent(f"task:{job.task} models.calls")},
            moves=(*artifacts, status),
        )
        if end.parked_call is not None:
            held = hold(
                job.call,
                end.parked_call,
                end.reason,
                clock=self.clock,
                agent=job.agent,
                task=job.task,
            )
            await append_patiently(self.writer, held, timeout_s=WRITE_TIMEOUT_S)
        try:
            if not await append_patiently(self.writer, draft, timeout_s=WRITE_TIMEOUT_S):
                return False
        except (BadInputError, LedgerError, StateError) as error:
            log.warning("turn.end_not_recordable", extra={"task": job.task, "error": error.what})
            if not end.artifacts and end.message is None:
                return False
            bare = TurnEnd(ending=Ending.FAILED, reason=f"what it made cannot be recorded: {error}")
            return await self.finish(job, bare)
        self._publish(job, artifacts, status)
        return True

    async def end_at_rest(self, task: Task, state: TaskState, reason: str = "") -> Task:
        """End a task that no turn works on.

        Raises:
            LedgerError: it has ended meanwhile.
            EngineError: the database is away.

        """
        move = StatusChanged(
            task_id=task.id,
            context_id=task.context_id,
            state=state,
            at=self.clock.now(),
            message=self._said(reason, task.context_id, task.id) if reason else None,
        )
        body: dict[str, Json] = {"state": state.value, "reason": reason}
        draft = event(
            f"task.{state.value}",
            body,
            clock=self.clock,
            agent=task.agent,
            owner=task.owner,
            task=task.id,
            moves=(move,),
        )
        await self.writer.append(draft, then=lambda: self._rested(move))
        return replace(task, state=state, updated_at=move.at, status_message=move.message)

    def rested(self, task: Task) -> None:
        """Tell that a task ended at rest; the ledger has it."""
        self._rested(
            StatusChanged(
                task_id=task.id, context_id=task.context_id, state=task.state, at=self.clock.now()
            )
        )

    def _rested(self, move: StatusChanged) -> None:
        self.feed.tell(move.task_id, move)
        self.feed.close(move.task_id)
        self.claims.end_task(move.task_id)

    def _publish(
        self, job: TurnJob, artifacts: tuple[ArtifactAdded, ...], status: StatusChanged
    ) -> None:
        live = self.feed.get(job.task)
        known = {one.id for one in live.task.artifacts} if live is not None else set()
        moves: list[TaskMove] = [one for one in artifacts if one.artifact.id not in known]
        for move in (*moves, status):
            self.feed.tell(job.task, move)
        self.feed.close(job.task)
        if status.state.terminal:
            self.claims.end_task(job.task)

    def _status_message(self, job: TurnJob, end: TurnEnd) -> Message | None:
        if end.message is not None:
            return end.message
        if end.ending is Ending.DONE or not end.reason:
            return None
        text = plain_text(end.reason, keep="\n\t")[:REASON_MAX_CHARS]
        if end.ending is Ending.PARKED:
            text = f"Parked: {text}. An operator decides with `hive parked`."
        return self._said(text, job.context, job.task)

    def _said(self, text: str, context: ContextId, task: TaskId) -> Message:
        return Message(
            id=MessageId(new_id(self.clock, self.randomness)),
            role=Role.AGENT,
            parts=(Part(text=text),),
            context_id=context,
            task_id=task,
        )


async def append_patiently(
    writer: LedgerWriter, draft: Draft, *, timeout_s: float, then: Callable[[], None] | None = None
) -> bool:
    """Append, trying again while the database is away; False where it stayed away.

    `then` is called in the moment the line is durable.

    What has happened must be written; only the machine's own end may prevent it.
    """
    with anyio.move_on_after(timeout_s):
        while True:
            try:
                await writer.append(draft, then=then)
            except EngineError:
                log.warning("ledger.waits_for_database", extra={"entry": draft.name})
                await anyio.sleep(WRITE_PAUSE_S)
            else:
                return True
    log.error("ledger.result_not_written", extra={"entry": draft.name})
    return False
