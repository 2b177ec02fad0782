"""Server-sent events: a stream that notices when it is alone, and cuts off who does not read."""

import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import anyio
from a2a.utils.errors import A2AError as OfficialError
from anyio.abc import TaskGroup

from hive_a2a.asgi import Header, Receive, Send
from hive_a2a.call import Proto
from hive_a2a.faults import WireFault
from hive_a2a.wire.fault_words import fault_of

log: Final = logging.getLogger(__name__)
PING_S: Final = 15.0
CLOSE_TIMEOUT_S: Final = 5.0
_PING: Final = b": still here\r\n\r\n"
_LINES: Final[tuple[Header, ...]] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class EventStream:
    """One answer of many events. `write` makes the data of an event, `say` that of a fault."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        write: Callable[[Proto], bytes],
        say: Callable[[WireFault], bytes],
        send_timeout_s: float,
    ) -> None:
        self._receive, self._send = receive, send
        self._write, self._say = write, say
        self._send_timeout_s = send_timeout_s
        self._writing = anyio.Lock()
        self._begun = False

    async def run(self, events: AsyncGenerator[Any]) -> WireFault | None:
        """Send events until they end, the client leaves or it reads too slowly.

        A fault that comes before the first event is returned, and nothing was sent: it has a plain answer.
        """
        early: WireFault | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._until_gone, tasks)
                early = await self._pump(events, tasks)
                tasks.cancel_scope.cancel()
        except* TimeoutError:
            # What it waits for is in the task, not here.
            log.info("a2a.slow_reader_cut_off")
        finally:
            # The handler must hear that nobody listens, even if this request itself was cancelled.
            with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await events.aclose()
        return early

    async def _pump(self, events: AsyncGenerator[Any], tasks: TaskGroup) -> WireFault | None:
        try:
            async for event in events:
                data = self._write(event)
                if not self._begun:
                    await self._begin(tasks)
                await self._put(b"data: " + data + b"\r\n\r\n")
        except (WireFault, OfficialError) as error:
            fault = fault_of(error)
            if not self._begun:
                return fault
            await self._put(b"event: error\r\ndata: " + self._say(fault) + b"\r\n\r\n")
        if not self._begun:
            await self._begin(tasks)
        await self._put(b"", more=False)
        return None

    async def _begin(self, tasks: TaskGroup) -> None:
        self._begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": list(_LINES)})
        tasks.start_soon(self._ping)

    async def _put(self, body: bytes, *, more: bool = True) -> None:
        async with self._writing:
            with anyio.fail_after(self._send_timeout_s):
                await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _ping(self) -> None:
        while True:
            await anyio.sleep(PING_S)
            await self._put(_PING)

    async def _until_gone(self, tasks: TaskGroup) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()
