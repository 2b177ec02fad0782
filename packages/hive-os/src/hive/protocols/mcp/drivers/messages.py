"""JSON-RPC as the wires of servers write and read it: typed once, at the edge, and bounded.

A server is a stranger. What it sends is decoded into one struct; whatever does not fit is no message.
"""

from typing import Any, Final

import msgspec

from hive.core.errors import EngineUnavailableError, TooLargeError
from hive.core.json import depth_exceeds, encode
from hive.protocols.mcp.ports import McpError, McpObject

DEPTH_MAX: Final = 128
METHOD_NOT_FOUND: Final = -32601
INTERNAL_ERROR: Final = -32603
INVALID_REQUEST: Final = -32600
ERROR_TEXT_MAX_CHARS: Final = 4096
_FIRST: Final = b'{"jsonrpc":"2.0","id":'
_ENCODER: Final = msgspec.json.Encoder()


class RpcFault(msgspec.Struct):
    """The error of an answer."""

    code: int
    message: str = ""
    data: Any = None


class RpcMessage(msgspec.Struct):
    """One message: a request has method and id, a notification a method, an answer an id."""

    id: int | str | None = None
    method: str | None = None
    params: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: RpcFault | None = None


_DECODER: Final = msgspec.json.Decoder(RpcMessage)


def read_message(data: bytes) -> RpcMessage:
    """Decode one message.

    Raises:
        ValueError: it is none.

    """
    if depth_exceeds(data, DEPTH_MAX):
        message = "it is nested too deeply"
        raise ValueError(message)
    try:
        return _DECODER.decode(data)
    except RecursionError as error:
        message = "it is nested too deeply"
        raise ValueError(message) from error


def request_bytes(number: int, method: str, params: McpObject) -> bytes:
    """Write a request."""
    return b'%b%d,"method":%b,"params":%b}' % (
        _FIRST,
        number,
        _ENCODER.encode(method),
        _ENCODER.encode(params),
    )


def notification_bytes(method: str, params: McpObject) -> bytes:
    """Write a notification."""
    said: McpObject = {"jsonrpc": "2.0", "method": method}
    if params:
        said["params"] = params
    return _ENCODER.encode(said)


def answer_bytes(asked: int | str, result: McpObject | McpError) -> bytes:
    """Write the answer to a question of the server."""
    if isinstance(result, McpError):
        fault: McpObject = {"code": result.code, "message": result.message}
        if result.data is not None:
            fault["data"] = result.data
        return encode({"jsonrpc": "2.0", "id": asked, "error": fault})
    return encode({"jsonrpc": "2.0", "id": asked, "result": result})


def result_of(message: RpcMessage) -> McpObject:
    """Return the result of an answer.

    Raises:
        McpError: it is an error.
        EngineUnavailableError: it is neither.

    """
    if message.error is not None:
        fault = message.error
        raise McpError(fault.code, fault.message[:ERROR_TEXT_MAX_CHARS], fault.data)
    if message.result is None:
        raise broken("It answered with neither a result nor an error.")
    return message.result


def broken(why: str, cause: BaseException | None = None) -> EngineUnavailableError:
    """Return the error of a request that may have been carried out: it has a cause."""
    error = EngineUnavailableError("The connection to the tool server broke.", why=why)
    error.__cause__ = cause if cause is not None else ConnectionError(why)
    return error


def not_sent(why: str) -> EngineUnavailableError:
    """Return the error of a request that certainly did not leave: it has no cause."""
    return EngineUnavailableError(
        "The tool server cannot be reached.",
        why=why,
        fix="hive tool show NAME     tells its state",
    )


def too_large(limit: int) -> TooLargeError:
    """Return the error of an answer over its bound."""
    return TooLargeError(
        "The answer of the tool server is too large.",
        why=f"It is over {limit} bytes.",
        fix="Ask for less, or raise the server's limit of results.",
    )
