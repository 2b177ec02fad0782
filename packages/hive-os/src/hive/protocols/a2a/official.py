"""The official SDK's dispatchers on top of our operations: REST, protocol 0.3, and rare JSON forms.

`HiveRequestHandler` is the official `RequestHandler` interface; protobuf ends here. What goes in is
turned into the same wire values as on the short path of `routes`, so there is one conversion and one
behaviour. Import this module lazily: the official server parts cost more than the rest of the door.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar, cast

import msgspec
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.routes.common import ServerCallContextBuilder
from a2a.types import a2a_pb2
from a2a.utils import errors as sdk
from a2a.utils.proto_utils import validate_proto_required_fields
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message as Proto
from starlette.requests import Request

from hive.core.json import Json
from hive.core.task import Message, Task, TaskEvent
from hive.protocols.a2a.convert import from_event, from_message, from_task, to_id
from hive.protocols.a2a.operations import Caller, Operations, admit_tenant
from hive.protocols.a2a.wire import ListParams, SendParams, TaskParams, WirePushConfig
from hive_a2a.faults import WireFault
from hive_a2a.server import AsgiApp, official_routes

log: Final = logging.getLogger(__name__)
CALLER_KEY: Final = "hive.caller"
FAULT_KEY: Final = "hive.fault"
ProtoT = TypeVar("ProtoT", bound=Proto)
WireT = TypeVar("WireT")
ResultT = TypeVar("ResultT")
SdkEvent = (
    a2a_pb2.Task | a2a_pb2.Message | a2a_pb2.TaskStatusUpdateEvent | a2a_pb2.TaskArtifactUpdateEvent
)
_SDK_ERRORS: Final[dict[int, type[sdk.A2AError]]] = {
    code: kind for kind, code in sdk.JSON_RPC_ERROR_CODE_MAP.items()
}


class SpokenFault(sdk.InternalError):
    """A fault that the SDK has no word for; the door says it instead."""

    def __init__(self, fault: WireFault) -> None:
        super().__init__(message=fault.message)
        self.fault = fault


class CallerContextBuilder(ServerCallContextBuilder):
    """Hands the caller, whom the door has identified, to the handler."""

    def build(self, request: Request) -> ServerCallContext:
        """Build the official context of a request."""
        caller = cast("Caller", request.scope[CALLER_KEY])
        return ServerCallContext(
            state={
                "headers": dict(request.headers),
                CALLER_KEY: lambda _tenant: caller,
                FAULT_KEY: request.scope[FAULT_KEY],
            }
        )


class HiveRequestHandler(RequestHandler):
    """The official interface on our operations."""

    def __init__(self, operations: Operations, card: Callable[[Caller], dict[str, Json]]) -> None:
        self._operations = operations
        self._card = card

    async def on_message_send(
        self, params: a2a_pb2.SendMessageRequest, context: ServerCallContext
    ) -> a2a_pb2.Task | a2a_pb2.Message:
        """Send a message and wait."""
        wire = _wire(params, SendParams)
        answer = await _said(context, self._operations.send(_caller(context), wire))
        if isinstance(answer, Message):
            return _proto(from_message(answer), a2a_pb2.Message())
        return _proto(_task(answer, wire), a2a_pb2.Task())

    async def on_message_send_stream(
        self, params: a2a_pb2.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[SdkEvent]:
        """Send a message and follow its task."""
        wire = _wire(params, SendParams)
        events = await _said(context, self._operations.stream(_caller(context), wire))
        async with aclosing(events):
            asked = wire.configuration
            history = asked.history_length if asked is not None else None
            try:
                async for event in events:
                    yield _event(event, history)
            except WireFault as fault:
                raise _official(fault, context) from fault

    async def on_get_task(
        self, params: a2a_pb2.GetTaskRequest, context: ServerCallContext
    ) -> a2a_pb2.Task:
        """Return a task."""
        wire = _wire(params, TaskParams)
        task = await _said(context, self._operations.get(_caller(context), wire))
        return _proto(from_task(task, history_length=wire.history_length), a2a_pb2.Task())

    async def on_list_tasks(
        self, params: a2a_pb2.ListTasksRequest, context: ServerCallContext
    ) -> a2a_pb2.ListTasksResponse:
        """Return one page of tasks."""
        wire = _wire(params, ListParams)
        page, size = await _said(context, self._operations.list(_caller(context), wire))
        tasks: list[Json] = [
            from_task(
                task,
                history_length=wire.history_length,
                artifacts=bool(wire.include_artifacts),
            )
            for task in page.tasks
        ]
        found: dict[str, Json] = {
            "tasks": tasks,
            "totalSize": page.total,
            "pageSize": size,
            "nextPageToken": page.next_cursor,
        }
        return _proto(found, a2a_pb2.ListTasksResponse())

    async def on_cancel_task(
        self, params: a2a_pb2.CancelTaskRequest, context: ServerCallContext
    ) -> a2a_pb2.Task:
        """Cancel a task."""
        wire = _wire(params, TaskParams)
        task = await _said(context, self._operations.cancel(_caller(context), wire))
        return _proto(from_task(task), a2a_pb2.Task())

    async def on_subscribe_to_task(
        self, params: a2a_pb2.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[SdkEvent]:
        """Follow a task."""
        wire = _wire(params, TaskParams)
        try:
            async with self._operations.subscribe(_caller(context), wire) as events:
                async for event in events:
                    yield _event(event, None)
        except WireFault as fault:
            raise _official(fault, context) from fault

    async def on_create_task_push_notification_config(
        self, params: a2a_pb2.TaskPushNotificationConfig, context: ServerCallContext
    ) -> a2a_pb2.TaskPushNotificationConfig:
        """Keep where a client wants to hear of a task."""
        wire = _wire(params, WirePushConfig)
        kept = await _said(context, self._keep(_caller(context), wire))
        return _push(kept)

    async def on_get_task_push_notification_config(
        self, params: a2a_pb2.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> a2a_pb2.TaskPushNotificationConfig:
        """Return one push configuration."""

        caller = _caller(context)

        async def find() -> WirePushConfig:
            task = await self._task(caller, params.task_id, params.tenant)
            return await self._operations.push.one(task.id, params.id)

        return _push(await _said(context, find()))

    async def on_list_task_push_notification_configs(
        self, params: a2a_pb2.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> a2a_pb2.ListTaskPushNotificationConfigsResponse:
        """Return the push configurations of a task."""

        caller = _caller(context)

        async def find() -> tuple[WirePushConfig, ...]:
            task = await self._task(caller, params.task_id, params.tenant)
            return await self._operations.push.of_task(task.id)

        found = await _said(context, find())
        return a2a_pb2.ListTaskPushNotificationConfigsResponse(configs=map(_push, found))

    async def on_delete_task_push_notification_config(
        self, params: a2a_pb2.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Forget a push configuration."""

        caller = _caller(context)

        async def forget() -> None:
            task = await self._task(caller, params.task_id, params.tenant)
            await self._operations.push.remove(task.id, params.id)

        await _said(context, forget())

    async def on_get_extended_agent_card(
        self, params: a2a_pb2.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> a2a_pb2.AgentCard:
        """Return the card that a caller with a token may see."""
        caller = _caller(context)

        async def find() -> dict[str, Json]:
            admit_tenant(params.tenant, caller.agent)
            return self._card(caller)

        return _proto(await _said(context, find()), a2a_pb2.AgentCard())

    async def _keep(self, caller: Caller, wire: WirePushConfig) -> WirePushConfig:
        admit_tenant(wire.tenant, caller.agent)
        task = await self._operations.task_of(caller, wire.task_id)
        await self._operations.push.admit(wire)
        return await self._operations.push.keep(caller.principal, task, wire)

    async def _task(self, caller: Caller, task_id: str, tenant: str) -> Task:
        admit_tenant(tenant, caller.agent)
        return await self._operations.task_of(caller, to_id(task_id, "task id"))


def official_app(operations: Operations, card: Callable[[Caller], dict[str, Json]]) -> AsgiApp:
    """Mount the official routes on our operations; the door in front guards and identifies."""
    handler = HiveRequestHandler(operations, card)
    return official_routes(handler, context_builder=CallerContextBuilder())


def _caller(context: ServerCallContext) -> Caller:
    try:
        return cast("Caller", context.state[CALLER_KEY](context.tenant))
    except WireFault as fault:
        raise _official(fault, context) from fault


async def _said(context: ServerCallContext, answer: Awaitable[ResultT]) -> ResultT:
    try:
        return await answer
    except WireFault as fault:
        raise _official(fault, context) from fault
    except Exception:
        # The SDK would tell the client what broke inside.
        log.exception("a2a.call_crashed")
        raise sdk.InternalError(message="The node could not do that now.") from None


def _official(fault: WireFault, context: ServerCallContext) -> sdk.A2AError:
    error = official_error(fault)
    if isinstance(error, SpokenFault):
        context.state.get(FAULT_KEY, []).append(fault)
    return error


def official_error(fault: WireFault) -> sdk.A2AError:
    """Return the official error of a fault; one that the SDK cannot say is left for the door to say."""
    kind = _SDK_ERRORS.get(fault.kind.code)
    return SpokenFault(fault) if kind is None else kind(message=fault.message)


def _wire(params: Proto, kind: type[WireT]) -> WireT:
    validate_proto_required_fields(params)
    try:
        return msgspec.convert(MessageToDict(params), kind)
    except msgspec.ValidationError as error:
        raise sdk.InvalidParamsError(message=str(error)) from None


def _proto(wire: dict[str, Json], into: ProtoT) -> ProtoT:
    return ParseDict(wire, into, ignore_unknown_fields=True)


def _task(task: Task, wire: SendParams) -> dict[str, Json]:
    asked = wire.configuration
    return from_task(task, history_length=asked.history_length if asked is not None else None)


def _event(event: TaskEvent | Message, history_length: int | None) -> SdkEvent:
    wire = from_event(event, history_length=history_length)
    response = _proto(wire, a2a_pb2.StreamResponse())
    return cast("SdkEvent", getattr(response, next(iter(response.ListFields()))[0].name))


def _push(config: WirePushConfig) -> a2a_pb2.TaskPushNotificationConfig:
    wire = msgspec.to_builtins(config)
    if wire.get("authentication") is None:
        wire.pop("authentication", None)
    return _proto(wire, a2a_pb2.TaskPushNotificationConfig())
