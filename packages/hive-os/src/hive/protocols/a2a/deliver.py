"""Tells clients of their tasks: one worker per lane, in order per task, bounded in every direction.

A notification is a hint; the task itself is the record. So a receiver that stays away loses it after
`TRIES_MAX` tries, and a full lane drops the newest and counts it, rather than hold up the kernel.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.task import Task, TaskEvent
from hive.kernel.ports import Gate
from hive.protocols.a2a.push import PushConfigs, WirePushConfig, ignore
from hive_a2a.push.deliver import deliver
from hive_a2a.push.screen import DestinationScreen, Unfit
from hive_a2a.push.sign import SIGNATURE_HEADER, TOKEN_HEADER

log: Final = logging.getLogger(__name__)
LANES: Final = 4
LANE_MAX: Final = 1000
TRIES_MAX: Final = 3
PAUSE_S: Final = 0.5
DELIVERY_TIMEOUT_S: Final = 10.0


@dataclass(slots=True, kw_only=True)
class PushSender:
    """Sends every durable change of a task to whoever registered for it.

    `sign` gives the signature of one notification to one URL, in the name of the node.
    """

    gate: Gate
    configs: PushConfigs
    screen: DestinationScreen
    sign: Callable[[str, bytes], Awaitable[str]]
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
        # The standard's types, which this imports, are here by then: a request registered the receiver.
        from hive.protocols.a2a.convert import notification

        body = msgspec.json.encode(notification(event))
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
            headers = _headers(config)
            headers[SIGNATURE_HEADER] = await self.sign(config.url, body)
            outcome = await deliver(found, body, headers, timeout_s=DELIVERY_TIMEOUT_S)
            if not outcome.worth_another_try:
                return
        log.warning("push.gave_up", extra={"task": config.task_id, "tries": TRIES_MAX})


def _headers(config: WirePushConfig) -> dict[str, str]:
    headers: dict[str, str] = {}
    if config.token:
        headers[TOKEN_HEADER] = config.token
    secret = config.authentication
    if secret is not None and secret.scheme and secret.credentials:
        headers["Authorization"] = f"{secret.scheme} {secret.credentials}"
    return headers
