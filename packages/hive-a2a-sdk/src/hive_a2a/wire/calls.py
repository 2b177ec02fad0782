"""The eleven methods of 1.0, once for both HTTP bindings: which request they take, what they answer."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as pb

from hive_a2a.call import Proto
from hive_a2a.faults import BAD_ANSWER, TASK_NOT_FOUND, WireFault
from hive_a2a.wire.proto_out import to_json
from hive_a2a.wire.strict_json import Json

REQUEST_OF: Final[dict[str, type[Any]]] = {
    "SendMessage": pb.SendMessageRequest,
    "SendStreamingMessage": pb.SendMessageRequest,
    "GetTask": pb.GetTaskRequest,
    "ListTasks": pb.ListTasksRequest,
    "CancelTask": pb.CancelTaskRequest,
    "SubscribeToTask": pb.SubscribeToTaskRequest,
    "CreateTaskPushNotificationConfig": pb.TaskPushNotificationConfig,
    "GetTaskPushNotificationConfig": pb.GetTaskPushNotificationConfigRequest,
    "ListTaskPushNotificationConfigs": pb.ListTaskPushNotificationConfigsRequest,
    "DeleteTaskPushNotificationConfig": pb.DeleteTaskPushNotificationConfigRequest,
    "GetExtendedAgentCard": pb.GetExtendedAgentCardRequest,
}
STREAMS: Final = frozenset({"SendStreamingMessage", "SubscribeToTask"})
_EVENTS: Final[dict[type[Any], str]] = {
    pb.Task: "task",
    pb.Message: "message",
    pb.TaskStatusUpdateEvent: "statusUpdate",
    pb.TaskArtifactUpdateEvent: "artifactUpdate",
}
_UNARY: Final[dict[str, str]] = {
    "SendMessage": "on_message_send",
    "GetTask": "on_get_task",
    "ListTasks": "on_list_tasks",
    "CancelTask": "on_cancel_task",
    "CreateTaskPushNotificationConfig": "on_create_task_push_notification_config",
    "GetTaskPushNotificationConfig": "on_get_task_push_notification_config",
    "ListTaskPushNotificationConfigs": "on_list_task_push_notification_configs",
    "DeleteTaskPushNotificationConfig": "on_delete_task_push_notification_config",
    "GetExtendedAgentCard": "on_get_extended_agent_card",
}


async def answer(
    handler: RequestHandler, method: str, params: Proto, context: ServerCallContext
) -> Json:
    """Answer a call that has one answer; None where there is nothing to say.

    Raises:
        WireFault: the handler gave what is no answer.
        a2a.utils.errors.A2AError: the handler's own.

    """
    run: Callable[[Proto, ServerCallContext], Awaitable[Proto]] = getattr(handler, _UNARY[method])
    found = await run(params, context)
    if method == "DeleteTaskPushNotificationConfig":
        return None
    if found is None:
        raise WireFault(TASK_NOT_FOUND, "Task not found")
    if method == "SendMessage":
        return event_json(found)
    if method != "ListTasks":
        return _written(found)
    page = _written(found, defaults=True)
    if not params.include_artifacts:
        for task in page["tasks"]:
            task.pop("artifacts", None)
    return page


def events_of(
    handler: RequestHandler, method: str, params: Proto, context: ServerCallContext
) -> AsyncGenerator[Any]:
    """Answer a call that has a stream of answers."""
    if method == "SubscribeToTask":
        return handler.on_subscribe_to_task(params, context)
    return handler.on_message_send_stream(params, context)


def event_json(event: Proto) -> dict[str, Json]:
    """Write an event as a StreamResponse; of a task or message, its SendMessageResponse.

    Raises:
        WireFault: it is none.

    """
    name = _EVENTS.get(type(event))
    if name is None:
        raise WireFault(BAD_ANSWER, "The agent gave what is no answer.")
    return {name: _written(event)}


def _written(message: Proto, *, defaults: bool = False) -> dict[str, Json]:
    try:
        return to_json(message, defaults=defaults)
    except ValueError:
        raise WireFault(BAD_ANSWER, "The agent gave a value that JSON has no word for.") from None
