"""Serve an ASGI app on a free loopback port for as long as a test needs it."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from hive.core.ids import SandboxId


class _LoopbackServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the test runner."""
        yield


@asynccontextmanager
async def serve_app(app: ASGIApp, *, sandbox: SandboxId | None = None) -> AsyncIterator[str]:
    """Serve `app` as if its connections came through a sandbox's socket; give the base URL."""

    async def through_socket(scope: Scope, receive: Receive, send: Send) -> None:
        if sandbox is not None:
            scope["hive.sandbox"] = sandbox
        await app(scope, receive, send)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # Listening before the server runs, so that a client never comes too early.
        listener.listen(128)
        server = _LoopbackServer(
            uvicorn.Config(
                through_socket,
                lifespan="off",
                log_config=None,
                access_log=False,
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )
        async with anyio.create_task_group() as tasks:
            stopped = anyio.Event()

            async def serve() -> None:
                await server.serve([listener])
                stopped.set()

            tasks.start_soon(serve)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                # A server that is cancelled leaves its socket open, and the loop never closes.
                with anyio.move_on_after(5, shield=True):
                    await stopped.wait()
