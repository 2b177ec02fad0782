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
    from collections.abc import Callable
    from typing import Any, Final

REVISION: Final = "2026-07-28"
ANSWER_MAX_BYTES: Final = 32 << 20
TIMEOUT_S: Final = 300.0
PAGES_MAX: Final = 100
SERVER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PREFIX: Final = "io.modelcontextprotocol/"
_HEADER_MISMATCH: Final = -32020
_GATES: Final[list[ToolGate]] = []


class ToolCallError(Exception):
    """A tool could not be called, was refused, or failed.

    `approval` is what waits for a person's yes; `code` the node's own number of the error, 0 for none.
    """

    def __init__(self, message: str, approval: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.approval = approval
        self.code = code


class ToolGate:
    """The gate's tools for whoever holds `handle`; `connect` opens a connection that waits that many seconds at most."""

    def __init__(self, connect: Callable[[float], HTTPConnection], handle: str) -> None:
        self._connect = connect
        self.handle = handle
        self._marks = KnownMarks()

    def tools(self, server: str = "") -> list[dict[str, Any]]:
        """Return the tools that may be used; with `server` those of one, under their own names.

        Raises:
            ToolCallError: the node did not answer.

        """
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            page = self._ask("tools/list", asked, server)
            found += page.get("tools") or ()
            if not page.get("nextCursor"):
                break
            asked = {"cursor": page["nextCursor"]}
        self._marks.learn(server, found)
        return found

    def use(self, name: str, /, arguments: dict[str, Any], *, server: str = "") -> Any:
        """Call a tool: return its structured answer where it has one, else its text.

        Raises:
            ToolCallError: it could not be called, was refused, or failed.

        """
        result = self._called(name, arguments, server)
        text = "\n".join(
            one.get("text", "") for one in result.get("content") or () if one.get("type") == "text"
        )
        if result.get("isError"):
            meta = result.get("_meta") or {}
            raise ToolCallError(text or f"{name} failed", str(meta.get("hive/approval", "")))
        structured = result.get("structuredContent")
        return text if structured is None else structured

    def _called(self, name: str, arguments: dict[str, Any], server: str) -> dict[str, Any]:
        """Call a tool; where it wants arguments in headers that nobody knew of, look at it and call again.

        Such a call was turned away at the node's door, before anything was done.
        """
        params = {"name": name, "arguments": arguments}
        marks = self._marks.of(server, name)
        try:
            return self._ask("tools/call", params, server, headers_for(marks, arguments))
        except ToolCallError as error:
            if error.code != _HEADER_MISMATCH:
                raise
            self.tools(server)
            if self._marks.of(server, name) == marks:
                raise
        more = headers_for(self._marks.of(server, name), arguments)
        return self._ask("tools/call", params, server, more)

    def _ask(
        self, method: str, params: dict[str, Any], server: str, more: dict[str, str] | None = None
    ) -> dict[str, Any]:
        meta = {
            f"{_PREFIX}protocolVersion": REVISION,
            f"{_PREFIX}clientInfo": {"name": "hive-guest", "version": "1"},
            f"{_PREFIX}clientCapabilities": {},
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        headers = {
            **gate_headers(self.handle),
            "mcp-protocol-version": REVISION,
            "mcp-method": method,
        }
        if "name" in params:
            headers["mcp-name"] = header_value(params["name"])
        headers |= more or {}
        connection = self._connect(TIMEOUT_S)
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


def tools(server: str = "") -> list[dict[str, Any]]:
    """Return the tools that this agent may use; with `server` those of one, under their own names.

    Raises:
        ToolCallError: the node did not answer.

    """
    return _own_gate().tools(server)


def use(name: str, /, *, server: str = "", **arguments: Any) -> Any:
    """Call a tool: return its structured answer where it has one, else its text.

    Raises:
        ToolCallError: it could not be called, was refused, or failed.

    """
    return _own_gate().use(name, arguments, server=server)


def _own_gate() -> ToolGate:
    handle = os.environ.get("HIVE_HANDLE", "")
    if not _GATES or _GATES[0].handle != handle:
        _GATES[:] = [ToolGate(_to_gate, handle)]
    return _GATES[0]


def _to_gate(timeout_s: float) -> HTTPConnection:
    from hive_guest.api import gate_address

    return HTTPConnection(*gate_address(), timeout=timeout_s)


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


def gate_headers(handle: str = "") -> dict[str, str]:
    """Return what every request to the gate shows; without `handle`, this process's own."""
    return {
        "authorization": f"Bearer {handle or os.environ.get('HIVE_HANDLE', '')}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }


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
