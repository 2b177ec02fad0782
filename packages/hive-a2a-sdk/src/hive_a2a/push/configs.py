"""The official store of push configurations, with limits and the screen in front of it.

A configuration is kept where the official store keeps it, under its owner. What this adds is said at
registration, on every binding: a URL that leads where nothing is sent, a token that would break out of its
header, or one configuration too many is refused, and nothing of it is kept.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from a2a.server.context import ServerCallContext
from a2a.server.tasks.push_notification_config_store import PushNotificationConfigStore
from a2a.types.a2a_pb2 import TaskPushNotificationConfig
from a2a.utils.errors import InvalidParamsError

from hive_a2a.policy import PushLimits
from hive_a2a.push.screen import DestinationScreen

WORD_MAX_CHARS: Final = 4096
ID_MAX_CHARS: Final = 256


def push_url_validator(screen: DestinationScreen) -> Callable[[str], Awaitable[bool]]:
    """Return the screen in the form that the official handlers and sender take.

    It refuses at registration what it refuses. At delivery the official sender resolves the name again
    after it asked, so use `SafePushSender` there.
    """

    async def fit(url: str) -> bool:
        return await screen.refusal(url) is None

    return fit


class SafePushConfigStore(PushNotificationConfigStore):
    """A store of push configurations that keeps only those that may be used."""

    def __init__(
        self,
        kept_in: PushNotificationConfigStore,
        *,
        screen: DestinationScreen | None = None,
        limits: PushLimits | None = None,
    ) -> None:
        self._kept_in = kept_in
        self._limits = limits or PushLimits()
        self._screen = screen or DestinationScreen(allow_private=self._limits.private)
        self._one_at_a_time = anyio.Lock()

    async def set_info(
        self,
        task_id: str,
        notification_config: TaskPushNotificationConfig,
        context: ServerCallContext,
    ) -> TaskPushNotificationConfig | None:
        """Keep a configuration under its owner.

        Raises:
            InvalidParamsError: it may not be used, or the task has too many.

        """
        await self._admit(notification_config)
        number = notification_config.id or task_id
        # Counted and kept in one step, so that many at once are not more than the limit.
        async with self._one_at_a_time:
            others = [
                one for one in await self._kept_in.get_info(task_id, context) if one.id != number
            ]
            most = self._limits.configs_per_task_max
            if len(others) >= most:
                raise InvalidParamsError(message=f"A task has at most {most} push configurations.")
            return await self._kept_in.set_info(task_id, notification_config, context)

    async def _admit(self, config: TaskPushNotificationConfig) -> None:
        if len(config.id) > ID_MAX_CHARS or not _is_line(config.id):
            raise InvalidParamsError(message="A push configuration id is short plain ASCII.")
        words = (config.token, config.authentication.scheme, config.authentication.credentials)
        if not all(len(word) <= WORD_MAX_CHARS and _is_line(word) for word in words):
            raise InvalidParamsError(
                message="A push token is plain ASCII without line breaks, at most 4096 characters."
            )
        unfit = await self._screen.refusal(config.url)
        if unfit is not None:
            raise InvalidParamsError(message=unfit.reason)

    async def get_info(
        self, task_id: str, context: ServerCallContext
    ) -> list[TaskPushNotificationConfig]:
        """Return the caller's own configurations of a task."""
        return await self._kept_in.get_info(task_id, context)

    async def get_info_for_dispatch(self, task_id: str) -> list[TaskPushNotificationConfig]:
        """Return the configurations of a task, whoever registered them."""
        return await self._kept_in.get_info_for_dispatch(task_id)

    async def delete_info(
        self, task_id: str, context: ServerCallContext, config_id: str | None = None
    ) -> None:
        """Forget one of the caller's configurations of a task, or all of them."""
        await self._kept_in.delete_info(task_id, context, config_id)


def _is_line(word: str) -> bool:
    return word.isascii() and word.isprintable()
