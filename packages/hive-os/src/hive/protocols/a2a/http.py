"""Answers on the wire: one whole body, or a stream of server-sent events that notices when it is alone."""

import logging
from collections.abc import AsyncIterator, Iterable
from typing import Final

import anyio

from hive.protocols.a2a.auth import REALM
from hive_a2a.faults import UNAUTHENTICATED, WireFault
from hive_a2a.server import Receive, Send

log: Final = logging.getLogger(__name__)
JSON: Final = b"application/json"
PING_S: Final = 15.0
_PING: Final = b": still here\r\n\r\n"
Header = tuple[bytes, bytes]


async def respond(
    send: Send,
    body: bytes,
    *,
    status: int = 200,
    content_type: bytes = JSON,
    headers: Iterable[Header] = (),
) -> None:
    """Send one whole answer."""
    lines = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def headers_of(fault: WireFault) -> list[Header]:
    """Return the headers that a fault needs beside its body."""
    found: list[Header] = []
    if fault.kind is UNAUTHENTICATED:
        found.append((b"www-authenticate", REALM))
    if fault.retry_after_s is not None:
        found.append((b"retry-after", b"%d" % max(1, round(fault.retry_after_s))))
    if fault.status in (408, 413):
        found.append((b"connection", b"close"))
    return found


async def stream(
    receive: Receive, send: Send, frames: AsyncIterator[bytes], *, send_timeout_s: float
) -> None:
    """Send frames as server-sent events until they end, the client leaves, or it reads too slowly."""
    lines = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    writing = anyio.Lock()

    async def write(body: bytes, *, more: bool = True) -> None:
        async with writing:
            with anyio.fail_after(send_timeout_s):
                await send({"type": "http.response.body", "body": body, "more_body": more})

    async def ping() -> None:
        while True:
            await anyio.sleep(PING_S)
            await write(_PING)

    async def leave() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    await send({"type": "http.response.start", "status": 200, "headers": lines})
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            tasks.start_soon(ping)
            async for frame in frames:
                await write(b"data: " + frame + b"\r\n\r\n")
            await write(b"", more=False)
            tasks.cancel_scope.cancel()
    except* TimeoutError:
        # A client that does not read is cut off: what it waits for is in the record, not here.
        log.info("a2a.slow_reader_cut_off")
