"""How much a request may be: method, type, encoding, size, depth, time, and how many at once.

The official dispatcher reads a body of any size, of any type, nested as deep as the sender likes, for as
long as the sender likes. `read_body` bounds all four before a parser sees a byte.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from hive_a2a.asgi import WHOLE_KEY, Disconnected, Receive, Scope
from hive_a2a.errors import WireLimitError
from hive_a2a.faults import BUSY, CONTENT_TYPE, WIRE_LIMIT, WireFault
from hive_a2a.policy import WireLimits

JSON_TYPES: Final = frozenset({b"application/json", b"application/a2a+json"})
METHODS: Final = frozenset({"GET", "POST", "DELETE"})
# A string without an end takes the rest of the text, and nothing is tried twice: else the time would grow with
# the square of the length.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_CHARSET: Final = re.compile(rb'charset="?([a-z0-9-]*)')
_BRACKET: Final = re.compile(rb"[\[\]{}]")


async def read_body(scope: Scope, receive: Receive, limits: WireLimits) -> bytes:
    """Read a JSON body within the limits.

    Raises:
        WireLimitError: wrong type or encoding (415), too large or too deep (413), too slow (408).
        Disconnected: the client went away.

    """
    kind = _admit_headers(scope, limits)
    if WHOLE_KEY in scope:
        body = await _gathered(receive, limits)
    else:
        with anyio.move_on_after(limits.body_timeout_s) as patience:
            body = await _gathered(receive, limits)
        if patience.cancelled_caught:
            raise WireLimitError(
                "The request body came too slowly.",
                status=408,
                why=f"It was not complete after {limits.body_timeout_s:g} seconds.",
                fix="Send it in one piece.",
            )
    if body and not kind:
        _admit_type(b"")
    if depth_exceeds(body, limits.depth):
        raise WireLimitError(
            "The request body is nested too deeply.",
            status=413,
            why=f"At most {limits.depth} levels are read.",
            fix="Send a flatter value.",
        )
    return body


async def _gathered(receive: Receive, limits: WireLimits) -> bytes:
    chunks: list[bytes] = []
    size_bytes = 0
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
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


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


def limit_fault(error: WireLimitError) -> WireFault:
    """Return what a broken limit is in the words of the wire."""
    checked = {"check": "limits"}
    if error.status == 415:
        # The standard's table wants 400 for this error over HTTP+JSON; JSON-RPC leaves HTTP its own word.
        return WireFault(CONTENT_TYPE, str(error), rpc_status=415, metadata=checked)
    return WireFault(WIRE_LIMIT, str(error), status=error.status, metadata=checked)


class OpenRequests:
    """How many requests are being answered now: all of them, and each caller's."""

    def __init__(self, limits: WireLimits) -> None:
        self._max = limits.requests_open_max
        self._caller_max = limits.requests_open_per_caller_max
        self._of_caller: dict[str, int] = {}
        self._open = 0

    @property
    def open(self) -> int:
        """Return how many there are."""
        return self._open

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a request while the context is open.

        Raises:
            WireFault: too many are open (429).

        """
        if self._open >= self._max:
            raise _busy()
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @contextmanager
    def one_more_of(self, caller: str) -> Iterator[None]:
        """Count a request of this caller while the context is open.

        Raises:
            WireFault: too many of its requests are open (429).

        """
        mine = self._of_caller.get(caller, 0)
        if mine >= self._caller_max:
            raise _busy()
        self._of_caller[caller] = mine + 1
        try:
            yield
        finally:
            if self._of_caller[caller] == 1:
                del self._of_caller[caller]
            else:
                self._of_caller[caller] -= 1


def _busy() -> WireFault:
    return WireFault(
        BUSY, "Too many requests are open.", retry_after_s=1.0, metadata={"check": "limits"}
    )


def _admit_headers(scope: Scope, limits: WireLimits) -> bytes:
    kind = encoding = length = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = kind + b"," + value if kind else value
        elif name == b"content-encoding":
            encoding = value if not encoding else encoding + b"," + value
        elif name == b"content-length":
            length = value
    if kind and kind not in JSON_TYPES:
        _admit_type(kind)
    if encoding not in (b"", b"identity"):
        raise WireLimitError(
            "The content encoding is not supported.",
            status=415,
            why="Bodies are read as they are, so that none can unfold to more than it seems.",
            fix="Send the body uncompressed.",
        )
    if length.isdigit() and int(length[:20]) > limits.body_bytes:
        raise _too_large(limits)
    return kind


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
