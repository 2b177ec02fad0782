"""The MCP gate for agents that can only start a command: JSON-RPC lines in, JSON-RPC lines out.

    python -m hive_guest.mcp [SERVER]

Each line goes to the gate as a request of its own, and whatever comes back is written as one line. Several
requests run side by side; what ends standard input ends the shim.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http.client import HTTPConnection, HTTPException

from hive_guest.tool_headers import KnownMarks, header_value, headers_for
from hive_guest.tools import ToolCallError, gate_headers, gate_path, messages_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Final

LINE_MAX_BYTES: Final = 8 << 20
REQUESTS_MAX: Final = 32
TIMEOUT_S: Final = 3600.0
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
INTERNAL: Final = -32603
NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class StdioShim:
    """Carries lines between a client's pipes and the gate; a session is kept where the gate opens one."""

    def __init__(self, address: tuple[str, int], path: str, out: IO[bytes]) -> None:
        self._address = address
        self._path = path
        self._out = out
        self._writing = threading.Lock()
        self._slots = threading.BoundedSemaphore(REQUESTS_MAX)
        self._session = ""
        self._revision = ""
        self._marks = KnownMarks()

    def run(self, lines: IO[bytes]) -> None:
        """Forward every line until there is no more."""
        threads: list[threading.Thread] = []
        while line := lines.readline(LINE_MAX_BYTES + 1):
            message = _parsed(line)
            if not isinstance(message, dict):
                self._write(_error(None, -32700, "a line is one object of JSON"))
                continue
            if message.get("method") == "initialize":
                self._forward(message)  # what follows needs the session that this opens
                continue
            self._slots.acquire()
            thread = threading.Thread(target=self._forward_one, args=(message,), daemon=True)
            thread.start()
            threads = [one for one in threads if one.is_alive()] + [thread]
        for thread in threads:
            thread.join(TIMEOUT_S)

    def _forward_one(self, message: dict[str, Any]) -> None:
        try:
            self._forward(message)
        finally:
            self._slots.release()

    def _forward(self, message: dict[str, Any]) -> None:
        asks = "id" in message and "method" in message
        answered = False
        try:
            for one in self._exchange(message):
                answered = answered or (
                    isinstance(one, dict) and one.get("id") == message.get("id")
                )
                self._write(one)
        except (OSError, HTTPException, ValueError) as error:
            if asks and not answered:
                self._write(_error(message["id"], INTERNAL, f"no answer: {type(error).__name__}"))
            return
        if asks and not answered:
            self._write(_error(message["id"], INTERNAL, "no answer"))

    def _exchange(self, message: dict[str, Any]) -> Any:
        connection = HTTPConnection(*self._address, timeout=TIMEOUT_S)
        try:
            connection.request(
                "POST", self._path, json.dumps(message).encode(), self._headers(message)
            )
            answer = connection.getresponse()
            session = answer.getheader("mcp-session-id", "")
            kind = answer.getheader("content-type", "")
            if not kind.startswith("text/event-stream"):
                found = messages_in(answer.read(LINE_MAX_BYTES + 1), kind)
                self._note(message, session, found)
                yield from found
                return
            event = b""
            while line := answer.readline(LINE_MAX_BYTES + 1):
                event += line
                if line.strip():
                    continue
                found = messages_in(event, kind)
                event = b""
                self._note(message, session, found)
                yield from found
        finally:
            connection.close()

    def _note(self, message: dict[str, Any], session: str, found: list[Any]) -> None:
        if message.get("method") == "tools/list":
            for one in found:
                result = one.get("result") if isinstance(one, dict) else None
                listed = result.get("tools") if isinstance(result, dict) else None
                self._marks.learn("", listed if isinstance(listed, list) else [])
        if message.get("method") != "initialize":
            return
        self._session = session
        for one in found:
            result = one.get("result") if isinstance(one, dict) else None
            if isinstance(result, dict):
                self._revision = str(result.get("protocolVersion", ""))

    def _headers(self, message: dict[str, Any]) -> dict[str, str]:
        headers = gate_headers()
        params = message.get("params")
        meta = params.get("_meta") if isinstance(params, dict) else None
        own = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
        method = message.get("method")
        if isinstance(own, str) and isinstance(method, str) and isinstance(params, dict):
            headers |= {"mcp-protocol-version": own, "mcp-method": method}
            name = params.get(NAMED.get(method, ""))
            if isinstance(name, str):
                headers["mcp-name"] = header_value(name)
                arguments = params.get("arguments")
                if method == "tools/call" and isinstance(arguments, dict):
                    headers |= headers_for(self._marks.of("", name), arguments)
            return headers
        if self._session:
            headers["mcp-session-id"] = self._session
        if self._revision:
            headers["mcp-protocol-version"] = self._revision
        return headers

    def _write(self, message: object) -> None:
        with self._writing:
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()


def main(arguments: list[str]) -> int:
    """Forward standard input to the gate until it ends."""
    from hive_guest.api import gate_address

    try:
        path = gate_path(arguments[0] if arguments else os.environ.get("HIVE_MCP_SERVER", ""))
    except ToolCallError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    StdioShim(gate_address(), path, sys.stdout.buffer).run(sys.stdin.buffer)
    return 0


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _error(key: object, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": key, "error": {"code": code, "message": message}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
