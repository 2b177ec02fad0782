"""The official `PushNotificationSender`, for servers where strangers choose the receivers.

A notification is a hint; the task itself is the record. So the agent never waits for a receiver: what is to
be sent stands in a lane, workers empty the lanes, and a receiver that stays away loses what it missed.

    order      one lane is served by one worker at a time, and a task's notifications to one
               receiver stand in one lane
    slowness   a receiver (scheme, host, port) has at most LANES_PER_RECEIVER lanes, so it holds at most as
               many workers; a lane that gave up tries once, not again and again, until something arrives
    memory     a full lane drops its oldest, since the newest tells how the task ended; all is counted

Nothing is kept over a restart.
"""

import hashlib
import json
import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import anyio
from a2a.server.tasks.push_notification_config_store import PushNotificationConfigStore
from a2a.server.tasks.push_notification_sender import PushNotificationEvent, PushNotificationSender
from a2a.types.a2a_pb2 import TaskPushNotificationConfig
from a2a.utils.proto_utils import to_stream_response
from google.protobuf.json_format import MessageToDict

from hive_a2a.policy import PushLimits
from hive_a2a.push.deliver import PostOutcome, deliver
from hive_a2a.push.screen import DestinationScreen, Unfit
from hive_a2a.push.sign import SIGNATURE_HEADER, TOKEN_HEADER, NotificationSigner

log: Final = logging.getLogger(__name__)
WORKERS: Final = 16
LANES_PER_RECEIVER: Final = 4
LANES_MAX: Final = 1000
LANE_MAX: Final = 256
QUEUED_MAX_BYTES: Final = 64 << 20
PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0

LaneKey: TypeAlias = tuple[str, int]


@dataclass(slots=True, kw_only=True)
class PushCounts:
    """What became of the notifications since the start."""

    sent: int = 0
    dropped: int = 0
    refused: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedPush:
    """One notification to one receiver."""

    task_id: str
    config: TaskPushNotificationConfig
    body: bytes


@dataclass(slots=True)
class PushLane:
    """What stands before one part of one receiver.

    `queued` while it waits for a worker or has one, `away` after a delivery was given up.
    """

    waiting: deque[QueuedPush] = field(default_factory=deque)
    queued: bool = False
    away: bool = False


class SafePushSender(PushNotificationSender):
    """Sends every change of a task to whoever registered for it; works while `running()` is open.

    `signer` signs each delivery; without one, receivers have the standard's token alone. `tls` replaces the
    machine's own roots. `pause_s` is the pause before the second try; each further one is four times longer.
    """

    def __init__(
        self,
        configs: PushNotificationConfigStore,
        *,
        limits: PushLimits | None = None,
        screen: DestinationScreen | None = None,
        signer: NotificationSigner | None = None,
        tls: ssl.SSLContext | None = None,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._configs = configs
        self._limits = limits or PushLimits()
        self._screen = screen or DestinationScreen(allow_private=self._limits.private)
        self._signer = signer
        self._tls = tls
        self._pause_s = pause_s
        self._lanes: dict[LaneKey, PushLane] = {}
        self._queued_bytes = 0
        # A lane's key is in here once while something waits in it and no worker has it.
        self._ready: deque[LaneKey] = deque()
        self._work_there = anyio.Semaphore(0)
        self.counts = PushCounts()

    def sign_with(self, signer: NotificationSigner) -> None:
        """Sign what is sent from now on with another key."""
        self._signer = signer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send while the context is open; what still waits at its end is lost."""
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(WORKERS):
                    tasks.start_soon(self._work)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            self.counts.dropped += sum(len(lane.waiting) for lane in self._lanes.values())
            self._lanes.clear()
            self._ready.clear()
            self._queued_bytes = 0
            self._work_there = anyio.Semaphore(0)

    async def send_notification(self, task_id: str, event: PushNotificationEvent) -> None:
        """Queue a change of a task for all who registered for it; waits for no receiver."""
        try:
            configs = await self._configs.get_info_for_dispatch(task_id)
        except Exception:
            # The store is foreign code, and a notification is no reason to fail a task.
            log.exception("push.configs_unreadable", extra={"task": task_id})
            return
        if not configs:
            return
        told = MessageToDict(to_stream_response(event))
        body = json.dumps(told, separators=(",", ":")).encode()
        for config in configs:
            self._queue(QueuedPush(task_id=task_id, config=config, body=body))

    def _queue(self, push: QueuedPush) -> None:
        key = _lane_of(push)
        lane = self._lanes.get(key) or self._new_lane(key)
        if lane is None:
            self._drop(push)
            return
        lane.waiting.append(push)
        self._queued_bytes += len(push.body)
        while lane.waiting and self._too_much(lane):
            self._drop(self._next(lane))
        if lane.waiting and not lane.queued:
            self._make_ready(key, lane)

    def _too_much(self, lane: PushLane) -> bool:
        return len(lane.waiting) > LANE_MAX or self._queued_bytes > QUEUED_MAX_BYTES

    def _new_lane(self, key: LaneKey) -> PushLane | None:
        """Make a lane; where there are too many, one goes that is only kept because its receiver is away."""
        if len(self._lanes) >= LANES_MAX:
            idle = next((key for key, lane in self._lanes.items() if not lane.queued), None)
            if idle is None:
                return None
            del self._lanes[idle]
        return self._lanes.setdefault(key, PushLane())

    def _make_ready(self, key: LaneKey, lane: PushLane) -> None:
        lane.queued = True
        self._ready.append(key)
        self._work_there.release()

    def _next(self, lane: PushLane) -> QueuedPush:
        push = lane.waiting.popleft()
        self._queued_bytes -= len(push.body)
        return push

    def _drop(self, push: QueuedPush) -> None:
        self.counts.dropped += 1
        log.warning("push.dropped", extra={"task": push.task_id, "dropped": self.counts.dropped})

    async def _work(self) -> None:
        while True:
            await self._work_there.acquire()
            key = self._ready.popleft()
            lane = self._lanes[key]
            if lane.waiting:
                await self._tell(lane, self._next(lane))
            lane.queued = False
            # One at a time, so that a long lane does not hold up the others.
            if lane.waiting:
                self._make_ready(key, lane)
            elif not lane.away:
                del self._lanes[key]

    async def _tell(self, lane: PushLane, push: QueuedPush) -> None:
        try:
            outcome = await self._try(push, 1 if lane.away else self._limits.tries_max)
        except Exception:
            # One bad configuration must not end the worker of all.
            log.exception("push.failed", extra={"task": push.task_id})
            outcome = PostOutcome(reason="It could not be sent.", hopeless=True)
        if outcome.done:
            self.counts.sent += 1
            lane.away = False
            return
        lane.away = outcome.worth_another_try
        self.counts.given_up += 1
        told = {"task": push.task_id, "status": outcome.status, "reason": outcome.reason}
        log.warning("push.given_up", extra=told)

    async def _try(self, push: QueuedPush, tries: int) -> PostOutcome:
        headers = self._headers(push)
        outcome = PostOutcome(reason="It was not tried.")
        for tried in range(tries):
            if tried:
                await anyio.sleep(min(self._pause_s * 4 ** (tried - 1), PAUSE_MAX_S))
            found = await self._screen.look(push.config.url)
            if isinstance(found, Unfit):
                self.counts.refused += 1
                return PostOutcome(reason=found.reason, hopeless=True)
            outcome = await deliver(
                found, push.body, headers, timeout_s=self._limits.timeout_s, tls=self._tls
            )
            if not outcome.worth_another_try:
                break
        return outcome

    def _headers(self, push: QueuedPush) -> dict[str, str]:
        """Return the standard's headers (1.0, 13.2), and the signature that is the same on every try."""
        config = push.config
        headers: dict[str, str] = {}
        if config.token:
            headers[TOKEN_HEADER] = config.token
        secret = config.authentication
        if secret.scheme and secret.credentials:
            headers["Authorization"] = f"{secret.scheme} {secret.credentials}"
        if self._signer is not None:
            headers[SIGNATURE_HEADER] = self._signer.sign(config.url, push.body)
        return headers


def _lane_of(push: QueuedPush) -> LaneKey:
    """Return which lane a notification stands in: its receiver's, and there its task's."""
    try:
        parts = urlsplit(push.config.url)
        receiver = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    except ValueError:
        receiver = ""
    number = hashlib.sha256(push.task_id.encode()).digest()[0] % LANES_PER_RECEIVER
    return receiver, number
