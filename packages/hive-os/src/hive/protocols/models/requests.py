"""A client's bytes become one frozen request, or an error that its dialect knows.

Nothing here trusts the sender. A key that stands twice is refused: the gate could read one value and the
provider the other.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Final, NoReturn

import anyio
from starlette.types import Message as AsgiMessage
from starlette.types import Receive

from hive.core.json import Json, depth_exceeds, encode
from hive.protocols.models.gemini_names import TwoNamesError, camel_case, other_models
from hive.protocols.models.guarded import unclear
from hive.protocols.models.heads import HttpHead
from hive.protocols.models.paths import MODEL_NAME_MAX_CHARS, ModelPath, path_of
from hive.protocols.models.ports import Dialect, ModelRequest
from hive.protocols.models.refusals import ModelError
from hive.security.guardrails import redact

__all__ = (
    "MODEL_NAME_MAX_CHARS",
    "HttpHead",
    "RequestRefusedError",
    "beside",
    "canonical",
    "parse_request",
    "read_body",
    "without",
)
FORWARDED: Final = frozenset(
    {"content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta"}
)
_DECISIVE: Final = frozenset({"model", "stream", "tool_choice", "response_format"})
_VOLATILE: Final = frozenset(
    {
        "labels",
        "metadata",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)


class RequestRefusedError(Exception):
    """A request that goes no further; `error` is what the client reads."""

    def __init__(self, error: ModelError) -> None:
        super().__init__(error.code)
        self.error = error


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
    document = _document(body, depth_max)
    asked = path_of(head)
    if dialect is Dialect.GEMINI and asked is not None:
        return _gemini_request(asked, head, body, document)
    if wrong := unclear(dialect, document):
        _bad(wrong)
    if head.query not in ("", "beta=true"):
        _bad("The query string is not known.")
    return ModelRequest(
        dialect=dialect,
        model=_model_of(document),
        stream=_stream_of(document),
        body=body,
        document=document,
        headers=_forwarded(head),
        query=head.query,
        action="" if asked is None else asked.action,
    )


def canonical(request: ModelRequest) -> bytes:
    """Return the bytes that identify a request: everything that can change the answer."""
    lasting = {key: value for key, value in request.document.items() if key not in _VOLATILE}
    identity: dict[str, Json] = {
        "path": request.dialect.value,
        "query": request.query,
        "body": lasting,
    }
    if request.action:
        identity["action"] = request.action
    if request.dialect is Dialect.GEMINI:
        identity["model"] = request.model
    return encode(identity)


def beside(request: ModelRequest) -> bytes:
    """Return what goes to a provider and says nothing of the question: headers, fields of accounting."""
    fields = {key: one for key, one in request.document.items() if key in _VOLATILE}
    headers = [f"{name}: {value}" for name, value in request.headers]
    return encode({"fields": fields, "headers": headers})


def without(request: ModelRequest, kinds: Collection[str]) -> ModelRequest:
    """Return a request without what is of these kinds; which model answers, and how, stays as it was."""
    if not kinds:
        return request
    kept = {name: one for name, one in request.document.items() if name in _DECISIVE}
    said = {name: one for name, one in request.document.items() if name not in _DECISIVE}
    changed, counts = redact(said, kinds)
    if not counts or not isinstance(changed, dict):
        return request
    document = {**kept, **changed}
    return replace(request, document=document, body=encode(document))


def _gemini_request(
    asked: ModelPath, head: HttpHead, body: bytes, document: dict[str, Json]
) -> ModelRequest:
    """Read a Gemini request: `document` has one spelling, and streams are events inside the node."""
    streams = asked.action == "streamGenerateContent"
    if head.query not in ("", "alt=json") and not (streams and head.query == "alt=sse"):
        _bad("The query string is not known.")
    try:
        plain = camel_case(document)
    except TwoNamesError as error:
        _bad(f"`{error}` stands twice, in two spellings.")
    if wrong := unclear(Dialect.GEMINI, plain):
        _bad(wrong)
    others = other_models(plain, asked.model)
    if others:
        _bad("A `model` in the body is not the one in the path.")
    return ModelRequest(
        dialect=Dialect.GEMINI,
        model=asked.model,
        stream=streams,
        body=body,
        document=plain,
        headers=_forwarded(head),
        query="alt=sse" if streams else "",
        action=asked.action,
    )


def _model_of(document: dict[str, Json]) -> str:
    model = document.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MODEL_NAME_MAX_CHARS:
        _bad("`model` must be a string of 1 to 200 characters.")
    if not model.isprintable():
        _bad("`model` must be printable.")
    if not all(part.strip(".") for part in model.split("/")):
        _bad("`model` must be a name, not a path.")
    return model


def _stream_of(document: dict[str, Json]) -> bool:
    stream = document.get("stream", False)
    if stream is not None and not isinstance(stream, bool):
        _bad("`stream` must be true or false.")
    return bool(stream)


def _forwarded(head: HttpHead) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in head.headers.items() if key in FORWARDED)


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
