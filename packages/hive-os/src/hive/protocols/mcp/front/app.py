"""The door of MCP: bytes in, a service's answers out.

In order: is it for this host and from no foreign page, who asks, what stands behind the path, how large and
slow is the body, what does it say; then the revision's own rules. A stranger gets no further than the second.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

import anyio
from starlette.types import Receive, Scope, Send

from hive.core.clock import Clock
from hive.core.json import Json
from hive.core.randomness import Randomness, SystemRandomness
from hive.core.settings import Settings
from hive.protocols.mcp.front.envelope import VERSION_HEADER, VERSION_KEY
from hive.protocols.mcp.front.exchange import McpExchange, McpVisit
from hive.protocols.mcp.front.handshake import HANDSHAKES
from hive.protocols.mcp.front.heads import (
    McpHead,
    read_mcp_body,
    refuse_media,
    refuse_strangers,
)
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.sessions import SessionTable
from hive.protocols.mcp.front.stateful import SESSION_HEADER, StatefulWire
from hive.protocols.mcp.front.stateless import serve_stateless
from hive.protocols.mcp.front.wire import (
    INVALID_REQUEST,
    TURNED_AWAY,
    McpAsked,
    McpMessage,
    WireRefusedError,
    parse_body,
)
from hive.protocols.mcp.ports import Doorman, McpObject, McpService, Turned, Visitor

ServiceFor: TypeAlias = Callable[[Visitor, str], McpService | None]
"""Says what stands behind a path for a visitor; None for nothing, which the client reads as 404."""
StepUp: TypeAlias = Callable[[Visitor, str, str, McpObject], Turned | None]
"""Answers a request (path, method, params) for which a token is good, but not good enough; None where it is."""
LAST_WORD_S: Final = 5.0
_METHODS: Final = ("POST", "GET", "DELETE")


class McpFront:
    """Speak MCP over HTTP for any number of services.

    `names` are the host names by which it is asked for; None lets any pass. Serve inside `async with`:
    leaving it ends every session, stream and call.
    """

    def __init__(
        self,
        *,
        service_for: ServiceFor,
        doorman: Doorman,
        settings: Settings,
        clock: Clock,
        randomness: Randomness | None = None,
        names: frozenset[str] | None = None,
        limits: FrontLimits | None = None,
        step_up: StepUp | None = None,
    ) -> None:
        self._service_for = service_for
        self._doorman = doorman
        self._settings = settings
        self._names = names
        self._step_up = step_up
        self._limits = limits or FrontLimits()
        self._sessions = SessionTable(
            limits=self._limits, clock=clock, randomness=randomness or SystemRandomness()
        )
        self._in_flight: Counter[tuple[str, ...]] = Counter()
        self._granted: dict[str, set[anyio.CancelScope]] = {}
        self._stack = AsyncExitStack()
        self._stateful: StatefulWire | None = None
        public = urlsplit(settings.public_url)
        self._origins = frozenset(
            {f"{public.scheme}://{public.netloc}".lower()} if public.netloc else ()
        )

    async def __aenter__(self) -> Self:
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stateful = StatefulWire(limits=self._limits, sessions=self._sessions, tasks=tasks)
        self._stack.callback(tasks.cancel_scope.cancel)
        self._stack.callback(self._sessions.end_all)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._stateful = None
        return await self._stack.__aexit__(kind, error, trace)

    @property
    def sessions(self) -> int:
        """Return how many sessions are open."""
        return len(self._sessions)

    def end_grant(self, grant: str) -> None:
        """Cut off every request, stream and session under a grant that was taken back."""
        self._sessions.end_grant(grant)
        for scope in list(self._granted.get(grant, ())):
            scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = McpExchange(send)
        try:
            await self._serve(scope, receive, exchange)
        except WireRefusedError as no:
            if not exchange.begun:
                await exchange.document(no.status, no.body, no.headers)

    async def _serve(self, scope: Scope, receive: Receive, exchange: McpExchange) -> None:
        head = McpHead.of(scope)
        refuse_strangers(head, self._names, self._origins)
        if head.method not in _METHODS:
            raise _no_method(", ".join(_METHODS))
        visitor = await self._doorman.identify(scope, head.headers)
        if isinstance(visitor, Turned):
            raise WireRefusedError(
                visitor.status, TURNED_AWAY, visitor.message, headers=_encoded(visitor.headers)
            )
        service = self._service_for(visitor, head.path)
        if service is None:
            raise WireRefusedError(404, INVALID_REQUEST, "There is no MCP server at this path.")
        visit = McpVisit(head, visitor, service, exchange, receive, head.accepts[1])
        owner = visit.owner[:-1]
        if self._in_flight[owner] >= self._limits.in_flight_per_owner_max:
            raise WireRefusedError(
                429,
                TURNED_AWAY,
                "Too many requests at once.",
                headers=((b"retry-after", b"1"),),
            )
        self._in_flight[owner] += 1
        try:
            await self._answer_while_granted(visit)
        finally:
            self._in_flight[owner] -= 1
            if not self._in_flight[owner]:
                del self._in_flight[owner]

    async def _answer_while_granted(self, visit: McpVisit) -> None:
        """Answer, and stop in the middle where the operator takes back what lets the visitor in."""
        grant, exchange = visit.visitor.grant, visit.exchange
        if not grant:
            await self._answer(visit)
            return
        held = self._granted.setdefault(grant, set())
        with anyio.CancelScope() as scope:
            held.add(scope)
            try:
                await self._answer(visit)
            finally:
                held.discard(scope)
                if not held:
                    self._granted.pop(grant, None)
        if scope.cancelled_caught and exchange.streamed:
            with anyio.move_on_after(LAST_WORD_S):
                await exchange.end()
        elif scope.cancelled_caught:
            raise WireRefusedError(401, TURNED_AWAY, "The login was taken back.")

    async def _answer(self, visit: McpVisit) -> None:
        stateful = self._stateful
        if stateful is None:
            raise WireRefusedError(503, TURNED_AWAY, "The server is closing.")
        head = visit.head
        if head.method == "POST":
            await self._post(visit, stateful)
        elif SESSION_HEADER not in head.headers:
            raise _no_method("POST")
        elif head.method == "GET":
            await stateful.get(visit)
        else:
            await stateful.delete(visit)

    async def _post(self, visit: McpVisit, stateful: StatefulWire) -> None:
        head = visit.head
        refuse_media(head)
        body = await read_mcp_body(
            visit.receive,
            head,
            limit_bytes=self._settings.body_max_bytes,
            timeout_s=self._settings.request_timeout_s,
        )
        message = parse_body(body, self._limits, depth_max=self._settings.depth_max)
        if self._step_up is not None:
            _refuse_narrow(visit, message, self._step_up)
        if not _is_stateless(head, message):
            await stateful.post(visit, message)
        elif isinstance(message, list):
            raise WireRefusedError(400, INVALID_REQUEST, "A body holds one message.")
        else:
            await serve_stateless(visit, message, self._limits, stateful.tasks)


def _refuse_narrow(visit: McpVisit, message: McpMessage | list[Json], step_up: StepUp) -> None:
    """Tell who may not do this that more could be asked for, while that can still be an answer of HTTP."""
    if not isinstance(message, McpAsked) or visit.visitor.scopes is None:
        return
    turned = step_up(visit.visitor, visit.head.path, message.method, message.params)
    if turned is not None:
        raise WireRefusedError(
            turned.status, TURNED_AWAY, turned.message, headers=_encoded(turned.headers)
        )


def _is_stateless(head: McpHead, message: McpMessage | list[Json]) -> bool:
    """Tell by which rules a message goes: by its header, and where it says so itself, by the body."""
    if head.headers.get(VERSION_HEADER, HANDSHAKES[0]) not in HANDSHAKES:
        return True
    if not isinstance(message, McpAsked):
        return False
    meta = message.params.get("_meta")
    return isinstance(meta, dict) and VERSION_KEY in meta


def _no_method(allowed: str) -> WireRefusedError:
    allow = ((b"allow", allowed.encode()),)
    return WireRefusedError(405, INVALID_REQUEST, "Method not allowed", headers=allow)


def _encoded(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (key.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for key, value in headers.items()
    )
