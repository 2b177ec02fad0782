"""A message for an agent: admitted, durable, and in that moment its agent is woken."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from hive.core.call import Admitted, Call, Principal, Refused
from hive.core.clock import Clock
from hive.core.errors import NotFoundError, StateError
from hive.core.ids import AgentId, ContextId, TaskId, new_id
from hive.core.randomness import Randomness
from hive.core.task import (
    Message,
    MessageAdded,
    StatusChanged,
    Task,
    TaskMove,
    TaskState,
)
from hive.kernel.delivery import TaskDelivery, one_at_a_time
from hive.kernel.desk import TaskDesk
from hive.kernel.entrance import Entrance
from hive.kernel.feed import TaskFeed
from hive.kernel.flows import Flows
from hive.kernel.jobs import TurnJob
from hive.kernel.letters import noted, redacted, regulated
from hive.kernel.playback import Playback
from hive.kernel.ports import Attempt, Delivery
from hive.kernel.scans import redactions_of
from hive.kernel.supervisor import Supervisor
from hive.kernel.turns import RunningTurn
from hive.kernel.warrants import TaskWarrants
from hive.security.capability import Warrant


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """One message on its way; `playback` serves the beginning of its turn from another run's record.

    `goes_on` says that its task is older. `warrant` is that of whoever sends, then that of the turn it opens.
    """

    call: Call
    arguments: bytes
    message: Message
    turn: RunningTurn | None
    playback: Playback | None
    opens_context: bool = False
    goes_on: bool = False
    warrant: Warrant | None = None


class MessageSender:
    """Sends messages to agents."""

    def __init__(
        self,
        *,
        entrance: Entrance,
        supervisor: Supervisor,
        feed: TaskFeed,
        desk: TaskDesk,
        clock: Clock,
        randomness: Randomness,
        warrants: TaskWarrants,
        flows: Flows,
        before: Callable[[Task], Awaitable[Warrant | None]],
    ) -> None:
        self._entrance = entrance
        self._warrants = warrants
        self._flows = flows
        self._before = before
        self._supervisor = supervisor
        self._feed = feed
        self._desk = desk
        self._clock = clock
        self._randomness = randomness
        self._continuing: set[TaskId] = set()

    def show(self, warrant: Warrant | None) -> None:
        """Keep a warrant that a caller from elsewhere showed, for its call to be judged by."""
        self._warrants.show(warrant)

    async def send(
        self,
        attempt: Attempt,
        agent: AgentId,
        message: Message,
        *,
        turn: RunningTurn | None,
        playback: Playback | None = None,
    ) -> Refused | Delivery:
        """Admit a message for an agent, make it durable, wake the agent.

        Raises:
            NotFoundError: no such agent or task, or it is not the caller's.
            StateError: the task has ended or is at work.

        """
        self._warrants.show(attempt.warrant)
        attempt = noted(attempt, message)
        call = self._entrance.make(attempt, turn)
        recorded = self._entrance.recorded(call, turn, attempt.arguments)
        if isinstance(recorded, Refused):
            return recorded
        if recorded is not None and recorded.task is not None:
            live = await self._desk.live(attempt.principal, recorded.task)
            self._flows.hear_again(live.task, turn)
            return TaskDelivery(live)
        if await self._supervisor.find(agent) is None:
            raise NotFoundError(f"There is no agent {agent!r}.", fix="See `hive ps`.")
        letter = regulated(attempt, call, message)
        if isinstance(letter, Refused):
            await self._entrance.refuse(call, letter, attempt.arguments)
            return letter
        message = letter
        sending = _Sending(
            call=call,
            arguments=attempt.arguments,
            message=message,
            turn=turn,
            playback=playback,
            opens_context=message.context_id is None,
            warrant=attempt.warrant if turn is None else turn.warrant,
        )
        if message.task_id is None:
            return await self._open(sending, agent)
        with one_at_a_time(self._continuing, message.task_id):
            task = await self._waiting_task(attempt.principal, agent, message.task_id)
            return await self._resume(replace(sending, opens_context=False, goes_on=True), task)

    async def _open(self, sending: _Sending, agent: AgentId) -> Refused | Delivery:
        call = sending.call
        decision = await self._entrance.admit(call, sending.arguments)
        if isinstance(decision, Refused):
            return decision
        task_id = TaskId(new_id(self._clock, self._randomness))
        context = sending.message.context_id or ContextId(new_id(self._clock, self._randomness))
        told = redacted(sending.message, redactions_of(decision.obligations))
        message = replace(told, task_id=task_id, context_id=context)
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
        return await self._accept(replace(sending, message=message), decision, (task,), task)

    async def _resume(self, sending: _Sending, task: Task) -> Refused | Delivery:
        call = sending.call
        decision = await self._entrance.admit(call, sending.arguments)
        if isinstance(decision, Refused):
            return decision
        try:
            # A person may have thought for a while: what was canceled meanwhile stays so.
            task = await self._waiting_task(call.principal, task.agent, task.id)
        except (NotFoundError, StateError) as error:
            no = Refused(check="task", reason=error.what)
            await self._entrance.take_back(call, decision, no, sending.arguments)
            raise
        told = redacted(sending.message, redactions_of(decision.obligations))
        message = replace(told, context_id=task.context_id)
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
        return await self._accept(replace(sending, message=message), decision, tuple(moves), moved)

    async def _accept(
        self, sending: _Sending, admitted: Admitted, moves: tuple[TaskMove, ...], task: Task
    ) -> Refused | Delivery:
        """Wake the agent in the moment the message is durable, even if the caller has left by then."""
        warrant = await self._warranted(sending, task)
        if isinstance(warrant, Refused):
            await self._entrance.take_back(sending.call, admitted, warrant, sending.arguments)
            return warrant
        sending = replace(sending, warrant=warrant)
        woken: list[Delivery] = []

        def wake() -> None:
            woken.append(self._wake(sending, task))

        refused = await self._entrance.write(
            sending.call,
            admitted,
            moves,
            task.id,
            arguments=sending.arguments,
            then=wake,
            warrant=warrant,
        )
        return refused or woken[0]

    async def _warranted(self, sending: _Sending, task: Task) -> Warrant | Refused:
        """Return the warrant of the turn that begins: what its caller may hand on, and what the agent may."""
        view = self._supervisor.get(task.agent)
        if view is None:
            raise NotFoundError(f"There is no agent {task.agent!r}.", fix="See `hive ps`.")
        return self._warrants.open(
            view.grant,
            sending.warrant,
            agent=task.agent,
            task=task.id,
            before=await self._before(task) if sending.goes_on else None,
        )

    def _wake(self, sending: _Sending, task: Task) -> Delivery:
        live = self._feed.open(task)
        turn = sending.turn
        self._supervisor.enqueue(
            TurnJob(
                call=sending.call,
                agent=task.agent,
                owner=task.owner,
                task=task.id,
                context=task.context_id,
                message=sending.message,
                opens_context=sending.opens_context,
                ancestors=() if turn is None else (*turn.ancestors, turn.agent),
                ancestor_tasks=() if turn is None else (*turn.ancestor_tasks, turn.task),
                playback=sending.playback,
                warrant=sending.warrant,
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
