"""Tells clients of their tasks: one worker per lane, in order per task, bounded in every direction.

A notification is a hint; the task itself is the record. So a receiver that stays away loses it after
`TRIES_MAX` tries, and a full lane drops the newest and counts it, rather than hold up the kernel.
"""

import hashlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import msgspec
from anyio.abc import ByteStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.task import Task, TaskEvent
from hive.kernel.ports import Gate
from hive.protocols.a2a.convert import from_event
from hive.protocols.a2a.push import PushConfigs, ignore
from hive.protocols.a2a.screen import Destination, DestinationScreen, Unfit
from hive.protocols.a2a.wire import WirePushConfig

log: Final = logging.getLogger(__name__)
LANES: Final = 4
LANE_MAX: Final = 1000
TRIES_MAX: Final = 3
PAUSE_S: Final = 0.5
DELIVERY_TIMEOUT_S: Final = 10.0
STATUS_LINE_MAX_BYTES: Final = 4096


@dataclass(slots=True, kw_only=True)
class PushSender:
    """Sends every durable change of a task to whoever registered for it."""

    gate: Gate
    configs: PushConfigs
    screen: DestinationScreen
    pause_s: float = PAUSE_S
    dropped: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send while the context is open."""
        await self.configs.load()
        async with anyio.create_task_group() as tasks:
            lanes: list[MemoryObjectSendStream[TaskEvent]] = []
            for _ in range(LANES):
                send, receive = anyio.create_memory_object_stream[TaskEvent](LANE_MAX)
                lanes.append(send)
                tasks.start_soon(self._serve, receive)

            async def note(event: TaskEvent) -> None:
                self._note(lanes, event)

            end = self.gate.on_change(note)
            self.configs.on_late = lambda task: self._note(lanes, task)
            try:
                yield
            finally:
                end()
                self.configs.on_late = ignore
                for lane in lanes:
                    lane.close()
                tasks.cancel_scope.cancel()

    def _note(self, lanes: list[MemoryObjectSendStream[TaskEvent]], event: TaskEvent) -> None:
        task = event.id if isinstance(event, Task) else event.task_id
        if task not in self.configs.tasks:
            return
        lane = lanes[hashlib.sha256(task.encode()).digest()[0] % LANES]
        try:
            lane.send_nowait(event)
        except anyio.WouldBlock:
            self.dropped += 1
            log.warning("push.lane_full", extra={"task": task, "dropped": self.dropped})

    async def _serve(self, events: MemoryObjectReceiveStream[TaskEvent]) -> None:
        async with events:
            async for event in events:
                try:
                    await self.tell(event)
                except Exception:  # one bad configuration must not silence the lane
                    log.exception("push.failed")

    async def tell(self, event: TaskEvent) -> None:
        """Send one event to all who registered for its task."""
        task = event.id if isinstance(event, Task) else event.task_id
        body = msgspec.json.encode(from_event(event))
        for config in await self.configs.of_task(task):
            await self._send(config, body)

    async def _send(self, config: WirePushConfig, body: bytes) -> None:
        for tried in range(TRIES_MAX):
            if tried:
                await anyio.sleep(self.pause_s * 4 ** (tried - 1))
            found = await self.screen.look(config.url)
            if isinstance(found, Unfit):
                log.warning("push.destination_refused", extra={"task": config.task_id})
                return
            try:
                with anyio.fail_after(DELIVERY_TIMEOUT_S):
                    status = await _post(found, config, body)
            except (OSError, TimeoutError, anyio.EndOfStream, ssl.SSLError, ValueError, IndexError):
                continue
            if status < 500 and status != 429:
                return
        log.warning("push.gave_up", extra={"task": config.task_id, "tries": TRIES_MAX})


async def _post(to: Destination, config: WirePushConfig, body: bytes) -> int:
    """Post to the address that was looked at, and to no other: redirects are not followed."""
    if to.scheme == "https":
        stream: ByteStream = await anyio.connect_tcp(
            to.address, to.port, tls=True, tls_hostname=to.host, tls_standard_compatible=False
        )
    else:
        stream = await anyio.connect_tcp(to.address, to.port)
    async with stream:
        await stream.send(_head(to, config, len(body)) + body)
        line = b""
        while b"\r\n" not in line and len(line) < STATUS_LINE_MAX_BYTES:
            line += await stream.receive()
    return int(line.split(b" ", 2)[1])


def _head(to: Destination, config: WirePushConfig, size_bytes: int) -> bytes:
    host = f"[{to.host}]" if ":" in to.host else to.host
    lines = [
        f"POST {to.target} HTTP/1.1",
        f"Host: {host}:{to.port}",
        "Content-Type: application/json",
        f"Content-Length: {size_bytes}",
        "Connection: close",
        "User-Agent: hive",
    ]
    if config.token:
        lines.append(f"X-A2A-Notification-Token: {config.token}")
    secret = config.authentication
    if secret is not None and secret.scheme and secret.credentials:
        lines.append(f"Authorization: {secret.scheme} {secret.credentials}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
