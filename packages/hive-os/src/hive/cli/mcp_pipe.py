"""Standard input and output of a desktop client, joined to a node's MCP endpoint over HTTP.

Lines of JSON-RPC come in, each goes out as a request, and what comes back is written as it came. Both eras
pass: a message that names its revision in `_meta` stands alone; else there is a session, which is begun
anew when the node forgot it. Nothing but JSON-RPC is ever written to standard output.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import httpcore
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from hive.cli.mcp_wire import (
    UNREACHABLE,
    Path,
    PipeError,
    Wire,
    answers_of,
    events_of,
    header_fields,
    header_in,
    header_scalar,
    header_text,
    revision_of,
    tls_context,
    value_at,
)

log: Final = logging.getLogger(__name__)
SESSION: Final = b"mcp-session-id"
BROKEN: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)
END_GRACE_S: Final = 5.0
GOODBYE_S: Final = 1.0
CONNECT_S: Final = 10.0
LISTEN_PAUSES_S: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
LISTEN: Final = "subscriptions/listen"
CONNECTIONS_MAX: Final = 100
LISTENS_MAX: Final = 10_000
NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeTarget:
    """Where the messages go, and what is shown there."""

    url: str
    token: str = ""


@dataclass(slots=True)
class _Session:
    """A session of an older revision: how it began, so that it can begin again."""

    id: bytes = b""
    revision: str = ""
    begun_with: Wire | None = None


@dataclass(slots=True, kw_only=True)
class McpPipe:
    """One client on one node. `find` says where the node is; it is asked again after a failure."""

    find: Callable[[], PipeTarget]
    write: Callable[[bytes], Awaitable[None]]
    _target: PipeTarget | None = None
    _session: _Session = field(default_factory=_Session)
    _scopes: dict[str, anyio.CancelScope] = field(default_factory=dict)
    _waited_for: set[str] = field(default_factory=set)
    _answered: anyio.Event = field(default_factory=anyio.Event)
    _headers_of: dict[str, dict[Path, str]] = field(default_factory=dict)
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def run(self, lines: MemoryObjectReceiveStream[bytes]) -> None:
        """Serve until the client closes its end; what is under way then gets a moment more."""
        async with httpcore.AsyncConnectionPool(
            ssl_context=tls_context(), max_connections=CONNECTIONS_MAX, keepalive_expiry=60.0
        ) as pool:
            try:
                await self._serve(lines, pool)
            finally:
                with anyio.move_on_after(GOODBYE_S, shield=True):
                    await self._end(pool)

    async def _serve(
        self, lines: MemoryObjectReceiveStream[bytes], pool: httpcore.AsyncConnectionPool
    ) -> None:
        async with anyio.create_task_group() as tasks:
            async for line in lines:
                if line.strip():
                    await self._take(line, pool, tasks)
            with anyio.move_on_after(END_GRACE_S):
                while self._waited_for:
                    self._answered = anyio.Event()
                    await self._answered.wait()
            tasks.cancel_scope.cancel()

    async def _take(
        self, line: bytes, pool: httpcore.AsyncConnectionPool, tasks: TaskGroup
    ) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            await self._fail(None, PARSE_ERROR, "That is no JSON.")
            return
        for one in message if isinstance(message, list) else [message]:
            if not isinstance(one, dict):
                await self._fail(None, INVALID_REQUEST, "That is no message of JSON-RPC.")
            elif "method" in one and "id" in one:
                tasks.start_soon(self._request, one, pool)
            elif one.get("method") == "notifications/cancelled" and self._gave_up(one):
                pass
            else:
                await self._tell(one, pool)
                if one.get("method") == "notifications/initialized":
                    tasks.start_soon(self._listen, pool)

    def _gave_up(self, message: Wire) -> bool:
        """Take a cancellation of a request that stands alone: its exchange is simply ended."""
        wanted = (message.get("params") or {}).get("requestId")
        scope = self._scopes.get(repr(wanted))
        if scope is None or self._session.begun_with is not None:
            return False
        scope.cancel()
        return True

    async def _request(self, message: Wire, pool: httpcore.AsyncConnectionPool) -> None:
        key = repr(message["id"])
        with anyio.CancelScope() as scope:
            self._scopes[key] = scope
            if message["method"] != LISTEN:  # that one has no end of its own
                self._waited_for.add(key)
            try:
                await self._exchange(message, pool)
            except PipeError as error:
                await self._fail(message["id"], UNREACHABLE, str(error))
            finally:
                self._scopes.pop(key, None)
                self._waited_for.discard(key)
                self._answered.set()

    async def _exchange(self, message: Wire, pool: httpcore.AsyncConnectionPool) -> None:
        begins = message["method"] == "initialize"
        if begins:
            self._session = _Session(begun_with=message)
        answered = False
        async for answer in self._post(message, pool):
            mine = answer.get("id") == message["id"] and "method" not in answer
            answered = answered or mine
            if mine:
                self._learn(message, answer)
            await self._say(answer)
        if not answered:
            raise PipeError("The node ended the exchange without an answer.")

    async def _tell(self, message: Wire, pool: httpcore.AsyncConnectionPool) -> None:
        try:
            async for answer in self._post(message, pool):
                await self._say(answer)
        except PipeError as error:
            log.warning("mcp_pipe.not_told", extra={"error": str(error)})

    async def _post(self, message: Wire, pool: httpcore.AsyncConnectionPool) -> AsyncIterator[Wire]:
        """Send one message and yield what comes back; a session that was forgotten begins again."""
        for again in (True, False):
            used = self._session.id
            async with self._sent("POST", pool, message) as response:
                if response.status == 404 and used and again and not revision_of(message):
                    await self._begin_again(pool, used)
                    continue
                if message.get("method") == "initialize":
                    self._session.id = header_in(response, SESSION)
                async for answer in answers_of(response, message):
                    yield answer
                return

    async def _begin_again(self, pool: httpcore.AsyncConnectionPool, lost: bytes) -> None:
        async with self._lock:
            first = self._session.begun_with
            if self._session.id != lost or first is None:
                return
            self._session.id = b""
            async with self._sent("POST", pool, first) as response:
                self._session.id = header_in(response, SESSION)
                async for _ in answers_of(response, first):
                    pass
            begun: Wire = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            async with self._sent("POST", pool, begun) as response:
                await response.aread()

    async def _listen(self, pool: httpcore.AsyncConnectionPool) -> None:
        """Hear what a session's node says by itself, for as long as it lets us."""
        session = self._session
        for pause in (*LISTEN_PAUSES_S, *[LISTEN_PAUSES_S[-1]] * LISTENS_MAX):
            used = session.id
            with suppress(PipeError):
                async with self._sent("GET", pool, None) as response:
                    status = response.status
                    if status == 200:
                        async for answer in events_of(response):
                            await self._say(answer)
                if status == 404 and used:
                    await self._begin_again(pool, used)
                elif status != 200:
                    return
            if self._session is not session:
                return
            await anyio.sleep(pause)

    async def _end(self, pool: httpcore.AsyncConnectionPool) -> None:
        if self._session.id:
            with suppress(PipeError):
                async with self._sent("DELETE", pool, None) as response:
                    await response.aread()

    def _sent(
        self, method: str, pool: httpcore.AsyncConnectionPool, message: Wire | None
    ) -> "_Sent":
        return _Sent(self, method, pool, message)

    async def target(self) -> PipeTarget:
        """Return where the node is.

        Raises:
            PipeError: nobody knows.

        """
        if self._target is None:
            self._target = await anyio.to_thread.run_sync(self.find)
        return self._target

    def forget_target(self) -> None:
        """Look for the node again next time: it may come back elsewhere."""
        self._target = None

    def headers(self, target: PipeTarget, message: Wire | None) -> list[tuple[bytes, bytes]]:
        """Return the headers of one request."""
        found = {
            "Accept": "text/event-stream"
            if message is None
            else "application/json, text/event-stream",
            "Content-Type": "application/json",
        }
        if target.token:
            found["Authorization"] = f"Bearer {target.token}"
        revision = "" if message is None else revision_of(message)
        if revision and message is not None:
            found |= {"MCP-Protocol-Version": revision, **self._mirrored(message)}
        elif message is None or message.get("method") != "initialize":
            if self._session.revision:
                found["MCP-Protocol-Version"] = self._session.revision
            if self._session.id:
                found["Mcp-Session-Id"] = self._session.id.decode("latin-1")
        return [(name.encode(), value.encode("latin-1")) for name, value in found.items()]

    def _mirrored(self, message: Wire) -> dict[str, str]:
        """Repeat in headers what the newest revision wants there."""
        method, params = str(message.get("method", "")), message.get("params") or {}
        found = {"Mcp-Method": method}
        named = params.get(NAMED.get(method, ""))
        if isinstance(named, str):
            found["Mcp-Name"] = header_text(named)
        arguments = params.get("arguments") or {}
        for path, header in self._headers_of.get(str(params.get("name")), {}).items():
            value = value_at(arguments, path)
            if method == "tools/call" and value is not None:
                found[f"Mcp-Param-{header}"] = header_text(header_scalar(value))
        return found

    def _learn(self, message: Wire, answer: Wire) -> None:
        """Keep of an answer what later requests need: the revision, and which arguments are headers."""
        result = answer.get("result")
        if not isinstance(result, dict):
            return
        if message["method"] == "initialize":
            self._session.revision = str(result.get("protocolVersion", ""))
        if message["method"] == "tools/list":
            for tool in result.get("tools") or []:
                named = dict(header_fields(tool.get("inputSchema"), ()))
                if named:
                    self._headers_of[str(tool.get("name"))] = named

    async def _fail(self, request_id: object, code: int, text: str) -> None:
        await self._say(
            {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}}
        )

    async def _say(self, message: Wire) -> None:
        data = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        await self.write(data + b"\n")


class _Sent:
    """One HTTP exchange as a context; whatever breaks is one error for the client."""

    def __init__(
        self,
        pipe: McpPipe,
        method: str,
        pool: httpcore.AsyncConnectionPool,
        message: Wire | None,
    ) -> None:
        self._pipe = pipe
        self._method = method
        self._pool = pool
        self._message = message
        self._open: Any = None

    async def __aenter__(self) -> httpcore.Response:
        target = await self._pipe.target()
        body = b"" if self._message is None else json.dumps(self._message).encode()
        headers = self._pipe.headers(target, self._message)
        self._open = self._pool.stream(
            self._method,
            target.url,
            headers=headers,
            content=body or None,
            extensions={"timeout": {"connect": CONNECT_S, "write": CONNECT_S, "pool": CONNECT_S}},
        )
        try:
            response: httpcore.Response = await self._open.__aenter__()
        except BROKEN as error:
            self._pipe.forget_target()
            raise PipeError(
                "The Hive node does not answer. Start it with `hive up`, then try again."
            ) from error
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        broken = error if isinstance(error, BROKEN) else None
        try:
            await self._open.__aexit__(kind, error, trace)
        except BROKEN as found:
            broken = found
        if broken is not None:
            self._pipe.forget_target()
            raise PipeError("The connection to the Hive node broke.") from broken
        return False
