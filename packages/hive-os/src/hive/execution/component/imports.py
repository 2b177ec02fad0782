"""What a component imports: each function is a request through one of the two sockets of its sandbox.

The sockets and the handle are of one sandbox; the component sees neither. What the node refuses comes back as a `problem`.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from hive_guest.a2a_wire import WireError
from hive_guest.api import AgentCallError
from hive_guest.neighbours import ask_at
from hive_guest.tools import ToolCallError, ToolGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_MAX_BYTES: Final = 8 << 20
LOG_MAX_CHARS: Final = 8 << 10
HEADERS_MAX: Final = 100
URL_MAX_CHARS: Final = 8192
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_OURS: Final = frozenset(
    {"connection", "host", "content-length", "proxy-authorization", "proxy-connection", "te",
     "trailer", "transfer-encoding", "upgrade", "keep-alive"}
)  # fmt: skip


class ProblemError(Exception):
    """A call did not happen: `code` is one of the codes of the record `problem`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Places(NamedTuple):
    """Where the sockets of one sandbox lie, and the handle that the node knows its turns by."""

    gate: str
    egress: str
    handle: str


class _UnixConnection(HTTPConnection):
    """A connection over a unix socket; for a host behind TLS, through the proxy that the socket is."""

    def __init__(
        self,
        path: str,
        timeout_s: float,
        *,
        handle: str = "",
        target: tuple[str, int] | None = None,
    ) -> None:
        super().__init__("127.0.0.1", timeout=timeout_s)
        self._path = path
        self._handle = handle
        self._target = target

    def connect(self) -> None:
        """Connect; where a target is named, open a tunnel to it and speak TLS in it.

        Raises:
            ProblemError: the node does not open the tunnel.

        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        try:
            sock.connect(self._path)
            self.sock: Any = self._tunneled(sock, *self._target) if self._target else sock
        except BaseException:
            sock.close()
            raise

    def _tunneled(self, sock: socket.socket, host: str, port: int) -> ssl.SSLSocket:
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {at} HTTP/1.1\r\nhost: {at}\r\nproxy-authorization: Bearer {self._handle}\r\n\r\n"
        sock.sendall(head.encode("ascii"))
        answer = self.response_class(sock, method="CONNECT")
        answer.begin()
        if answer.status != 200:
            raise _refusal(answer.status, answer.read(4096))
        return ssl.create_default_context().wrap_socket(sock, server_hostname=host)


class HostImports:
    """The imports of one instance; `turn` is what runs in it now."""

    def __init__(self, places: Places, write: Callable[[dict[str, Any]], None]) -> None:
        self._places = places
        self._write = write
        self._tools = ToolGate(self._to_gate, places.handle)
        self.turn = ""
        self.traceparent = ""
        self.timeout_s = 300.0
        self.pieces: list[str] = []
        self.pieces_chars = 0
        self.open: set[HTTPConnection] = set()
        self._lock = threading.Lock()

    def hang_up(self) -> None:
        """End what waits for an answer: the turn was canceled."""
        with self._lock:
            waiting = list(self.open)
        for connection in waiting:
            sock = connection.sock
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def log(self, level: str, text: str) -> None:
        """Write a line to the agent's log."""
        self._write(
            {"type": "log", "turn": self.turn, "level": level, "text": text[:LOG_MAX_CHARS]}
        )

    def chunk(self, text: str) -> None:
        """Stream a piece of the answer."""
        if self.pieces_chars < ANSWER_MAX_BYTES:
            self.pieces.append(text)
            self.pieces_chars += len(text)
        for at in range(0, len(text), 64 << 10):
            self._write({"type": "chunk", "turn": self.turn, "text": text[at : at + (64 << 10)]})

    def ask_model(self, request: str) -> str:
        """Ask a model.

        Raises:
            ProblemError: it was refused or failed, or the request is no JSON object.

        """
        try:
            asked = json.loads(request)
        except ValueError as error:
            raise ProblemError("input", f"the request is not JSON: {error}") from error
        if not isinstance(asked, dict) or asked.get("stream"):
            raise ProblemError("input", "a request is a JSON object without `stream`")
        headers = {
            "authorization": f"Bearer {self._places.handle}",
            "content-type": "application/json",
        }
        connection = self._to_gate(self.timeout_s)
        status, body = _asked(connection, "POST", "/v1/chat/completions", request.encode(), headers)
        if status != 200:
            raise _refusal(status, body)
        return body.decode("utf-8", "replace")

    def known_tools(self) -> str:
        """List the tools that this agent may use.

        Raises:
            ProblemError: the node did not answer.

        """
        try:
            return json.dumps(self._tools.tools())
        except ToolCallError as error:
            raise ProblemError("failed", str(error)) from error

    def use_tool(self, name: str, arguments: str) -> str:
        """Call a tool.

        Raises:
            ProblemError: it was refused, waits for a person, or failed.

        """
        try:
            given = json.loads(arguments or "{}")
        except ValueError as error:
            raise ProblemError("input", f"the arguments are not JSON: {error}") from error
        if not isinstance(given, dict):
            raise ProblemError("input", "arguments are a JSON object")
        try:
            answer = self._tools.use(name, given)
        except ToolCallError as error:
            code = "waiting" if error.approval else "refused" if error.code else "failed"
            raise ProblemError(code, str(error)) from error
        return answer if isinstance(answer, str) else json.dumps(answer)

    def ask_agent(self, agent: str, text: str) -> str:
        """Ask another agent.

        Raises:
            ProblemError: it was refused, failed, or asks something itself.

        """
        headers = {"authorization": f"Bearer {self._places.handle}"}
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        try:
            return ask_at(self._to_gate, headers, agent, text, self.timeout_s)
        except (AgentCallError, WireError) as error:
            raise ProblemError("failed", str(error)) from error

    def value(self, key: str) -> bytes | None:
        """Return a kept value, or nothing. Raises ProblemError."""
        status, body = self._own("GET", f"values/{quote(key, safe='')}")
        if status == 404:
            return None
        return _good(status, body)

    def put_value(self, key: str, value: bytes) -> None:
        """Keep a value. Raises ProblemError."""
        _good(*self._own("PUT", f"values/{quote(key, safe='')}", value))

    def forget_value(self, key: str) -> None:
        """Forget a value. Raises ProblemError."""
        _good(*self._own("DELETE", f"values/{quote(key, safe='')}"))

    def value_keys(self) -> list[str]:
        """Return the names of the kept values. Raises ProblemError."""
        return [str(one) for one in json.loads(_good(*self._own("GET", "values")))]

    def ask_tier(self, what: str) -> None:
        """Ask for a stronger tier; where the turn moves up, the instance is stopped meanwhile. Raises ProblemError."""
        _good(*self._own("POST", "tier", json.dumps({"what": what}).encode()))

    def _own(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {self._places.handle}"}
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return _asked(self._to_gate(self.timeout_s), method, f"/own/{path}", body, headers)

    def send(
        self, method: str, url: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask a host over http or https; return status, headers and body.

        Raises:
            ProblemError: the host is not granted, cannot be reached, or the request is none.

        """
        parts = _address(method, url, headers)
        host = str(parts.hostname)
        secure = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target = (host, parts.port or 443) if secure else None
        connection = self._kept(
            _UnixConnection(
                self._places.egress, self.timeout_s, handle=self._places.handle, target=target
            )
        )
        named = f"[{host}]" if ":" in host else host
        fields = [("host", named if parts.port is None else f"{named}:{parts.port}"), *headers]
        if not secure:
            path = f"http://{fields[0][1]}{path}"
            fields.append(("proxy-authorization", f"Bearer {self._places.handle}"))
        return _exchange(connection, method, path, fields, body)

    def _to_gate(self, timeout_s: float) -> HTTPConnection:
        return self._kept(_UnixConnection(self._places.gate, timeout_s))

    def _kept(self, connection: _UnixConnection) -> _UnixConnection:
        """Keep a connection in sight while it is open, so that a canceled turn ends it."""
        close = connection.close

        def closed() -> None:
            with self._lock:
                self.open.discard(connection)
            close()

        connection.close = closed  # type: ignore[method-assign]
        with self._lock:
            self.open.add(connection)
        return connection


def _address(method: str, url: str, headers: list[tuple[str, str]]) -> SplitResult:
    if method not in METHODS:
        raise ProblemError("input", f"the method is not one of {', '.join(sorted(METHODS))}")
    if len(url) > URL_MAX_CHARS or not url.isascii() or not url.isprintable() or " " in url:
        raise ProblemError("input", "the URL is too long or holds something that is no ASCII sign")
    if len(headers) > HEADERS_MAX:
        raise ProblemError("input", f"there are more than {HEADERS_MAX} headers")
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in _OURS:
            raise ProblemError("input", f"the header {name[:64]!r} cannot be sent")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.username
        if not good or parts.port == 0:
            raise ProblemError("input", "the URL is not http://HOST/PATH or https://HOST/PATH")
    except ValueError as error:
        raise ProblemError("input", f"the URL is none: {error}") from error
    return parts


def _exchange(
    connection: HTTPConnection, method: str, path: str, fields: list[tuple[str, str]], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in fields:
            connection.putheader(name, value.encode("latin-1"))
        if body or method in ("POST", "PUT", "PATCH"):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        told = answer.read(ANSWER_MAX_BYTES + 1)
        if len(told) > ANSWER_MAX_BYTES:
            raise ProblemError("limit", f"the answer is over {ANSWER_MAX_BYTES} bytes")
        if answer.getheader("hive-reason"):
            raise _refusal(answer.status, told)
        return answer.status, list(_told(answer.getheaders())), told
    except (OSError, HTTPException, ValueError) as error:
        raise ProblemError("failed", f"no answer: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _told(headers: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers[:HEADERS_MAX]:
        yield name.lower(), value


def _asked(
    connection: HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, bytes]:
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        told = answer.read(ANSWER_MAX_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise ProblemError("failed", f"no answer: {type(error).__name__}") from error
    finally:
        connection.close()
    if len(told) > ANSWER_MAX_BYTES:
        raise ProblemError("limit", f"the answer is over {ANSWER_MAX_BYTES} bytes")
    return answer.status, told


def _good(status: int, body: bytes) -> bytes:
    if status >= 300:
        raise _refusal(status, body)
    if status == 202:
        raise ProblemError("waiting", "this turn goes on in a stronger tier")
    return body


def _refusal(status: int, body: bytes) -> ProblemError:
    text = body.decode("utf-8", "replace").strip()[:2048]
    try:
        told = json.loads(text)["error"]
        text = (
            told if isinstance(told, str) else str(told.get("message") or told.get("what") or text)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    code = {403: "refused", 401: "refused", 402: "limit", 429: "limit", 413: "limit"}.get(
        status, "failed"
    )
    return ProblemError("input" if status == 400 else code, text or f"status {status}")
