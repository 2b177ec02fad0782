"""The command's own client of the control socket: standard library HTTP, an object or lines back.

Who may open the socket is the operator: its file mode says so. No web client is imported, so that a verb
answers within the time of its import.
"""

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from hive.cli.errors import told_error
from hive.core.errors import NodeUnreachableError

SOCKET_NAME: Final = "control.sock"
TIMEOUT_S: Final = 30.0
LINE_MAX_BYTES: Final = 64 << 20
_PATH_MAX_CHARS: Final = 100
StructT = TypeVar("StructT")


class OperatorClient:
    """Speak the operator API over the control socket of one state folder."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def alive(self) -> bool:
        """Tell whether a node answers on the socket."""
        try:
            with _opened(self._state, TIMEOUT_S):
                return True
        except NodeUnreachableError:
            return False

    def get(
        self, path: str, kind: type[StructT], *, timeout_s: float = TIMEOUT_S, **query: object
    ) -> StructT:
        """Read one object."""
        return self._ask("GET", path, kind, query=query, timeout_s=timeout_s)

    def post(
        self,
        path: str,
        kind: type[StructT],
        body: object = None,
        *,
        timeout_s: float = TIMEOUT_S,
        **query: object,
    ) -> StructT:
        """Change something; read one object back."""
        return self._ask("POST", path, kind, body=body, query=query, timeout_s=timeout_s)

    def delete(self, path: str) -> None:
        """Remove something."""
        self._ask("DELETE", path, object)

    def lines(
        self,
        method: str,
        path: str,
        kind: type[StructT],
        *,
        body: object = None,
        timeout_s: float | None = None,
        **query: object,
    ) -> Iterator[StructT]:
        """Read a stream, object by object.

        Raises:
            HiveError: the node told an error, at once or as a line.
            NodeUnreachableError: no node runs, or it went away.

        """
        with _opened(self._state, timeout_s) as connection:
            response = _send(connection, method, path, body, query)
            if response.status >= 400:
                raise _told(response.read(LINE_MAX_BYTES))
            while line := _line(response):
                if line.startswith(b'{"error":'):
                    raise _told(line)
                yield msgspec.json.decode(line, type=kind)

    def _ask(
        self,
        method: str,
        path: str,
        kind: type[StructT],
        *,
        body: object = None,
        query: dict[str, object] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> StructT:
        with _opened(self._state, timeout_s) as connection:
            response = _send(connection, method, path, body, query or {})
            try:
                data = response.read(LINE_MAX_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _gone(str(error)) from error
        if response.status >= 400:
            raise _told(data)
        return msgspec.json.decode(data, type=kind)


def segment(text: str) -> str:
    """Return a name as one segment of a path."""
    return quote(text, safe="")


@contextmanager
def _opened(state: Path, timeout_s: float | None) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("hive", timeout=timeout_s)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(timeout_s)
    try:
        try:
            _connect(link, state / SOCKET_NAME)
        except OSError as error:
            raise NodeUnreachableError(
                "No node runs.",
                why=f"Nothing answers on {state / SOCKET_NAME} ({error.strerror or error}).",
                fix="hive up     or name its state folder:  --state DIR",
            ) from error
        connection.sock = link
        yield connection
    finally:
        connection.close()
        link.close()


def _connect(link: socket.socket, path: Path) -> None:
    if len(str(path)) <= _PATH_MAX_CHARS:
        link.connect(str(path))
        return
    # The address of a unix socket holds 107 bytes; a folder's descriptor is a short way to any path.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        link.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object,
    query: dict[str, object],
) -> http.client.HTTPResponse:
    given = {name: _text(value) for name, value in query.items() if value not in ("", None)}
    target = f"/api/{path}" + (f"?{urlencode(given)}" if given else "")
    content = msgspec.json.encode(body) if body is not None else None
    headers = {"content-type": "application/json"} if content is not None else {}
    try:
        connection.request(method, target, body=content, headers=headers)
        return connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise _gone(str(error)) from error


def _line(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.readline(LINE_MAX_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _gone(str(error)) from error


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _gone(why: str) -> NodeUnreachableError:
    return NodeUnreachableError(
        "The node does not answer.",
        why=why or "It closed the connection.",
        fix="hive status     or look into its log",
    )


class _NodeTold(msgspec.Struct, frozen=True):
    code: str
    what: str
    why: str = ""
    fix: str = ""


class _NodeToldError(msgspec.Struct, frozen=True):
    error: _NodeTold


def _told(data: bytes) -> Exception:
    try:
        told = msgspec.json.decode(data, type=_NodeToldError).error
    except msgspec.MsgspecError as error:
        return _gone(f"Its answer cannot be read: {error}")
    return told_error(told.code, told.what, why=told.why, fix=told.fix)
