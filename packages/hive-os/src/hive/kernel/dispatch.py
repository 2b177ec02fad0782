"""The whole life of a call: admit, record, act or wake, answer, record.

This is the gate as the doors see it (`kernel.ports.Gate`); there is no other way to an agent, a model,
a tool or a host.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import anyio

from hive.core.budget import Amounts
from hive.core.call import Admitted, Call, Outcome, Principal, Refused, Verb
from hive.core.clock import Clock
from hive.core.errors import StateError
from hive.core.ids import AgentId, SandboxId, TaskId, plain_text
from hive.core.json import Json
from hive.core.task import Message, Task, TaskEvent, TaskState
from hive.kernel.admission import Admission
from hive.kernel.calls import recorded_again
from hive.kernel.delivery import within_turn
from hive.kernel.desk import TaskDesk
from hive.kernel.entrance import Entrance
from hive.kernel.feed import TaskFeed
from hive.kernel.flows import Flows
from hive.kernel.outcomes import append_patiently
from hive.kernel.passage import LivePassage, RecordedPassage
from hive.kernel.ports import Act, Attempt, Delivery, Passage, TaskPage, TaskQuery
from hive.kernel.record import event, result
from hive.kernel.scans import Scans, redactions_of
from hive.kernel.sending import MessageSender
from hive.kernel.supervisor import Supervisor
from hive.kernel.turns import RunningTurn, TurnBook
from hive.ledger.writer import LedgerWriter

RESULT_TIMEOUT_S: Final = 10.0


class Dispatcher:
    """The gate."""

    def __init__(
        self,
        *,
        admission: Admission,
        entrance: Entrance,
        sender: MessageSender,
        writer: LedgerWriter,
        supervisor: Supervisor,
        turns: TurnBook,
        feed: TaskFeed,
        desk: TaskDesk,
        flows: Flows,
        scans: Scans,
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._entrance = entrance
        self._sender = sender
        self._writer = writer
        self._supervisor = supervisor
        self._turns = turns
        self._feed = feed
        self._desk = desk
        self._flows = flows
        self._scans = scans
        self._clock = clock

    def resolve_handle(self, sandbox: SandboxId, handle: str) -> Principal | Refused:
        """Return who is calling from this sandbox now."""
        return self._turns.resolve(sandbox, handle)

    def room(self, principal: Principal) -> Amounts:
        """Return what the tightest ceilings leave this caller now."""
        turn = self._turns.running(principal.turn)
        if turn is not None and turn.playback is not None and turn.playback.offline:
            return {}  # What comes from a record costs nothing; a fork may go live with any call.
        return self._admission.room(turn)

    @asynccontextmanager
    async def deliver(self, attempt: Attempt, act: Act) -> AsyncIterator[Refused | Passage]:
        """Admit a call, record it, let the deed pass, record how it ended."""
        turn = self._turns.running(attempt.principal.turn)
        self._sender.show(attempt.warrant)
        call = self._entrance.make(attempt, turn)
        recorded = self._entrance.recorded(call, turn, attempt.arguments)
        if isinstance(recorded, Refused):
            yield recorded
            return
        if recorded is not None and recorded.outcome is not None:
            self._hear(call, recorded.frames, turn)
            yield RecordedPassage(recorded_again(call, recorded.id), recorded.frames)
            return
        if recorded is not None:
            call = recorded_again(call, recorded.id)
        with self._scans.beside(call, attempt.aside):
            if recorded is not None:
                decision = await self._entrance.judge_again(call, attempt.arguments)
            else:
                decision = await self._entrance.admit_and_record(call, attempt.arguments)
        if isinstance(decision, Refused):
            await self._entrance.tell_notices(call)
            yield decision
            return
        if call.verb in (Verb.REACH, Verb.ASK):
            # An agent acts on what a connection or a stream brings while it is still open.
            self._flows.hear(call, None, turn)
        passage = LivePassage(call, act, lambda kept: self._hear(call, kept, turn))
        passage.redact = redactions_of(decision.obligations)
        with within_turn(turn, call, self._clock), self._entrance.span(call, turn) as span:
            async with self._passing(passage, decision, turn):
                yield passage
            if span is not None and passage.outcome is not Outcome.OK:
                span.fail(passage.outcome)

    def _hear(self, call: Call, frames: Sequence[bytes] | None, turn: RunningTurn | None) -> None:
        self._flows.hear(call, frames, turn)
        self._scans.hear(call, frames, turn)

    async def send(self, attempt: Attempt, agent: AgentId, message: Message) -> Refused | Delivery:
        """Admit a message for an agent, make it durable, wake the agent.

        Raises:
            NotFoundError: no such agent or task, or it is not the caller's.
            StateError: the task has ended or is at work.

        """
        turn = self._turns.running(attempt.principal.turn)
        return await self._sender.send(attempt, agent, message, turn=turn)

    async def task(self, principal: Principal, task: TaskId) -> Task:
        """Return a task that the caller may see. Raises NotFoundError."""
        return await self._desk.get(principal, task)

    async def tasks(self, principal: Principal, query: TaskQuery) -> TaskPage:
        """List the tasks that the caller may see."""
        return await self._desk.page(principal, query)

    def follow(
        self, principal: Principal, task: TaskId
    ) -> AbstractAsyncContextManager[AsyncIterator[TaskEvent]]:
        """Subscribe to a task. Raises NotFoundError, StateError."""
        return self._desk.follow(principal, task)

    def on_change(self, observer: Callable[[TaskEvent], Awaitable[None]]) -> Callable[[], None]:
        """Call `observer` after every change of any task."""
        return self._feed.observe(observer)

    async def cancel(self, principal: Principal, task: TaskId) -> Task:
        """Cancel a task; return it as it then stands. Raises NotFoundError, StateError."""
        held = await self._desk.get(principal, task)
        turn = self._turns.running(principal.turn)
        if turn is not None and turn.playback is not None and turn.playback.offline:
            return held  # A replay touches nothing that is.
        if held.state.terminal:
            raise StateError(
                f"The task is {held.state.value}, so it cannot be canceled.",
                fix="Nothing is left to cancel.",
            )
        asked: dict[str, Json] = {"by": str(principal)}
        await self._writer.append(
            event(
                "task.cancel_asked",
                asked,
                clock=self._clock,
                agent=held.agent,
                owner=held.owner,
                task=task,
            )
        )
        live = self._feed.get(task)
        if live is not None and await self._supervisor.cancel(held.agent, task):
            return await live.wait_settled()
        return await self._supervisor.end_at_rest(held, TaskState.CANCELED)

    @asynccontextmanager
    async def _passing(
        self, passage: LivePassage, admitted: Admitted, turn: RunningTurn | None
    ) -> AsyncIterator[LivePassage]:
        note = ""
        try:
            yield passage
        except Exception as error:
            passage.settle(Outcome.FAILED, cost=passage.cost)
            note = plain_text(f"{type(error).__name__}: {error}")
            raise
        finally:
            call = passage.call
            paid = self._admission.payment(call, passage.spent, turn)
            draft = result(
                call,
                passage.outcome,
                clock=self._clock,
                agent=call.principal.agent or "",
                task=call.task,
                frames=passage.kept,
                cost=passage.cost,
                note=note,
                paid=paid.line,
            )
            with anyio.CancelScope(shield=True):
                await append_patiently(
                    self._writer,
                    draft,
                    timeout_s=RESULT_TIMEOUT_S,
                    then=lambda: self._admission.settle(call, admitted.claims, paid),
                )
                await self._entrance.tell_notices(call)
