"""One stream of messages each way: requests find their answers by our own numbers.

The standard input and output of a process and the older HTTP transport are such streams. A question of the
server names no request of ours there, and neither does a log line: both go to the hearer of the
connection. Progress names its token, which is ours.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from anyio.abc import TaskGroup

from hive.core.clock import Clock
from hive.core.errors import EngineUnavailableError, HiveError
from hive.protocols.mcp.drivers.flood import FloodGauge
from hive.protocols.mcp.drivers.messages import (
    INTERNAL_ERROR,
    RpcMessage,
    answer_bytes,
    broken,
    not_sent,
    notification_bytes,
    read_message,
    request_bytes,
    result_of,
    too_large,
)
from hive.protocols.mcp.hub.ports import Hearer
from hive.protocols.mcp.ports import McpError, McpObject

WAITING_MAX: Final = 1000
QUESTIONS_MAX: Final = 32
NOTES_HELD_MAX: Final = 256
_ID: Final = re.compile(rb'"id"\s*:\s*(\d{1,15})\b')
_UNCANCELLED: Final = frozenset({"initialize", "server/discover"})


@dataclass(slots=True, eq=False)
class _Waiting:
    hearer: Hearer
    max_bytes: int
    token: object
    waiter: asyncio.Future[None] | None = None
    answer: RpcMessage | None = None
    fault: HiveError | None = None
    notes: deque[RpcMessage] = field(default_factory=lambda: deque(maxlen=NOTES_HELD_MAX))

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class DuplexTalk:
    """Correlates what goes out with what comes in; `send` writes one whole message."""

    def __init__(
        self, *, send: Callable[[bytes], Awaitable[None]], hearer: Hearer, clock: Clock
    ) -> None:
        self._send = send
        self._hearer = hearer
        self._flood = FloodGauge(clock)
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0
        self._questions = 0
        self._tasks: TaskGroup | None = None
        self.ended = False

    def begin(self, tasks: TaskGroup) -> None:
        """Take the group in which answers and words of cancelling are sent."""
        self._tasks = tasks

    async def ask(
        self, method: str, params: McpObject, *, hearer: Hearer, max_bytes: int
    ) -> McpObject:
        """Send a request and return its result."""
        if self.ended:
            raise not_sent("The connection has ended.")
        if len(self._waiting) >= WAITING_MAX:
            raise not_sent(f"{WAITING_MAX} requests wait for it already.")
        self._last = number = self._last + 1
        meta = params.get("_meta")
        waiting = _Waiting(
            hearer, max_bytes, meta.get("progressToken") if isinstance(meta, dict) else None
        )
        self._waiting[number] = waiting
        try:
            await self._send(request_bytes(number, method, params))
            return result_of(await self._answer(waiting))
        except asyncio.CancelledError:
            if method not in _UNCANCELLED and self._tasks is not None:
                self._tasks.start_soon(self._take_back, number)
            raise
        finally:
            del self._waiting[number]

    async def _answer(self, waiting: _Waiting) -> RpcMessage:
        loop = asyncio.get_running_loop()
        while True:
            while waiting.notes:
                note = waiting.notes.popleft()
                await waiting.hearer.note(note.method or "", note.params or {})
            if waiting.answer is not None:
                return waiting.answer
            if waiting.fault is not None:
                raise waiting.fault
            waiting.waiter = loop.create_future()
            try:
                await waiting.waiter
            finally:
                waiting.waiter = None

    async def _take_back(self, number: int) -> None:
        try:
            await self.tell("notifications/cancelled", {"requestId": number})
        except EngineUnavailableError:
            return

    async def tell(self, method: str, params: McpObject) -> None:
        """Send a notification."""
        if self.ended:
            raise not_sent("The connection has ended.")
        await self._send(notification_bytes(method, params))

    async def take(self, data: bytes) -> None:
        """Take one message of the server.

        Raises:
            EngineUnavailableError: it says too much.

        """
        try:
            message = read_message(data)
        except ValueError:
            # A line of a program that prints where it should not; the next one may be a message.
            self._flood.add(len(data))
            return
        if message.method is None:
            self._settle(message, len(data))
            return
        self._flood.add(len(data))
        if message.id is not None:
            self._ask_back(message)
        else:
            await self._note(message)

    def overlong(self, beginning: bytes, limit: int) -> None:
        """End the request whose answer is longer than anything that is read.

        Raises:
            EngineUnavailableError: it names none.

        """
        found = _ID.search(beginning)
        waiting = self._waiting.get(int(found[1])) if found else None
        if waiting is None and len(self._waiting) == 1:
            waiting = next(iter(self._waiting.values()))
        if waiting is None:
            raise broken("It sent a message that is too large.") from too_large(limit)
        waiting.fault = too_large(waiting.max_bytes)
        waiting.wake()

    def end(self, cause: BaseException | None = None) -> None:
        """End every request that waits: nobody will answer it."""
        self.ended = True
        for waiting in self._waiting.values():
            if waiting.answer is None and waiting.fault is None:
                waiting.fault = broken("It ended before it answered.", cause)
                waiting.wake()

    def _settle(self, message: RpcMessage, size_bytes: int) -> None:
        number = message.id if isinstance(message.id, int) else -1
        waiting = self._waiting.get(number)
        if waiting is None:
            self._flood.add(size_bytes)
            return
        if size_bytes > waiting.max_bytes:
            waiting.fault = too_large(waiting.max_bytes)
        else:
            waiting.answer = message
        waiting.wake()

    async def _note(self, message: RpcMessage) -> None:
        params = message.params or {}
        if message.method == "notifications/progress":
            token = params.get("progressToken")
            for waiting in self._waiting.values():
                if waiting.token is not None and waiting.token == token:
                    waiting.notes.append(message)
                    waiting.wake()
            return
        await self._hearer.note(message.method or "", params)

    def _ask_back(self, message: RpcMessage) -> None:
        if self._tasks is not None and self._questions < QUESTIONS_MAX:
            self._questions += 1
            self._tasks.start_soon(self._reply, message)

    async def _reply(self, message: RpcMessage) -> None:
        asked = message.id if message.id is not None else 0
        try:
            try:
                answer = answer_bytes(
                    asked, await self._hearer.question(message.method or "", message.params or {})
                )
            except McpError as error:
                answer = answer_bytes(asked, error)
            except HiveError as error:
                answer = answer_bytes(asked, McpError(INTERNAL_ERROR, error.what))
            await self._send(answer)
        except EngineUnavailableError:
            return
        finally:
            self._questions -= 1
