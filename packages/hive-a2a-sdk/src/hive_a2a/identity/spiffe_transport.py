"""An httpx transport that sends nothing to a server before it knows its SPIFFE id.

httpx tells who the server was only after the request is on its way. Here the id is compared as soon as TLS is
up, below the HTTP connection: a wrong server gets the handshake and no byte more.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final

import httpcore
import httpx

from hive_a2a.errors import A2AError
from hive_a2a.identity.svid import BadSvidError, SvidSource, peer_spiffe_id, trust_domain
from hive_a2a.identity.tls import client_context

_SOCKET_OPTION = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)
_ERRORS: Final[tuple[tuple[type[Exception], type[httpx.RequestError]], ...]] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.TimeoutException, httpx.ReadTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.ReadError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.ProtocolError, httpx.RemoteProtocolError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)


class SpiffeTransport(httpx.AsyncBaseTransport):
    """Speaks HTTP/1.1 over mTLS with the servers of these ids only; `https` addresses only.

    Each new connection uses the newest SVID of the source. A connection is used for at most
    `connection_idle_s` of silence, so a withdrawn identity does not live on in the pool.
    """

    def __init__(
        self,
        source: SvidSource,
        server_ids: str | Sequence[str],
        *,
        connections_max: int = 100,
        connection_idle_s: float = 30.0,
    ) -> None:
        self._ids = frozenset([server_ids] if isinstance(server_ids, str) else server_ids)
        self._source = source
        own = trust_domain(source.current().spiffe_id)
        if not self._ids or {trust_domain(one) for one in self._ids} != {own}:
            raise A2AError(
                "These servers cannot be told apart.",
                why="Each needs a SPIFFE id of this client's own trust domain.",
            )
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=connections_max,
            keepalive_expiry=connection_idle_s,
            http1=True,
            http2=False,
            network_backend=_CheckedBackend(lambda: client_context(source), self._ids),
        )

    @property
    def spiffe_id(self) -> str:
        """Return the id that servers see."""
        return self._source.current().spiffe_id

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to a server whose id was compared.

        Raises:
            httpx.ConnectError: the server is another one; it got no byte of the request.
            httpx.RequestError: anything else went wrong on the wire.

        """
        if request.url.scheme != "https":
            raise httpx.UnsupportedProtocol("Only https has SPIFFE ids.", request=request)
        if not isinstance(request.stream, httpx.AsyncByteStream):
            raise httpx.UnsupportedProtocol("The body must be asynchronous.", request=request)
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            answer = await self._pool.handle_async_request(sent)
        except Exception as error:
            raise _as_httpx(error, request) from error
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Answer(answer, request),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, context: Callable[[], ssl.SSLContext], ids: frozenset[str]) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._context = context
        self._ids = ids

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[_SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        connect = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Unverified(await connect, self._context, self._ids)


class _Unverified(httpcore.AsyncNetworkStream):
    """A connection without TLS yet: it can do nothing but start it."""

    def __init__(
        self,
        plain: httpcore.AsyncNetworkStream,
        context: Callable[[], ssl.SSLContext],
        ids: frozenset[str],
    ) -> None:
        self._plain = plain
        self._context = context
        self._ids = ids

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        try:
            context = self._context()
        except A2AError as error:
            await self._plain.aclose()
            raise httpcore.ConnectError(str(error)) from error
        verified = await self._plain.start_tls(context, server_hostname, timeout)
        try:
            found = peer_spiffe_id(verified.get_extra_info("ssl_object"))
        except BadSvidError:
            found = ""
        if found not in self._ids:
            await verified.aclose()
            raise httpcore.ConnectError("The server has another SPIFFE id.")
        return verified

    async def aclose(self) -> None:
        await self._plain.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401
        return self._plain.get_extra_info(info)


class _Answer(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._answer.aiter_stream():
                yield part
        except Exception as error:
            raise _as_httpx(error, self._request) from error

    async def aclose(self) -> None:
        await self._answer.aclose()


def _as_httpx(error: Exception, request: httpx.Request) -> Exception:
    for theirs, ours in _ERRORS:
        if isinstance(error, theirs):
            return ours(str(error), request=request)
    return error
