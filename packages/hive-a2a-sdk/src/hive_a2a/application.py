"""The ASGI application of a server: what stands beside the endpoint, and the life of it."""

import gc
import logging
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, NoReturn, Protocol

import anyio
import msgspec

from hive_a2a.asgi import AsgiApp, Receive, Scope, Send, respond
from hive_a2a.errors import A2AError
from hive_a2a.served_card import ServedCard
from hive_a2a.wire.card_page import CARD_PATHS

log: Final = logging.getLogger(__name__)
KEY_SET_PATH: Final = "/.well-known/jwks.json"


class RunnableServer(Protocol):
    """What the application asks of its server."""

    @property
    def served(self) -> ServedCard:
        """Return the card as it is served, and the keys that sign it."""
        ...

    def open_record(self) -> None:
        """Begin to write the record, where it is not open yet."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Live for as long as this is entered."""
        ...

    @property
    def audit_key(self) -> bytes | None:
        """Return the key that verifies the record on disk, where there is one."""
        ...

    @property
    def audit_folder(self) -> Path:
        """Return where the record lies."""
        ...


class ServerApplication:
    """Serves the key set, finds the card below any interface, and hands the rest on."""

    def __init__(self, server: RunnableServer, app: AsgiApp) -> None:
        self._server = server
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self._server.open_record()
        path = scope.get("path", "")
        if path == KEY_SET_PATH and scope["type"] == "http":
            await respond(send, msgspec.json.encode(self._server.served.keys.key_set()))
            return
        card = next((one for one in CARD_PATHS if path.endswith(one)), None)
        if card is not None:
            # A client that was given an interface's address looks for the card below it.
            scope = {**scope, "path": card, "raw_path": card.encode()}
        await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self._server.running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except A2AError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})


def serve_until_stopped(
    server: RunnableServer, serving: AbstractAsyncContextManager[int], *, scheme: str, host: str
) -> None:
    """Serve until interrupted; say where, or what keeps the server from it, on standard error.

    `serving` serves while it is entered, and gives the port.

    Raises:
        SystemExit: it cannot be served.

    """

    async def forever() -> None:
        async with serving as port:
            # What a start has made stays for good: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            url = f"{scheme}://{_shown(host)}:{port}"
            sys.stderr.write(_ready_line(server, url) + "\n")
            log.info("server.ready", extra={"url": url})
            await anyio.sleep_forever()

    try:
        anyio.run(forever, backend_options={"use_uvloop": _has_uvloop()})
    except KeyboardInterrupt:
        log.info("server.stopped")
    except A2AError as error:
        _end_with(error)
    except BaseExceptionGroup as group:
        # The senders of notifications live in a task group, which wraps what comes from within it.
        found, rest = group.split(A2AError)
        if found is None or rest is not None:
            raise
        _end_with(_first_of(found))


def _ready_line(server: RunnableServer, url: str) -> str:
    record = f"   record {server.audit_folder}" if server.audit_key else ""
    served = server.served
    return f"{served.card.name}   {url}   sealed {served.policy.sealing.name.lower()}{record}"


def _end_with(error: A2AError) -> NoReturn:
    lines = [error.what, f"  {error.why}" if error.why else ""]
    lines.append(f"  Fix:  {error.fix}" if error.fix else "")
    sys.stderr.write("\n".join(filter(None, lines)) + "\n")
    raise SystemExit(1) from None


def _first_of(group: BaseExceptionGroup[A2AError]) -> A2AError:
    one: BaseException = group
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one  # type: ignore[return-value]  # the group was split by this type


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _has_uvloop() -> bool:
    from importlib.util import find_spec

    return find_spec("uvloop") is not None
