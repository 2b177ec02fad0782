"""A gRPC channel to the server with one SPIFFE id, compared before a byte of HTTP/2 is sent.

gRPC's own client compares names of hosts only, and an SVID has none. So TLS is made here, with the contexts of
`tls`, and gRPC speaks through it: over a socket in a folder that only this user can open, and to this process
alone. Nothing of it is seen outside of the process but TLS.
"""

import os
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSAttribute

from hive_a2a.errors import A2AError
from hive_a2a.identity.svid import BadSvidError, SvidSource, peer_spiffe_id, trust_domain
from hive_a2a.identity.tls import HTTP_2, client_context

if TYPE_CHECKING:
    import grpc

CONNECT_TIMEOUT_S: Final = 10.0
_PIECE_BYTES: Final = 1 << 16


@asynccontextmanager
async def spiffe_channel(
    source: SvidSource,
    server_id: str,
    target: str,
    *,
    options: Sequence[tuple[str, Any]] = (),
) -> AsyncIterator["grpc.aio.Channel"]:
    """Open a channel to `target` (`host:port`, or an address with a scheme) for as long as the block lasts.

    Raises:
        A2AError: the id is none, or is of another trust domain than this client's own.

    """
    import grpc

    if trust_domain(server_id) != trust_domain(source.current().spiffe_id):
        raise A2AError("The server's id is of another trust domain.")
    place = urlsplit(target if "://" in target else f"//{target}")
    host, port = place.hostname or "", place.port or 443
    pipe = _Pipe(source, server_id, host, port)
    with tempfile.TemporaryDirectory(prefix="a2a-") as folder:
        path = Path(folder) / "channel"
        # The folder is made with mode 0700, so nobody else's process reaches the socket in it.
        listener = await anyio.create_unix_listener(path)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, pipe.carry)
            named = (("grpc.default_authority", place.netloc), *options)
            channel = grpc.aio.insecure_channel(f"unix:{path}", options=named)
            try:
                yield channel
            finally:
                with anyio.move_on_after(5, shield=True):
                    await channel.close()
                tasks.cancel_scope.cancel()


class _Pipe:
    def __init__(self, source: SvidSource, server_id: str, host: str, port: int) -> None:
        self._source = source
        self._server_id = server_id
        self._host, self._port = host, port

    async def carry(self, near: SocketStream) -> None:
        """Carry one connection of gRPC to the server, if it is the right one; else close it."""
        async with near:
            if not _is_own(near):
                return
            far = await self._connect()
            if far is None:
                return
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                async with far, anyio.create_task_group() as tasks:
                    tasks.start_soon(_copy, far, near, tasks.cancel_scope)
                    await _copy(near, far, tasks.cancel_scope)

    async def _connect(self) -> ByteStream | None:
        try:
            with anyio.fail_after(CONNECT_TIMEOUT_S):
                far = await anyio.connect_tcp(
                    self._host,
                    self._port,
                    ssl_context=client_context(self._source, alpn=HTTP_2),
                    tls_standard_compatible=False,
                )
        except (A2AError, OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream):
            return None
        try:
            if peer_spiffe_id(far.extra(attribute=TLSAttribute.ssl_object)) == self._server_id:
                return far
        except BadSvidError:
            pass
        with anyio.move_on_after(1, shield=True):
            await far.aclose()
        return None


async def _copy(source: ByteStream, sink: ByteStream, scope: anyio.CancelScope) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        while True:
            await sink.send(await source.receive(_PIECE_BYTES))
    scope.cancel()


def _is_own(stream: SocketStream) -> bool:
    raw = stream.extra(attribute=SocketAttribute.raw_socket)
    shown = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", shown)[0] == os.getpid())
