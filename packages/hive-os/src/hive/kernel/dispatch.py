"""The whole life of a call: admit, record, act or wake, answer, record.

This is the gate as the doors see it (`kernel.ports.Gate`); there is no other way to an agent, a model,
a tool or a host.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Final

import anyio

from hive.core.call import Admitted, Call, Decision, Outcome, Principal, Refused
from hive.core.clock import Clock
from hive.core.errors import EngineError, HiveError, LedgerError, NotFoundError, StateError
from hive.core.ids import AgentId, ContextId, SandboxId, TaskId, new_id, plain_text
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.core.task import (
    Message,
    MessageAdded,
    StatusChanged,
    Task,
    TaskEvent,
    TaskMove,
    TaskState,
)
from hive.kernel.admission import Admission
from hive.kernel.calls import CallMaker, recorded_again
from hive.kernel.delivery import TaskDelivery, one_at_a_time, within_turn
from hive.kernel.desk import TaskDesk
from hive.kernel.feed import TaskFeed
from hive.kernel.jobs import TurnJob
from hive.kernel.outcomes import append_patiently
from hive.kernel.passage import LivePassage, RecordedPassage
from hive.kernel.ports import Act, Attempt, Delivery, Passage, TaskPage, TaskQuery
from hive.kernel.record import event, intent, refusal, result
from hive.kernel.replay import Parked, RecordedCall
from hive.kernel.supervisor import Supervisor
from hive.kernel.turns import RunningTurn, TurnBook
from hive.ledger.refusals import RefusalMeter
from hive.ledger.writer import LedgerWriter
from hive.observability.spans import Tracer

RESULT_TIMEOUT_S: Final = 10.0
ADMIT: Final = "hive.admit"
RECORD_INTENT: Final = "hive.record intent"


class Dispatcher:
    """The gate."""

    def __init__(
        self,
        *,
        admission: Admission,
        writer: LedgerWriter,
        refusals: RefusalMeter,
        supervisor: Supervisor,
        turns: TurnBook,
        feed: TaskFeed,
        desk: TaskDesk,
        clock: Clock,
        randomness: Randomness,
        tracer: Tracer,
        commit: Callable[[bytes], str],
    ) -> None:
        self._tracer = tracer
        self._admission = admission
        self._writer = writer
        self._refusals = refusals
        self._supervisor = supervisor
        self._turns = turns
        self._feed = feed
        self._desk = desk
        self._clock = clock
        self._randomness = randomness
        self._calls = CallMaker(clock, randomness, commit)
        self._continuing: set[TaskId] = set()

    def resolve_handle(self, sandbox: SandboxId, handle: str) -> Principal | Refused:
        """Return who is calling from this sandbox now."""
        return self._turns.resolve(sandbox, handle)

    @asynccontextmanager
    async def deliver(self, attempt: Attempt, act: Act) -> AsyncIterator[Refused | Passage]:
        """Admit a call, record it, let the deed pass, record how it ended."""
        turn = self._turns.running(attempt.principal.turn)
        call = self._calls.make(attempt, turn)
        recorded = self._recorded(call, turn)
        if isinstance(recorded, Refused):
            yield recorded
            return
        if recorded is not None and recorded.outcome is not None:
            yield RecordedPassage(recorded_again(call, recorded.id), recorded.frames)
            return
        if recorded is not None:
            call = recorded_again(call, recorded.id)
            refused = await self._judge_again(call)
        else:
            refused = await self._admit_and_record(call)
        if refused is not None:
            yield refused
            return
        with within_turn(turn, call, self._clock):
            async with self._passing(LivePassage(call, act)) as passage:
                yield passage

    async def send(self, attempt: Attempt, agent: AgentId, message: Message) -> Refused | Delivery:
        """Admit a message for an agent, make it durable, wake the agent.

        Raises:
            NotFoundError: no such agent or task, or it is not the caller's.
            StateError: the task has ended or is at work.

        """
        turn = self._turns.running(attempt.principal.turn)
        call = self._calls.make(attempt, turn)
        recorded = self._recorded(call, turn)
        if isinstance(recorded, Refused):
            return recorded
        if recorded is not None and recorded.task is not None:
            return await self._delivery_of(attempt.principal, recorded.task)
        if await self._supervisor.find(agent) is None:
            raise NotFoundError(f"There is no agent {agent!r}.", fix="See `hive ps`.")
        if message.task_id is None:
            return await self._open(call, agent, message, turn)
        with one_at_a_time(self._continuing, message.task_id):
            task = await self._waiting_task(attempt.principal, agent, message.task_id)
            return await self._resume(call, task, message, turn)

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

    def _recorded(self, call: Call, turn: RunningTurn | None) -> RecordedCall | Refused | None:
        if turn is None or turn.rerun is None or turn.parked:
            return None
        match turn.rerun.match(call):
            case Parked(call=parked_call, reason=reason):
                turn.parked, turn.parked_call = reason, parked_call
                return Refused(check="parked", reason=reason)
            case found:
                return found

    def _judge(self, call: Call) -> Decision:
        with self._tracer.start(ADMIT, parent=call.trace):
            return self._admission.admit(call)

    async def _judge_again(self, call: Call) -> Refused | None:
        refused = self._admission.admit_again(call)
        if refused is not None:
            await self._refuse(call, refused)
        return refused

    async def _admit_and_record(self, call: Call) -> Refused | None:
        decision = self._judge(call)
        if isinstance(decision, Refused):
            await self._refuse(call, decision)
            return decision
        return await self._write(call, decision, (), call.task)

    async def _write(
        self,
        call: Call,
        admitted: Admitted,
        moves: tuple[TaskMove, ...],
        task: TaskId | None,
        *,
        then: Callable[[], None] | None = None,
    ) -> Refused | None:
        agent = call.target if moves else (call.principal.agent or "")
        try:
            with self._tracer.start(RECORD_INTENT, parent=call.trace):
                await self._writer.append(
                    intent(call, admitted, agent=agent, task=task, moves=moves), then=then
                )
        except (EngineError, LedgerError) as error:
            self._admission.give_back(admitted)
            return Refused(check="ledger", reason=error.what, detail=str(error), retry_after_s=1.0)
        except BaseException:
            self._admission.give_back(admitted)
            raise
        return None

    async def _refuse(self, call: Call, refused: Refused) -> None:
        if not self._refusals.admit(str(call.principal), refused.check):
            return
        try:
            await self._writer.append(refusal(call, refused, agent=call.principal.agent or ""))
        except HiveError:
            self._refusals.count(str(call.principal), refused.check)

    @asynccontextmanager
    async def _passing(self, passage: LivePassage) -> AsyncIterator[LivePassage]:
        note = ""
        try:
            yield passage
        except Exception as error:
            passage.settle(Outcome.FAILED, cost=passage.cost)
            note = plain_text(f"{type(error).__name__}: {error}")
            raise
        finally:
            call = passage.call
            draft = result(
                call,
                passage.outcome,
                clock=self._clock,
                agent=call.principal.agent or "",
                task=call.task,
                frames=passage.kept,
                cost=passage.cost,
                note=note,
            )
            with anyio.CancelScope(shield=True):
                await append_patiently(self._writer, draft, timeout_s=RESULT_TIMEOUT_S)

    async def _open(
        self, call: Call, agent: AgentId, message: Message, turn: RunningTurn | None
    ) -> Refused | Delivery:
        decision = self._judge(call)
        if isinstance(decision, Refused):
            await self._refuse(call, decision)
            return decision
        task_id = TaskId(new_id(self._clock, self._randomness))
        opens_context = message.context_id is None
        context = message.context_id or ContextId(new_id(self._clock, self._randomness))
        message = replace(message, task_id=task_id, context_id=context)
        task = Task(
            id=task_id,
            context_id=context,
            agent=agent,
            owner=call.principal.owner,
            caller=str(call.principal),
            call=call.id,
            state=TaskState.SUBMITTED,
            created_at=call.at,
            updated_at=call.at,
            history=(message,),
        )
        return await self._accept(
            call, decision, (task,), task, message, turn, opens_context=opens_context
        )

    async def _resume(
        self, call: Call, task: Task, message: Message, turn: RunningTurn | None
    ) -> Refused | Delivery:
        decision = self._judge(call)
        if isinstance(decision, Refused):
            await self._refuse(call, decision)
            return decision
        message = replace(message, context_id=task.context_id)
        asked = [] if task.status_message is None else [task.status_message]
        history = (*task.history, *asked, message)
        moved = replace(
            task,
            call=call.id,
            state=TaskState.SUBMITTED,
            history=history,
            status_message=None,
            updated_at=call.at,
        )
        moves: list[TaskMove] = [
            MessageAdded(message=one, task_id=task.id, context_id=task.context_id)
            for one in (*asked, message)
        ]
        moves.append(
            StatusChanged(
                task_id=task.id,
                context_id=task.context_id,
                state=TaskState.SUBMITTED,
                at=call.at,
            )
        )
        await self._supervisor.recount(task.id)
        return await self._accept(call, decision, tuple(moves), moved, message, turn)

    async def _accept(
        self,
        call: Call,
        admitted: Admitted,
        moves: tuple[TaskMove, ...],
        task: Task,
        message: Message,
        turn: RunningTurn | None,
        *,
        opens_context: bool = False,
    ) -> Refused | Delivery:
        """Wake the agent in the moment the message is durable, even if the caller has left by then."""
        woken: list[Delivery] = []

        def wake() -> None:
            woken.append(self._wake(call, task, message, turn, opens_context=opens_context))

        refused = await self._write(call, admitted, moves, task.id, then=wake)
        return refused or woken[0]

    def _wake(
        self,
        call: Call,
        task: Task,
        message: Message,
        turn: RunningTurn | None,
        *,
        opens_context: bool = False,
    ) -> Delivery:
        live = self._feed.open(task)
        self._supervisor.enqueue(
            TurnJob(
                call=call,
                agent=task.agent,
                owner=task.owner,
                task=task.id,
                context=task.context_id,
                message=message,
                opens_context=opens_context,
                ancestors=() if turn is None else (*turn.ancestors, turn.agent),
            )
        )
        return TaskDelivery(live)

    async def _waiting_task(self, principal: Principal, agent: AgentId, task_id: TaskId) -> Task:
        task = await self._desk.get(principal, task_id)
        if task.agent != agent:
            raise NotFoundError(f"There is no task {task_id!r} with this agent.")
        if task.state is TaskState.AUTH_REQUIRED:
            raise StateError(
                "The task is parked, so it takes no message.",
                why="An effect may have happened already; only its operator lets it go on.",
                fix="An operator decides with `hive parked`.",
            )
        if not task.state.interrupted:
            raise StateError(
                f"The task is {task.state.value}, so it takes no message now.",
                why="It has ended." if task.state.terminal else "Its agent is at work.",
                fix="Send the message without the task's id.",
            )
        return task

    async def _delivery_of(self, principal: Principal, task_id: TaskId) -> Delivery:
        return TaskDelivery(await self._desk.live(principal, task_id))
