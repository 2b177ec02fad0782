"""A2A as a client over plain HTTP: JSON-RPC of protocol 1.0 and 0.3, whole answers and streams.

What comes back is brought to the words of 1.0, so that nobody else has to know which one was spoken.
"""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection, HTTPException

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from typing import Any, Final, TypeAlias

    from hive_guest.parts import JsonObject

    Address: TypeAlias = tuple[str, int] | Callable[[float], HTTPConnection]
    """Host and port, or what opens a connection that waits that many seconds at most."""

ANSWER_MAX_BYTES: Final = 16 << 20
LINE_MAX_BYTES: Final = 12 << 20
CARD_PATHS: Final = ("/.well-known/agent-card.json", "/.well-known/agent.json")
METHODS: Final = {
    "1.0": {
        "send": "SendMessage",
        "stream": "SendStreamingMessage",
        "get": "GetTask",
        "cancel": "CancelTask",
    },
    "0.3": {
        "send": "message/send",
        "stream": "message/stream",
        "get": "tasks/get",
        "cancel": "tasks/cancel",
    },
}
FINISH_TIMEOUT_S: Final = 0.5
ENDED: Final = frozenset({"COMPLETED", "FAILED", "CANCELED", "REJECTED"})
WAITING: Final = frozenset({"INPUT_REQUIRED", "AUTH_REQUIRED"})


class WireError(Exception):
    """The other side did not answer, or not in the words of A2A; `code` is what it said itself."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Event:
    """What an answer or a stream carries: `task`, `message`, `status` or `artifact`, in words of 1.0."""

    __slots__ = ("kind", "value")

    def __init__(self, kind: str, value: JsonObject) -> None:
        self.kind = kind
        self.value = value

    @property
    def state(self) -> str:
        """Return the state of a task or status without its prefix, or nothing."""
        status = self.value.get("status") if self.kind in ("task", "status") else None
        state = status.get("state", "") if isinstance(status, dict) else ""
        return str(state).removeprefix("TASK_STATE_").replace("-", "_").upper()

    @property
    def at_rest(self) -> bool:
        """Tell whether nothing comes after it until a client speaks again."""
        return self.kind == "message" or self.state in ENDED | WAITING

    @property
    def said(self) -> JsonObject | None:
        """Return the message that a status carries, or the message itself."""
        if self.kind == "message":
            return self.value
        status = self.value.get("status")
        message = status.get("message") if isinstance(status, dict) else None
        return message if isinstance(message, dict) else None


class A2AEndpoint:
    """One agent's JSON-RPC endpoint."""

    def __init__(self, address: Address, path: str, version: str, headers: dict[str, str]) -> None:
        self._address = address
        self._path = path
        self.version = "0.3" if version.startswith("0.") else "1.0"
        self._headers = headers

    def send(self, message: JsonObject, *, timeout_s: float) -> Event:
        """Send a message and wait for the whole answer.

        Raises:
            WireError: there was none, or an error.

        """
        with _Exchange(self._address, timeout_s) as exchange:
            answer = exchange.post(self._path, self._request("send", self._params(message)))
            return _event(_result(_json(answer.read(ANSWER_MAX_BYTES + 1))))

    def stream(self, message: JsonObject, *, timeout_s: float) -> Iterator[Event]:
        """Send a message and yield what the other side streams.

        Raises:
            WireError: there was no stream, or an error in it.

        """
        with _Exchange(self._address, timeout_s) as exchange:
            request = self._request("stream", self._params(message))
            answer = exchange.post(self._path, request, accept="text/event-stream")
            if "text/event-stream" not in (answer.getheader("content-type") or ""):
                yield _event(_result(_json(answer.read(ANSWER_MAX_BYTES + 1))))
                return
            for data in _server_sent(answer):
                event = _event(_result(_json(data)))
                if event.at_rest:
                    exchange.finish(answer)
                yield event

    def get(self, task: str, *, timeout_s: float) -> Event:
        """Ask how a task is.

        Raises:
            WireError: it is not known, or there was no answer.

        """
        with _Exchange(self._address, timeout_s) as exchange:
            answer = exchange.post(self._path, self._request("get", {"id": task}))
            result = _result(_json(answer.read(ANSWER_MAX_BYTES + 1)))
            return _event(result if "kind" in result else {"task": result})

    def cancel(self, task: str, *, timeout_s: float) -> None:
        """Ask the other side to cancel a task.

        Raises:
            WireError: it did not answer, or would not.

        """
        with _Exchange(self._address, timeout_s) as exchange:
            answer = exchange.post(self._path, self._request("cancel", {"id": task}))
            _result(_json(answer.read(ANSWER_MAX_BYTES + 1)))

    def _request(self, verb: str, params: JsonObject) -> tuple[bytes, dict[str, str]]:
        body = {
            "jsonrpc": "2.0",
            "id": os.urandom(8).hex(),
            "method": METHODS[self.version][verb],
            "params": params,
        }
        headers = {**self._headers, "content-type": "application/json"}
        if self.version != "0.3":
            headers["A2A-Version"] = self.version
        return json.dumps(body).encode(), headers

    def _params(self, message: JsonObject) -> JsonObject:
        if self.version != "0.3":
            return {"message": message}
        return {"message": _to_0_3(message), "configuration": {"blocking": True}}


def get_json(address: Address, path: str, headers: dict[str, str], *, timeout_s: float) -> Any:
    """Fetch a JSON document.

    Raises:
        WireError: it is not there.

    """
    with _Exchange(address, timeout_s) as exchange:
        return _json(exchange.get(path, headers).read(ANSWER_MAX_BYTES + 1))


class _Exchange:
    """One HTTP connection for one exchange; whatever fails on it is a `WireError`."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._connection = (
            address(timeout_s) if callable(address) else HTTPConnection(*address, timeout=timeout_s)
        )
        self._sock: socket.socket | None = None

    def __enter__(self) -> _Exchange:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._connection.close()
        if isinstance(error, (OSError, HTTPException)):
            message = f"no answer: {type(error).__name__}: {error}"
            raise WireError(message) from error

    def finish(self, answer: Any) -> None:
        """Let the other side close first, for a moment: then nothing on the way was cut off."""
        if self._sock is None:
            return
        self._sock.settimeout(FINISH_TIMEOUT_S)
        try:
            while answer.read(LINE_MAX_BYTES):
                pass
            self._sock.recv(1)
        except (OSError, ValueError, HTTPException):
            return

    def post(
        self, path: str, request: tuple[bytes, dict[str, str]], accept: str = "application/json"
    ) -> Any:
        body, headers = request
        return self._send("POST", path, body, {**headers, "accept": accept})

    def get(self, path: str, headers: dict[str, str]) -> Any:
        return self._send("GET", path, None, headers)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        self._connection.connect()
        self._sock = self._connection.sock
        self._connection.request(method, path, body, {**headers, "connection": "close"})
        answer = self._connection.getresponse()
        if answer.status >= 400:
            told = answer.read(2048).decode("utf-8", "replace")
            message = f"HTTP {answer.status}: {told}"
            raise WireError(message)
        return answer


def _server_sent(answer: Any) -> Iterator[bytes]:
    """Yield the data of each event of a stream."""
    data: list[bytes] = []
    while True:
        line = answer.readline(LINE_MAX_BYTES + 1)
        if len(line) > LINE_MAX_BYTES:
            message = "an event of the stream is too long"
            raise WireError(message)
        if line.startswith(b"data:"):
            data.append(line[5:].strip())
        elif not line.strip() and data:
            yield b"\n".join(data)
            data.clear()
        if not line:
            return


def _json(data: bytes) -> Any:
    if len(data) > ANSWER_MAX_BYTES:
        message = f"the answer is longer than {ANSWER_MAX_BYTES} bytes"
        raise WireError(message)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        message = "the answer is not JSON"
        raise WireError(message) from error


def _result(answer: Any) -> JsonObject:
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
        error = answer["error"]
        code = error.get("code")
        message = f"{error.get('message', 'error')} ({code})"
        raise WireError(message, code if isinstance(code, int) else 0)
    if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
        message = "the answer is not JSON-RPC"
        raise WireError(message)
    result: JsonObject = answer["result"]
    return result


_KINDS: Final = {"statusUpdate": "status", "artifactUpdate": "artifact"}
_OLD_KINDS: Final = {"status-update": "status", "artifact-update": "artifact"}


def _event(result: JsonObject) -> Event:
    old = result.get("kind")
    if isinstance(old, str):
        return Event(_OLD_KINDS.get(old, old), _from_0_3(result))
    for name in ("task", "message", "statusUpdate", "artifactUpdate"):
        if isinstance(result.get(name), dict):
            return Event(_KINDS.get(name, name), result[name])
    message = "the answer holds neither task nor message"
    raise WireError(message)


def _from_0_3(value: Any) -> Any:
    """Bring messages, parts and artifacts of 0.3 to the words of 1.0, wherever they stand."""
    if isinstance(value, list):
        return [_from_0_3(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "text":
        return {"text": value.get("text", ""), **_kept(value)}
    if value.get("kind") == "data":
        return {"data": value.get("data"), **_kept(value)}
    if value.get("kind") == "file" and isinstance(value.get("file"), dict):
        file = value["file"]
        content = {"raw": file["bytes"]} if "bytes" in file else {"url": file.get("uri", "")}
        named = {"mediaType": file.get("mimeType"), "filename": file.get("name")}
        return {**content, **{name: word for name, word in named.items() if word}, **_kept(value)}
    return {key: _from_0_3(inner) for key, inner in value.items() if key not in ("kind", "final")}


def _kept(value: JsonObject) -> JsonObject:
    return {"metadata": value["metadata"]} if value.get("metadata") else {}


def _to_0_3(message: JsonObject) -> JsonObject:
    role = "agent" if message.get("role") == "ROLE_AGENT" else "user"
    parts = [_part_to_0_3(part) for part in message.get("parts", ())]
    return {**message, "kind": "message", "role": role, "parts": parts}


def _part_to_0_3(part: JsonObject) -> JsonObject:
    if "text" in part:
        return {"kind": "text", "text": part["text"], **_kept(part)}
    if "raw" in part or "url" in part:
        file = {"bytes": part["raw"]} if "raw" in part else {"uri": part["url"]}
        named = {"mimeType": part.get("mediaType"), "name": part.get("filename")}
        file |= {name: word for name, word in named.items() if word}
        return {"kind": "file", "file": file, **_kept(part)}
    data = part.get("data")
    return {"kind": "data", "data": data if isinstance(data, dict) else {"value": data}}
