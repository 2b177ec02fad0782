"""A2A 1.0 in JSON, as it comes in: only what the door reads of it. Unknown fields are ignored (5.7).

These are the everyday forms. ProtoJSON also allows rarer ones (snake_case names, enums as numbers,
unpadded base64): what does not fit here is read by the official SDK (`official`), never refused here.
"""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

Free: TypeAlias = Any
"""Any JSON value: msgspec reads it as such, and `convert` calls it `Json`."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class WirePart(_Wire, frozen=True, kw_only=True, rename="camel"):
    """4.1.6; exactly one of text, raw, url and data."""

    text: str | msgspec.UnsetType = msgspec.UNSET
    raw: bytes | msgspec.UnsetType = msgspec.UNSET
    url: str | msgspec.UnsetType = msgspec.UNSET
    data: Free | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Free] | None = None
    filename: str | None = None
    media_type: str | None = None


class WireMessage(_Wire, frozen=True, kw_only=True, rename="camel"):
    """4.1.4."""

    message_id: str
    role: Literal["ROLE_USER", "ROLE_AGENT"]
    parts: list[WirePart]
    context_id: str | None = None
    task_id: str | None = None
    metadata: dict[str, Free] | None = None
    extensions: list[str] | None = None
    reference_task_ids: list[str] | None = None


class WireAuthentication(_Wire, frozen=True, kw_only=True, rename="camel"):
    """How the receiver of a push notification wants us to authenticate."""

    scheme: str = ""
    credentials: str = ""


class WirePushConfig(_Wire, frozen=True, kw_only=True, rename="camel"):
    """4.3.1."""

    url: str = ""
    id: str = ""
    task_id: str = ""
    token: str = ""
    tenant: str = ""
    authentication: WireAuthentication | None = None


class SendConfiguration(_Wire, frozen=True, kw_only=True, rename="camel"):
    """3.2.2."""

    history_length: int | None = None
    return_immediately: bool | None = None
    task_push_notification_config: WirePushConfig | None = None


class SendParams(_Wire, frozen=True, kw_only=True, rename="camel"):
    """SendMessage and SendStreamingMessage."""

    message: WireMessage
    configuration: SendConfiguration | None = None
    metadata: dict[str, Free] | None = None
    tenant: str | None = None


class TaskParams(_Wire, frozen=True, kw_only=True, rename="camel"):
    """GetTask, CancelTask and SubscribeToTask."""

    id: str
    history_length: int | None = None
    tenant: str | None = None


class ListParams(_Wire, frozen=True, kw_only=True, rename="camel"):
    """ListTasks."""

    context_id: str | None = None
    status: str | None = None
    page_size: int | None = None
    page_token: str | None = None
    history_length: int | None = None
    status_timestamp_after: datetime | None = None
    include_artifacts: bool | None = None
    tenant: str | None = None


class JsonRpcCall(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of JSON-RPC 2.0; `params` stay bytes until the method is known."""

    jsonrpc: Literal["2.0"]
    method: str
    id: str | int
    params: msgspec.Raw = msgspec.Raw(b"{}")
