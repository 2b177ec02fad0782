"""Speak to an egress door as a hostile program would: raw bytes in, raw bytes out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import ByteStream, SocketAttribute

from hive.core.errors import EngineTimeoutError

ANSWER_MAX_BYTES = 1 << 22


async def exchange(path: Path, data: bytes, *, timeout_s: float = 5.0) -> bytes:
    """Send bytes, then read until the door closes.

    Raises:
        EngineTimeoutError: it does not close in time.

    """
    answer = bytearray()
    try:
        with anyio.fail_after(timeout_s):
            async with await anyio.connect_unix(path) as stream:
                try:
                    await stream.send(data)
                    while len(answer) < ANSWER_MAX_BYTES:
                        answer += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return bytes(answer)
    except TimeoutError as error:
        raise EngineTimeoutError("The door did not close the connection.") from error
    return bytes(answer)


def status_of(answer: bytes) -> int:
    """Return the status of an answer, 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@asynccontextmanager
async def served_bytes(answer: bytes, seen: list[bytes]) -> AsyncIterator[int]:
    """Be a host that keeps what it reads and answers each connection once; give its port."""

    async def handle(stream: ByteStream) -> None:
        async with stream:
            try:
                first = await stream.receive()
                seen.append(first)
                await stream.send(answer)
                await stream.send_eof()
                while True:
                    seen.append(await stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield listener.extra(SocketAttribute.local_port)  # noqa: S610 - anyio's, not Django's
        tasks.cancel_scope.cancel()
