"""Serve the `everything` service behind the front: `python -m tests.conformance.serve_everything PORT`."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
from tests.conformance.everything import EverythingService

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.ids import OwnerId
from hive.core.randomness import SystemRandomness
from hive.core.settings import load_settings
from hive.protocols.mcp.front import McpFront
from hive.protocols.mcp.ports import Turned, Visitor
from hive.protocols.mcp.serving.running import RunningTasks
from hive.testing.loopback import serve_app

NOBODY = Visitor(
    principal=Principal(kind=PrincipalKind.ANONYMOUS, name="anonymous", owner=OwnerId("anonymous"))
)


class OpenDoor:
    """Lets everybody in, as the same stranger."""

    async def identify(
        self, scope: Mapping[str, object], headers: Mapping[str, str]
    ) -> Visitor | Turned:
        """Return the stranger."""
        del scope, headers
        return NOBODY


@asynccontextmanager
async def everything_front() -> AsyncIterator[tuple[str, McpFront, EverythingService]]:
    """Serve it on a free loopback port; give the URL, the front and the service."""
    tasks = RunningTasks(SystemClock(), SystemRandomness())
    service = EverythingService(tasks)
    front = McpFront(
        service_for=lambda visitor, path: service if path == "/mcp" else None,
        doorman=OpenDoor(),
        settings=load_settings({"HOME": "/nonexistent"}),
        clock=SystemClock(),
        names=frozenset({"localhost", "127.0.0.1"}),
    )
    async with tasks.running(), front, serve_app(front) as url:
        yield f"{url}/mcp", front, service


async def _serve() -> None:
    async with everything_front() as (url, _, _):
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(_serve)
