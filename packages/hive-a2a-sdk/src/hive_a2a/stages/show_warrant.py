"""A client shows its warrant: an interceptor of the official client that proves possession for each call anew.

SecureA2AClient.connect(url, interceptors=[ShowWarrant(held, holder_private=key)])
"""

import secrets
from types import MappingProxyType
from typing import Final

from a2a.client.client import ClientCallContext
from a2a.client.interceptors import AfterArgs, BeforeArgs, ClientCallInterceptor

from hive_a2a.call import Proto
from hive_a2a.clock import WallClock
from hive_a2a.stages.tenuo_warrants import HeldWarrant, proof_headers
from hive_a2a.stages.warrant import NONCE_BYTES
from hive_a2a.wire.guarded import SKILL_KEY

METHOD_OF: Final = MappingProxyType(
    {
        "send_message": "SendMessage",
        "send_message_streaming": "SendStreamingMessage",
        "get_task": "GetTask",
        "list_tasks": "ListTasks",
        "cancel_task": "CancelTask",
        "subscribe": "SubscribeToTask",
        "create_task_push_notification_config": "CreateTaskPushNotificationConfig",
        "get_task_push_notification_config": "GetTaskPushNotificationConfig",
        "list_task_push_notification_configs": "ListTaskPushNotificationConfigs",
        "delete_task_push_notification_config": "DeleteTaskPushNotificationConfig",
        "get_extended_agent_card": "GetExtendedAgentCard",
    }
)
"""What the standard calls a method of the official client."""


class ShowWarrant(ClientCallInterceptor):
    """Adds the warrant and a fresh proof to every call.

    `audience` is what the server calls itself: its `public_url`, or without one the first interface of its card,
    which is taken where nothing is given. `tenant` is that of the interface that is used, if its card names one.
    """

    def __init__(
        self,
        held: HeldWarrant,
        *,
        holder_private: bytes,
        audience: str = "",
        tenant: str | None = None,
        clock: WallClock | None = None,
    ) -> None:
        self._held = held
        self._holder_private = holder_private
        self._audience = audience
        self._tenant = tenant
        self._clock = clock

    async def before(self, args: BeforeArgs) -> None:
        """Prove for this call that the warrant is held here."""
        context = args.context or ClientCallContext()
        proof = proof_headers(
            self._held,
            holder_private=self._holder_private,
            method=METHOD_OF[args.method],
            params=args.input,
            audience=self._audience or args.agent_card.supported_interfaces[0].url,
            nonce=secrets.token_bytes(NONCE_BYTES),
            skill=_skill_of(args.input),
            tenant=self._tenant,
            clock=self._clock,
        )
        context.service_parameters = {**(context.service_parameters or {}), **proof}
        args.context = context

    async def after(self, args: AfterArgs) -> None:
        """Let every answer pass."""


def _skill_of(params: Proto) -> str:
    """Return the skill that a request names, in its message or beside it; "" where it names none."""
    message = getattr(params, "message", None)
    for holder in (params, message):
        metadata = getattr(holder, "metadata", None)
        if metadata is not None and SKILL_KEY in metadata.fields:
            return str(metadata.fields[SKILL_KEY].string_value)
    return ""
