"""The words of ASGI, and the sending of one whole answer."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from hive_a2a.faults import UNAUTHENTICATED, WireFault

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

WHOLE_KEY: Final = "hive_a2a.whole"
"""Where a scope says that the body is here already, so that reading it needs no patience."""

JSON: Final = b"application/json"
A2A_JSON: Final = b"application/a2a+json"
_CHALLENGE: Final = b"www-authenticate"


class Disconnected(Exception):  # noqa: N818 - nothing failed: the client went away
    """The client went away while it was still sending."""


def header(scope: Scope, name: bytes) -> bytes:
    """Return a request header (lower-case `name`), joined by commas where it stands more than once."""
    return b",".join(value for key, value in scope["headers"] if key == name)


async def respond(
    send: Send,
    body: bytes,
    *,
    status: int = 200,
    content_type: bytes = JSON,
    headers: Iterable[Header] = (),
) -> None:
    """Send one whole answer."""
    lines = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def headers_of(fault: WireFault, *, challenge: bytes = b"") -> list[Header]:
    """Return the headers that a fault needs beside its body; `challenge` is for a 401 without its own."""
    found = list(fault.headers)
    named = any(name == _CHALLENGE for name, _ in found)
    if fault.kind is UNAUTHENTICATED and challenge and not named:
        found.append((_CHALLENGE, challenge))
    if fault.retry_after_s is not None:
        found.append((b"retry-after", b"%d" % max(1, round(fault.retry_after_s))))
    if fault.status in (408, 413):
        found.append((b"connection", b"close"))
    return found


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body which was already read, then what the client does next."""
    given = False

    async def again() -> Event:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
