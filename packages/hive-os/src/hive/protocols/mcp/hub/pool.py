"""All open connections to servers: opened when first needed, shared as a spec says, closed when idle.

A connection lives in a task of its own and ends with the hub. One that broke is opened again by the next who
needs it; after failures there is a pause, and until it is over nobody tries. One that was in use a short while
ago is asked whether it lives (`health`), and opened again before somebody needs it.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from hive.core.call import Principal
from hive.core.clock import Clock
from hive.core.errors import (
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    HiveError,
)
from hive.core.json import encode
from hive.protocols.mcp.hub.health import (
    PINGS_AT_ONCE_MAX,
    REOPENS_MAX,
    is_due,
    ping,
    recently_used,
)
from hive.protocols.mcp.hub.revisions import HANDSHAKE_REVISIONS
from hive.protocols.mcp.hub.session import LinkSession, can_be_asked, capabilities_of
from hive.protocols.mcp.ports import Courier, McpError, ServerSpec, Sharing

log: Final = logging.getLogger(__name__)
LINKS_MAX: Final = 512
START_TIMEOUT_S: Final = 300.0
IDLE_S: Final = 300.0
IDLE_ALONE_S: Final = 60.0
IDLE_WATCHING_S: Final = 3600.0
SWEEP_EVERY_S: Final = 15.0
PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 60.0
_DOUBLINGS_MAX: Final = 10

OpenSession = Callable[[ServerSpec, Principal, Courier | None, str], Awaitable[LinkSession]]
"""Make the session of a spec for a caller, unopened; with a courier it serves its client alone."""


@dataclass(frozen=True, slots=True)
class LinkKey:
    """Who shares a connection."""

    server: str
    sharer: str
    alone: str = ""


@dataclass(slots=True, eq=False)
class _Slot:
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    sessions: list[LinkSession] = field(default_factory=list)
    failures: int = 0
    retry_at: float = 0.0
    why: str = ""
    reopening: bool = False


def key_of(spec: ServerSpec, caller: Principal, courier: Courier | None = None) -> LinkKey:
    """Return under which key a caller finds its connection; with a courier, one of its own."""
    sharer = ""
    if spec.sharing is Sharing.OWNER:
        sharer = f"owner {caller.owner}"
    elif spec.sharing is Sharing.SANDBOX:
        sharer = f"sandbox {caller.sandbox}" if caller.sandbox else f"caller {caller}"
    if courier is None:
        return LinkKey(spec.name, sharer)
    asked = encode(capabilities_of(courier)).decode()
    return LinkKey(spec.name, sharer, f"{caller} {caller.sandbox or ''} {asked}")


class LinkPool:
    """Keeps the connections. Open it with `running`."""

    def __init__(
        self,
        *,
        make: OpenSession,
        opened: Callable[[LinkSession], None],
        failed: Callable[[ServerSpec, HiveError], None],
        known: Callable[[str], str],
        clock: Clock,
    ) -> None:
        """Prepare; `opened` and `failed` hear of every attempt, `known` tells the revision of last time."""
        self._make = make
        self._opened = opened
        self._failed = failed
        self._known = known
        self._clock = clock
        self._slots: dict[LinkKey, _Slot] = {}
        self._tasks: TaskGroup | None = None
        self._pinging = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold connections until the context is left."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._sweep)
            try:
                yield
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()

    def count(self, server: str) -> int:
        """Return how many connections to a server are open."""
        return sum(
            sum(not one.ended for one in slot.sessions)
            for key, slot in self._slots.items()
            if key.server == server
        )

    def forget(self, server: str) -> None:
        """Close every connection to a server and forget its failures."""
        for key in [key for key in self._slots if key.server == server]:
            for session in self._slots.pop(key).sessions:
                session.closing.set()

    async def take(
        self, spec: ServerSpec, caller: Principal, courier: Courier | None
    ) -> LinkSession:
        """Return an open connection; `give` has to follow.

        Raises:
            EngineUnavailableError: it cannot be opened, or nobody tries at the moment.
            StateError: somebody has to log in first.

        """
        if can_be_asked(courier) and self._known(spec.name) in HANDSHAKE_REVISIONS:
            return await self._held(spec, caller, courier)
        session = await self._held(spec, caller, None)
        if session.description.stateless or not can_be_asked(courier):
            return session
        self.give(session)
        return await self._held(spec, caller, courier)

    def give(self, session: LinkSession) -> None:
        """Take back what `take` returned."""
        session.users -= 1
        session.idle_since = self._clock.monotonic()
        session.pings = session.misses = 0

    async def _held(
        self, spec: ServerSpec, caller: Principal, courier: Courier | None
    ) -> LinkSession:
        key = key_of(spec, caller, courier)
        slot = self._slots.setdefault(key, _Slot())
        found = _usable(slot, alone=courier is not None)
        if found is None:
            async with slot.lock:
                found = _usable(slot, alone=courier is not None)
                if found is None:
                    found = await self._open(slot, spec, caller, courier)
                    if self._slots.get(key) is not slot:
                        found.closing.set()
                        raise EngineUnavailableError(
                            "The tool server was changed while it started.", fix="Try again."
                        )
                    slot.sessions.append(found)
                found.users += 1
            return found
        found.users += 1
        return found

    async def _open(
        self, slot: _Slot, spec: ServerSpec, caller: Principal, courier: Courier | None
    ) -> LinkSession:
        if self._clock.monotonic() < slot.retry_at:
            raise EngineUnavailableError(
                f"The tool server {spec.name} cannot be used at the moment.",
                why=slot.why,
                fix=f"hive tool show {spec.name}",
            )
        self._make_room()
        if self._tasks is None:
            raise EngineUnavailableError("The node is stopping.")
        try:
            known = self._known(spec.name)
            session = await self._make(spec, caller, courier, f"{len(slot.sessions)}")
            await self._tasks.start(self._keep, session, known)
        except (HiveError, McpError, TimeoutError) as error:
            raise self._refused(slot, spec, error) from None
        slot.failures, slot.retry_at = 0, 0.0
        self._opened(session)
        return session

    def _refused(self, slot: _Slot, spec: ServerSpec, error: Exception) -> HiveError:
        """Note a failure and return it as the caller sees it: nothing was sent, so it has no cause."""
        told = _told(spec, error)
        slot.failures += 1
        doublings = min(slot.failures - 1, _DOUBLINGS_MAX)
        slot.retry_at = self._clock.monotonic() + min(PAUSE_FIRST_S * 2**doublings, PAUSE_MAX_S)
        slot.why = str(told)
        if not isinstance(told, EngineError):
            slot.retry_at = 0.0
        self._failed(spec, told)
        return told

    async def _keep(
        self, session: LinkSession, known: str, *, task_status: TaskStatus[None]
    ) -> None:
        """Hold one connection for as long as it is wanted."""
        ready = False
        try:
            with anyio.fail_after(START_TIMEOUT_S) as scope:
                async with session.wire.running(), anyio.create_task_group() as tasks:
                    await session.agree(known)
                    session.idle_since = self._clock.monotonic()
                    tasks.start_soon(session.listen)
                    scope.deadline = float("inf")
                    ready = True
                    task_status.started()
                    await session.closing.wait()
                    tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001  whatever a server makes of it ends its connection alone
            single = _single(error)
            if not ready:
                raise single from None
            # Nobody waits here: whoever used it was told by its own request.
            log.info("mcp.link_ended", extra={"server": session.spec.name, "why": str(single)})
        finally:
            session.closing.set()

    def _make_room(self) -> None:
        open_now = [one for slot in self._slots.values() for one in slot.sessions if not one.ended]
        if len(open_now) < LINKS_MAX:
            return
        idle = [one for one in open_now if one.users == 0]
        if not idle:
            raise EngineUnavailableError(
                "Too many connections to tool servers are in use.",
                why=f"All {LINKS_MAX} of them are.",
                fix="Try again.",
            )
        min(idle, key=lambda one: one.idle_since).closing.set()

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(SWEEP_EVERY_S)
            self.sweep()
            self.look_after()

    def look_after(self) -> None:
        """Ask links at rest whether they live; what died unused is opened again."""
        now, tasks = self._clock.monotonic(), self._tasks
        for key, slot in list(self._slots.items()):
            for session in slot.sessions:
                if tasks is None or self._pinging >= PINGS_AT_ONCE_MAX or not is_due(session, now):
                    continue
                self._pinging += 1
                session.pinging = True
                tasks.start_soon(self._ping, key, slot, session)

    async def _ping(self, key: LinkKey, slot: _Slot, session: LinkSession) -> None:
        try:
            dead = await ping(session)
        finally:
            self._pinging -= 1
            session.pinging = False
        if dead is None or session.closing.is_set():
            return
        session.closing.set()
        log.info("mcp.link_died", extra={"server": session.spec.name, "why": str(dead)})
        self._failed(session.spec, _told(session.spec, dead))
        if isinstance(dead, EngineError):
            self._reopen_soon(key, slot, session)

    def _reopen_soon(self, key: LinkKey, slot: _Slot, session: LinkSession) -> None:
        wanted = recently_used(session, self._clock.monotonic()) and not key.alone
        if wanted and self._tasks is not None and not slot.reopening:
            slot.reopening = True
            self._tasks.start_soon(self._reopen, key, slot, session)

    async def _reopen(self, key: LinkKey, slot: _Slot, before: LinkSession) -> None:
        """Open a link again, a few times, for as long as somebody may want it soon and nobody did meanwhile."""
        try:
            for _ in range(REOPENS_MAX):
                await anyio.sleep(max(0.0, slot.retry_at - self._clock.monotonic()))
                recent = recently_used(before, self._clock.monotonic())
                wanted = recent and self._slots.get(key) is slot
                if not wanted or _usable(slot, alone=False) is not None:
                    return
                with suppress(EngineError):
                    found = await self._held(before.spec, before.caller, None)
                    found.users -= 1
                    if not found.users:
                        # Nobody has used it: its rest goes on where that of the dead one ended.
                        found.idle_since, found.pings = before.idle_since, before.pings
                    return
            # Whoever needs it next shall not wait out a pause that nobody but this made.
            slot.failures, slot.retry_at = 0, 0.0
        except HiveError as error:
            log.info("mcp.link_stays_closed", extra={"server": key.server, "why": str(error)})
        finally:
            slot.reopening = False

    def sweep(self) -> None:
        """Close what broke and what nobody has used for a while."""
        now = self._clock.monotonic()
        for key, slot in list(self._slots.items()):
            for session in slot.sessions:
                idle_s = IDLE_ALONE_S if key.alone else IDLE_S
                if session.uris:
                    idle_s = IDLE_WATCHING_S
                unused = session.users == 0 and now - session.idle_since >= idle_s
                if session.wire.ended and not session.closing.is_set() and not session.users:
                    self._reopen_soon(key, slot, session)
                if session.wire.ended or unused:
                    session.closing.set()
            slot.sessions = [one for one in slot.sessions if not one.ended]
            if not slot.sessions and now >= slot.retry_at and not _in_use(slot):
                del self._slots[key]


def _in_use(slot: _Slot) -> bool:
    return slot.lock.locked() or slot.reopening


def _usable(slot: _Slot, *, alone: bool) -> LinkSession | None:
    for session in slot.sessions:
        if not session.ended and not (alone and session.users):
            return session
    for session in slot.sessions:
        if session.ended:
            session.closing.set()
    slot.sessions = [one for one in slot.sessions if not one.ended]
    return None


def _single(error: BaseException) -> BaseException:
    """Return what a group of one is about."""
    while isinstance(error, BaseExceptionGroup):
        known = [one for one in error.exceptions if isinstance(one, (HiveError, McpError))]
        error = known[0] if known else error.exceptions[0]
    return error


def _told(spec: ServerSpec, error: Exception) -> HiveError:
    """Return a failed start in words for whoever wanted the server."""
    if isinstance(error, McpError):
        return EngineUnavailableError(
            f"The tool server {spec.name} did not start.", why=f"It says: {str(error)[:500]}"
        )
    if isinstance(error, TimeoutError):
        return EngineTimeoutError(
            f"The tool server {spec.name} did not start.", why=f"{START_TIMEOUT_S:g} s have passed."
        )
    if isinstance(error, EngineUnavailableError):
        return EngineUnavailableError(error.what, why=error.why, fix=error.fix)
    return error if isinstance(error, HiveError) else EngineUnavailableError(str(error))
