"""The official `RequestHandler` on our operations: what every binding of the SDK's endpoint ends in.

The SDK has read, identified and checked the wire before; what is raised here as `WireFault` it says in the
words of the binding. Import this module lazily: the official server parts cost more than the rest of the door.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2

from hive.core.task import Message
from hive.protocols.a2a.admit import admit_tenant
from hive.protocols.a2a.caller import Caller
from hive.protocols.a2a.convert import (
    SdkEvent,
    from_event,
    from_message,
    from_push,
    from_task,
    to_push,
)
from hive.protocols.a2a.operations import Operations, history_of
from hive_a2a.call import CALL_KEY, WireCall

Callers = Callable[[WireCall], Caller]
"""Who calls which agent: what the door found out about a call before it was read."""


class HiveRequestHandler(RequestHandler):
    """The methods of A2A, for all agents."""

    def __init__(
        self, operations: Operations, callers: Callers, card: Callable[[Caller], a2a_pb2.AgentCard]
    ) -> None:
        self._operations = operations
        self._callers = callers
        self._card = card

    async def on_message_send(
        self, params: a2a_pb2.SendMessageRequest, context: ServerCallContext
    ) -> a2a_pb2.Task | a2a_pb2.Message:
        """Send a message and wait."""
        answer = await self._operations.send(self._caller(context), params)
        if isinstance(answer, Message):
            return from_message(answer)
        return from_task(answer, history_length=history_of(params.configuration))

    async def on_message_send_stream(
        self, params: a2a_pb2.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[SdkEvent]:
        """Send a message and follow its task."""
        events = await self._operations.stream(self._caller(context), params)
        history = history_of(params.configuration)
        async with aclosing(events):
            async for event in events:
                yield from_event(event, history_length=history)

    async def on_get_task(
        self, params: a2a_pb2.GetTaskRequest, context: ServerCallContext
    ) -> a2a_pb2.Task:
        """Return a task."""
        task = await self._operations.get(self._caller(context), params)
        return from_task(task, history_length=history_of(params))

    async def on_list_tasks(
        self, params: a2a_pb2.ListTasksRequest, context: ServerCallContext
    ) -> a2a_pb2.ListTasksResponse:
        """Return one page of tasks."""
        page, size = await self._operations.list(self._caller(context), params)
        history = history_of(params)
        tasks = [
            from_task(task, history_length=history, artifacts=params.include_artifacts)
            for task in page.tasks
        ]
        return a2a_pb2.ListTasksResponse(
            tasks=tasks, total_size=page.total, page_size=size, next_page_token=page.next_cursor
        )

    async def on_cancel_task(
        self, params: a2a_pb2.CancelTaskRequest, context: ServerCallContext
    ) -> a2a_pb2.Task:
        """Cancel a task."""
        return from_task(await self._operations.cancel(self._caller(context), params))

    async def on_subscribe_to_task(
        self, params: a2a_pb2.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[SdkEvent]:
        """Follow a task."""
        async with self._operations.subscribe(self._caller(context), params) as events:
            async for event in events:
                yield from_event(event)

    async def on_create_task_push_notification_config(
        self, params: a2a_pb2.TaskPushNotificationConfig, context: ServerCallContext
    ) -> a2a_pb2.TaskPushNotificationConfig:
        """Keep where a client wants to hear of a task."""
        caller = self._caller(context)
        task = await self._operations.task_of(caller, params.task_id, params.tenant)
        config = to_push(params)
        await self._operations.push.admit(config)
        return from_push(await self._operations.push.keep(caller.principal, task, config))

    async def on_get_task_push_notification_config(
        self, params: a2a_pb2.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> a2a_pb2.TaskPushNotificationConfig:
        """Return one push configuration."""
        caller = self._caller(context)
        task = await self._operations.task_of(caller, params.task_id, params.tenant)
        return from_push(await self._operations.push.one(task.id, params.id))

    async def on_list_task_push_notification_configs(
        self, params: a2a_pb2.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> a2a_pb2.ListTaskPushNotificationConfigsResponse:
        """Return the push configurations of a task."""
        caller = self._caller(context)
        task = await self._operations.task_of(caller, params.task_id, params.tenant)
        found = await self._operations.push.of_task(task.id)
        return a2a_pb2.ListTaskPushNotificationConfigsResponse(configs=map(from_push, found))

    async def on_delete_task_push_notification_config(
        self, params: a2a_pb2.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Forget a push configuration."""
        caller = self._caller(context)
        task = await self._operations.task_of(caller, params.task_id, params.tenant)
        await self._operations.push.remove(task.id, params.id)

    async def on_get_extended_agent_card(
        self, params: a2a_pb2.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> a2a_pb2.AgentCard:
        """Return the card that a caller with a token may see."""
        caller = self._caller(context)
        admit_tenant(params.tenant, caller.agent)
        return self._card(caller)

    def _caller(self, context: ServerCallContext) -> Caller:
        return self._callers(cast("WireCall", context.state[CALL_KEY]))
