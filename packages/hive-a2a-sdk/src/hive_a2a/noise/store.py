"""Where a server keeps its sessions and the handshakes under way: bounded, in memory, gone with the process.

A lost session heals by one handshake, so dropping one is always allowed. What is full drops what was
unused longest: first of the same peer, so that one peer cannot push out the others with sessions of its
own. Peers who make themselves many keys can; limit handshakes by address or caller where that matters.

The first message of IK can be a recording that anybody plays again. The session it makes is kept apart
until a text opens in it, so a recording pushes out nothing but other recordings.
"""

from collections import OrderedDict
from dataclasses import dataclass

from hive_a2a.clock import WallClock
from hive_a2a.noise.errors import NoiseError
from hive_a2a.noise.hybrid import AnyHandshake
from hive_a2a.noise.session import NoiseSession


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """How much is kept; all peers without a key count as one.

    `pending_max` and `pending_s` are for handshakes under way, and once more for sessions not proved yet.
    """

    sessions_max: int = 10_000
    sessions_per_peer_max: int = 64
    pending_max: int = 1024
    pending_s: float = 10.0

    def __post_init__(self) -> None:
        if min(self.sessions_max, self.sessions_per_peer_max, self.pending_max) < 1:
            raise NoiseError("A store keeps at least one of each.")


class SessionStore:
    """Finds sessions by id. Texts that did open count as use; asking for an id does not."""

    def __init__(self, limits: StoreLimits, clock: WallClock) -> None:
        self._limits = limits
        self._clock = clock
        self._sessions: dict[bytes, NoiseSession] = {}
        self._unproved: OrderedDict[bytes, float] = OrderedDict()
        self._by_use: OrderedDict[bytes, None] = OrderedDict()
        self._by_peer: dict[bytes | None, OrderedDict[bytes, None]] = {}
        self._pending: OrderedDict[bytes, tuple[float, AnyHandshake]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def pending(self) -> int:
        """Return how many handshakes are under way, ended ones that nobody asked for included."""
        return len(self._pending)

    def add(self, session: NoiseSession) -> None:
        """Keep a session; drops others where there is no room.

        Raises:
            NoiseError: there is one with this id.

        """
        if session.id in self._sessions:
            raise _not_random()
        now = self._clock.monotonic()
        self._end_unproved(now)
        if session.proved:
            self._settle(session)
        else:
            if len(self._unproved) >= self._limits.pending_max:
                self.drop(next(iter(self._unproved)))
            self._unproved[session.id] = now + self._limits.pending_s
        self._sessions[session.id] = session
        session.watch(self._touch)

    def get(self, id: bytes) -> NoiseSession | None:  # noqa: A002 - what it is called on the wire
        """Return a session that is not over."""
        session = self._sessions.get(id)
        if session is None:
            return None
        now = self._clock.monotonic()
        if session.expired(now) or (id in self._unproved and now >= self._unproved[id]):
            self.drop(id)
            return None
        return session

    def drop(self, id: bytes) -> bool:  # noqa: A002 - what it is called on the wire
        """Close a session and forget it; tell whether there was one."""
        session = self._sessions.pop(id, None)
        if session is None:
            return False
        session.close()
        if self._unproved.pop(id, None) is None:
            del self._by_use[id]
            own = self._by_peer[session.remote_static]
            del own[id]
            if not own:
                del self._by_peer[session.remote_static]
        return True

    def drop_peer(self, remote_static: bytes | None) -> int:
        """Close all sessions of a peer, for example when its key is revoked; return how many."""
        ids = [one.id for one in self._sessions.values() if one.remote_static == remote_static]
        for one in ids:
            self.drop(one)
        return len(ids)

    def begin(self, id: bytes, handshake: AnyHandshake) -> None:  # noqa: A002
        """Keep a handshake under way; the oldest goes where there is no room.

        Honest ones end within a round trip, so under a flood the oldest are the flood's.

        Raises:
            NoiseError: there is one with this id.

        """
        now = self._clock.monotonic()
        self._end_pending(now)
        if id in self._pending:
            raise _not_random()
        if len(self._pending) >= self._limits.pending_max:
            self._pending.popitem(last=False)[1][1].close()
        self._pending[id] = (now + self._limits.pending_s, handshake)

    def take(self, id: bytes) -> AnyHandshake | None:  # noqa: A002
        """Return a handshake under way and forget it: it goes on once, or not at all."""
        self._end_pending(self._clock.monotonic())
        found = self._pending.pop(id, None)
        return None if found is None else found[1]

    def tidy(self) -> int:
        """Drop what is over, and old keys whose grace is over; return how many sessions went."""
        now = self._clock.monotonic()
        before = len(self._sessions)
        self._end_pending(now)
        self._end_unproved(now)
        for session in list(self._sessions.values()):
            if session.expired(now):
                self.drop(session.id)
            else:
                session.forget_old(now)
        return before - len(self._sessions)

    def close(self) -> None:
        """Drop everything."""
        for one in list(self._sessions):
            self.drop(one)
        while self._pending:
            self._pending.popitem()[1][1].close()

    def _touch(self, id: bytes) -> None:  # noqa: A002
        session = self._sessions[id]
        if id in self._by_use:
            self._by_use.move_to_end(id)
            self._by_peer[session.remote_static].move_to_end(id)
        elif session.proved:
            del self._unproved[id]
            self._settle(session)

    def _settle(self, session: NoiseSession) -> None:
        """Give a proved session its place, and others' away where there is none."""
        own = self._by_peer.get(session.remote_static)
        if own is not None and len(own) >= self._limits.sessions_per_peer_max:
            self.drop(next(iter(own)))
        if len(self._by_use) >= self._limits.sessions_max:
            self.drop(next(iter(self._by_use)))
        self._by_use[session.id] = None
        self._by_peer.setdefault(session.remote_static, OrderedDict())[session.id] = None

    def _end_unproved(self, now: float) -> None:
        while self._unproved:
            session_id, ends_at = next(iter(self._unproved.items()))
            if now < ends_at:
                return
            self.drop(session_id)

    def _end_pending(self, now: float) -> None:
        while self._pending:
            ends_at, handshake = next(iter(self._pending.values()))
            if now < ends_at:
                return
            self._pending.popitem(last=False)
            handshake.close()


def _not_random() -> NoiseError:
    return NoiseError(
        "This id is taken.",
        why="Ids are random; a second one means that somebody chose it.",
        fix="Make the id with secrets.token_bytes(16).",
    )
