"""One HTTP exchange of a known visitor: an answer as one document, or as a stream of events."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio
from starlette.types import Receive, Send

from hive.core.call import Principal
from hive.core.json import Json
from hive.protocols.mcp.front.heads import McpHead
from hive.protocols.mcp.ports import McpService, Visitor

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
_STREAM: Final[Headers] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
_JSON: Final = (b"content-type", b"application/json")
PING: Final = b": ping\r\n\r\n"
LEVELS: Final[Mapping[str, int]] = {
    name: rank
    for rank, name in enumerate(
        ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
    )
}


class McpExchange:
    """What the client reads. `begun` once a byte of the answer has gone, `streamed` where that began a stream."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._turn = anyio.Lock()
        self.begun = False
        self.streamed = False

    async def document(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Answer with one document, or with nothing but a status."""
        self.begun = True
        kind = (_JSON,) if body else ()
        length = (b"content-length", str(len(body)).encode())
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*kind, length, *headers],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def event(self, data: bytes, headers: Headers = ()) -> None:
        """Write events, the first of which makes the answer a stream."""
        async with self._turn:
            if not self.begun:
                self.begun = self.streamed = True
                await self._send(
                    {
                        "type": "http.response.start",
                        "status": 200,
                        "headers": [*_STREAM, *headers],
                    }
                )
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Write the last event of a stream."""
        async with self._turn:
            await self._send({"type": "http.response.body", "body": data})


@dataclass(frozen=True, slots=True)
class McpVisit:
    """One request on its way: who asks what service, and the two ends of the connection.

    `owner` is the same for all requests of one party and differs between any two.
    """

    head: McpHead
    visitor: Visitor
    service: McpService
    exchange: McpExchange
    receive: Receive
    events: bool

    @property
    def owner(self) -> tuple[str, ...]:
        """Return to whom sessions belong: a turn ends, its agent's session stays."""
        return owner_of(self.visitor.principal, self.head.path)


def owner_of(principal: Principal, path: str) -> tuple[str, ...]:
    """Return the key of a party at an endpoint."""
    return (
        principal.kind.value,
        principal.name,
        str(principal.owner),
        str(principal.agent or ""),
        str(principal.sandbox or ""),
        path,
    )


async def until_gone(
    visit: McpVisit, gone: Callable[[], None], ping: Callable[[], Awaitable[None]], ping_s: float
) -> None:
    """Wait until the client goes away, then call `gone`; meanwhile say now and then that work goes on."""
    while True:
        with anyio.move_on_after(ping_s) as silence:
            if (await visit.receive())["type"] == "http.disconnect":
                break
        if silence.cancelled_caught and visit.events:
            await ping()
    gone()


def loud_enough(params: Mapping[str, Json], level: str) -> bool:
    """Tell whether a log line has at least the level that a client asked for."""
    said = params.get("level")
    return isinstance(said, str) and LEVELS.get(said, -1) >= LEVELS.get(level, len(LEVELS))
