"""The table of sessions: bounded overall and for each peer, and what is used stays."""

import secrets

import pytest

from hive_a2a.crypto import KeyPair, new_exchange_pair
from hive_a2a.noise import (
    AES,
    NoiseError,
    NoiseSession,
    SessionLimits,
    SessionStore,
    StoreLimits,
    wire_suite,
)
from tests.noise_rig import CALLER, StillClock, two_sides

SUITE = wire_suite(AES)


class Table:
    """A store, its clock, and sessions that are easily made."""

    def __init__(self, **limits: float) -> None:
        self.clock = StillClock()
        self.store = SessionStore(StoreLimits(**limits), self.clock)

    def session(
        self,
        peer: bytes | None = b"p" * 32,
        *,
        proved: bool = True,
        keep: bool = True,
        **limits: float,
    ) -> tuple[NoiseSession, NoiseSession]:
        """Return the end that is kept, and the other."""
        keys, session_id = (
            (secrets.token_bytes(32), secrets.token_bytes(32)),
            secrets.token_bytes(16),
        )
        ends = [
            NoiseSession(
                session_id, SUITE, *order, b"h", peer, self.clock.seconds,
                initiator=initiator, limits=SessionLimits(**limits), clock=self.clock, proved=proved,
            )
            for order, initiator in ((keys, False), (keys[::-1], True))
        ]  # fmt: skip
        if keep:
            self.store.add(ends[0])
        return ends[0], ends[1]


def speak(ends: tuple[NoiseSession, NoiseSession]) -> None:
    own, other = ends
    assert own.open(*other.seal(b"x", b""), b"") == b"x"


def test_a_session_is_found_until_it_is_dropped():
    table = Table()
    own, _ = table.session()
    assert table.store.get(own.id) is own
    assert len(table.store) == 1
    assert table.store.drop(own.id)
    assert table.store.get(own.id) is None
    assert own.closed
    assert not table.store.drop(own.id)


def test_the_id_of_another_is_refused():
    table = Table()
    own, other = table.session()
    with pytest.raises(NoiseError, match="taken"):
        table.store.add(other)
    assert table.store.get(own.id) is own


def test_what_was_unused_longest_makes_room():
    table = Table(sessions_max=3)
    ends = [table.session(b"%032d" % n) for n in range(3)]
    speak(ends[0])
    table.session()
    assert [table.store.get(own.id) is own for own, _ in ends] == [True, False, True]
    assert ends[1][0].closed
    assert len(table.store) == 3


def test_asking_for_a_session_is_no_use_of_it():
    table = Table(sessions_max=2)
    first, second = table.session(b"a" * 32)[0], table.session(b"b" * 32)[0]
    assert table.store.get(first.id) is first
    with pytest.raises(NoiseError):
        first.open(0, bytes(40), b"")
    table.session(b"c" * 32)
    assert table.store.get(first.id) is None
    assert table.store.get(second.id) is second


def test_a_peer_makes_room_for_itself_alone():
    table = Table(sessions_per_peer_max=2)
    quiet = table.session(b"q" * 32)[0]
    noisy = [table.session(b"n" * 32) for _ in range(2)]
    speak(noisy[0])
    third = table.session(b"n" * 32)[0]
    assert table.store.get(quiet.id) is quiet
    assert [table.store.get(own.id) is own for own, _ in noisy] == [True, False]
    assert table.store.get(third.id) is third


def test_peers_without_a_key_count_as_one():
    table = Table(sessions_per_peer_max=1)
    first, second = table.session(None)[0], table.session(None)[0]
    assert table.store.get(first.id) is None
    assert table.store.get(second.id) is second


def test_a_peer_whose_key_is_revoked_loses_all():
    table = Table()
    gone = [table.session(b"g" * 32, proved=proved)[0] for proved in (True, False, True)]
    stays = table.session(b"s" * 32)[0]
    assert table.store.drop_peer(b"g" * 32) == 3
    assert all(session.closed for session in gone)
    assert table.store.get(stays.id) is stays
    assert table.store.drop_peer(b"g" * 32) == 0


def test_what_is_over_is_not_found_and_goes_when_it_is_tidied():
    table = Table()
    young = table.session(idle_s=1000)[0]
    old, other = table.session(idle_s=10)[0], table.session(lifetime_s=10)[0]
    table.clock.seconds += 10
    assert table.store.get(old.id) is None
    assert table.store.tidy() == 1
    assert other.closed
    assert table.store.get(young.id) is young


def test_tidying_drops_old_keys_of_sessions_that_go_on():
    table = Table()
    own, other = ends = table.session(rekey_messages=1, grace_s=10)
    speak(ends)
    speak(ends)
    assert len(own._generations) == 2
    table.clock.seconds += 10
    assert table.store.tidy() == 0
    assert len(own._generations) == 1
    assert other.generation == 1


def test_a_session_that_is_not_proved_has_little_time_and_its_own_room():
    table = Table(pending_max=2, pending_s=10, sessions_max=1)
    settled = table.session()[0]
    waiting = [table.session(proved=False) for _ in range(3)]
    assert [table.store.get(own.id) is own for own, _ in waiting] == [False, True, True]
    own, _ = waiting[1]
    own.seal(b"", b"")
    assert table.store.get(settled.id) is settled, "sealing proves nothing"
    table.clock.seconds += 9
    speak(waiting[1])
    assert table.store.get(settled.id) is None, "the proved one took the only place"
    table.clock.seconds += 1
    assert table.store.get(waiting[2][0].id) is None
    assert table.store.get(own.id) is own
    late = table.session(proved=False)[0]
    table.clock.seconds += 10
    assert table.store.tidy() == 1
    assert late.closed
    assert len(table.store) == 1


def test_unproved_sessions_end_when_another_comes():
    table = Table(pending_s=10)
    first = table.session(proved=False)[0]
    table.clock.seconds += 10
    table.session(proved=False)
    assert first.closed


def test_a_handshake_under_way_goes_on_once():
    table = Table()
    handshake = two_sides("XX")[1]
    table.store.begin(b"i" * 16, handshake)
    assert table.store.pending == 1
    with pytest.raises(NoiseError, match="taken"):
        table.store.begin(b"i" * 16, two_sides("XX")[1])
    assert table.store.take(b"i" * 16) is handshake
    assert table.store.take(b"i" * 16) is None
    assert not handshake.failed


def test_a_handshake_that_takes_too_long_is_dead():
    table = Table(pending_s=10)
    first, second = two_sides("XX")[1], two_sides("XX")[1]
    table.store.begin(b"1" * 16, first)
    table.clock.seconds += 5
    table.store.begin(b"2" * 16, second)
    table.clock.seconds += 5
    assert table.store.take(b"1" * 16) is None
    assert first.failed
    assert table.store.take(b"2" * 16) is second


def test_handshakes_under_way_have_a_limit():
    table = Table(pending_max=2)
    sides = [two_sides("XX")[1] for _ in range(3)]
    for number, side in enumerate(sides):
        table.store.begin(b"%016d" % number, side)
    assert table.store.pending == 2
    assert [side.failed for side in sides] == [True, False, False]


def test_closing_drops_everything():
    table = Table()
    sessions = [table.session()[0], table.session(proved=False)[0]]
    handshake = two_sides("XX")[1]
    table.store.begin(b"1" * 16, handshake)
    table.store.close()
    assert all(session.closed for session in sessions)
    assert handshake.failed
    assert len(table.store) == table.store.pending == 0


@pytest.mark.parametrize("name", ["sessions_max", "sessions_per_peer_max", "pending_max"])
def test_a_store_that_keeps_nothing_is_refused(name):
    with pytest.raises(NoiseError):
        StoreLimits(**{name: 0})


def test_many_peers_leave_no_trace_behind():
    table = Table(sessions_max=5)
    peers: list[KeyPair] = [new_exchange_pair() for _ in range(20)]
    for peer in peers:
        table.session(peer.public)
    assert len(table.store) == len(table.store._by_use) == len(table.store._by_peer) == 5
    table.store.close()
    assert not table.store._by_peer
    assert CALLER.public not in table.store._by_peer
