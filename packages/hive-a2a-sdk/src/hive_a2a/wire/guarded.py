"""The one way into a handler: whatever the binding, a call passes here, and through the chain.

`GuardedHandler` is an official `RequestHandler`, so the official routes and the official gRPC service can
stand in front of it as well as our own: none of them reaches the handler behind it another way.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, TypeVar

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError as OfficialError

from hive_a2a.call import CALL_KEY, Proto, RequestHead, WireCall
from hive_a2a.faults import EXTENSION, INTERNAL, UNAUTHENTICATED, WireFault, invalid, official_error
from hive_a2a.policy import Strangers
from hive_a2a.ports import CallChain, RefusalLog, Stage
from hive_a2a.wire.authenticate import unauthenticated
from hive_a2a.wire.request import REQUEST_KEY, WireRequest

log: Final = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")
TenantOf = Callable[[RequestHead, str], str]
"""Says for which tenant a request is that names this one (maybe none); raises `WireFault` for none such."""

SKILL_KEY: Final = "skillId"
_STAGE_OF: Final = {UNAUTHENTICATED: Stage.AUTHENTICATION, EXTENSION: Stage.EXTENSIONS}
_SENDING: Final = frozenset({"SendMessage", "SendStreamingMessage"})


class OpenChain:
    """The chain that lets everything pass."""

    async def unary(self, call: WireCall, run: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Answer the call."""
        return await run()

    def stream(
        self, call: WireCall, run: Callable[[], AsyncGenerator[Proto]]
    ) -> AsyncGenerator[Proto]:
        """Answer the call with its events."""
        return run()


def any_tenant(_head: RequestHead, named: str) -> str:
    """Take the tenant that a request names as it is."""
    return named


class GuardedHandler(RequestHandler):
    """A handler behind a chain. `declared` are the extensions that the agent's card declares."""

    def __init__(
        self,
        handler: RequestHandler,
        *,
        chain: CallChain | None = None,
        strangers: Strangers = Strangers.REFUSED,
        tenant_of: TenantOf = any_tenant,
        declared: frozenset[str] = frozenset(),
        refusal_log: RefusalLog | None = None,
    ) -> None:
        self._handler = handler
        self._refusals = refusal_log
        self._chain: CallChain = chain or OpenChain()
        self._strangers = strangers
        self._tenant_of = tenant_of
        self._declared = declared

    async def on_message_send(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> pb.Task | pb.Message:
        """Send a message and wait."""
        return await self._unary("SendMessage", params, context, self._handler.on_message_send)

    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Any]:
        """Send a message and follow its task."""
        events = self._stream(
            "SendStreamingMessage", params, context, self._handler.on_message_send_stream
        )
        async with aclosing(events):
            async for event in events:
                yield event

    async def on_get_task(
        self, params: pb.GetTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """Return a task."""
        return await self._unary("GetTask", params, context, self._handler.on_get_task)

    async def on_list_tasks(
        self, params: pb.ListTasksRequest, context: ServerCallContext
    ) -> pb.ListTasksResponse:
        """Return one page of tasks."""
        return await self._unary("ListTasks", params, context, self._handler.on_list_tasks)

    async def on_cancel_task(
        self, params: pb.CancelTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """Cancel a task."""
        return await self._unary("CancelTask", params, context, self._handler.on_cancel_task)

    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Any]:
        """Follow a task."""
        events = self._stream(
            "SubscribeToTask", params, context, self._handler.on_subscribe_to_task
        )
        async with aclosing(events):
            async for event in events:
                yield event

    async def on_create_task_push_notification_config(
        self, params: pb.TaskPushNotificationConfig, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        """Keep where a client wants to hear of a task."""
        return await self._unary(
            "CreateTaskPushNotificationConfig",
            params,
            context,
            self._handler.on_create_task_push_notification_config,
        )

    async def on_get_task_push_notification_config(
        self, params: pb.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        """Return one push configuration."""
        return await self._unary(
            "GetTaskPushNotificationConfig",
            params,
            context,
            self._handler.on_get_task_push_notification_config,
        )

    async def on_list_task_push_notification_configs(
        self, params: pb.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        """Return the push configurations of a task."""
        return await self._unary(
            "ListTaskPushNotificationConfigs",
            params,
            context,
            self._handler.on_list_task_push_notification_configs,
        )

    async def on_delete_task_push_notification_config(
        self, params: pb.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Forget a push configuration."""
        await self._unary(
            "DeleteTaskPushNotificationConfig",
            params,
            context,
            self._handler.on_delete_task_push_notification_config,
        )

    async def on_get_extended_agent_card(
        self, params: pb.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> pb.AgentCard:
        """Return the card that this caller may see."""
        return await self._unary(
            "GetExtendedAgentCard", params, context, self._handler.on_get_extended_agent_card
        )

    async def _unary(
        self,
        method: str,
        params: Proto,
        context: ServerCallContext,
        answer: Callable[[Any, ServerCallContext], Awaitable[ResultT]],
    ) -> ResultT:
        try:
            call = self._admit(method, params, context)
            return await self._chain.unary(call, lambda: answer(params, context))
        except OfficialError:
            raise
        except Exception as error:
            raise _told(error, context) from error

    async def _stream(
        self,
        method: str,
        params: Proto,
        context: ServerCallContext,
        answer: Callable[[Any, ServerCallContext], AsyncGenerator[Any]],
    ) -> AsyncGenerator[Any]:
        try:
            call = self._admit(method, params, context)
            events = self._chain.stream(call, lambda: answer(params, context))
            async with aclosing(events):
                async for event in events:
                    yield event
        except OfficialError:
            raise
        except Exception as error:
            raise _told(error, context) from error

    def _admit(self, method: str, params: Proto, context: ServerCallContext) -> WireCall:
        request = context.state.get(REQUEST_KEY)
        if not isinstance(request, WireRequest):
            # A transport that did not ask who calls; nothing may pass it.
            raise WireFault(INTERNAL, "This way into the agent is closed.")
        try:
            return self._call(method, params, context, request)
        except WireFault as fault:
            # There is no call yet that the chain could record.
            if self._refusals is not None:
                stage = _STAGE_OF.get(fault.kind, Stage.LIMITS)
                self._refusals.refused(request.head, stage, fault.message)
            raise

    def _call(
        self, method: str, params: Proto, context: ServerCallContext, request: WireRequest
    ) -> WireCall:
        if not request.caller.known and self._strangers is not Strangers.SHARED:
            _admit_stranger(method, params, self._strangers)
        tenant = self._tenant(params, context, request)
        sending = method in _SENDING
        if sending and params.message.extensions:
            self._admit_extensions(params.message.extensions, request.extensions)
        call = WireCall(
            binding=request.head.binding,
            method=method,
            version=request.version,
            head=request.head,
            caller=request.caller,
            params=params,
            tenant=tenant,
            extensions=request.extensions,
            body_bytes=request.body_bytes,
            skill=_skill_of(params) if sending else "",
        )
        if context.tenant != tenant:  # pydantic makes every assignment dear
            context.tenant = tenant
        context.state[CALL_KEY] = call
        return call

    def _tenant(self, params: Proto, context: ServerCallContext, request: WireRequest) -> str:
        path, said = context.tenant or "", params.tenant
        if path and said and path != said:
            raise invalid("The path and the body name different tenants.")
        return self._tenant_of(request.head, said or path)

    def _admit_extensions(self, listed: Iterable[str], activated: frozenset[str]) -> None:
        missing = sorted((self._declared & set(listed)) - activated)
        if missing:
            raise WireFault(
                EXTENSION,
                "The message uses an extension that the request does not activate.",
                metadata={"missing": ", ".join(missing)},
            )


def _admit_stranger(method: str, params: Proto, strangers: Strangers) -> None:
    if strangers is Strangers.REFUSED or method not in _SENDING:
        raise unauthenticated()
    message = params.message
    if message.task_id or message.reference_task_ids:
        raise unauthenticated("Tasks are for known callers; begin a new one.")
    if params.configuration.HasField("task_push_notification_config"):
        raise unauthenticated("Push notifications are for known callers.")


def _skill_of(params: Proto) -> str:
    found = ""
    for holder in (params.message, params):
        if not holder.HasField("metadata"):
            continue
        fields = holder.metadata.fields
        if SKILL_KEY not in fields:
            continue
        skill: str = fields[SKILL_KEY].string_value
        if not skill:
            raise invalid("The skill id in the metadata is not a name.")
        if found and skill != found:
            raise invalid("The message and the request name different skills.")
        found = skill
    return found


def _told(error: Exception, context: ServerCallContext) -> OfficialError:
    """Return what is told of an error; of one that nobody foresaw, nothing."""
    if isinstance(error, WireFault):
        fault = error
    else:
        log.error("a2a.handler_crashed", exc_info=error)
        fault = WireFault(INTERNAL, "The agent could not do that now.", detail=repr(type(error)))
    request = context.state.get(REQUEST_KEY)
    if isinstance(request, WireRequest):
        request.fault = fault
    return official_error(fault)
