"""HTTP in the few words that the node's OAuth endpoints need: a bounded form in, JSON or a page out."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

import anyio
import msgspec

from hive.core.errors import BadInputError, TooLargeError

AsgiScope: TypeAlias = MutableMapping[str, Any]
AsgiReceive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
AsgiSend: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_MAX_BYTES: Final = 16 << 10
FIELDS_MAX: Final = 24
BODY_TIMEOUT_S: Final = 10.0
_SAFE: Final = {
    "cache-control": "no-store",
    "pragma": "no-cache",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


class OauthError(Exception):
    """An error in the words of RFC 6749; the text may be told."""

    def __init__(
        self, error: str, text: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.error = error
        self.status = status
        self.headers = dict(headers or {})


def fields_of(text: str) -> dict[str, str]:
    """Read a query or a form; a name that comes twice is an attempt to be read in two ways.

    Raises:
        OauthError: too many fields, or one of them twice.

    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise OauthError("invalid_request", "There are too many fields.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OauthError("invalid_request", "A field comes twice.")
    return found


def header_in(scope: AsgiScope, name: bytes) -> str:
    """Return a header of a request; one that comes twice is none."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1").strip() if len(values) == 1 else ""


def source_of(scope: AsgiScope) -> str:
    """Return the address that a request came from, empty where that is not known."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def body_of(receive: AsgiReceive) -> bytes:
    """Read a body.

    Raises:
        TooLargeError: it is over the limit.
        BadInputError: it did not come whole.

    """
    pieces: list[bytes] = []
    size = 0
    with anyio.move_on_after(BODY_TIMEOUT_S):
        while (event := await receive())["type"] == "http.request":
            pieces.append(event.get("body", b""))
            size += len(pieces[-1])
            if size > BODY_MAX_BYTES:
                raise TooLargeError("The request is too large.", why=f"Over {BODY_MAX_BYTES}.")
            if not event.get("more_body", False):
                return b"".join(pieces)
    raise BadInputError("The request did not arrive whole.")


async def answer(
    send: AsgiSend, status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole answer."""
    fields = {**_SAFE, "content-length": str(len(body)), **(headers or {})}
    lines = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


async def answer_json(
    send: AsgiSend, value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Send one object."""
    fields = {"content-type": "application/json", **(headers or {})}
    await answer(send, status, msgspec.json.encode(value), fields)
