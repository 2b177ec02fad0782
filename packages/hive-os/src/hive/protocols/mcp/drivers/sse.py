"""The older HTTP transport: one event stream from the server, and a POST for each message to it.

The server names on its stream where messages are to be posted: on itself, and nowhere else.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio

from hive.core.errors import ConfigError, EngineUnavailableError, HiveError
from hive.protocols.mcp.drivers.calls import HttpCaller, header_of, needs_login, piece_of
from hive.protocols.mcp.drivers.duplex import DuplexTalk
from hive.protocols.mcp.drivers.events import EventLines, WireEvent
from hive.protocols.mcp.drivers.flood import FloodGauge
from hive.protocols.mcp.drivers.messages import broken, not_sent
from hive.protocols.mcp.hub.ports import Hearer, WireOpening
from hive.protocols.mcp.ports import McpObject
from hive.protocols.models.connections import ProviderResponse

ENDPOINT_WAIT_S: Final = 15.0
_JSON: Final = "content-type: application/json\r\n"
_STREAM: Final = "accept: text/event-stream\r\ncache-control: no-store\r\n"


class SseWire:
    """One event stream of a server, and its place for messages."""

    duplex = True

    def __init__(self, opening: WireOpening) -> None:
        self._caller = HttpCaller(opening)
        self._limit = opening.spec.result_max_bytes
        self._clock = opening.clock
        self._talk = DuplexTalk(send=self._send, hearer=opening.hearer, clock=opening.clock)
        self._target = ""
        self._named = anyio.Event()
        self._version = ""

    @property
    def ended(self) -> bool:
        """Tell whether the stream is gone."""
        return self._talk.ended

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the stream and read it until the context is left."""
        try:
            response = await self._caller.send("GET", _STREAM)
            async with anyio.create_task_group() as tasks:
                self._talk.begin(tasks)
                try:
                    self._look_at(response)
                    tasks.start_soon(self._read, response)
                    await self._wait_for_place()
                    yield
                finally:
                    self._talk.end()
                    tasks.cancel_scope.cancel()
                    response.close()
        finally:
            self._caller.close()

    def settle(self, revision: str) -> None:
        """Take the revision: messages name it."""
        self._version = f"mcp-protocol-version: {revision}\r\n"

    async def ask(
        self,
        method: str,
        params: McpObject,
        *,
        hearer: Hearer,
        result_max_bytes: int,
        named: Mapping[str, str] | None = None,
    ) -> McpObject:
        """Send a request and return its result."""
        del named
        return await self._talk.ask(method, params, hearer=hearer, max_bytes=result_max_bytes)

    async def tell(self, method: str, params: McpObject) -> None:
        """Send a notification."""
        await self._talk.tell(method, params)

    async def _send(self, data: bytes) -> None:
        headers = _JSON + self._version
        response = await self._caller.send("POST", headers, data, target=self._target)
        response.close()
        if response.status == 401:
            raise needs_login("It answered 401.")
        if response.status >= 300:
            raise broken(f"It answered {response.status} to a message.")

    @staticmethod
    def _look_at(response: ProviderResponse) -> None:
        kind = header_of(response, b"content-type").partition(";")[0].lower()
        if response.status in (401, 403):
            raise needs_login(f"It answered {response.status}.")
        if response.status != 200 or kind != "text/event-stream":
            raise not_sent(f"It answered {response.status} and no event stream.")

    async def _wait_for_place(self) -> None:
        with anyio.move_on_after(ENDPOINT_WAIT_S):
            await self._named.wait()
        if not self._target:
            raise not_sent("It names no place for messages on itself.")

    async def _read(self, response: ProviderResponse) -> None:
        cause: BaseException | None = None
        try:
            gauge = FloodGauge(self._clock)
            lines = EventLines(self._limit, gauge)
            while piece := await piece_of(response):
                for event in lines.feed(piece):
                    await self._hear(event, gauge)
        except HiveError as error:
            cause = error
        finally:
            self._talk.end(cause)
            self._named.set()

    async def _hear(self, event: WireEvent, gauge: FloodGauge) -> None:
        if event.name == "endpoint" and not self._target:
            self._target = self._place_of(event.data)
            self._named.set()
        elif event.name == "message" and event.data:
            await self._talk.take(event.data)
        else:
            gauge.add(len(event.data))

    def _place_of(self, reference: bytes) -> str:
        ours = self._caller.address
        try:
            there = ours.joined(reference.decode("latin-1").strip())
        except ConfigError as error:
            raise EngineUnavailableError("It names no place for messages.") from error
        if there.origin != ours.origin:
            raise EngineUnavailableError("It wants messages at another host.")
        return there.target
