"""A client that leaves in the middle of long work ends it; for short work nobody watches."""

import math
from collections.abc import MutableMapping
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from hive.protocols.mcp.front.exchange import McpVisit
from hive.protocols.mcp.front.watched import watched

pytestmark = pytest.mark.anyio


class Client:
    """One that leaves at once; `asked` is how often somebody looked whether it is there."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.asked = 0
        self._breaks = breaks

    @property
    def visit(self) -> McpVisit:
        return cast("McpVisit", SimpleNamespace(receive=self._receive, events=False))

    async def _receive(self) -> MutableMapping[str, Any]:
        self.asked += 1
        if self._breaks:
            raise OSError
        return {"type": "http.disconnect"}


async def test_nobody_watches_while_short_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hive.protocols.mcp.front.watched.SHORT_S", 60.0)
    client = Client()
    async with anyio.create_task_group() as tasks:
        with watched(client.visit, tasks, 15.0):
            await anyio.lowlevel.checkpoint()
    assert client.asked == 0


@pytest.mark.parametrize("breaks", [False, True])
async def test_long_work_ends_when_its_client_has_left(breaks: bool) -> None:
    client, ended = Client(breaks=breaks), False
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            with watched(client.visit, tasks, 15.0):
                try:
                    await anyio.sleep(math.inf)
                finally:
                    ended = True
    assert ended
    assert client.asked == 1


async def test_work_goes_on_unwatched_where_the_front_has_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hive.protocols.mcp.front.watched.SHORT_S", 0.0)
    client = Client()
    async with anyio.create_task_group() as tasks:
        pass
    with watched(client.visit, tasks, 15.0):
        await anyio.wait_all_tasks_blocked()
    assert client.asked == 0
