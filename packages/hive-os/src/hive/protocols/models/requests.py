"""A client's bytes become one frozen request, or an error that its dialect knows.

Nothing here trusts the sender. A key that stands twice is refused: the gate could read one value and the
provider the other.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import anyio
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope

from hive.core.json import Json, depth_exceeds, encode
from hive.protocols.models.ports import Dialect, ModelRequest
from hive.protocols.models.refusals import ModelError

MODEL_NAME_MAX_CHARS: Final = 200
FORWARDED: Final = frozenset(
    {"content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta"}
)
HANDLE_HEADERS: Final = ("x-api-key", "x-goog-api-key")
_VOLATILE: Final = frozenset(
    {"metadata", "user", "safety_identifier", "prompt_cache_key", "store", "service_tier"}
)
_TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class RequestRefusedError(Exception):
    """A request that goes no further; `error` is what the client reads."""

    def __init__(self, error: ModelError) -> None:
        super().__init__(error.code)
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHead:
    """What the headers of a request say, before its body is read."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, scope: Scope) -> "HttpHead":
        """Read an ASGI scope; a header that stands twice is joined as HTTP says."""
        headers: dict[str, str] = {}
        for raw_key, raw_value in scope["headers"]:
            key, value = raw_key.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        return cls(
            method=scope["method"],
            path=scope["path"],
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=headers,
        )

    @property
    def handle(self) -> str:
        """Return the handle that the client shows as its key, empty when there is none or two."""
        found = {self.headers[name].strip() for name in HANDLE_HEADERS if name in self.headers}
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            found.add(token.strip())
        found.discard("")
        return found.pop() if len(found) == 1 else ""

    @property
    def traceparent(self) -> str:
        """Return the client's trace context where it has the right form."""
        value = self.headers.get("traceparent", "")
        return value if _TRACEPARENT.fullmatch(value) else ""


async def read_body(
    receive: Receive, head: HttpHead, *, limit_bytes: int, timeout_s: float
) -> bytes:
    """Read the whole body, within its limits of size and time.

    Raises:
        RequestRefusedError: it is too large, too slow, or the client went away.

    """
    declared = head.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()) or int(declared[:20]) > limit_bytes:
        raise RequestRefusedError(_too_large(limit_bytes))
    body = bytearray()
    with anyio.move_on_after(timeout_s):
        while True:
            message: AsgiMessage = await receive()
            if message["type"] == "http.disconnect":
                raise RequestRefusedError(_slow())
            body += message.get("body", b"")
            if len(body) > limit_bytes:
                raise RequestRefusedError(_too_large(limit_bytes))
            if not message.get("more_body", False):
                return bytes(body)
    raise RequestRefusedError(_slow())


def parse_request(dialect: Dialect, head: HttpHead, body: bytes, *, depth_max: int) -> ModelRequest:
    """Read a request's body.

    Raises:
        RequestRefusedError: it is not what the dialect says.

    """
    media = head.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json":
        raise RequestRefusedError(
            ModelError(status=415, code="hive.media_type", message="Send application/json.")
        )
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestRefusedError(
            ModelError(status=415, code="hive.encoding", message="Send the body uncompressed.")
        )
    if head.query not in ("", "beta=true"):
        _bad("The query string is not known.")
    document = _document(body, depth_max)
    model = document.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MODEL_NAME_MAX_CHARS:
        _bad("`model` must be a string of 1 to 200 characters.")
    if not model.isprintable():
        _bad("`model` must be printable.")
    stream = document.get("stream", False)
    if stream is not None and not isinstance(stream, bool):
        _bad("`stream` must be true or false.")
    return ModelRequest(
        dialect=dialect,
        model=model,
        stream=bool(stream),
        body=body,
        document=document,
        headers=tuple((key, value) for key, value in head.headers.items() if key in FORWARDED),
        query=head.query,
    )


def canonical(request: ModelRequest) -> bytes:
    """Return the bytes that identify a request: everything that can change the answer."""
    lasting = {key: value for key, value in request.document.items() if key not in _VOLATILE}
    return encode({"path": request.dialect.value, "query": request.query, "body": lasting})


def _document(body: bytes, depth_max: int) -> dict[str, Json]:
    if depth_exceeds(body, depth_max):
        _bad(f"The JSON is nested deeper than {depth_max}.")
    try:
        document = json.loads(
            body.decode("utf-8"), object_pairs_hook=_once_each, parse_constant=_no_constant
        )
        encode(document)
    except (ValueError, RecursionError):
        _bad("The body is not JSON in UTF-8 with each key once.")
    if not isinstance(document, dict):
        _bad("The body must be a JSON object.")
    return document


def _once_each(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    document = dict(pairs)
    if len(document) != len(pairs):
        message = "a key stands twice"
        raise ValueError(message)
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _bad(message: str) -> NoReturn:
    raise RequestRefusedError(ModelError(status=400, code="hive.bad_request", message=message))


def _too_large(limit_bytes: int) -> ModelError:
    return ModelError(
        status=413,
        code="hive.too_large",
        message=f"The request is over {limit_bytes} bytes.",
    )


def _slow() -> ModelError:
    return ModelError(status=408, code="hive.timeout", message="The request did not come in time.")
