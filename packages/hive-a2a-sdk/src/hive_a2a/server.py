"""The official A2A routes behind the guards that they lack: method, type, size, depth, time.

The official dispatcher reads a body of any size, of any type, nested as deep as the sender likes, for as
long as the sender likes. `read_body` bounds all four; `secure_routes` puts it in front of the
official routes, so that a `RequestHandler` of anybody's sees only what passed.

The official package is imported when the routes are made, not before: it costs half a second.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio

from hive_a2a.errors import WireLimitError
from hive_a2a.policy import WireLimits

if TYPE_CHECKING:
    from a2a.server.request_handlers.request_handler import RequestHandler
    from a2a.server.routes.common import ServerCallContextBuilder

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_TYPES: Final = frozenset({b"application/json", b"application/a2a+json"})
METHODS: Final = frozenset({"GET", "POST", "DELETE"})
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CHARSET: Final = re.compile(rb'charset="?([a-z0-9-]*)')
_BRACKET: Final = re.compile(rb"[\[\]{}]")


class Disconnected(Exception):  # noqa: N818 - nothing failed: the client went away
    """The client went away while it was still sending."""


def header(scope: Scope, name: bytes) -> bytes:
    """Return a request header (lower-case `name`), joined by commas where it stands more than once."""
    return b",".join(value for key, value in scope["headers"] if key == name)


async def read_body(scope: Scope, receive: Receive, limits: WireLimits) -> bytes:
    """Read a JSON body within the limits.

    Raises:
        WireLimitError: wrong type or encoding (415), too large or too deep (413), too slow (408).
        Disconnected: the client went away.

    """
    _admit_headers(scope, limits)
    chunks: list[bytes] = []
    size_bytes = 0
    with anyio.move_on_after(limits.body_timeout_s) as patience:
        more = True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Disconnected
            chunk: bytes = event.get("body", b"")
            size_bytes += len(chunk)
            if size_bytes > limits.body_bytes:
                raise _too_large(limits)
            chunks.append(chunk)
            more = event.get("more_body", False)
    if patience.cancelled_caught:
        raise WireLimitError(
            "The request body came too slowly.",
            status=408,
            why=f"It was not complete after {limits.body_timeout_s:g} seconds.",
            fix="Send it in one piece.",
        )
    body = b"".join(chunks)
    if body and not header(scope, b"content-type"):
        _admit_type(b"")
    if depth_exceeds(body, limits.depth):
        raise WireLimitError(
            "The request body is nested too deeply.",
            status=413,
            why=f"At most {limits.depth} levels are read.",
            fix="Send a flatter value.",
        )
    return body


def depth_exceeds(data: bytes, limit: int) -> bool:
    """Tell whether brackets outside strings nest deeper than `limit`, without parsing."""
    if data.count(b"[") + data.count(b"{") <= limit:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            return True
    return False


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body which was already read, then what the client does next."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def official_routes(
    handler: "RequestHandler", *, context_builder: "ServerCallContextBuilder | None" = None
) -> AsgiApp:
    """Mount the official JSON-RPC route at `/` and the official REST routes, 1.0 and 0.3.

    Nothing guards them: use `secure_routes`, or call them with a body that was read by `read_body`.
    """
    from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
    from a2a.server.routes.rest_routes import create_rest_routes
    from starlette.routing import Router

    calls = create_jsonrpc_routes(
        request_handler=handler,
        rpc_url="/",
        context_builder=context_builder,
        enable_v0_3_compat=True,
    )
    resources = create_rest_routes(
        request_handler=handler, context_builder=context_builder, enable_v0_3_compat=True
    )
    return Router(routes=[*calls, *resources], redirect_slashes=False)


def secure_routes(
    handler: "RequestHandler",
    *,
    limits: WireLimits | None = None,
    context_builder: "ServerCallContextBuilder | None" = None,
) -> AsgiApp:
    """Mount the official routes behind the guards of the wire."""
    bounds = limits or WireLimits()
    routes = official_routes(handler, context_builder=context_builder)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await routes(scope, receive, send)
            return
        try:
            admit_method(scope["method"])
            if scope["method"] == "POST":
                receive = replay(await read_body(scope, receive, bounds), receive)
        except WireLimitError as error:
            await _refuse(send, error)
            return
        except Disconnected:
            return
        await routes(scope, receive, send)

    return guarded


def admit_method(method: str) -> None:
    """Let the methods of A2A pass.

    Raises:
        WireLimitError: another one (405).

    """
    if method not in METHODS:
        raise WireLimitError(
            "A2A has no such HTTP method.",
            status=405,
            why="Known: GET, POST, DELETE.",
            fix="Send POST for a call, GET for a card.",
        )


def _admit_headers(scope: Scope, limits: WireLimits) -> None:
    kind = header(scope, b"content-type")
    if kind:
        _admit_type(kind)
    if header(scope, b"content-encoding") not in (b"", b"identity"):
        raise WireLimitError(
            "The content encoding is not supported.",
            status=415,
            why="Bodies are read as they are, so that none can unfold to more than it seems.",
            fix="Send the body uncompressed.",
        )
    length = header(scope, b"content-length")
    if length.isdigit() and int(length[:20]) > limits.body_bytes:
        raise _too_large(limits)


def _admit_type(kind: bytes) -> None:
    essence, _, parameters = kind.lower().partition(b";")
    charset = _CHARSET.search(parameters)
    if essence.strip() not in JSON_TYPES or (charset and charset[1] not in (b"utf-8", b"utf8")):
        raise WireLimitError(
            "The content type is not supported.",
            status=415,
            why="A2A speaks application/json or application/a2a+json in UTF-8.",
            fix="Set the Content-Type header.",
        )


def _too_large(limits: WireLimits) -> WireLimitError:
    return WireLimitError(
        "The request body is too large.",
        status=413,
        why=f"At most {limits.body_bytes} bytes are read.",
        fix="Send a file part with a URL in place of its bytes.",
    )


async def _refuse(
    send: Send, error: WireLimitError, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    text = str(error).encode()
    lines = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
    ]
    lines += [(b"connection", b"close"), *headers]
    await send({"type": "http.response.start", "status": error.status, "headers": lines})
    await send({"type": "http.response.body", "body": text})
