"""Which code a failure has on which wire: the only table of A2A's error numbers (1.0, section 5.4).

A failure on the way to a handler is a `WireFault`. Every binding can say it: JSON-RPC by `code`,
HTTP+JSON by `status`, gRPC by `grpc`. Errors that a handler raises in the official SDK's own words
become faults by `fault_of_official`, and the reverse is `official_error`.

The official package is imported when it is needed, not before: it costs half a second.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from a2a.utils.errors import A2AError as OfficialError

Json: TypeAlias = Any
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


TASK_NOT_FOUND: Final = FaultKind(-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND")
NOT_CANCELABLE: Final = FaultKind(-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
NO_PUSH: Final = FaultKind(-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")
UNSUPPORTED: Final = FaultKind(-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")
CONTENT_TYPE: Final = FaultKind(-32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED")
BAD_ANSWER: Final = FaultKind(-32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE")
NO_EXTENDED_CARD: Final = FaultKind(
    -32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED"
)
EXTENSION: Final = FaultKind(-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED")
VERSION: Final = FaultKind(-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")
INVALID_REQUEST: Final = FaultKind(-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST")
NO_METHOD: Final = FaultKind(-32601, 404, "NOT_FOUND", "METHOD_NOT_FOUND")
INVALID_PARAMS: Final = FaultKind(-32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS")
INTERNAL: Final = FaultKind(-32603, 500, "INTERNAL", "INTERNAL_ERROR")
PARSE_ERROR: Final = FaultKind(-32700, 400, "INVALID_ARGUMENT", "INVALID_REQUEST")
WIRE_LIMIT: Final = FaultKind(-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST", of_http=True)
# The standard has no code for a call that the server's own policy forbids; -32000 is JSON-RPC's own.
REFUSED: Final = FaultKind(-32000, 403, "PERMISSION_DENIED", "REFUSED")
BUSY: Final = FaultKind(-32000, 429, "RESOURCE_EXHAUSTED", "RETRY_LATER", of_http=True)
UNAVAILABLE: Final = FaultKind(-32000, 503, "UNAVAILABLE", "UNAVAILABLE", of_http=True)
UNAUTHENTICATED: Final = FaultKind(-32000, 401, "UNAUTHENTICATED", "UNAUTHENTICATED", of_http=True)
INSUFFICIENT_SCOPE: Final = FaultKind(
    -32000, 403, "PERMISSION_DENIED", "INSUFFICIENT_SCOPE", of_http=True
)
NO_SUCH_AGENT: Final = FaultKind(-32000, 404, "NOT_FOUND", "AGENT_NOT_FOUND", of_http=True)


class WireFault(Exception):  # noqa: N818 - the standard's word for what goes back over the wire
    """An answer that is not the wished one; `message` is safe to tell.

    `rpc_status` is the HTTP status of a JSON-RPC answer where it is neither 200 nor that of HTTP+JSON.
    `metadata["check"]` names the stage that said no. `detail` is for the record only and never goes over
    the wire. `headers` are HTTP headers (gRPC: trailing metadata) that go with it.
    """

    def __init__(
        self,
        kind: FaultKind,
        message: str,
        *,
        status: int | None = None,
        rpc_status: int | None = None,
        retry_after_s: float | None = None,
        metadata: dict[str, Json] | None = None,
        detail: str = "",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status or kind.status
        self._rpc_status = rpc_status
        self.retry_after_s = retry_after_s
        self.metadata = metadata or {}
        self.detail = detail
        self.headers = headers

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
        return self._rpc_status or (self.status if self.kind.of_http else 200)


def invalid(message: str) -> WireFault:
    """Say that a parameter is not what the standard wants."""
    return WireFault(INVALID_PARAMS, message)


def refused_by(
    stage: str, message: str, *, detail: str = "", retry_after_s: float | None = None
) -> WireFault:
    """Say no in the name of a stage; with `retry_after_s` the same call may pass later."""
    kind = REFUSED if retry_after_s is None else BUSY
    return WireFault(
        kind, message, retry_after_s=retry_after_s, metadata={"check": stage}, detail=detail
    )


KINDS: Final = (
    TASK_NOT_FOUND,
    NOT_CANCELABLE,
    NO_PUSH,
    UNSUPPORTED,
    CONTENT_TYPE,
    BAD_ANSWER,
    NO_EXTENDED_CARD,
    EXTENSION,
    VERSION,
    INVALID_REQUEST,
    NO_METHOD,
    INVALID_PARAMS,
    INTERNAL,
    PARSE_ERROR,
)
_BY_CODE: Final = {kind.code: kind for kind in KINDS}


@cache
def _official_kinds() -> "dict[int, type[OfficialError]]":
    from a2a.utils.errors import JSON_RPC_ERROR_CODE_MAP

    return {code: kind for kind, code in JSON_RPC_ERROR_CODE_MAP.items()}


def fault_of_official(error: "OfficialError") -> WireFault:
    """Say an official error on any wire; one without a code of its own is an internal error."""
    carried = getattr(error, "fault", None)
    if isinstance(carried, WireFault):
        return carried
    for code, official in _official_kinds().items():
        if type(error) is official:
            return WireFault(_BY_CODE[code], str(error.message))
    return WireFault(INTERNAL, "The agent could not do that now.", detail=str(error))


def has_official_word(fault: WireFault) -> bool:
    """Tell whether the official SDK has an error of this fault's own."""
    return fault.kind.code in _BY_CODE


def official_error(fault: WireFault) -> "OfficialError":
    """Return a fault as the official error of its code, carrying the fault as attribute `fault`.

    The official SDK has no word for -32000; such a fault travels as its internal error, and the binding
    that finds the attribute says the fault itself.
    """
    kinds = _official_kinds()
    kind = kinds.get(fault.kind.code, kinds[INTERNAL.code])
    error = kind(message=fault.message)
    vars(error)["fault"] = fault
    return error
