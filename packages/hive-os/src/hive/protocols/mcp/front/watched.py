"""Work for a client that may go away: it is watched from the moment on at which the work is not short.

Most calls are answered within some milliseconds; for those a task that waits for a client to leave costs more
than it can save. Until then a client that left is not noticed.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
from anyio.abc import TaskGroup

from hive.protocols.mcp.front.exchange import PING, McpVisit, until_gone

log: Final = logging.getLogger(__name__)
SHORT_S: Final = 0.05


@contextmanager
def watched(visit: McpVisit, tasks: TaskGroup, ping_s: float) -> Iterator[None]:
    """Cancel what is done inside when the client goes away; say now and then that it goes on."""
    work = anyio.CancelScope()
    watch: anyio.CancelScope | None = None

    async def ping() -> None:
        await visit.exchange.event(PING)

    async def look(scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await until_gone(visit, work.cancel, ping, ping_s)
            except Exception:  # the connection broke in a way of its own; the others' work goes on
                log.exception("mcp.watch_broke")
                work.cancel()

    def begin() -> None:
        nonlocal watch
        watch = anyio.CancelScope()
        with suppress(RuntimeError):  # the front is closing, which ends what is under way
            tasks.start_soon(look, watch)

    timer = asyncio.get_running_loop().call_later(SHORT_S, begin)
    try:
        with work:
            yield
    finally:
        timer.cancel()
        if watch is not None:
            watch.cancel()
