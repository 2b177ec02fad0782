"""The head of a request, and what can be refused by it alone: host, origin, media types.

A page in a browser whose name was made to lead to this machine (DNS rebinding) carries its own name in
`Host` and `Origin`: neither is ours, so it gets no answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import anyio
from starlette.types import Receive, Scope

from hive.protocols.mcp.front.wire import INVALID_REQUEST, WireRefusedError

_ACCEPT_MAX_CHARS: Final = 1024


@dataclass(frozen=True, slots=True)
class McpHead:
    """Method, path and headers; `twice` names the headers that stand there more than once."""

    method: str
    path: str
    headers: Mapping[str, str]
    twice: frozenset[str]

    @classmethod
    def of(cls, scope: Scope) -> "McpHead":
        """Read it from what the server gives."""
        headers: dict[str, str] = {}
        twice: set[str] = set()
        for key, value in scope["headers"]:
            name = key.decode("latin-1").lower()
            if name in headers:
                twice.add(name)
            else:
                headers[name] = value.decode("latin-1").strip(" \t")
        return cls(scope["method"], scope["path"], headers, frozenset(twice))

    @property
    def accepts(self) -> tuple[bool, bool]:
        """Tell whether the client takes JSON, and whether it takes a stream of events.

        One that says nothing takes plain JSON: a program with nothing but an HTTP library.
        """
        return _accepts(self.headers.get("accept", "application/json")[:_ACCEPT_MAX_CHARS])


@lru_cache(maxsize=64)
def _accepts(accept: str) -> tuple[bool, bool]:
    types = {part.split(";")[0].strip().lower() for part in accept.split(",")}
    every = "*/*" in types
    json = every or bool(types & {"application/json", "application/*"})
    return json, every or bool(types & {"text/event-stream", "text/*"})


def refuse_strangers(head: McpHead, names: frozenset[str] | None, origins: frozenset[str]) -> None:
    """Refuse a host that is not ours, and a page of another site.

    Raises:
        WireRefusedError: it is one.

    """
    if head.twice & {"host", "origin", "content-length", "mcp-session-id", "authorization"}:
        raise WireRefusedError(400, INVALID_REQUEST, "A header of this request stands there twice.")
    host = _host_of("//" + head.headers.get("host", ""))
    if names is not None and not _is_ours(host, names):
        raise WireRefusedError(
            421, INVALID_REQUEST, "This server does not answer to that host name."
        )
    origin = head.headers.get("origin")
    if origin is None:
        return
    from_host = _host_of(origin)
    if origin in origins or from_host in (names or ()):
        return
    if _is_loopback(from_host) and _is_loopback(host):
        return
    if from_host and from_host == host and _is_address(host):
        return
    raise WireRefusedError(403, INVALID_REQUEST, "Pages of this origin get no answer here.")


def refuse_media(head: McpHead) -> bool:
    """Refuse a body that is no JSON, and a client that takes none; tell whether it takes a stream.

    Raises:
        WireRefusedError: it is one.

    """
    kind = head.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json" or "content-type" in head.twice:
        raise WireRefusedError(415, INVALID_REQUEST, "The content type must be application/json.")
    json, events = head.accepts
    if not json:
        raise WireRefusedError(
            406,
            INVALID_REQUEST,
            "Accept application/json, and text/event-stream for answers that come in parts.",
        )
    return events


async def read_mcp_body(
    receive: Receive, head: McpHead, *, limit_bytes: int, timeout_s: float
) -> bytes:
    """Read the whole body, within its limits of size and time.

    Raises:
        WireRefusedError: it is too large, too slow, or the client went away.

    """
    declared = head.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()) or int(declared[:20]) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    with anyio.move_on_after(timeout_s):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            if len(body) > limit_bytes:
                raise _too_large(limit_bytes)
            if not message.get("more_body", False):
                return bytes(body)
    raise WireRefusedError(408, INVALID_REQUEST, "The body did not come in time.")


def _too_large(limit_bytes: int) -> WireRefusedError:
    return WireRefusedError(413, INVALID_REQUEST, f"The body is larger than {limit_bytes} bytes.")


@lru_cache(maxsize=64)
def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return "?"


def _is_ours(host: str, names: frozenset[str]) -> bool:
    return not host or host in names or host.endswith(".localhost") or _is_address(host)


@lru_cache(maxsize=64)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
