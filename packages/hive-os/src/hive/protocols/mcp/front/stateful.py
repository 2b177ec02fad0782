"""The revisions with a handshake: sessions, streams that can be taken up again, questions to the client.

A request goes on when its stream breaks, for as long as the client may still come back for it; before its
answer has become a stream, a broken connection cancels it.
"""

import math
from contextlib import aclosing
from typing import Final

import anyio
from anyio.abc import TaskGroup

from hive.core.json import Json
from hive.protocols.mcp.front.answering import answer_bytes
from hive.protocols.mcp.front.batch import serve_batch
from hive.protocols.mcp.front.courier import SessionCourier, take_in
from hive.protocols.mcp.front.envelope import check_params
from hive.protocols.mcp.front.eventlog import McpStreamLog
from hive.protocols.mcp.front.exchange import PING, Headers, McpVisit, until_gone
from hive.protocols.mcp.front.handshake import PRIMED, agreed_revision, welcome
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.sessions import McpSession, SessionTable
from hive.protocols.mcp.front.watch import watch_changes
from hive.protocols.mcp.front.wire import (
    CANCELLED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    McpAsked,
    McpMessage,
    WireRefusedError,
    error_bytes,
    event_bytes,
    result_bytes,
)
from hive.protocols.mcp.ports import McpError

SESSION_HEADER: Final = "mcp-session-id"
STATELESS_ONLY: Final = frozenset({"server/discover", "subscriptions/listen"})


class StatefulWire:
    """Speaks with the clients that shake hands. `tasks` holds the requests under way."""

    def __init__(self, *, limits: FrontLimits, sessions: SessionTable, tasks: TaskGroup) -> None:
        self._limits = limits
        self._sessions = sessions
        self.tasks = tasks
        self._kept_bytes = 0

    async def post(self, visit: McpVisit, message: McpMessage | list[Json]) -> None:
        """Answer what a client posted.

        Raises:
            WireRefusedError: it belongs to no session, or cannot be answered.

        """
        if isinstance(message, McpAsked) and message.method == "initialize":
            await self._initialize(visit, message)
            return
        session = self._session(visit, message.id if isinstance(message, McpAsked) else None)
        if isinstance(message, list):
            await serve_batch(visit, session, message, self._limits)
        elif isinstance(message, McpAsked):
            await self._asked(visit, session, message)
        else:
            take_in(session, message)
            await visit.exchange.document(202, b"")

    async def get(self, visit: McpVisit) -> None:
        """Open the stream of what comes unasked, or take up one that broke.

        Raises:
            WireRefusedError: it belongs to no session, or the client takes no stream.

        """
        session = self._session(visit, None)
        if not visit.events:
            raise WireRefusedError(406, INVALID_REQUEST, "Accept text/event-stream.")
        name, _, number = visit.head.headers.get("last-event-id", "").rpartition("-")
        found = session.logs.get(name)
        if found is None or not (number.isascii() and number.isdigit() and len(number) < 10):
            await watch_changes(visit, session, self._limits, _headers(session))
            self._sessions.touch(session)
            return
        log, scope = found
        scope.deadline = math.inf
        await visit.exchange.event(PING, _headers(session))
        await self._stream(visit, session, log, scope, after=int(number))

    async def delete(self, visit: McpVisit) -> None:
        """End a session.

        Raises:
            WireRefusedError: there is none.

        """
        self._sessions.end(self._session(visit, None))
        await visit.exchange.document(200, b"")

    def _session(self, visit: McpVisit, key: int | str | None) -> McpSession:
        shown = visit.head.headers.get(SESSION_HEADER)
        if not shown:
            message = "Missing session ID: begin with `initialize`."
            raise WireRefusedError(400, INVALID_REQUEST, message, key=key)
        session = self._sessions.find(shown, visit.owner, visit.visitor.grant)
        if session is None:
            raise WireRefusedError(404, INVALID_REQUEST, "Session not found", key=key)
        return session

    async def _initialize(self, visit: McpVisit, asked: McpAsked) -> None:
        if SESSION_HEADER in visit.head.headers:
            self._session(visit, asked.id)
            raise WireRefusedError(
                400, INVALID_REQUEST, "This session has begun already.", key=asked.id
            )
        revision, client = agreed_revision(asked)
        session = self._sessions.open(visit.owner, revision, client, visit.visitor.grant)
        if session is None:
            raise WireRefusedError(503, INTERNAL_ERROR, "Too many open sessions", key=asked.id)
        body = result_bytes(asked.id, welcome(visit, revision))
        await visit.exchange.document(200, body, _headers(session))

    async def _asked(self, visit: McpVisit, session: McpSession, asked: McpAsked) -> None:
        if asked.method == "ping":
            await visit.exchange.document(200, result_bytes(asked.id, {}))
            return
        if asked.method in STATELESS_ONLY:
            error = McpError(METHOD_NOT_FOUND, "Method not found")
            await visit.exchange.document(200, error_bytes(asked.id, error))
            return
        check_params(asked)
        if asked.id in session.running:
            raise WireRefusedError(
                400, INVALID_REQUEST, "A request with this id is under way.", key=asked.id
            )
        log, scope = McpStreamLog(f"s{session.number()}", self._limits), anyio.CancelScope()
        session.running[asked.id] = scope
        self.tasks.start_soon(self._work, visit, session, asked, log, scope)
        await self._stream(visit, session, log, scope, after=0)

    async def _work(
        self,
        visit: McpVisit,
        session: McpSession,
        asked: McpAsked,
        log: McpStreamLog,
        scope: anyio.CancelScope,
    ) -> None:
        """Have one request answered, whoever reads it."""
        courier = SessionCourier(session, asked, log if visit.events else None, self._limits)
        body = error_bytes(asked.id, McpError(CANCELLED, "Request cancelled"))
        try:
            with scope:
                answer = await answer_bytes(
                    visit.service,
                    visit.visitor,
                    asked,
                    courier,
                    stateless=False,
                    timeout_s=self._limits.answer_timeout_s,
                )
                body = answer.body
                if answer.ok:
                    remember(session, asked, self._limits)
        finally:
            session.running.pop(asked.id, None)
            self._sessions.touch(session)
            log.finish(body)
        await self._linger(session, log)

    async def _linger(self, session: McpSession, log: McpStreamLog) -> None:
        """Keep a stream that has ended for a client that comes back for its end."""
        size = log.size_bytes
        if log.name in session.logs and self._kept_bytes + size <= self._limits.kept_max_bytes:
            self._kept_bytes += size
            try:
                await anyio.sleep(self._limits.resume_s)
            finally:
                self._kept_bytes -= size
        session.logs.pop(log.name, None)

    async def _stream(
        self,
        visit: McpVisit,
        session: McpSession,
        log: McpStreamLog,
        scope: anyio.CancelScope,
        *,
        after: int,
    ) -> None:
        """Bring a log to the client: as one document if the answer is all, else as a stream."""

        async def ping() -> None:
            await self._begin(visit, session, log, scope)
            await visit.exchange.event(PING, _headers(session))

        done = False
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    until_gone, visit, tasks.cancel_scope.cancel, ping, self._limits.ping_s
                )
                await self._deliver(visit, session, log, scope, after)
                done = True
                tasks.cancel_scope.cancel()
        finally:
            if not done:
                self._left(session, log, scope)

    async def _deliver(
        self,
        visit: McpVisit,
        session: McpSession,
        log: McpStreamLog,
        scope: anyio.CancelScope,
        after: int,
    ) -> None:
        headers = _headers(session)
        await log.first()
        if log.answer is not None and not visit.exchange.begun and after == 0:
            await visit.exchange.document(200, log.answer, headers)
            return
        await self._begin(visit, session, log, scope)
        async with aclosing(log.read(after)) as messages:
            async for number, data in messages:
                frame = event_bytes(data, key=log.event_id(number))
                await visit.exchange.event(frame, headers)
        await visit.exchange.end()

    async def _begin(
        self, visit: McpVisit, session: McpSession, log: McpStreamLog, scope: anyio.CancelScope
    ) -> None:
        """Make the answer a stream, once; from the revision that knows it on with an id to come back by."""
        if visit.exchange.begun or log.streamed:
            return
        log.streamed = session.keep(log, scope, self._limits)
        if log.streamed and session.revision >= PRIMED:
            prime = event_bytes(b"", key=log.event_id(0), retry_ms=self._limits.retry_ms)
            await visit.exchange.event(prime, _headers(session))

    def _left(self, session: McpSession, log: McpStreamLog, scope: anyio.CancelScope) -> None:
        """A client went away: leave it time to come back if it can, else cancel."""
        if log.read_now:
            return
        if log.streamed and not session.ended:
            scope.deadline = anyio.current_time() + self._limits.resume_s
        else:
            scope.cancel()


def remember(session: McpSession, asked: McpAsked, limits: FrontLimits) -> None:
    """Keep what a client set for its session: the level of log lines, resources to hear of."""
    uri, level = asked.params.get("uri"), asked.params.get("level")
    if asked.method == "logging/setLevel" and isinstance(level, str):
        session.level = level
    elif asked.method == "resources/unsubscribe" and isinstance(uri, str):
        session.uris.discard(uri)
    elif (
        asked.method == "resources/subscribe"
        and isinstance(uri, str)
        and len(session.uris) < limits.subscriptions_per_session_max
    ):
        session.uris.add(uri)


def _headers(session: McpSession) -> Headers:
    return ((SESSION_HEADER.encode(), session.id.encode()),)
