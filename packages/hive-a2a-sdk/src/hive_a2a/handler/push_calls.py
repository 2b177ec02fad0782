"""The four calls about push notification configs, and the check of where a webhook may be."""

from collections.abc import Awaitable, Callable

from a2a.server.cluster import VersionedTaskStore
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.tasks import PushNotificationConfigStore
from a2a.server.tasks.push_notification_config_store import normalize_push_notification_config
from a2a.types.a2a_pb2 import (
    AgentCard,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import (
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotFoundError,
)

from hive_a2a.call import Proto
from hive_a2a.handler.required import check_required
from hive_a2a.handler.spans import spanned


class PushConfigCalls(RequestHandler):
    """The part of a handler that keeps the push notification configs of tasks."""

    _card: AgentCard
    _store: VersionedTaskStore
    _push_configs: PushNotificationConfigStore | None
    _push_url_validator: Callable[[str], Awaitable[bool]] | None

    async def _admit_push_url(self, url: str) -> None:
        if self._push_url_validator is not None and not await self._push_url_validator(url):
            raise InvalidParamsError(message="Invalid push notification URL")

    async def _admit_push_call(
        self, params: Proto, context: ServerCallContext
    ) -> PushNotificationConfigStore:
        check_required(params)
        if not self._card.capabilities.push_notifications:
            raise PushNotificationNotSupportedError(
                "Push notifications are not supported by the agent"
            )
        if not self._push_configs:
            raise PushNotificationNotSupportedError
        if await self._store.get(params.task_id, context) is None:
            raise TaskNotFoundError
        return self._push_configs

    @spanned("CreateTaskPushNotificationConfig")
    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Keep a config for a task of the caller."""
        configs = await self._admit_push_call(params, context)
        await self._admit_push_url(params.url)
        stored = await configs.set_info(params.task_id, params, context)
        # Stores written for older versions of the official SDK return nothing.
        return stored or normalize_push_notification_config(params.task_id, params)

    @spanned("GetTaskPushNotificationConfig")
    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Return a config of a task of the caller."""
        configs = await self._admit_push_call(params, context)
        for config in await configs.get_info(params.task_id, context) or ():
            if config.id == params.id:
                return config
        raise TaskNotFoundError

    @spanned("ListTaskPushNotificationConfigs")
    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """Return all configs of a task of the caller."""
        configs = await self._admit_push_call(params, context)
        return ListTaskPushNotificationConfigsResponse(
            configs=await configs.get_info(params.task_id, context)
        )

    @spanned("DeleteTaskPushNotificationConfig")
    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Forget a config of a task of the caller."""
        configs = await self._admit_push_call(params, context)
        await configs.delete_info(params.task_id, context, params.id)
