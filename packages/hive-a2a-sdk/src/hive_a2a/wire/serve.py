"""HTTP on a socket: uvicorn's protocol, with bounds that it does not have, and the TLS peer in the scope.

A connection that sends no complete request head in time is closed, and connections are counted. Who is at
the other end of mutual TLS stands in `scope["extensions"]` before the application sees a request:
`hive_a2a.tls_peer` (`TlsPeer`), `spiffe` (`{"id": ...}`) and `tls` (`{"certificate_sha256": ...}`).
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import anyio
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from hive_a2a.asgi import WHOLE_KEY, AsgiApp
from hive_a2a.errors import A2AError
from hive_a2a.identity.svid import TLS_PEER, BadSvidError, TlsPeer, tls_peer
from hive_a2a.policy import WireLimits
from hive_a2a.wire.corked import CorkedTransport

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 75
HEAD_BYTES_MAX: Final = 64 << 10
CLOSE_TIMEOUT_S: Final = 5.0
Admits: TypeAlias = Callable[[TlsPeer | None], bool]
"""Says whether a connection is served, by the peer that its TLS layer verified; None where it shows nothing."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection, closed if its request head does not arrive in time or has no end."""

    def __init__(self, server: "LimitedServer") -> None:
        super().__init__(config=server.config, server_state=server.state, app_state={})
        self._server = server
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._peer: dict[str, Any] = {}
        self._admitted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, unless there are too many."""
        if len(self.connections) >= self._server.limits.connections_max:
            transport.abort()
            return
        self._corked = CorkedTransport(transport, self.loop)
        super().connection_made(self._corked)
        try:
            peer = tls_peer(transport.get_extra_info("ssl_object"))
        except BadSvidError:
            transport.abort()
            return
        if self._server.admits is not None and not self._server.admits(peer):
            # Before a byte of a request is looked at.
            transport.abort()
            return
        self._admitted = True
        self._peer = _told_of(peer)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that grows without end closes the connection."""
        if not self._admitted:
            return  # TLS may still hand on what came with its handshake
        if self._head_timer is not None:
            # What came before this read was a head alone, and still has no end.
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.abort()
                return
            self._head_bytes += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Give the head of this request its own time, and the request its peer."""
        super().on_message_begin()
        self.scope["extensions"] = dict(self._peer)
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Stop the timer: the head is here."""
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Say that the body is here, where that is so before the application begins."""
        super().on_message_complete()
        self.scope[WHOLE_KEY] = True  # type: ignore[typeddict-unknown-key]

    def on_response_complete(self) -> None:
        """Send what the answer has left, in one piece."""
        self._corked.flush()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        if self.transport is not None:
            super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_bytes = 0
        limit_s = self._server.limits.head_timeout_s
        self._head_timer = self.loop.call_later(limit_s, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class LimitedServer:
    """One application behind any number of sockets."""

    def __init__(
        self, app: AsgiApp, *, limits: WireLimits | None = None, admits: Admits | None = None
    ) -> None:
        self.limits = limits or WireLimits()
        self.admits = admits
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
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        )
        self.config.load()
        self._servers: list[asyncio.Server] = []

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve a bound socket."""
        # The protocol is a callback of the event loop, so the loop itself opens the server.
        loop = asyncio.get_running_loop()
        self._servers.append(
            await loop.create_server(
                lambda: LimitedProtocol(self),
                sock=sock,
                ssl=tls,
                backlog=BACKLOG,
                # A connection counts once TLS is up, so what comes before must not last.
                ssl_handshake_timeout=self.limits.head_timeout_s if tls else None,
            )
        )

    async def aclose(self, *, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop listening, let running requests end for a moment, then cut them."""
        for server in self._servers:
            server.close()
        for connection in list(self.state.connections):
            connection.shutdown()
        with anyio.move_on_after(timeout_s, shield=True):
            while self.state.tasks:
                await asyncio.wait(set(self.state.tasks), timeout=timeout_s)
        for task in list(self.state.tasks):
            task.cancel()
        for connection in list(self.state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


@asynccontextmanager
async def serving(
    app: AsgiApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    limits: WireLimits | None = None,
    admits: Admits | None = None,
    sock: socket.socket | None = None,
) -> AsyncIterator[int]:
    """Serve while the context is open; gives the port. `sock` is of `bound`, and stands for host and port.

    A connection whose peer is not admitted is cut before its first request is read.

    Raises:
        A2AError: the port cannot be opened.

    """
    sock = sock or bound(host, port)
    server = LimitedServer(app, limits=limits, admits=admits)
    await server.listen(sock, tls)
    try:
        yield sock.getsockname()[1]
    finally:
        await server.aclose()


async def serve(
    app: AsgiApp,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tls: ssl.SSLContext | None = None,
    limits: WireLimits | None = None,
    admits: Admits | None = None,
) -> None:
    """Serve until cancelled.

    Raises:
        A2AError: the port cannot be opened.

    """
    async with serving(app, host=host, port=port, tls=tls, limits=limits, admits=admits):
        await anyio.sleep_forever()


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that is ours from now on; who connects waits until it is served.

    Raises:
        A2AError: the port cannot be opened.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        taken = error.errno == errno.EADDRINUSE
        raise A2AError(
            f"The port {port} of {host} cannot be opened.",
            why="Another program listens there." if taken else str(error),
            fix="Stop that program, or choose another port." if taken else "Choose another port.",
        ) from error
    sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return sock


def _told_of(peer: TlsPeer | None) -> dict[str, Any]:
    if peer is None:
        return {}
    found: dict[str, Any] = {
        TLS_PEER: peer,
        "tls": {"certificate_sha256": peer.certificate_sha256},
    }
    if peer.spiffe_id:
        found["spiffe"] = {"id": peer.spiffe_id}
    return found
