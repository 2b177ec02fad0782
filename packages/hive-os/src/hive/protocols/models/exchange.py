"""One connection to a provider, one question at a time: llhttp reads, and nothing that comes is unbounded."""

import asyncio
import re
from collections import deque
from typing import Final, cast

import httpcore
import httptools

HEAD_MAX_BYTES: Final = 100 << 10
HELD_MAX_BYTES: Final = 256 << 10
# Small pieces that came together go on together: each has a price on its way through the node.
TOGETHER_MAX_BYTES: Final = 2 << 10
_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_SWITCHING: Final = 101
_BODILESS: Final = frozenset({204, 304})


class ProviderExchange(asyncio.Protocol):
    """A connection; `begin` starts a question on it, `finish` tells whether it may have another."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read_s: float) -> None:
        self._loop = loop
        self._read_s = read_s
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.fileno = -1
        self.closed = False
        self._asked = False
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._error: Exception | None = None
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._head_bytes = 0
        self._since_body_bytes = 0
        self._paused = False
        self._interim = False
        self._headed = False
        self._done = False
        self._reusable = False
        self._until_close = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    def begin(self, data: bytes) -> None:
        """Send a request. Its body lies in memory already, so nobody waits until it is written."""
        self._reset()
        self._asked = True
        if self._transport is None or self.closed:
            self._fail(httpcore.WriteError("the connection is closed"))
            return
        self._transport.write(data)

    async def answered(self) -> None:
        """Wait for the head of the answer."""
        while not self._headed:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def piece(self) -> bytes:
        """Return what came of the body, waiting for it; empty at its end."""
        while not self._pieces:
            if self._done:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        data = self._pieces.popleft()
        if self._pieces and len(data) + len(self._pieces[0]) <= TOGETHER_MAX_BYTES:
            together = bytearray(data)
            while self._pieces and len(together) + len(self._pieces[0]) <= TOGETHER_MAX_BYTES:
                together += self._pieces.popleft()
            data = bytes(together)
        self._held_bytes -= len(data)
        if self._paused and self._held_bytes < HELD_MAX_BYTES and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def finish(self) -> bool:
        """End the question; tell whether the connection may have another."""
        self._asked = False
        return (
            self._done
            and self._reusable
            and not self._pieces
            and not self._paused
            and not self.closed
            and self._error is None
            and self._transport is not None
            and not self._transport.get_write_buffer_size()
        )

    def abort(self) -> None:
        """End the connection at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)
        socket = transport.get_extra_info("socket")
        self.fileno = -1 if socket is None else socket.fileno()

    def data_received(self, data: bytes) -> None:
        """Read what came; bytes that nobody asked for end the connection."""
        if not self._asked or self._done:
            self._reusable = False
            self.abort()
            return
        self._since_body_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break("it changes the protocol")
        except httptools.HttpParserError:
            self._break("it is no HTTP")
        if self._since_body_bytes > HEAD_MAX_BYTES and not self._done:
            self._break("its head or its end is too long")
        if self._held_bytes >= HELD_MAX_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep that it ended; a body without a length ends with it."""
        self.closed = True
        self.fileno = -1
        if self._headed and self._until_close and exc is None and self._error is None:
            self._done = True
        elif exc is not None:
            self._fail(httpcore.ReadError(type(exc).__name__))
        else:
            self._break("it ended before the answer did")
        self._wake()

    def on_message_begin(self) -> None:
        """Begin with the head of an answer; a second answer to one question is none."""
        if self._done:
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what stands after the body says nothing to anybody."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_MAX_BYTES or not _VALUE.fullmatch(value):
            self._break("its head cannot be read")
        if not self._headed:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the head; one that only says that the answer will come is skipped."""
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != _SWITCHING:
            self._interim = True
            self.headers = []
            return
        codings = [value.strip().lower() for name, value in self.headers if _is_coding(name)]
        known = self._parser.get_http_version() in ("1.0", "1.1") and status != _SWITCHING
        if not known or codings not in ([], [b"chunked"]):
            self._break("its head cannot be read")
            return
        self.status = status
        measured = any(name.lower() == b"content-length" for name, _ in self.headers)
        self._until_close = not codings and not measured and status not in _BODILESS
        self._headed = self._error is None

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._error is None and not self._done:
            self._since_body_bytes = 0
            self._held_bytes += len(data)
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Take the end of the answer."""
        if self._interim:
            self._interim = False
            return
        if self._error is None and self._headed and not self._done:
            self._done = True
            self._reusable = not self._until_close and self._parser.should_keep_alive()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(self._read_s, self._too_slow)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _too_slow(self) -> None:
        self._fail(httpcore.ReadTimeout())

    def _break(self, why: str) -> None:
        self._fail(httpcore.RemoteProtocolError(why))

    def _fail(self, error: Exception) -> None:
        self._reusable = False
        if self._error is None and not self._done:
            self._error = error
            self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _is_coding(name: bytes) -> bool:
    return name.lower() == b"transfer-encoding"
