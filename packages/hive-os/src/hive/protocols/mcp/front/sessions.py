"""The sessions of clients that speak a revision with a handshake: whose they are, how many, how old.

A session belongs to the party that opened it, at the endpoint where it did; for anybody else it does not
exist. One party's sessions cannot push out another's before its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from hive.core.clock import Clock
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.protocols.mcp.front.eventlog import McpStreamLog
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.wire import McpAnswered, RequestKey

_ID_BYTES = 24


@dataclass(slots=True)
class OpenQuestion:
    """What a server asked its client and waits for."""

    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: McpAnswered | None = None


@dataclass(slots=True, eq=False)
class McpSession:
    """One session. `running` holds the requests under way, `watching` the stream that listens."""

    id: str
    owner: tuple[str, ...]
    revision: str
    client: Mapping[str, Json]
    opened_at: float
    used_at: float
    grant: str = ""
    level: str = "debug"
    uris: set[str] = field(default_factory=set)
    running: dict[RequestKey, anyio.CancelScope] = field(default_factory=dict)
    questions: dict[RequestKey, OpenQuestion] = field(default_factory=dict)
    logs: dict[str, tuple[McpStreamLog, anyio.CancelScope]] = field(default_factory=dict)
    watching: anyio.CancelScope | None = None
    ended: bool = False
    _numbers: int = 0

    @property
    def idle(self) -> bool:
        """Tell whether nothing is under way."""
        return not self.running and self.watching is None

    def number(self) -> int:
        """Return a number that was not used in this session."""
        self._numbers += 1
        return self._numbers

    def keep(self, log: McpStreamLog, scope: anyio.CancelScope, limits: FrontLimits) -> bool:
        """Keep a stream for a client that may come back; refuse where too many are open."""
        while len(self.logs) >= limits.streams_per_session_max:
            finished = next((name for name, (one, _) in self.logs.items() if one.closed), None)
            if finished is None:
                return False
            del self.logs[finished]
        self.logs[log.name] = (log, scope)
        return True

    def end(self) -> None:
        """Cancel whatever is under way."""
        self.ended = True
        for scope in list(self.running.values()):
            scope.cancel()
        if self.watching is not None:
            self.watching.cancel()
        self.logs.clear()


class SessionTable:
    """All sessions of one front."""

    def __init__(self, *, limits: FrontLimits, clock: Clock, randomness: Randomness) -> None:
        self._limits = limits
        self._clock = clock
        self._randomness = randomness
        self._sessions: dict[str, McpSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(
        self,
        owner: tuple[str, ...],
        revision: str,
        client: Mapping[str, Json],
        grant: str = "",
    ) -> McpSession | None:
        """Open one; None where there is no room because all others are at work."""
        self._sweep()
        limits = self._limits
        own = [session for session in self._sessions.values() if session.owner[:-1] == owner[:-1]]
        if len(own) >= limits.sessions_per_owner_max and not self._evict(own):
            return None
        if len(self._sessions) >= limits.sessions_max and not self._evict(
            list(self._sessions.values())
        ):
            return None
        now = self._clock.monotonic()
        session = McpSession(
            self._randomness.token(_ID_BYTES).hex(), owner, revision, client, now, now, grant
        )
        self._sessions[session.id] = session
        return session

    def find(self, key: str, owner: tuple[str, ...], grant: str = "") -> McpSession | None:
        """Return a session to its owner, under the grant that it was opened with."""
        session = self._sessions.get(key)
        if session is None or session.owner != owner or session.grant != grant:
            return None
        now = self._clock.monotonic()
        if self._is_over(session, now):
            self.end(session)
            return None
        session.used_at = now
        return session

    def touch(self, session: McpSession) -> None:
        """Note that a session was in use until now."""
        session.used_at = self._clock.monotonic()

    def end(self, session: McpSession) -> None:
        """Forget a session and cancel what it does."""
        self._sessions.pop(session.id, None)
        session.end()

    def end_grant(self, grant: str) -> None:
        """Forget all that were opened under a grant."""
        for session in list(self._sessions.values()):
            if grant and session.grant == grant:
                self.end(session)

    def end_all(self) -> None:
        """Forget all."""
        for session in list(self._sessions.values()):
            self.end(session)

    def _evict(self, among: list[McpSession]) -> bool:
        idle = [session for session in among if session.idle]
        if not idle:
            return False
        self.end(min(idle, key=lambda session: session.used_at))
        return True

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        for session in list(self._sessions.values()):
            if self._is_over(session, now):
                self.end(session)

    def _is_over(self, session: McpSession, now: float) -> bool:
        if now - session.opened_at > self._limits.session_age_max_s:
            return True
        return session.idle and now - session.used_at > self._limits.session_idle_s
