"""A server at a URL: streamable HTTP of both eras, with one POST a request and nothing in between.

From 2026-07-28 on a request stands alone: its headers repeat what its body says, and closing the stream is
how it is cancelled. Before, a session has an id, a stream of its own for what belongs to no request, and
streams that were cut are taken up again where they ended.
"""

import base64
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NoReturn

import anyio

from hive.core.errors import EngineUnavailableError, HiveError, TooLargeError
from hive.protocols.mcp.drivers.calls import (
    HttpCaller,
    header_line,
    header_of,
    needs_login,
    piece_of,
    read_all,
)
from hive.protocols.mcp.drivers.events import EventLines
from hive.protocols.mcp.drivers.flood import FloodGauge
from hive.protocols.mcp.drivers.messages import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    RpcMessage,
    answer_bytes,
    broken,
    not_sent,
    notification_bytes,
    read_message,
    request_bytes,
    result_of,
)
from hive.protocols.mcp.hub.ports import Hearer, WireOpening
from hive.protocols.mcp.ports import NEWEST, McpError, McpObject
from hive.protocols.models.connections import ProviderResponse

QUESTIONS_MAX: Final = 32
NOTE_MAX_BYTES: Final = 1 << 20
RESUMES_MAX: Final = 5
RESUME_S: Final = 1.0
GOODBYE_S: Final = 2.0
ERROR_BODY_MAX_BYTES: Final = 64 << 10
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PLAIN: Final = re.compile(r"[\x20-\x7E]*")
_WRAPPED: Final = re.compile(r"=\?base64\?.*\?=")
_OF_SESSIONS: Final = frozenset({-32000, -32001, -32600})
_SESSION: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_UNCANCELLED: Final = frozenset({"initialize", "server/discover"})
_COMMON: Final = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
_LISTENING: Final = "accept: text/event-stream\r\n"
_AWAY: Final = frozenset({502, 503, 504})


def header_value(text: str) -> str:
    """Return a text as a header may carry it: as it stands, or wrapped in base64 where it would suffer."""
    if _PLAIN.fullmatch(text) and text == text.strip() and not _WRAPPED.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode('ascii')}?="


class HttpWire:
    """Streamable HTTP to one server."""

    duplex = False

    def __init__(self, opening: WireOpening) -> None:
        self._opening = opening
        self._caller = HttpCaller(opening)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._session = ""
        self._revision = ""
        self._settled = ""
        self._last = 0
        self._questions = 0
        self.ended = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the connections until the context is left."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self.ended = True
                tasks.cancel_scope.cancel()
                if self._session:
                    await self._say_goodbye()
                self._caller.close()

    def settle(self, revision: str) -> None:
        """Take the revision; every request names it from now on."""
        self._revision = revision
        self._settled = self._lines(revision)

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
        if self.ended:
            raise not_sent("The connection has ended.")
        self._last = number = self._last + 1
        headers = self._headers_of(method, params, named)
        body = request_bytes(number, method, params)
        try:
            response = await self._caller.send("POST", headers, body)
            try:
                return await self._answer(response, number, method, hearer, result_max_bytes)
            finally:
                response.close()
        except anyio.get_cancelled_exc_class():
            self._take_back(number, method)
            raise

    async def tell(self, method: str, params: McpObject) -> None:
        """Send a notification; after the one that ends a handshake, listen to what belongs to no request."""
        if self._revision == NEWEST and method == "notifications/cancelled":
            return
        await self._post(notification_bytes(method, params))
        if method == "notifications/initialized" and self._session and self._tasks is not None:
            self._tasks.start_soon(self._listen)

    async def _post(self, body: bytes) -> None:
        response = await self._caller.send("POST", self._settled or _COMMON, body)
        response.close()

    def _lines(self, revision: str) -> str:
        lines = _COMMON + (header_line("mcp-protocol-version", revision) if revision else "")
        return lines + (header_line("mcp-session-id", self._session) if self._session else "")

    def _headers_of(self, method: str, params: McpObject, named: Mapping[str, str] | None) -> str:
        """Return the lines that a request needs; a probe for the newest revision names it already."""
        if method == "initialize":
            self._session = ""
            return _COMMON
        lines = self._settled
        if method == "server/discover" and not lines:
            lines = self._lines(_version_in(params))
        elif self._revision != NEWEST:
            return lines
        lines += f"mcp-method: {method}\r\n"
        field = _NAMED.get(method)
        if field is not None and isinstance(name := params.get(field), str):
            lines += f"mcp-name: {header_value(name)}\r\n"
        for key, value in (named or {}).items():
            lines += header_line(key, value)
        return lines

    async def _answer(
        self, response: ProviderResponse, number: int, method: str, hearer: Hearer, limit: int
    ) -> McpObject:
        if response.status != 200:
            await self._refused(response)
        if header_of(response, b"content-encoding") not in ("", "identity"):
            raise broken("It answers in an encoding that it was not asked for.")
        if method == "initialize":
            shown = header_of(response, b"mcp-session-id")
            self._session = shown if _SESSION.fullmatch(shown) else ""
        kind = header_of(response, b"content-type").partition(";")[0].lower()
        if kind == "text/event-stream":
            return await self._streamed(response, number, hearer, limit)
        if kind != "application/json":
            raise McpError(INVALID_REQUEST, f"The server answered with {kind[:60]!r}.")
        data = await read_all(response, limit)
        try:
            return result_of(read_message(data))
        except ValueError as error:
            raise broken("Its answer is no JSON-RPC.", error) from error

    async def _streamed(
        self, response: ProviderResponse, number: int, hearer: Hearer, limit: int
    ) -> McpObject:
        """Read a stream until the answer; one that was cut is taken up again where the revision allows."""
        lines = EventLines(limit, FloodGauge(self._opening.clock))
        found = await self._read(response, lines, number, hearer)
        attempts = 0
        while found is None:
            response.close()
            if not lines.last_id or self._revision == NEWEST or attempts >= RESUMES_MAX:
                raise broken("Its stream ended before the answer.")
            attempts += 1
            await anyio.sleep(RESUME_S if lines.retry_s is None else lines.retry_s)
            before = lines.last_id
            found = await self._resumed(lines, number, hearer, limit)
            if lines.last_id != before:
                attempts = 0
        return result_of(found)

    async def _resumed(
        self, lines: EventLines, number: int, hearer: Hearer, limit: int
    ) -> RpcMessage | None:
        again = EventLines(limit, FloodGauge(self._opening.clock))
        try:
            response = await self._open_stream(lines.last_id)
        except EngineUnavailableError:
            return None
        if response is None:
            return None
        try:
            return await self._read(response, again, number, hearer)
        finally:
            lines.last_id = again.last_id or lines.last_id
            lines.retry_s = again.retry_s if again.retry_s is not None else lines.retry_s
            response.close()

    async def _open_stream(self, last_id: str = "") -> ProviderResponse | None:
        headers = self._settled.replace(_COMMON, _LISTENING)
        if last_id:
            headers += header_line("last-event-id", last_id)
        response = await self._caller.send("GET", headers)
        kind = header_of(response, b"content-type").partition(";")[0].lower()
        if response.status == 200 and kind == "text/event-stream":
            return response
        response.close()
        return None

    async def _read(
        self, response: ProviderResponse, lines: EventLines, number: int, hearer: Hearer
    ) -> RpcMessage | None:
        """Hear a stream to its end, or to the answer to request `number`."""
        flood = FloodGauge(self._opening.clock)
        while piece := await _piece_or_end(response):
            for event in lines.feed(piece):
                if not event.data or event.name != "message":
                    flood.add(len(event.data))
                    continue
                try:
                    message = read_message(event.data)
                except ValueError:
                    flood.add(len(event.data))
                    continue
                if message.method is None:
                    if message.id == number:
                        return message
                    flood.add(len(event.data))
                    continue
                flood.add(len(event.data))
                if message.id is None:
                    await hearer.note(message.method, message.params or {})
                elif self._tasks is not None and self._questions < QUESTIONS_MAX:
                    self._questions += 1
                    self._tasks.start_soon(self._reply, message, hearer)
        return None

    async def _reply(self, message: RpcMessage, hearer: Hearer) -> None:
        asked = message.id if message.id is not None else 0
        try:
            try:
                answer = answer_bytes(
                    asked, await hearer.question(message.method or "", message.params or {})
                )
            except McpError as error:
                answer = answer_bytes(asked, error)
            except HiveError as error:
                answer = answer_bytes(asked, McpError(INTERNAL_ERROR, error.what))
            await self._post(answer)
        except HiveError:
            return
        finally:
            self._questions -= 1

    async def _listen(self) -> None:
        """Hear what belongs to no request, for as long as the session lasts."""
        last_id = ""
        for _ in range(RESUMES_MAX):
            try:
                response = await self._open_stream(last_id)
                if response is None:
                    return
                lines = EventLines(NOTE_MAX_BYTES, FloodGauge(self._opening.clock))
                try:
                    await self._read(response, lines, -1, self._opening.hearer)
                finally:
                    response.close()
            except (EngineUnavailableError, TooLargeError):
                lines = EventLines(NOTE_MAX_BYTES, FloodGauge(self._opening.clock))
            last_id = lines.last_id or last_id
            await anyio.sleep(RESUME_S if lines.retry_s is None else lines.retry_s)

    async def _refused(self, response: ProviderResponse) -> NoReturn:
        status = response.status
        data = await read_all(response, ERROR_BODY_MAX_BYTES) if status >= 400 else b""
        if status == 401:
            raise needs_login("It answered 401.")
        if status == 404 and self._session:
            # It forgot the session, so it did not look at what the request says.
            self.ended = True
            raise not_sent("It has forgotten the session.")
        try:
            message = read_message(data)
        except ValueError:
            message = RpcMessage()
        if status == 400 and self._session and _speaks_of_session(message):
            self.ended = True
            raise not_sent("It has forgotten the session.")
        if message.error is not None:
            result_of(message)
        if status == 403:
            raise needs_login("It answered 403: the login does not reach as far.")
        if status in (404, 405):
            raise McpError(METHOD_NOT_FOUND, f"The server answered {status}.")
        if status in _AWAY:
            raise broken(f"It answered {status}.")
        raise McpError(INTERNAL_ERROR, f"The server answered {status}.")

    def _take_back(self, number: int, method: str) -> None:
        """Tell an older server that nobody waits any more; a newer one sees it in the closed stream."""
        settled = self._revision not in ("", NEWEST) and method not in _UNCANCELLED
        if settled and self._tasks is not None and not self.ended:
            self._tasks.start_soon(self._tell_given_up, number)

    async def _tell_given_up(self, number: int) -> None:
        try:
            await self._post(notification_bytes("notifications/cancelled", {"requestId": number}))
        except HiveError:
            return

    async def _say_goodbye(self) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(GOODBYE_S):
            try:
                (await self._caller.send("DELETE", self._settled)).close()
            except HiveError:
                return


async def _piece_or_end(response: ProviderResponse) -> bytes:
    try:
        return await piece_of(response)
    except EngineUnavailableError:
        # A stream that was cut and one that was ended are taken up in the same way.
        return b""


def _version_in(params: McpObject) -> str:
    meta = params.get("_meta")
    shown = meta.get("io.modelcontextprotocol/protocolVersion") if isinstance(meta, dict) else None
    return shown if isinstance(shown, str) else NEWEST


def _speaks_of_session(message: RpcMessage) -> bool:
    """Tell whether an error says that the session is unknown: many servers say so with 400 instead of 404."""
    error = message.error
    if error is None or error.code not in _OF_SESSIONS:
        return False
    return "session" in error.message.lower()
