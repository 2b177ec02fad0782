"""Sessions as a state machine: whatever is sent, lost, reordered, repeated or forged, in whatever time.

The model knows of each text whether it must open, must not, or may be refused because it is too old.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hive_a2a.noise import (
    WIRE_SUITES,
    NoiseError,
    NoiseSession,
    ReplayedError,
    SealedText,
    SessionLimits,
    SessionSpentError,
    SessionStore,
    StoreLimits,
)
from tests.noise_rig import StillClock, new_sessions

WINDOW = 4
PER_GENERATION = 9
OLD = 1
AHEAD = 3
GENERATIONS = 8
GRACE_S = 20.0
REKEY_S = 50.0
LIFETIME_S = 2000.0
LIMITS = SessionLimits(
    window=WINDOW,
    rekey_messages=PER_GENERATION,
    rekey_s=REKEY_S,
    grace_s=GRACE_S,
    old_generations_max=OLD,
    ahead_max=AHEAD,
    generations_max=GENERATIONS,
    lifetime_s=LIFETIME_S,
    idle_s=1000.0,
)


@dataclass
class Way:
    """One direction: what was sent, and what its receiver must know of it."""

    sender: NoiseSession
    receiver: NoiseSession
    sent: list[tuple[SealedText, bytes, bytes]] = field(default_factory=list)
    opened: set[int] = field(default_factory=set)
    newest: int = 0
    highest_count: dict[int, int] = field(default_factory=dict)
    closes_at: dict[int, float] = field(default_factory=dict)

    def alive(self, generation: int, now: float) -> bool:
        if generation > self.newest:
            return generation <= self.newest + AHEAD
        if generation < self.newest - OLD:
            return False
        return generation == self.newest or now < self.closes_at[generation]

    def must_open(self, number: int, now: float) -> bool:
        generation, count = number >> 20, number & 0xFFFFF
        top = self.highest_count.get(generation, -1)
        return self.alive(generation, now) and number not in self.opened and count > top - WINDOW

    def note(self, number: int, now: float) -> None:
        generation, count = number >> 20, number & 0xFFFFF
        self.opened.add(number)
        self.highest_count[generation] = max(self.highest_count.get(generation, -1), count)
        if generation > self.newest:
            for one in range(generation):
                self.closes_at.setdefault(one, now + GRACE_S)
            self.newest = generation


class SessionMachine(RuleBasedStateMachine):
    @initialize(suite=st.sampled_from(WIRE_SUITES))
    def open(self, suite: str) -> None:
        self.clock = StillClock()
        self.store = SessionStore(StoreLimits(sessions_max=3, sessions_per_peer_max=2), self.clock)
        self.ends_at = self.clock.seconds + LIFETIME_S
        self.used_numbers: set[tuple[int, int]] = set()
        one, other = new_sessions(LIMITS, self.clock, suite)
        self.server = other
        self.ways = [Way(one, other), Way(other, one)]
        self.store.add(other)

    def over(self) -> bool:
        return self.clock.seconds >= self.ends_at

    @rule(way=st.integers(0, 1), count=st.integers(1, 10))
    def seal_many(self, way: int, count: int) -> None:
        for number in range(count):
            self.seal(way, b"%d" % number, b"")

    @rule(way=st.integers(0, 1), text=st.binary(max_size=20), bound=st.binary(max_size=5))
    def seal(self, way: int, text: bytes, bound: bytes) -> None:
        path = self.ways[way]
        try:
            sealed = path.sender.seal(text, bound)
        except SessionSpentError:
            spent = path.sender.generation == GENERATIONS - 1
            assert self.over() or spent or path.sender.closed
            return
        assert not self.over()
        assert (way, sealed.nonce) not in self.used_numbers, "a nonce was used twice"
        self.used_numbers.add((way, sealed.nonce))
        if path.sent:
            assert sealed.nonce > path.sent[-1][0].nonce
        path.sent.append((sealed, text, bound))

    @precondition(lambda self: any(way.sent for way in self.ways))
    @rule(data=st.data(), recent=st.booleans())
    def deliver(self, data: st.DataObject, recent: bool) -> None:
        """Deliver any text of the past again, or one of the last few."""
        path = data.draw(st.sampled_from([way for way in self.ways if way.sent]))
        first = max(0, len(path.sent) - 8) if recent else 0
        self.deliver_one(path, data.draw(st.integers(first, len(path.sent) - 1)))

    def deliver_one(self, path: Way, index: int) -> None:
        sealed, text, bound = path.sent[index]
        now = self.clock.seconds
        usable = not self.over() and not path.receiver.closed
        if usable and path.must_open(sealed.nonce, now):
            assert path.receiver.open(*sealed, bound) == text
            path.note(sealed.nonce, now)
            return
        before = self.known(path.receiver)
        try:
            path.receiver.open(*sealed, bound)
        except SessionSpentError:
            assert not usable
        except ReplayedError:
            assert usable
        except NoiseError:
            assert usable
            assert sealed.nonce >> 20 > path.newest + AHEAD
        else:
            raise AssertionError("a text was opened twice, or out of its time")
        if usable:
            assert self.known(path.receiver) == before

    @precondition(lambda self: any(way.sent for way in self.ways))
    @rule(data=st.data(), bit=st.integers(0, 7), jump=st.integers(-3, 1 << 23))
    def forge(self, data: st.DataObject, bit: int, jump: int) -> None:
        """Change a text, its number or what it is bound to: nothing opens, and nothing moves."""
        path = data.draw(st.sampled_from([way for way in self.ways if way.sent]))
        (nonce, sealed), _, bound = data.draw(st.sampled_from(path.sent))
        place = data.draw(st.integers(0, len(sealed) - 1))
        changed = sealed[:place] + bytes((sealed[place] ^ 1 << bit,)) + sealed[place + 1 :]
        before = self.known(path.receiver)
        attempts = [
            (nonce, changed, bound),
            (nonce, sealed, bound + b"x"),
            (nonce, sealed[:-1], bound),
        ]
        if jump:
            attempts.append((nonce + jump, sealed, bound))
        for attempt in attempts:
            try:
                path.receiver.open(*attempt)
            except NoiseError:
                continue
            raise AssertionError("a forged text opened")
        if not path.receiver.closed:
            assert self.known(path.receiver) == before

    @rule(seconds=st.sampled_from([0.5, 5.0, GRACE_S, REKEY_S, 300.0]))
    def wait(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @rule(way=st.integers(0, 1), seconds=st.sampled_from([GRACE_S - 1, GRACE_S]))
    def be_late_across_a_rekey(self, way: int, seconds: float) -> None:
        """Open a text of the next key first, then, after a while, the one before it."""
        path = self.ways[way]
        sent = len(path.sent)
        self.seal(way, b"before", b"")
        self.clock.seconds += REKEY_S
        self.seal(way, b"after", b"")
        if len(path.sent) == sent + 2:
            self.deliver_one(path, sent + 1)
            self.clock.seconds += seconds
            self.deliver_one(path, sent)

    @rule()
    def tidy(self) -> None:
        self.store.tidy()

    @rule(same_peer=st.booleans())
    def other_sessions_come(self, same_peer: bool) -> None:
        """Fill the table; the session goes on wherever somebody still holds it, unless it was pushed out."""
        self.store.add(new_sessions(LIMITS, self.clock, same_peer=same_peer)[0])
        held = self.store.get(self.server.id)
        assert held is None or held is self.server
        if held is None:
            assert self.server.closed or self.server.id not in self.store._sessions

    def known(self, session: NoiseSession) -> tuple[object, ...]:
        """Return what a refused text must leave alone, of all keys that are kept for longer than grace."""
        now = self.clock.seconds
        windows = {
            number: (one.window._top, one.window._seen, one.closes_at)
            for number, one in session._generations.items()
            if number <= session.newest_received
            if one.closes_at is None or now < one.closes_at
        }
        return session.newest_received, session.used_at, windows

    @invariant()
    def keys_are_few(self) -> None:
        if not hasattr(self, "ways"):
            return
        for way in self.ways:
            assert len(way.receiver._generations) <= OLD + 1 + AHEAD
            assert way.receiver.closed or way.receiver.newest_received == way.newest
        assert len(self.store) <= 3 + StoreLimits().pending_max
        assert len(self.store._by_use) <= 3


SessionMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
TestSessions = SessionMachine.TestCase
