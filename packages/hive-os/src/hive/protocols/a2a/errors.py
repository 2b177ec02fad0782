"""Which code a failure has on which wire: the only place that knows A2A's error numbers (1.0, 5.4).

Inside, a failure is a `HiveError` and a no is a `Refused`. At the door both become a `WireFault`, which
every binding can say: JSON-RPC by `code`, HTTP by `status`, gRPC by `grpc`.
"""

import logging
from dataclasses import dataclass
from typing import Final

import msgspec

from hive.core.call import Refused
from hive.core.errors import (
    BadInputError,
    EngineTimeoutError,
    EngineUnavailableError,
    HiveError,
    InvalidIdError,
    NotFoundError,
    StateError,
    TooLargeError,
)
from hive.core.json import Json

log: Final = logging.getLogger(__name__)
ERROR_INFO: Final = "type.googleapis.com/google.rpc.ErrorInfo"
DOMAIN: Final = "a2a-protocol.org"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One row of the standard's table of errors.

    JSON-RPC answers with HTTP 200, unless `of_http` says that the fault lies in the HTTP around it.
    """

    code: int
    status: int
    grpc: str
    reason: str
    of_http: bool = False


INVALID_PARAMS: Final = FaultKind(-32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS")
INVALID_REQUEST: Final = FaultKind(-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST")
PARSE_ERROR: Final = FaultKind(-32700, 400, "INVALID_ARGUMENT", "INVALID_REQUEST")
INTERNAL: Final = FaultKind(-32603, 500, "INTERNAL", "INTERNAL_ERROR")
TASK_NOT_FOUND: Final = FaultKind(-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND")
NOT_CANCELABLE: Final = FaultKind(-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
UNSUPPORTED: Final = FaultKind(-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")
CONTENT_TYPE: Final = FaultKind(
    -32005, 415, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED", of_http=True
)
EXTENSION: Final = FaultKind(-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED")
VERSION: Final = FaultKind(-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")
# The standard has no code for a call that the server's own policy forbids; -32000 is JSON-RPC's own.
REFUSED: Final = FaultKind(-32000, 403, "PERMISSION_DENIED", "REFUSED")
BUSY: Final = FaultKind(-32000, 429, "RESOURCE_EXHAUSTED", "RETRY_LATER", of_http=True)
UNAUTHENTICATED: Final = FaultKind(-32000, 401, "UNAUTHENTICATED", "UNAUTHENTICATED", of_http=True)
NO_SUCH_AGENT: Final = FaultKind(-32000, 404, "NOT_FOUND", "AGENT_NOT_FOUND", of_http=True)
WIRE_LIMIT: Final = FaultKind(-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST", of_http=True)


class WireFault(Exception):  # noqa: N818 - the standard's word for what goes back over the wire
    """An answer that is not the wished one; `message` is safe to tell."""

    def __init__(
        self,
        kind: FaultKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        metadata: dict[str, Json] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status or kind.status
        self.retry_after_s = retry_after_s
        self.metadata = metadata or {}

    @property
    def details(self) -> list[Json]:
        """Return the typed details that both HTTP bindings carry (google.rpc.ErrorInfo)."""
        return [
            {
                "@type": ERROR_INFO,
                "reason": self.kind.reason,
                "domain": DOMAIN,
                "metadata": self.metadata,
            }
        ]

    def json_rpc(self, request_id: str | int | None) -> bytes:
        """Write it as a JSON-RPC answer."""
        error = {"code": self.kind.code, "message": self.message, "data": self.details}
        return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": error})

    def rest(self) -> bytes:
        """Write it as an HTTP+JSON answer (AIP-193)."""
        error = {
            "code": self.status,
            "status": self.kind.grpc,
            "message": self.message,
            "details": self.details,
        }
        return msgspec.json.encode({"error": error})

    @property
    def json_rpc_status(self) -> int:
        """Return the HTTP status of the JSON-RPC answer: 200, unless HTTP itself has a say in it."""
        return self.status if self.kind.of_http else 200


def invalid(message: str) -> WireFault:
    """Say that a parameter is not what the standard wants."""
    return WireFault(INVALID_PARAMS, message)


def refused(no: Refused) -> WireFault:
    """Turn the kernel's no into an answer; its detail stays in the ledger."""
    kind = REFUSED if no.retry_after_s is None else BUSY
    return WireFault(kind, no.reason, retry_after_s=no.retry_after_s, metadata={"check": no.check})


def fault_of(error: HiveError, *, state: FaultKind = UNSUPPORTED) -> WireFault:
    """Turn an error into an answer; `state` is what a wrong state means for this method."""
    match error:
        case NotFoundError():
            return WireFault(TASK_NOT_FOUND, "Task not found")
        case StateError():
            return WireFault(state, error.what)
        case TooLargeError():
            return WireFault(WIRE_LIMIT, error.what, status=413)
        case InvalidIdError() | BadInputError():
            return invalid(str(error))
        case EngineUnavailableError() | EngineTimeoutError():
            log.warning("a2a.engine_away", extra={"code": error.code})
            return WireFault(BUSY, "The node cannot reach its records now.", retry_after_s=1.0)
        case _:
            # What broke inside is for the operator; a stranger learns that it was not their fault.
            log.error("a2a.call_failed", extra={"code": error.code}, exc_info=error)
            return WireFault(INTERNAL, f"The node could not do that now ({error.code}).")
