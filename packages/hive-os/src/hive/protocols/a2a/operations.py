"""What each method of the standard does, in the words of the kernel's gate; every binding ends here.

Nothing is decided here but what belongs to the standard: whether to wait, how much history to show, that
a task is looked for under the agent it was sent to. Who may do what is the gate's to say.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import msgspec
from a2a.types import a2a_pb2

from hive.core.call import EffectClass, Refused, Verb
from hive.core.errors import HiveError, NotFoundError
from hive.core.ids import ContextId, TaskId
from hive.core.task import Message, Task, TaskEvent
from hive.kernel.ports import Attempt, Delivery, Gate, TaskPage, TaskQuery
from hive.protocols.a2a.admit import admit_history, admit_tenant, to_id
from hive.protocols.a2a.caller import Caller, admit_known
from hive.protocols.a2a.card import NODE
from hive.protocols.a2a.convert import (
    STATE_NUMBERED,
    identity_of,
    to_message,
    to_moment,
    to_push,
)
from hive.protocols.a2a.errors import fault_of, refused
from hive.protocols.a2a.push import PushConfigs, WirePushConfig
from hive_a2a.faults import NOT_CANCELABLE, UNSUPPORTED, invalid

PAGE_MAX: Final = 100
PAGE_DEFAULT: Final = 50
WAIT_MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """The methods of A2A on a gate. Every method raises `WireFault` for any other answer."""

    gate: Gate
    push: PushConfigs
    directory: Callable[[Caller, Message], Message]

    async def send(self, caller: Caller, params: a2a_pb2.SendMessageRequest) -> Task | Message:
        """Send a message; wait until the task settles, unless the client does not want to."""
        if caller.agent == NODE:
            return self._ask_node(caller, params)
        delivery = await self._deliver(caller, params)
        if params.configuration.return_immediately:
            return delivery.task
        with anyio.move_on_after(WAIT_MAX_S):
            try:
                return await delivery.settled()
            except HiveError as error:
                raise fault_of(error) from error
        return await self._task(caller, delivery.task.id)

    async def stream(
        self, caller: Caller, params: a2a_pb2.SendMessageRequest
    ) -> AsyncGenerator[TaskEvent | Message]:
        """Send a message; return the events of its task. The message is durable by then."""
        if caller.agent == NODE:
            return _only(self._ask_node(caller, params))
        return _events(await self._deliver(caller, params))

    async def get(
        self,
        caller: Caller,
        params: a2a_pb2.GetTaskRequest | a2a_pb2.CancelTaskRequest | a2a_pb2.SubscribeToTaskRequest,
    ) -> Task:
        """Return one task."""
        admit_known(caller.bearer)
        admit_tenant(params.tenant, caller.agent)
        if isinstance(params, a2a_pb2.GetTaskRequest):
            admit_history(history_of(params))
        return await self._task(caller, TaskId(to_id(params.id, "task id")))

    async def list(self, caller: Caller, params: a2a_pb2.ListTasksRequest) -> tuple[TaskPage, int]:
        """Return one page of the caller's tasks with this agent, and the size of a full page."""
        admit_known(caller.bearer)
        admit_tenant(params.tenant, caller.agent)
        admit_history(history_of(params))
        size = params.page_size if params.HasField("page_size") else PAGE_DEFAULT
        if not 1 <= size <= PAGE_MAX:
            raise invalid(f"pageSize is 1 to {PAGE_MAX}.")
        state = None
        if params.status:
            state = STATE_NUMBERED.get(params.status)
            if state is None:
                raise invalid("status is not a state of the standard.")
        since = params.status_timestamp_after if params.HasField("status_timestamp_after") else None
        query = TaskQuery(
            context_id=ContextId(to_id(params.context_id, "context id"))
            if params.context_id
            else None,
            state=state,
            agent=caller.agent,
            changed_after=to_moment(since) if since is not None else None,
            limit=size,
            cursor=params.page_token,
        )
        try:
            return await self.gate.tasks(caller.principal, query), size
        except HiveError as error:
            raise fault_of(error) from error

    async def cancel(self, caller: Caller, params: a2a_pb2.CancelTaskRequest) -> Task:
        """Cancel a task and return it as it then stands."""
        task = await self.get(caller, params)
        try:
            return await self.gate.cancel(caller.principal, task.id)
        except HiveError as error:
            raise fault_of(error, state=NOT_CANCELABLE) from error

    @asynccontextmanager
    async def subscribe(
        self, caller: Caller, params: a2a_pb2.SubscribeToTaskRequest
    ) -> AsyncIterator[AsyncIterator[TaskEvent]]:
        """Follow a task that has not ended."""
        task = await self.get(caller, params)
        try:
            async with self.gate.follow(caller.principal, task.id) as events:
                try:
                    yield events
                finally:
                    await _close(events)
        except HiveError as error:
            raise fault_of(error, state=UNSUPPORTED) from error

    def _ask_node(self, caller: Caller, params: a2a_pb2.SendMessageRequest) -> Message:
        admit_tenant(params.tenant, caller.agent)
        message = to_message(params.message)
        if message.task_id is not None:
            raise fault_of(NotFoundError("The node itself has no tasks."))
        return self.directory(caller, message)

    async def _deliver(self, caller: Caller, params: a2a_pb2.SendMessageRequest) -> Delivery:
        admit_tenant(params.tenant, caller.agent)
        message = to_message(params.message)
        admit_history(history_of(params.configuration))
        if message.task_id is not None:
            admit_known(caller.bearer)
            await self._task(caller, message.task_id)
        config = await self._asked_push(caller, params)
        try:
            answer = await self.gate.send(_attempt(caller, message), caller.agent, message)
        except HiveError as error:
            raise fault_of(error) from error
        if isinstance(answer, Refused):
            raise refused(answer)
        if config is not None:
            task = answer.task
            changed = msgspec.structs.replace(config, task_id=task.id)
            await self.push.keep(caller.principal, task, changed)
            latest = await self._task(caller, task.id)
            if latest.state is not task.state:
                self.push.on_late(latest)
        return answer

    async def _asked_push(
        self, caller: Caller, params: a2a_pb2.SendMessageRequest
    ) -> WirePushConfig | None:
        if not params.configuration.HasField("task_push_notification_config"):
            return None
        config = to_push(params.configuration.task_push_notification_config)
        admit_known(caller.bearer)
        await self.push.admit(config)
        return config

    async def _task(self, caller: Caller, task_id: TaskId) -> Task:
        try:
            task = await self.gate.task(caller.principal, task_id)
        except HiveError as error:
            raise fault_of(error) from error
        if task.agent != caller.agent:
            raise fault_of(NotFoundError("The task is another agent's."))
        return task

    async def task_of(self, caller: Caller, task_id: str, tenant: str) -> Task:
        """Return a task whose push configurations the caller may touch."""
        admit_tenant(tenant, caller.agent)
        admit_known(caller.bearer)
        return await self._task(caller, TaskId(to_id(task_id, "task id")))


def history_of(
    params: a2a_pb2.GetTaskRequest | a2a_pb2.ListTasksRequest | a2a_pb2.SendMessageConfiguration,
) -> int | None:
    """Return how many messages of history are asked for; None where nothing is said."""
    return params.history_length if params.HasField("history_length") else None


async def _only(message: Message) -> AsyncGenerator[TaskEvent | Message]:
    yield message


async def _events(delivery: Delivery) -> AsyncGenerator[TaskEvent | Message]:
    events = delivery.events()
    try:
        async for event in events:
            yield event
    except HiveError as error:
        raise fault_of(error) from error
    finally:
        await _close(events)


async def _close(events: AsyncIterator[TaskEvent]) -> None:
    """Close a generator now, so that the kernel stops telling a client that has left."""
    if isinstance(events, AsyncGenerator):
        await events.aclose()


def _attempt(caller: Caller, message: Message) -> Attempt:
    size_of_text = sum(len(part.text) for part in message.parts if part.text is not None)
    return Attempt(
        principal=caller.principal,
        verb=Verb.SEND,
        target=caller.agent,
        effect=EffectClass.IDEMPOTENT,
        arguments=identity_of(message),
        size_bytes=caller.size_bytes,
        timeout_s=WAIT_MAX_S,
        traceparent=caller.traceparent,
        facts={"parts": len(message.parts), "text_chars": size_of_text},
        warrant=caller.warrant,
    )
