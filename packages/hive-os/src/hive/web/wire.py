"""HTTP in the few words that the operator's doors need: a bounded body in, JSON or lines out.

Plain ASGI. A body is read up to a limit and within a time; a client that stops reading ends its own
stream and nothing else.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import anyio
import msgspec

from hive.core.errors import (
    BadInputError,
    BuildError,
    ConfigError,
    ConflictError,
    EngineTimeoutError,
    EngineUnavailableError,
    HiveError,
    IdentityError,
    InvalidIdError,
    LedgerError,
    NotFoundError,
    RoleError,
    SpecError,
    StateError,
    TierUnavailableError,
    TooLargeError,
)

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
StructT = TypeVar("StructT", bound=msgspec.Struct)

BODY_MAX_BYTES: Final = 32 << 20
BODY_TIMEOUT_S: Final = 30.0
QUERY_MAX_FIELDS: Final = 20
_ENCODER: Final = msgspec.json.Encoder()
_LOG: Final = logging.getLogger("hive.web")
_STATUS: Final[tuple[tuple[type[HiveError], int], ...]] = (
    (TooLargeError, 413),
    (BadInputError, 400),
    (InvalidIdError, 400),
    (NotFoundError, 404),
    (StateError, 409),
    (ConflictError, 409),
    (RoleError, 403),
    (IdentityError, 401),
    (BuildError, 422),
    (SpecError, 422),
    (TierUnavailableError, 422),
    (ConfigError, 422),
    (EngineTimeoutError, 504),
    (EngineUnavailableError, 503),
    (LedgerError, 503),
)
SAFE_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class ErrorReply(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it crosses the wire, under the key `error`."""

    code: str
    what: str
    why: str = ""
    fix: str = ""


def describe(error: Exception) -> ErrorReply:
    """Return what may be told of an error; an unexpected one is logged and told in general."""
    if isinstance(error, HiveError):
        return ErrorReply(code=error.code, what=error.what, why=error.why, fix=error.fix)
    _LOG.exception("operator.failed", exc_info=error)
    return ErrorReply(
        code=HiveError.code,
        what="The node met an error that it did not expect.",
        why=type(error).__name__,
        fix="Its log has the details; `hive status` prints where that lies.",
    )


def status_of(error: Exception) -> int:
    """Return the HTTP status for an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def encode_line(value: object) -> bytes:
    """Return one line of a stream."""
    return _ENCODER.encode(value) + b"\n"


def header(scope: Scope, name: bytes) -> str:
    """Return a request header, or nothing."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def query(scope: Scope) -> dict[str, str]:
    """Return the query as a mapping; the last of equal names wins.

    Raises:
        BadInputError: it has too many fields.

    """
    try:
        pairs = parse_qsl(
            scope.get("query_string", b"").decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=QUERY_MAX_FIELDS,
        )
    except ValueError as error:
        raise BadInputError("The query has too many fields.") from error
    return dict(pairs)


async def read_body(receive: Receive, *, limit_bytes: int = BODY_MAX_BYTES) -> bytes:
    """Read a request body.

    Raises:
        TooLargeError: it is over the limit.
        BadInputError: it did not arrive in time, or the client went away.

    """
    pieces: list[bytes] = []
    size = 0
    with anyio.move_on_after(BODY_TIMEOUT_S):
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                break
            pieces.append(event.get("body", b""))
            size += len(pieces[-1])
            if size > limit_bytes:
                raise TooLargeError("The request is too large.", why=f"Over {limit_bytes} bytes.")
            if not event.get("more_body", False):
                return b"".join(pieces)
    raise BadInputError("The request did not arrive whole.")


async def read_struct(receive: Receive, kind: type[StructT]) -> StructT:
    """Read a request body as one of our own values.

    Raises:
        BadInputError: it is not one; the message names the place.

    """
    body = await read_body(receive)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError("The request is not what this path takes.", why=str(error)) from error


async def send_bytes(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes,
    *,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """Send one whole answer."""
    fixed = ((b"content-type", content_type), (b"content-length", str(len(body)).encode()))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*fixed, *SAFE_HEADERS, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, value: object, *, status: int = 200) -> None:
    """Send one object."""
    await send_bytes(send, status, _ENCODER.encode(value), b"application/json")


async def send_error(send: Send, error: Exception) -> None:
    """Send an error with its status."""
    await send_json(send, {"error": describe(error)}, status=status_of(error))


async def send_lines(send: Send, receive: Receive, values: AsyncIterator[object]) -> None:
    """Send a stream, an object a line, until it ends or the client is gone.

    The status is sent with the first value, so an error before it keeps its own status; one after
    it becomes the last line.
    """
    started = False
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            async for value in values:
                if not started:
                    started = True
                    await _start_lines(send)
                await send(
                    {"type": "http.response.body", "body": encode_line(value), "more_body": True}
                )
            tasks.cancel_scope.cancel()
    except Exception as raised:  # noqa: BLE001  it becomes the stream's last line
        error = _only(raised)
        if not started:
            await send_error(send, error)
            return
        await send(
            {
                "type": "http.response.body",
                "body": encode_line({"error": describe(error)}),
                "more_body": True,
            }
        )
    if not started:
        await _start_lines(send)
    await send({"type": "http.response.body", "body": b""})


async def _start_lines(send: Send) -> None:
    headers = [(b"content-type", b"application/x-ndjson"), *SAFE_HEADERS]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _only(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
