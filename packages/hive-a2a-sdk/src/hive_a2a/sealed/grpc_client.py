"""Sealing in a gRPC client: the channels that the official `ClientConfig.grpc_channel_factory` makes.

    channels = SealedChannels(grpc.aio.insecure_channel, peers=peers)
    config = ClientConfig(grpc_channel_factory=channels, supported_protocol_bindings=["GRPC"])

A channel is sealed where its address is an interface of a pinned card that offers Noise; it is open where
a pinned card offers none and the policy lets it; everything else is refused.
"""

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, NoReturn

import grpc
import grpc.aio

from hive_a2a.cards.noise_params import NOISE_URI
from hive_a2a.sealed.answers import AnswerOpener
from hive_a2a.sealed.binding import Header, InnerHead, InnerRequest, RequestBinding, is_outside
from hive_a2a.sealed.errors import BrokenAnswerError, SealCode, SealRefusedError
from hive_a2a.sealed.extension import ERROR_METADATA, GRPC_HANDSHAKE, SEAL_HEADER
from hive_a2a.sealed.grpc_context import DETAILS, line_of
from hive_a2a.sealed.initiator import Initiator, SealedRequest
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.transport import read_head

OpenChannel = Callable[[str], grpc.aio.Channel]


class SealedChannels:
    """Makes channels to pinned addresses; `open_channel` makes the one below, with TLS or without."""

    def __init__(self, open_channel: OpenChannel, *, peers: PinnedPeers) -> None:
        self._open = open_channel
        self._peers = peers

    def __call__(self, address: str) -> grpc.aio.Channel:
        """Return a channel to an address.

        Raises:
            DowngradeError: it would be in the clear, and must not be.

        """
        _, peer = self._peers.find(address)
        if peer is None:
            self._peers.admit_plain_channel(address)
            return self._open(address)
        inner = self._open(address)
        return SealedChannel(inner, self._peers.initiator(peer, _exchange(inner)))


class SealedChannel(grpc.aio.Channel):
    """A channel whose calls are sealed, over another channel."""

    def __init__(self, inner: grpc.aio.Channel, initiator: Initiator) -> None:
        self._inner = inner
        self._initiator = initiator

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,  # noqa: ANN401
        response_deserializer: Any = None,  # noqa: ANN401
        _registered_method: bool | None = False,  # noqa: FBT001, FBT002 - the name is gRPC's
    ) -> Any:  # noqa: ANN401
        """Return what makes a call of this method that has one answer."""
        return _SealedUnary(
            self._initiator,
            self._inner.unary_unary(method),
            method,
            request_serializer or bytes,
            response_deserializer or bytes,
        )

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,  # noqa: ANN401
        response_deserializer: Any = None,  # noqa: ANN401
        _registered_method: bool | None = False,  # noqa: FBT001, FBT002
    ) -> Any:  # noqa: ANN401
        """Return what makes a call of this method that has a stream of answers."""
        return _SealedStream(
            self._initiator,
            self._inner.unary_stream(method),
            method,
            request_serializer or bytes,
            response_deserializer or bytes,
        )

    def stream_unary(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401
        """Refuse: no method of A2A takes a stream of requests."""
        raise NotImplementedError("No method of A2A takes a stream of requests.")

    stream_stream = stream_unary

    async def __aenter__(self) -> "SealedChannel":
        """Open the channel below."""
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the channel below."""
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel below; the session stays with the pinned peers, for the next channel."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002
        """Return the state of the channel below."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait for the channel below."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait for the channel below."""
        await self._inner.channel_ready()


class _SealedMethod:
    """One method of a sealed channel: its name, and how its messages are written."""

    def __init__(
        self,
        initiator: Initiator,
        inner: Any,  # noqa: ANN401
        method: str,
        write: Callable[[Any], bytes],
        read: Callable[[bytes], Any],
    ) -> None:
        self._initiator = initiator
        self._inner = inner
        self._write = write
        self._read = read
        self._method = method

    def _call(self, request: Any, metadata: Any) -> "_Sealing":  # noqa: ANN401
        lines = [(name.lower(), value) for name, value in metadata or ()]
        version = next((str(value) for name, value in lines if name == "a2a-version"), "")
        return _Sealing(self._initiator, self._method, self._write(request), lines, version)


class _SealedUnary(_SealedMethod):
    """Makes calls that have one answer."""

    async def __call__(self, request: Any, *, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401
        """Call; raises what gRPC raises, or `SealError`."""
        call = self._call(request, metadata)
        sealed = await call.seal()
        try:
            frame = await self._inner(sealed.frame, metadata=call.outside, **options)
        except grpc.aio.AioRpcError as error:
            _admit_loss(error)
            sealed = await call.seal(again=sealed)
            frame = await _not_lost_twice(
                self._inner(sealed.frame, metadata=call.outside, **options)
            )
        head = read_head(sealed.opener.open(frame))
        sealed.opener.end()
        _admit_status(head)
        return self._read(head.body)


class _SealedStream(_SealedMethod):
    """Makes calls that have a stream of answers."""

    def __call__(self, request: Any, *, metadata: Any = None, **options: Any) -> "SealedAnswers":  # noqa: ANN401
        """Begin a call."""
        return SealedAnswers(self._call(request, metadata), self._inner, self._read, options)


class SealedAnswers:
    """The answers of a call, read one by one with `read` or by iterating."""

    def __init__(
        self,
        call: "_Sealing",
        inner: Any,  # noqa: ANN401
        read: Callable[[bytes], Any],
        options: dict[str, Any],
    ) -> None:
        self._sealing = call
        self._inner = inner
        self._parse = read
        self._options = options
        self._call: Any = None
        self._opener: AnswerOpener | None = None

    async def read(self) -> Any:  # noqa: ANN401
        """Return the next answer, or `grpc.aio.EOF`.

        Raises:
            BrokenAnswerError: it is not the next, or the stream was cut.

        """
        opener = self._opener or await self._begin()
        if opener.finished:
            return grpc.aio.EOF
        frame = await self._call.read()
        if frame is grpc.aio.EOF:
            opener.end()
        return self._next(opener, opener.open(frame))

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Read to the end."""
        while (one := await self.read()) is not grpc.aio.EOF:
            yield one

    def cancel(self) -> bool:
        """End the call."""
        return bool(self._call is not None and self._call.cancel())

    def _next(self, opener: AnswerOpener, plaintext: bytes) -> Any:  # noqa: ANN401
        if opener.finished:
            _admit_status(read_head(plaintext))
            return grpc.aio.EOF
        return self._parse(plaintext)

    async def _begin(self) -> AnswerOpener:
        sealed = await self._sealing.seal()
        try:
            frame = await self._first(sealed)
        except grpc.aio.AioRpcError as error:
            _admit_loss(error)
            sealed = await self._sealing.seal(again=sealed)
            frame = await _not_lost_twice(self._first(sealed))
        if frame is grpc.aio.EOF:
            sealed.opener.end()
        _admit_status(read_head(sealed.opener.open(frame)))
        self._opener = sealed.opener
        return sealed.opener

    async def _first(self, sealed: SealedRequest) -> Any:  # noqa: ANN401
        self._call = self._inner(sealed.frame, metadata=self._sealing.outside, **self._options)
        return await self._call.read()


class _Sealing:
    """One call on its way: what goes inside, and what stands outside."""

    def __init__(
        self,
        initiator: Initiator,
        method: str,
        body: bytes,
        lines: list[tuple[str, Any]],
        version: str,
    ) -> None:
        self._initiator = initiator
        self._body = body
        self._headers = tuple(_inner_headers(lines))
        self._binding = RequestBinding(
            method=b"POST",
            target=method.encode(),
            version=version.encode(),
            extensions=NOISE_URI.encode(),
        )
        self.outside = [(SEAL_HEADER, "1"), ("a2a-extensions", NOISE_URI)]
        if version:
            self.outside.append(("a2a-version", version))

    async def seal(self, *, again: SealedRequest | None = None) -> SealedRequest:
        """Seal the call; `again` was not opened, as the server says."""
        inner = InnerRequest(
            body=self._body, headers=self._headers, retry_of=again.name if again else b""
        )
        lost = again.session if again else None
        return await self._initiator.seal(inner, self._binding, instead_of=lost)


def _exchange(channel: grpc.aio.Channel) -> Callable[[bytes], Any]:
    shake: Any = channel.unary_unary(GRPC_HANDSHAKE)

    async def exchange(message: bytes) -> bytes:
        try:
            answer: bytes = await shake(message, timeout=10.0)
        except grpc.aio.AioRpcError as error:
            code = _seal_code(error)
            if code is None:
                raise
            raise SealRefusedError(code) from None
        return answer

    return exchange


def _inner_headers(lines: list[tuple[str, Any]]) -> Generator[Header]:
    extensions = [str(value) for name, value in lines if name == "a2a-extensions"]
    for name, value in lines:
        if name != "a2a-extensions" and not is_outside(name.encode()):
            yield name.encode(), value if isinstance(value, bytes) else str(value).encode()
    yield b"a2a-extensions", ",".join([*extensions, NOISE_URI]).encode()


def _seal_code(error: grpc.aio.AioRpcError) -> str | None:
    for name, value in error.trailing_metadata() or ():
        if name == ERROR_METADATA:
            return value if isinstance(value, str) and value in set(SealCode) else "unknown"
    return None


def _admit_loss(error: grpc.aio.AioRpcError) -> None:
    """Go on where the server lost the session; raise what it says otherwise."""
    code = _seal_code(error)
    if code is None:
        raise error
    if code != SealCode.SESSION_UNKNOWN:
        raise SealRefusedError(code) from None


async def _not_lost_twice(call: Any) -> Any:  # noqa: ANN401
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        code = _seal_code(error)
        if code is None:
            raise
        raise SealRefusedError(code) from None


def _admit_status(head: InnerHead) -> None:
    """Raise the status that the peer sealed, as gRPC would have."""
    if head.status == 0:
        return
    code = next((one for one in grpc.StatusCode if one.value[0] == head.status), None)
    if code is None:
        raise BrokenAnswerError("A sealed call ended with a status that does not exist.")
    details = next(
        (value.decode("utf-8", "replace") for name, value in head.headers if name == DETAILS), ""
    )
    trailing = grpc.aio.Metadata(*[line_of(*one) for one in head.headers if one[0] != DETAILS])
    raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=details)
