"""HTTP as the door of an agent's own things speaks it: small requests, whole answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import anyio
from starlette.types import Receive, Scope, Send

from hive.core.errors import BadInputError, EngineTimeoutError, TooLargeError
from hive.core.json import Json, encode

BODY_TIMEOUT_S: Final = 30.0
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRequest:
    """A request: its method, the segments of its path behind the door's name, the handle that it shows."""

    method: str
    path: tuple[str, ...]
    handle: str = field(repr=False)
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAnswer:
    """An answer."""

    status: int
    body: bytes = b""
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def request_of(scope: Scope) -> OwnRequest:
    """Read the head of a request."""
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name = key.decode("latin-1").lower()
        if name in headers:
            raise BadInputError("A header stands twice.", why=f"It is {name[:64]!r}.")
        headers[name] = value.decode("latin-1")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    raw = scope.get("raw_path") or str(scope["path"]).encode()
    segments = raw.decode("latin-1").partition("?")[0].strip("/").split("/")[1:]
    try:
        path = tuple(unquote(one, errors="strict") for one in segments)
    except UnicodeDecodeError as error:
        raise BadInputError("The path is not UTF-8.") from error
    return OwnRequest(
        method=scope["method"],
        path=path,
        handle=token.strip() if scheme.lower() == "bearer" else "",
        traceparent=headers.get("traceparent", ""),
    )


async def body_of(receive: Receive, *, limit_bytes: int) -> bytes:
    """Read a body.

    Raises:
        TooLargeError: it is over the limit.
        EngineTimeoutError: it did not come in time.
        BadInputError: it ended early.

    """
    body = bytearray()
    with anyio.move_on_after(BODY_TIMEOUT_S):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise BadInputError("The request ended early.")
            body += message.get("body", b"")
            if len(body) > limit_bytes:
                raise TooLargeError(f"The body has more than {limit_bytes} bytes.")
            if not message.get("more_body", False):
                return bytes(body)
    raise EngineTimeoutError("The body did not come in time.")


def told(status: int, **fields: Json) -> OwnAnswer:
    """Make an answer of JSON."""
    return OwnAnswer(status=status, body=encode(fields))


def problem(status: int, code: str, what: str, **headers: str) -> OwnAnswer:
    """Make an answer that says why not."""
    return OwnAnswer(
        status=status, body=encode({"error": {"code": code, "what": what}}), headers=headers
    )


async def give(send: Send, answer: OwnAnswer) -> None:
    """Send an answer."""
    headers = [
        (b"content-type", answer.media.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *((name.encode(), value.encode()) for name, value in answer.headers.items()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
