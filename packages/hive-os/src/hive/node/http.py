"""HTTP on TCP and on unix sockets: uvicorn's protocol, with bounds that it does not have.

A connection that sends no complete request head in time is closed, connections are counted, and a
sandbox's socket marks every request with the sandbox it came from.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import anyio
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from hive.core.errors import PortInUseError
from hive.core.ids import SandboxId
from hive.node.head_holder import HeadHolder

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

log: Final = logging.getLogger(__name__)
HEAD_TIMEOUT_S: Final = 10.0
KEEP_ALIVE_S: Final = 75
CONNECTIONS_MAX: Final = 2000
CONNECTIONS_PER_SANDBOX_MAX: Final = 128
CLOSE_TIMEOUT_S: Final = 0.5
SANDBOX_KEY: Final = "hive.sandbox"


class BoundedProtocol(HttpToolsProtocol):
    """One connection, closed if its request head does not arrive in time."""

    def __init__(self, server: "HttpServer") -> None:
        super().__init__(config=server.config, server_state=server.state, app_state={})
        self.app = server.app
        self._server = server
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, unless there are too many."""
        if len(self.connections) >= self._server.connections_max:
            transport.abort()
            return
        super().connection_made(cast("asyncio.Transport", HeadHolder(transport, self.loop)))
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, transport.abort)

    def on_message_begin(self) -> None:
        """Give the head of this request its own time."""
        super().on_message_begin()
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def on_headers_complete(self) -> None:
        """Stop the timer: the head is here."""
        self._stop_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        if self.transport is not None:
            super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class HttpServer:
    """One app behind any number of sockets."""

    def __init__(self, app: App, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self.app = app
        self.connections_max = connections_max
        self.state = ServerState()
        self.config = Config(
            app=app,
            http="httptools",
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=64 << 10,
        )
        self.config.load()
        self._servers: list[asyncio.Server] = []

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve a bound socket."""
        loop = asyncio.get_running_loop()
        factory = self._protocol
        if sock.family == socket.AF_UNIX:
            server = await loop.create_unix_server(factory, sock=sock)
        else:
            server = await loop.create_server(factory, sock=sock, ssl=tls, backlog=2048)
        self._servers.append(server)

    async def aclose(self) -> None:
        """Stop listening, let running requests end for a moment, then cut them."""
        for server in self._servers:
            server.close()
        for connection in list(self.state.connections):
            connection.shutdown()
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            while self.state.tasks:
                await asyncio.wait(set(self.state.tasks), timeout=CLOSE_TIMEOUT_S)
        for task in list(self.state.tasks):
            task.cancel()
        for connection in list(self.state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()

    def _protocol(self) -> BoundedProtocol:
        return BoundedProtocol(self)


def bind_port(host: str, port: int) -> socket.socket:
    """Bind a TCP port.

    Raises:
        PortInUseError: another process holds it.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise PortInUseError(
            f"Port {port} is in use{_holder(port)}.",
            why=str(error),
            fix=f"hive up --port {port + 1}",
        ) from error
    sock.settimeout(0.0)
    return sock


def bind_path(path: Path, *, mode: int) -> socket.socket:
    """Bind a unix socket, replacing a stale one; the path may be longer than the kernel's limit."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    path.chmod(mode)
    sock.settimeout(0.0)
    return sock


def from_sandbox(app: App, sandbox: SandboxId) -> App:
    """Mark every request with the sandbox whose socket it came through."""

    async def marked(scope: Scope, receive: Receive, send: Send) -> None:
        scope[SANDBOX_KEY] = sandbox
        await app(scope, receive, send)

    return marked


def _holder(port: int) -> str:
    """Name the process that listens on a port, from what the kernel shows to this user."""
    wanted = f":{port:04X}"
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    inodes.add(f"socket:[{fields[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            if str(link.readlink()) in inodes:
                pid = link.parts[2]
                name = (Path("/proc") / pid / "comm").read_text().strip()
                return f" by {name} (pid {pid})"
        except OSError:
            continue
    return ""
