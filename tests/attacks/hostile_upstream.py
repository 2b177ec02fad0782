"""A provider that breaks HTTP itself: endless heads, bodies without an end, bytes that unpack to more."""

import gzip
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream

PIECE = b"x" * (1 << 16)
SENT_MAX_BYTES = 10 << 30


class HostileUpstream:
    """Answers every request in one way; `sent` counts the bytes that the node took."""

    def __init__(self, way: Callable[["HostileUpstream"], Coroutine[None, None, None]]) -> None:
        self.way = way
        self.sent = 0
        self.asked = 0
        self.gone = anyio.Event()
        self.stream: SocketStream

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)
        self.sent += len(data)

    async def _connection(self, stream: SocketStream) -> None:
        async with stream:
            read = b""
            try:
                while b"\r\n\r\n" not in read:
                    read += await stream.receive()
                self.asked += 1
                self.stream = stream
                await self.way(self)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                self.gone.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._connection)
            yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
            tasks.cancel_scope.cancel()


def head(status: int = 200, media: str = "application/json", **more: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    return f"HTTP/1.1 {status} Said\r\ncontent-type: {media}\r\n{lines}\r\n".encode()


async def endless_head(upstream: HostileUpstream) -> None:
    await upstream.send(b"HTTP/1.1 200 OK\r\n")
    while upstream.sent < SENT_MAX_BYTES:
        await upstream.send(b"x-more: " + PIECE[:1000] + b"\r\n")


async def endless_line(upstream: HostileUpstream) -> None:
    await upstream.send(b"HTTP/1.1 200 OK\r\nx-more: ")
    while upstream.sent < SENT_MAX_BYTES:
        await upstream.send(PIECE)


async def ten_gigabytes(upstream: HostileUpstream) -> None:
    await upstream.send(head(content_length=str(SENT_MAX_BYTES)))
    while upstream.sent < SENT_MAX_BYTES:
        await upstream.send(PIECE)


async def ten_gigabytes_of_one_event(upstream: HostileUpstream) -> None:
    await upstream.send(head(media="text/event-stream", connection="close") + b"data: ")
    while upstream.sent < SENT_MAX_BYTES:
        await upstream.send(PIECE)


async def bomb(upstream: HostileUpstream) -> None:
    packed = gzip.compress(b"\0" * (64 << 20), 9)
    length = str(len(packed))
    await upstream.send(head(content_encoding="gzip", content_length=length) + packed)


async def bomb_in_a_stream(upstream: HostileUpstream) -> None:
    packed = gzip.compress(b"data: " + b"\0" * (64 << 20), 9)
    media = "text/event-stream"
    await upstream.send(head(media=media, content_encoding="gzip", connection="close") + packed)


async def never_ending_stream(upstream: HostileUpstream) -> None:
    await upstream.send(head(media="text/event-stream", connection="close"))
    while upstream.sent < SENT_MAX_BYTES:
        await upstream.send(event("more "))


async def nonsense(upstream: HostileUpstream) -> None:
    await upstream.send(b"\x00\xff\xfe SSH-2.0-hello\r\n\r\n" * 10)


async def two_lengths(upstream: HostileUpstream) -> None:
    more = {"content_length": "5", "Content_Length": "50"}
    await upstream.send(head(**more) + b"{}" * 30)


async def switching(upstream: HostileUpstream) -> None:
    await upstream.send(b"HTTP/1.1 101 Switching\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n")


async def html(upstream: HostileUpstream) -> None:
    body = b"<html>login here</html>"
    length = str(len(body))
    await upstream.send(head(media="text/html", content_length=length) + body)


def event(text: str) -> bytes:
    document = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    return b"data: " + json.dumps(document).encode() + b"\n\n"
