"""From the operator's thread to the node's loop and back: values and bounded streams."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar, cast

from hive.core.errors import NodeUnreachableError

log: Final = logging.getLogger(__name__)
ValueT = TypeVar("ValueT")
AHEAD_MAX: Final = 256


class Crossing:
    """Runs things on the node's loop for a caller on another loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def ask(self, question: Callable[[], Awaitable[ValueT]]) -> ValueT:
        """Run a question on the node's loop and wait for its answer.

        Raises:
            NodeUnreachableError: the node's loop has ended.

        """

        async def run() -> ValueT:
            return await question()

        if self._loop.is_closed():
            raise _ended()
        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        return await asyncio.wrap_future(future)

    async def begin(self, work: Callable[[], Awaitable[None]], *, wait_s: float) -> None:
        """Begin something on the node's loop; wait `wait_s` for its end, then let it go on.

        Raises:
            HiveError: it failed within that time; a later failure is logged.

        """

        async def run() -> None:
            try:
                await work()
            except Exception:
                log.exception("crossing.work_failed")
                raise

        if self._loop.is_closed():
            raise _ended()
        future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._loop))
        done, _ = await asyncio.wait({future}, timeout=wait_s)
        for one in done:
            one.result()

    def post(self, action: Callable[[], None]) -> None:
        """Run an action on the node's loop soon, without waiting."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    async def stream(self, source: Callable[[], AsyncIterator[ValueT]]) -> AsyncIterator[ValueT]:
        """Iterate on the node's loop; a slow reader slows the source, a gone one ends it."""
        here = asyncio.get_running_loop()
        arrived: asyncio.Queue[ValueT | _End] = asyncio.Queue()
        room = _Room(self._loop)

        def hand(item: "ValueT | _End") -> None:
            here.call_soon_threadsafe(arrived.put_nowait, item)

        async def run() -> None:
            try:
                # Closed here and now when the reader is gone, not whenever it is collected.
                async with aclosing(cast("AsyncGenerator[ValueT]", source())) as items:
                    async for item in items:
                        await room.take()
                        hand(item)
            except Exception as error:  # noqa: BLE001  it is raised again on the other side
                hand(_End(error))
            else:
                hand(_End(None))

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            while True:
                item = await arrived.get()
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                room.give()
                yield item
        finally:
            future.cancel()


class _End:
    def __init__(self, error: Exception | None) -> None:
        self.error = error


class _Room:
    """How many items may be under way; counted on the node's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._places = asyncio.Semaphore(AHEAD_MAX)

    async def take(self) -> None:
        await self._places.acquire()

    def give(self) -> None:
        self._loop.call_soon_threadsafe(self._places.release)


def _ended() -> NodeUnreachableError:
    return NodeUnreachableError("The node has ended.", fix="Start it again: hive up")
