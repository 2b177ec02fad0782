"""Asks tools through the node's MCP gate; the node decides which this agent has.

tools()                      what there is: name, description, inputSchema
use("files__read", path=..)  call one and return its answer
"""

from __future__ import annotations

import json
import os
import re
from http.client import HTTPConnection, HTTPException

from hive_guest.tool_headers import KnownMarks, header_value, headers_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

REVISION: Final = "2026-07-28"
ANSWER_MAX_BYTES: Final = 32 << 20
TIMEOUT_S: Final = 300.0
PAGES_MAX: Final = 100
SERVER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PREFIX: Final = "io.modelcontextprotocol/"
_HEADER_MISMATCH: Final = -32020
_MARKS: Final = KnownMarks()


class ToolCallError(Exception):
    """A tool could not be called, was refused, or failed.

    `approval` is what waits for a person's yes; `code` the node's own number of the error, 0 for none.
    """

    def __init__(self, message: str, approval: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.approval = approval
        self.code = code


def tools(server: str = "") -> list[dict[str, Any]]:
    """Return the tools that this agent may use; with `server` those of one, under their own names.

    Raises:
        ToolCallError: the node did not answer.

    """
    found: list[dict[str, Any]] = []
    asked: dict[str, Any] = {}
    for _ in range(PAGES_MAX):
        page = _ask("tools/list", asked, server)
        found += page.get("tools") or ()
        if not page.get("nextCursor"):
            break
        asked = {"cursor": page["nextCursor"]}
    _MARKS.learn(server, found)
    return found


def use(name: str, /, *, server: str = "", **arguments: Any) -> Any:
    """Call a tool: return its structured answer where it has one, else its text.

    Raises:
        ToolCallError: it could not be called, was refused, or failed.

    """
    result = _called(name, arguments, server)
    text = "\n".join(
        one.get("text", "") for one in result.get("content") or () if one.get("type") == "text"
    )
    if result.get("isError"):
        meta = result.get("_meta") or {}
        raise ToolCallError(text or f"{name} failed", str(meta.get("hive/approval", "")))
    structured = result.get("structuredContent")
    return text if structured is None else structured


def gate_path(server: str = "") -> str:
    """Return the path of the gate for all tools, or for one server.

    Raises:
        ToolCallError: that is no name of a server.

    """
    if not server:
        return "/mcp"
    if not SERVER_NAME.fullmatch(server):
        message = f"{server!r} is not the name of a server"
        raise ToolCallError(message)
    return f"/mcp/servers/{server}"


def gate_headers() -> dict[str, str]:
    """Return what every request to the gate shows."""
    return {
        "authorization": f"Bearer {os.environ.get('HIVE_HANDLE', '')}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }


def _called(name: str, arguments: dict[str, Any], server: str) -> dict[str, Any]:
    """Call a tool; where it wants arguments in headers that nobody knew of, look at it and call again.

    Such a call was turned away at the node's door, before anything was done.
    """
    params = {"name": name, "arguments": arguments}
    marks = _MARKS.of(server, name)
    try:
        return _ask("tools/call", params, server, headers_for(marks, arguments))
    except ToolCallError as error:
        if error.code != _HEADER_MISMATCH:
            raise
        tools(server)
        if _MARKS.of(server, name) == marks:
            raise
    return _ask("tools/call", params, server, headers_for(_MARKS.of(server, name), arguments))


def _ask(
    method: str, params: dict[str, Any], server: str, more: dict[str, str] | None = None
) -> dict[str, Any]:
    from hive_guest.api import gate_address

    meta = {
        f"{_PREFIX}protocolVersion": REVISION,
        f"{_PREFIX}clientInfo": {"name": "hive-guest", "version": "1"},
        f"{_PREFIX}clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {**gate_headers(), "mcp-protocol-version": REVISION, "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = header_value(params["name"])
    headers |= more or {}
    host, port = gate_address()
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", gate_path(server), json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        raw = answer.read(ANSWER_MAX_BYTES + 1)
        return _result(raw, answer.getheader("content-type", ""))
    except (OSError, HTTPException, ValueError) as error:
        message = f"the node did not answer: {type(error).__name__}"
        raise ToolCallError(message) from error
    finally:
        connection.close()


def _result(raw: bytes, kind: str) -> dict[str, Any]:
    if len(raw) > ANSWER_MAX_BYTES:
        message = "the answer is too large"
        raise ToolCallError(message)
    answer: Any = None
    for one in messages_in(raw, kind):
        if isinstance(one, dict) and ("result" in one or "error" in one):
            answer = one
    if answer is None:
        message = "the node gave no answer"
        raise ToolCallError(message)
    error = answer.get("error")
    if error:
        code = error.get("code")
        told = str(error.get("message", "refused"))
        raise ToolCallError(told, code=code if isinstance(code, int) else 0)
    result = answer["result"]
    if result.get("resultType") == "input_required":
        meta = result.get("_meta") or {}
        message = "the tool asks for something that nobody here can answer"
        raise ToolCallError(message, str(meta.get("hive/approval", "")))
    found: dict[str, Any] = result
    return found


def messages_in(raw: bytes, kind: str) -> list[Any]:
    """Return the messages of an answer: one document, or the events of a stream.

    Raises:
        ValueError: it is neither.

    """
    if not kind.startswith("text/event-stream"):
        return [json.loads(raw)] if raw.strip() else []
    found = []
    for event in raw.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = event.split(b"\n")
        data = b"\n".join(line[5:].lstrip(b" ") for line in lines if line.startswith(b"data:"))
        if data.strip():
            found.append(json.loads(data))
    return found
