"""JSON-RPC as MCP uses it: bytes become one message or an error that says which, values become bytes.

An id comes back as it was sent: a text stays a text and a number keeps all its digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from hive.core.json import Json, depth_exceeds
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.ports import McpError, McpObject

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_REVISION: Final = -32022
CANCELLED: Final = -32800
TURNED_AWAY: Final = -32001

STATUSES: Final[Mapping[int, int]] = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_REVISION: 400,
    METHOD_NOT_FOUND: 404,
}
"""The HTTP status of an error in the stateless revision; 200 for the others."""

RequestKey: TypeAlias = int | str
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class McpAsked:
    """A request."""

    id: RequestKey
    method: str
    params: McpObject


@dataclass(frozen=True, slots=True)
class McpNotified:
    """A notification."""

    method: str
    params: McpObject


@dataclass(frozen=True, slots=True)
class McpAnswered:
    """The answer of a client to a question of the server."""

    id: RequestKey
    result: McpObject | None
    error: McpError | None


McpMessage: TypeAlias = McpAsked | McpNotified | McpAnswered


class WireRefusedError(Exception):
    """A request that goes no further: an HTTP status and an error of JSON-RPC."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        *,
        data: Json = None,
        key: RequestKey | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = McpError(code, message, data)
        self.id = key
        self.headers = headers

    @property
    def body(self) -> bytes:
        """Return what the client reads."""
        return error_bytes(self.id, self.error)


def result_bytes(key: RequestKey, result: McpObject) -> bytes:
    """Write the answer to a request."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (
        _ENCODER.encode(key),
        _ENCODER.encode(result),
    )


def error_bytes(key: RequestKey | None, error: McpError) -> bytes:
    """Write an error as the answer to a request."""
    shown: dict[str, Json] = {"code": error.code, "message": error.message}
    if error.data is not None:
        shown["data"] = error.data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (_ENCODER.encode(key), _ENCODER.encode(shown))


def notification_bytes(method: str, params: McpObject) -> bytes:
    """Write a notification."""
    return _ENCODER.encode({"jsonrpc": "2.0", "method": method, "params": params})


def question_bytes(key: RequestKey, method: str, params: McpObject) -> bytes:
    """Write a request of the server."""
    return _ENCODER.encode({"jsonrpc": "2.0", "id": key, "method": method, "params": params})


def event_bytes(data: bytes, *, key: str = "", retry_ms: int | None = None) -> bytes:
    """Write one event of a stream."""
    head = b"event: message\r\n" if data else b""
    if key:
        head += b"id: %b\r\n" % key.encode("ascii")
    if retry_ms is not None:
        head += b"retry: %d\r\n" % retry_ms
    return b"%bdata: %b\r\n\r\n" % (head, data)


def parse_body(body: bytes, limits: FrontLimits, *, depth_max: int) -> McpMessage | list[Json]:
    """Read a body: one message, or the parts of a batch that nobody has looked at.

    Raises:
        WireRefusedError: it is no JSON, too deep, or no message.

    """
    if depth_exceeds(body, depth_max):
        raise WireRefusedError(400, PARSE_ERROR, f"The JSON nests deeper than {depth_max}.")
    try:
        value: Json = _DECODER.decode(body)
    except (ValueError, RecursionError):
        raise WireRefusedError(400, PARSE_ERROR, "The body is not JSON in UTF-8.") from None
    if isinstance(value, list):
        return value
    return read_message(value, limits)


def read_message(value: Json, limits: FrontLimits) -> McpMessage:
    """Read one message.

    Raises:
        WireRefusedError: it is none.

    """
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise _no_message("It is no object with `jsonrpc` 2.0.")
    if "id" not in value:
        return McpNotified(_method(value, None, limits), _params(value, None))
    key = _id(value["id"], limits)
    if "method" in value:
        if "result" in value or "error" in value:
            raise _no_message("It is a request and an answer at once.", key)
        return McpAsked(key, _method(value, key, limits), _params(value, key))
    return _answered(value, key)


def _answered(value: McpObject, key: RequestKey) -> McpAnswered:
    result, error = value.get("result"), value.get("error")
    if isinstance(result, dict) and error is None:
        return McpAnswered(key, result, None)
    if isinstance(error, dict) and result is None:
        code, message = error.get("code"), error.get("message")
        if type(code) is int and isinstance(message, str):
            return McpAnswered(key, None, McpError(code, message, error.get("data")))
    raise _no_message("It is neither a request nor an answer.", key)


def _id(value: Json, limits: FrontLimits) -> RequestKey:
    if type(value) is int and abs(value) < 1 << 512:
        return value
    if isinstance(value, str) and len(value) <= limits.id_max_chars:
        return value
    raise _no_message("The id is neither a short text nor a whole number.")


def _method(value: McpObject, key: RequestKey | None, limits: FrontLimits) -> str:
    method = value.get("method")
    if not isinstance(method, str) or not 0 < len(method) <= limits.method_max_chars:
        raise _no_message("The method is no short text.", key)
    return method


def _params(value: McpObject, key: RequestKey | None) -> McpObject:
    params = value.get("params")
    if params is None:
        return {}
    if not isinstance(params, dict):
        raise _no_message("The params are no object.", key)
    return params


def _no_message(why: str, key: RequestKey | None = None) -> WireRefusedError:
    return WireRefusedError(
        400, INVALID_REQUEST, f"The body is no message of JSON-RPC. {why}", key=key
    )
