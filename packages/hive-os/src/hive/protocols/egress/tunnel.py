"""Carry bytes between two sockets, both ways at once, and count them.

Each side is read only as fast as the other takes it. A tunnel in which nothing moves ends.
"""

from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream, SocketStream

from hive.core.clock import Clock
from hive.protocols.egress.hello import ALERT, FrontedError

PIECE_MAX_BYTES: Final = 64 << 10
KEPT_MAX_BYTES: Final = 1 << 20
DRAINED_MAX_BYTES: Final = 16 << 20
ALERT_TIMEOUT_S: Final = 1.0


class KeepingSend(ByteSendStream):
    """A client's side that keeps what it was sent, for the record; nothing where that is too much."""

    def __init__(self, client: ByteSendStream) -> None:
        self._client = client
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._whole = True

    @property
    def kept(self) -> list[bytes]:
        """Return what was sent, if all of it was and it is not too much."""
        return self._pieces if self._whole and self._size_bytes <= KEPT_MAX_BYTES else []

    async def send(self, item: bytes) -> None:
        """Send, and keep."""
        whole, self._whole = self._whole, False
        await self._client.send(item)
        self._whole = whole
        self._size_bytes += len(item)
        if self._size_bytes <= KEPT_MAX_BYTES:
            self._pieces.append(item)

    async def aclose(self) -> None:
        """Close the client's side."""
        await self._client.aclose()


async def drain(client: ByteReceiveStream, body_bytes: int) -> None:
    """Read a body that nobody needs, so that the answer to it does not break its sender."""
    left = min(body_bytes, DRAINED_MAX_BYTES)
    try:
        while left > 0:
            left -= len(await client.receive(min(PIECE_MAX_BYTES, left)))
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


@dataclass(slots=True)
class Traffic:
    """What passed, and when something last moved."""

    clock: Clock
    sent_bytes: int = 0
    received_bytes: int = 0
    started_s: float = field(default=0.0)
    moved_s: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.started_s = self.moved_s = self.clock.monotonic()

    def count(self, *, sent_bytes: int = 0, received_bytes: int = 0) -> None:
        """Note that something moved."""
        self.sent_bytes += sent_bytes
        self.received_bytes += received_bytes
        self.moved_s = self.clock.monotonic()

    def idle_s(self) -> float:
        """Return for how long nothing moved."""
        return self.clock.monotonic() - self.moved_s


async def carry(
    client: ByteStream,
    host: SocketStream,
    traffic: Traffic,
    *,
    idle_timeout_s: float,
    upload_bytes: int | None = None,
) -> None:
    """Carry until both sides have ended, one breaks, or nothing moves.

    With `upload_bytes` no more than that goes to the host, and the host's end is the end. A client whose start is refused
    hears a TLS alert, and nothing of it has gone out.
    """

    async def upload() -> None:
        try:
            await _pump(client, host, traffic, up=True, limit_bytes=upload_bytes)
        except FrontedError:
            with anyio.move_on_after(ALERT_TIMEOUT_S):
                await client.send(ALERT)
            tasks.cancel_scope.cancel()
            return
        if upload_bytes is None:
            await _end(host)

    async def download() -> None:
        await _pump(host, client, traffic, up=False, limit_bytes=None)
        if upload_bytes is not None:
            tasks.cancel_scope.cancel()
        else:
            await _end(client)

    async def watch() -> None:
        left_s = idle_timeout_s
        while left_s > 0:
            await anyio.sleep(left_s)
            left_s = idle_timeout_s - traffic.idle_s()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        async with anyio.create_task_group() as pumps:
            pumps.start_soon(upload)
            pumps.start_soon(download)
        tasks.cancel_scope.cancel()


async def _pump(
    source: ByteReceiveStream,
    sink: ByteSendStream,
    traffic: Traffic,
    *,
    up: bool,
    limit_bytes: int | None,
) -> None:
    left = limit_bytes
    try:
        while left is None or left > 0:
            piece = await source.receive(min(PIECE_MAX_BYTES, left or PIECE_MAX_BYTES))
            await sink.send(piece)
            left = None if left is None else left - len(piece)
            if up:
                traffic.count(sent_bytes=len(piece))
            else:
                traffic.count(received_bytes=len(piece))
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


async def _end(stream: ByteStream) -> None:
    try:
        await stream.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        return
