"""The httpx transport that seals: put into the client that the official `ClientConfig.httpx_client` holds.

    peers = PinnedPeers(static=own_key, sealing=Sealing.REQUIRED)
    await peers.pin(verified_card, address=url)
    client = httpx.AsyncClient(transport=NoiseTransport(httpx.AsyncHTTPTransport(), peers=peers))

Which peer a request is for is decided by its URL, which lies under an interface of a pinned card.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final, cast
from urllib.parse import urlsplit

import httpx

from hive_a2a.base64url import to_base64url
from hive_a2a.cards.noise_params import NOISE_URI
from hive_a2a.policy import Sealing
from hive_a2a.sealed.answers import AnswerOpener, FrameEvents
from hive_a2a.sealed.binding import (
    Header,
    InnerHead,
    InnerRequest,
    RequestBinding,
    is_outside,
    read_inner_head,
)
from hive_a2a.sealed.errors import (
    BrokenAnswerError,
    SealCode,
    SealFault,
    SealRefusedError,
    UnsealedAnswerError,
)
from hive_a2a.sealed.extension import (
    ERROR_TYPE,
    HANDSHAKE_TYPE,
    PUBLIC_PATHS,
    SEAL_HEADER,
    SEALED_TYPE,
    TLS_ID_HEADER,
)
from hive_a2a.sealed.initiator import Exchange, Initiator, SealedPeer, SealedRequest
from hive_a2a.sealed.pins import PinnedPeers

ANSWER_BYTES_MAX: Final = 64 << 20
EVENT_BYTES_MAX: Final = 16 << 20
_ERROR_BYTES_MAX: Final = 256
_EVENTS: Final = "text/event-stream"
_KEPT_OUTSIDE: Final = (b"host", b"accept", b"user-agent")
_PUBLIC_HEADERS: Final = (
    *_KEPT_OUTSIDE,
    b"accept-encoding",
    b"a2a-version",
    b"cache-control",
    b"if-none-match",
    b"if-modified-since",
)


class NoiseTransport(httpx.AsyncBaseTransport):
    """Seals what is sent to pinned peers, over another transport.

    `tls_id` says which SPIFFE id this client shows in TLS, if it does: told inside the seal, so that whoever
    carries a request cannot pass as its sender.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        peers: PinnedPeers,
        tls_id: Callable[[], str] | None = None,
    ) -> None:
        self._inner = inner
        self._peers = peers
        self._tls_id = tls_id

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, sealed where its peer is sealed to.

        Raises:
            DowngradeError: it would have to go in the clear, and must not.
            SealError: no session can be made, or the answer is not the peer's.

        """
        path = request.url.raw_path.partition(b"?")[0].decode("ascii")
        url = str(request.url)
        known, peer = self._peers.find(url)
        if request.method == "GET" and path.endswith(PUBLIC_PATHS):
            if peer is not None or self._peers.sealing is Sealing.REQUIRED:
                request = _bare(request)
            return await self._inner.handle_async_request(request)
        if peer is None:
            await self._peers.admit_plain(url, known=known)
            return await self._inner.handle_async_request(request)
        return await self._send_sealed(self._peers.initiator(peer, self._exchange(peer)), request)

    async def aclose(self) -> None:
        """Drop the keys, and close the transport below."""
        self._peers.close()
        await self._inner.aclose()

    def _exchange(self, peer: SealedPeer) -> Exchange:
        parts = urlsplit(peer.address)
        url = f"{parts.scheme}://{parts.netloc}{peer.params.handshake_path}"

        async def exchange(message: bytes) -> bytes:
            request = httpx.Request(
                "POST",
                url,
                content=message,
                headers={"content-type": HANDSHAKE_TYPE, "accept-encoding": "identity"},
                extensions={"timeout": httpx.Timeout(10.0).as_dict()},
            )
            response = await self._inner.handle_async_request(request)
            try:
                return await _admitted_body(response, HANDSHAKE_TYPE, 1 << 16)
            finally:
                await response.aclose()

        return exchange

    async def _send_sealed(self, initiator: Initiator, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        inner = _inner_of(request, body, self._tls_id() if self._tls_id else "")
        sealed = await initiator.seal(inner, _binding_of(request))
        response = await self._inner.handle_async_request(_outer(request, sealed.frame))
        if await _lost(response):
            # The server says that it did not open it. The retry names what it repeats, so that a server who
            # did open it refuses: whoever stands on the way cannot make it happen twice.
            again = InnerRequest(
                body=body, headers=inner.headers, query=inner.query, retry_of=sealed.name
            )
            sealed = await initiator.seal(again, _binding_of(request), instead_of=sealed.session)
            response = await self._inner.handle_async_request(_outer(request, sealed.frame))
        try:
            return await _opened(response, sealed)
        except BaseException:
            await response.aclose()
            raise


class OpenedStream(httpx.AsyncByteStream):
    """The body of a streamed answer, opened frame by frame; ends with an error where it was cut."""

    def __init__(
        self, response: httpx.Response, pieces: AsyncIterator[bytes], opener: AnswerOpener
    ) -> None:
        self._response = response
        self._opener = opener
        self._frames = _frames(pieces)

    async def head(self) -> bytes:
        """Return the plain text of the first frame.

        Raises:
            BrokenAnswerError: it does not open, or there is none.

        """
        async for frame in self._frames:
            return self._opener.open(frame)
        raise BrokenAnswerError("An answer was cut.", why="It ended before its first frame.")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the plain text of the frames that follow.

        Raises:
            BrokenAnswerError: one is not the next, or the last is missing.

        """
        while not self._opener.finished:
            frame = await anext(self._frames, None)
            if frame is None:
                break
            if text := self._opener.open(frame):
                yield text
        self._opener.end()

    async def aclose(self) -> None:
        """Close the answer below."""
        await self._response.aclose()


async def _frames(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    events = FrameEvents(EVENT_BYTES_MAX)
    async for piece in pieces:
        for frame in events.feed(piece):
            yield frame


def _binding_of(request: httpx.Request) -> RequestBinding:
    return RequestBinding(
        method=request.method.encode(),
        target=request.url.raw_path.partition(b"?")[0],
        version=request.headers.get("a2a-version", "").encode(),
        extensions=NOISE_URI.encode(),
    )


def _inner_of(request: httpx.Request, body: bytes, tls_id: str) -> InnerRequest:
    headers: list[Header] = [(TLS_ID_HEADER.encode(), tls_id.encode())] if tls_id else []
    extensions: list[bytes] = []
    for raw_name, value in request.headers.raw:
        name = raw_name.lower()
        if name == b"a2a-extensions":
            extensions.append(value)
        elif not is_outside(name):
            headers.append((name, value))
    # Inside, the whole list: what else is activated is nobody's business on the way.
    extensions.append(NOISE_URI.encode())
    headers.append((b"a2a-extensions", b",".join(extensions)))
    query = request.url.raw_path.partition(b"?")[2]
    return InnerRequest(body=body, headers=tuple(headers), query=query)


def _outer(request: httpx.Request, frame: bytes) -> httpx.Request:
    headers = [line for line in request.headers.raw if line[0].lower() in _KEPT_OUTSIDE]
    headers += [(b"accept-encoding", b"identity"), (b"a2a-extensions", NOISE_URI.encode())]
    if version := request.headers.get("a2a-version"):
        headers.append((b"a2a-version", version.encode()))
    content = None
    if request.method == "POST":
        headers.append((b"content-type", SEALED_TYPE.encode()))
        content = frame
    else:
        headers.append((SEAL_HEADER.encode(), to_base64url(frame)))
    return httpx.Request(
        request.method,
        request.url.copy_with(query=None, fragment=None),
        headers=headers,
        content=content,
        extensions=request.extensions,
    )


def _bare(request: httpx.Request) -> httpx.Request:
    """Return a request for something public without what the peer alone may see: credentials."""
    headers = [line for line in request.headers.raw if line[0].lower() in _PUBLIC_HEADERS]
    return httpx.Request(
        request.method,
        request.url.copy_with(query=None, fragment=None),
        headers=headers,
        extensions=request.extensions,
    )


def _kind_of(response: httpx.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


async def _lost(response: httpx.Response) -> bool:
    """Tell whether the server says that it does not know the session; closes the answer then."""
    if _kind_of(response) != ERROR_TYPE:
        return False
    try:
        code = await _body(response, _ERROR_BYTES_MAX)
    finally:
        await response.aclose()
    if code.decode("ascii", "replace") != SealCode.SESSION_UNKNOWN:
        raise _refused(code)
    return True


def _refused(code: bytes) -> SealRefusedError:
    word = code.decode("ascii", "replace")
    return SealRefusedError(word if word in set(SealCode) else "unknown")


async def _admitted_body(response: httpx.Response, kind: str, bytes_max: int) -> bytes:
    """Return a body of the kind that is expected.

    Raises:
        SealRefusedError: the server refused.
        UnsealedAnswerError: it is of another kind.

    """
    found = _kind_of(response)
    if found == ERROR_TYPE:
        raise _refused(await _body(response, _ERROR_BYTES_MAX))
    if found != kind or response.status_code != 200:
        raise UnsealedAnswerError(response.status_code)
    return await _body(response, bytes_max)


async def _body(response: httpx.Response, bytes_max: int) -> bytes:
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in _pieces(response):
        size_bytes += len(chunk)
        if size_bytes > bytes_max:
            raise BrokenAnswerError(
                "An answer is too large.", why=f"At most {bytes_max} bytes are read."
            )
        chunks.append(chunk)
    return b"".join(chunks)


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    async for chunk in cast("httpx.AsyncByteStream", response.stream):
        yield chunk


async def _opened(response: httpx.Response, sealed: SealedRequest) -> httpx.Response:
    if _kind_of(response) == _EVENTS and response.status_code == 200:
        stream = OpenedStream(response, _pieces(response), sealed.opener)
        head = read_head(await stream.head())
        return httpx.Response(
            head.status, headers=list(head.headers), stream=stream, extensions=response.extensions
        )
    frame = await _admitted_body(response, SEALED_TYPE, ANSWER_BYTES_MAX)
    await response.aclose()
    head = read_head(sealed.opener.open(frame))
    sealed.opener.end()
    return httpx.Response(head.status, headers=list(head.headers), content=head.body)


def read_head(plaintext: bytes) -> InnerHead:
    """Read the first frame of an answer.

    Raises:
        BrokenAnswerError: it opened, and yet is not what the extension wants.

    """
    try:
        return read_inner_head(plaintext)
    except SealFault:
        raise BrokenAnswerError("An answer is not what the extension wants.") from None
