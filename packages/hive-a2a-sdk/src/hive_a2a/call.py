"""One request of A2A, as the stages of the server see it: the same value on every binding.

A transport makes a `RequestHead` of what it knows before it reads a body; authentication makes a
`CallerIdentity` of that; the two and the decoded request become a `WireCall`, which every later
stage takes and the record keeps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

Proto: TypeAlias = Any
"""A protobuf message of `a2a.types`; typed so that this module does not import half a second of it."""


class Binding(StrEnum):
    """How a request came (1.0, section 5); the values are those of `protocolBinding` in a card."""

    JSONRPC = "JSONRPC"
    REST = "HTTP+JSON"
    GRPC = "GRPC"


METHODS_OF_A2A: Final = (
    "SendMessage",
    "SendStreamingMessage",
    "GetTask",
    "ListTasks",
    "CancelTask",
    "SubscribeToTask",
    "CreateTaskPushNotificationConfig",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "DeleteTaskPushNotificationConfig",
    "GetExtendedAgentCard",
)
"""The methods of 1.0 by their gRPC names, which are those of JSON-RPC; 0.3 and REST are mapped to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """What is known of a request before its body is read; what an authenticator may look at.

    `headers` have lower-case names (gRPC: metadata). `http_method` is POST on gRPC. `url` is the absolute URL
    that the client used, as far as the server knows it. `spiffe_id` and `certificate_sha256` come from a
    verified TLS client certificate, `noise_key` from a verified Noise handshake (the initiator's static
    key, 32 bytes), `noise_hash` is that handshake's hash. All are empty where there is none. What may hold
    a credential does not print.
    """

    binding: Binding
    http_method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    peer_address: str = ""
    spiffe_id: str = ""
    certificate_sha256: bytes = b""
    noise_key: bytes = b""
    noise_hash: bytes = b""
    scope: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerIdentity:
    """Who calls. `name` owns tasks, and so is unique over all schemes: `bearer:<iss>#<sub>`, `noise:<hex>`.

    `scheme` is the security scheme that proved it, as the card names it; empty for a stranger.
    """

    name: str
    scheme: str
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Tell whether this is somebody."""
        return bool(self.scheme)


STRANGER_NAME: Final = ""
NOBODY: Final = CallerIdentity(name=STRANGER_NAME, scheme="")
"""A caller who showed nothing; the official SDK's owner of unauthenticated callers has the same name."""


@dataclass(slots=True, kw_only=True)
class WireCall:
    """One request on its way through the stages.

    `method` is one of `METHODS_OF_A2A`, `version` what the client speaks ("1.0", "0.3"), `extensions` what
    it activates, `params` the official protobuf request. `skill` is the skill id that the message names
    in its metadata, or empty. A stage leaves what a later one needs in `facts`.
    """

    binding: Binding
    method: str
    version: str
    head: RequestHead
    caller: CallerIdentity
    params: Proto
    tenant: str = ""
    extensions: frozenset[str] = frozenset()
    body_bytes: int = 0
    skill: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def sealed(self) -> bool:
        """Tell whether it came end-to-end encrypted."""
        return bool(self.head.noise_hash)


CALL_KEY: Final = "hive_a2a.call"
"""Where the official `ServerCallContext.state` holds the `WireCall`, for handlers and executors."""
