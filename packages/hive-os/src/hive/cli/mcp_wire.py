"""The bytes of MCP over HTTP as a client needs them: event streams, headers that repeat a body, errors in words."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Final, TypeAlias

import httpcore

LINE_MAX_BYTES: Final = 16 << 20
UNREACHABLE: Final = -32000
DEPTH_MAX: Final = 16
_REVISION_KEY: Final = "io.modelcontextprotocol/protocolVersion"

Wire: TypeAlias = dict[str, Any]
"""One message of JSON-RPC, of any client."""
Path: TypeAlias = tuple[str, ...]
"""Where an argument stands: the names from the outside in."""


class PipeError(Exception):
    """The node cannot be reached; the text is for the client."""


async def answers_of(response: httpcore.Response, message: Wire) -> AsyncIterator[Wire]:
    """Yield what an exchange answers; an error without words of JSON-RPC becomes one."""
    kind = header_in(response, b"content-type").partition(b";")[0].strip()
    if response.status == 200 and kind == b"text/event-stream":
        async for answer in events_of(response):
            yield answer
        return
    body = await response.aread()
    try:
        found = json.loads(body) if body else None
    except ValueError:
        found = None
    if isinstance(found, dict) and found.get("jsonrpc") == "2.0":
        if "error" in found and found.get("id") is None and "id" in message:
            found["id"] = message["id"]  # refused before its id was read
        yield found
    elif response.status >= 400:
        text = told_by(found) or f"The node answered {response.status}."
        if "id" in message and "method" in message:
            error: Wire = {"code": UNREACHABLE, "message": text}
            yield {"jsonrpc": "2.0", "id": message["id"], "error": error}


async def events_of(response: httpcore.Response) -> AsyncIterator[Wire]:
    """Yield the messages of an event stream."""
    rest, data = b"", []
    async for chunk in response.aiter_stream():
        rest += chunk
        *lines, rest = rest.split(b"\n")
        if len(rest) > LINE_MAX_BYTES:
            raise PipeError("The node sent an event that is too large.")
        for line in lines:
            text = line.rstrip(b"\r")
            if text.startswith(b"data:"):
                data.append(text[5:].removeprefix(b" "))
            elif not text and data:
                with suppress(ValueError):
                    found = json.loads(b"\n".join(data))
                    if isinstance(found, dict):
                        yield found
                data = []


def header_fields(schema: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield which arguments a tool wants to see in headers, by the newest revision."""
    fields = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(fields, dict) or len(path) > DEPTH_MAX:
        return
    for name, one in fields.items():
        if isinstance(one, dict) and isinstance(one.get("x-mcp-header"), str):
            yield (*path, name), one["x-mcp-header"]
        yield from header_fields(one, (*path, name))


def value_at(arguments: object, path: Path) -> object:
    """Return the argument at a path, None where there is none that a header could carry."""
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    return arguments if isinstance(arguments, str | bool | int | float) else None


def revision_of(message: Wire) -> str:
    """Return the revision that a message names itself; empty for one of a session."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    found = meta.get(_REVISION_KEY) if isinstance(meta, dict) else None
    return found if isinstance(found, str) and found.isascii() and found.isprintable() else ""


def header_in(response: httpcore.Response, name: bytes) -> bytes:
    """Return one header of an answer, empty where it has none."""
    return next((value for key, value in response.headers if key.lower() == name), b"")


def header_text(text: str) -> str:
    """Write a value for a header as the newest revision does: what does not fit goes as base64."""
    fits = text.isascii() and text.isprintable() and text == text.strip()
    if fits and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode('ascii')}?="


def header_scalar(value: object) -> str:
    """Write an argument as a header has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def told_by(found: object) -> str:
    """Return what an error of the node's own says, for a person."""
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return ""
    words = (error.get("message"), error.get("what"), error.get("why"), error.get("fix"))
    return " ".join(str(one) for one in words if one)


def tls_context() -> Any:  # noqa: ANN401  the context of ssl, which is imported only where it is needed
    """Return what checks the certificate of a node elsewhere."""
    import ssl

    import certifi

    return ssl.create_default_context(cafile=certifi.where())
