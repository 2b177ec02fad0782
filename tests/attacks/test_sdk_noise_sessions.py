"""Attacks on a session: repeated, forged, from far ahead, under a number that was used."""

import pytest

from hive_a2a.noise import (
    AES,
    NoiseError,
    NoiseSession,
    ReplayedError,
    SessionLimits,
    SessionStore,
    StoreLimits,
    wire_suite,
)
from hive_a2a.noise import (
    session as session_module,
)
from hive_a2a.noise.cipher import CipherState
from hive_a2a.noise.window import ReplayWindow
from tests.noise_rig import StillClock, two_sessions

STEP = 1 << 20


class Forgetful(ReplayWindow):
    """A window that has seen nothing."""

    def fresh(self, number: int) -> bool:
        return True


@pytest.mark.parametrize("age", [0, 1, 500, 1023, 1024, 5000])
def test_a_repeated_text_never_opens_again_inside_the_window_or_behind_it(age):
    one, other = two_sessions()
    recorded = one.seal(b"pay", b"request")
    assert other.open(*recorded, b"request") == b"pay"
    for _ in range(age):
        other.open(*one.seal(b"", b""), b"")
    with pytest.raises(ReplayedError):
        other.open(*recorded, b"request")


def test_without_the_window_it_would_open_again(monkeypatch):
    monkeypatch.setattr(session_module, "ReplayWindow", Forgetful)
    one, other = two_sessions()
    recorded = one.seal(b"pay", b"request")
    assert [other.open(*recorded, b"request") for _ in range(3)] == [b"pay"] * 3


@pytest.mark.parametrize(("late", "opens"), [(1023, True), (1024, False), (1025, False)])
def test_a_late_text_opens_as_far_as_the_window_reaches(late, opens):
    one, other = two_sessions()
    held = one.seal(b"late", b"")
    for _ in range(late):
        other.open(*one.seal(b"", b""), b"")
    if opens:
        assert other.open(*held, b"") == b"late"
    else:
        with pytest.raises(ReplayedError):
            other.open(*held, b"")


def test_a_repeated_text_does_not_open_across_a_change_of_keys():
    clock = StillClock()
    one, other = two_sessions(SessionLimits(rekey_messages=2), clock)
    recorded = [one.seal(b"%d" % n, b"") for n in range(8)]
    for sealed in recorded:
        other.open(*sealed, b"")
    for sealed in recorded:
        with pytest.raises(NoiseError):
            other.open(*sealed, b"")
    # Nor under the same count in another generation, whose key is another.
    for sealed in recorded:
        for generation in range(8):
            with pytest.raises(NoiseError):
                other.open((generation << 20) + (sealed.nonce & 1), sealed.data, b"")


def test_no_number_is_used_twice_whatever_makes_the_key_change():
    clock = StillClock()
    one, _ = two_sessions(SessionLimits(rekey_messages=3, rekey_s=10, rekey_bytes=50), clock)
    numbers = []
    for count in range(200):
        clock.seconds += count % 4
        numbers.append(one.seal(bytes(count % 30), b"").nonce)
    assert numbers == sorted(set(numbers))
    assert len({number >> 20 for number in numbers}) > 50


def test_no_number_is_used_twice_where_sealing_breaks_off():
    one, other = two_sessions()
    first = one.seal(b"a", b"")
    with pytest.raises(TypeError):
        one.seal(b"b", "no bytes")  # type: ignore[arg-type]
    after = one.seal(b"c", b"")
    assert after.nonce == first.nonce + 2
    assert other.open(*after, b"") == b"c"


def test_equal_texts_in_all_generations_look_different():
    one, other = two_sessions(SessionLimits(rekey_messages=1))
    seen = {one.seal(b"same", b"").data for _ in range(30)}
    seen |= {other.seal(b"same", b"").data for _ in range(30)}
    assert len(seen) == 60


def test_a_forged_text_from_far_ahead_moves_neither_window_nor_key():
    one, other = two_sessions()
    waiting = [one.seal(b"%d" % n, b"") for n in range(50)]
    for number in (5000, STEP - 1, STEP, 5 * STEP + 3, 16 * STEP, 17 * STEP, 2**63, 2**64 - 1):
        for data in (bytes(16), waiting[0].data, b""):
            with pytest.raises(NoiseError):
                other.open(number, data, b"")
    assert other.newest_received == 0
    assert [other.open(*sealed, b"") for sealed in waiting] == [b"%d" % n for n in range(50)]


def test_where_the_window_moves_before_the_tag_is_checked_one_forgery_silences_the_peer(
    monkeypatch,
):
    """The attack that the order guards against: mark first, open later."""

    class Hasty(ReplayWindow):
        def fresh(self, number: int) -> bool:
            fresh = super().fresh(number)
            self.mark(number)
            return fresh

    def silenced() -> bool:
        one, other = two_sessions()
        sealed = one.seal(b"honest", b"")
        with pytest.raises(NoiseError):
            other.open(5000, bytes(16), b"")
        try:
            return other.open(*sealed, b"") != b"honest"
        except ReplayedError:
            return True

    assert not silenced()
    monkeypatch.setattr(session_module, "ReplayWindow", Hasty)
    assert silenced()


def test_forged_texts_from_ahead_make_keys_at_most_once(monkeypatch):
    made = []
    real = session_module.next_key
    monkeypatch.setattr(session_module, "next_key", lambda *a: made.append(1) or real(*a))
    _, other = two_sessions(SessionLimits(ahead_max=16))
    for _ in range(100):
        for generation in (1, 7, 16, 17, 1000, 2**43):
            with pytest.raises(NoiseError):
                other.open(generation << 20, bytes(16), b"")
    assert len(made) == 16
    assert len(other._generations) == 17


def test_a_forged_text_keeps_no_session_alive():
    clock = StillClock()
    store = SessionStore(StoreLimits(), clock)
    one, other = two_sessions(SessionLimits(idle_s=100), clock)
    other.open(*one.seal(b"", b""), b"")
    store.add(other)
    for _ in range(10):
        clock.seconds += 10
        found = store.get(other.id)
        if found is not None:
            with pytest.raises(NoiseError):
                found.open(7, bytes(40), b"")
    assert store.get(other.id) is None
    assert other.closed


def test_a_stolen_key_opens_nothing_of_dropped_generations():
    """What is in memory after the change: the past is gone, the present is not. It says so on the page."""
    clock = StillClock()
    one, other = two_sessions(SessionLimits(rekey_messages=2, grace_s=60), clock)
    recorded = [one.seal(b"secret %d" % n, b"") for n in range(6)]
    for sealed in recorded:
        other.open(*sealed, b"")
    clock.seconds += 60
    other.forget_old(clock.seconds)
    stolen = [generation.key for generation in other._generations.values()]
    assert len(stolen) == 1
    opened = set()
    for sealed in recorded:
        for key in stolen:
            thief = CipherState(wire_suite(AES), key)
            thief.count = sealed.nonce
            try:
                opened.add(thief.decrypt(sealed.data, b""))
            except NoiseError:
                continue
    assert opened == {b"secret 4", b"secret 5"}


def test_a_text_is_no_good_for_another_session_of_the_same_two():
    clock = StillClock()
    one, _ = two_sessions(None, clock)
    _, second = two_sessions(None, clock)
    with pytest.raises(NoiseError):
        second.open(*one.seal(b"", b""), b"")


def test_a_text_sent_back_to_its_sender_does_not_open():
    one, other = two_sessions()
    sealed = one.seal(b"hello", b"")
    with pytest.raises(NoiseError):
        one.open(*sealed, b"")
    assert other.open(*sealed, b"") == b"hello"


def test_nobody_but_the_two_reads_or_prints_a_key():
    one, _ = two_sessions()
    key = next(iter(one._generations.values())).key
    assert key.hex() not in repr(one)
    assert repr(key) not in f"{one} {one.seal(b'', b'')!r}"
    assert isinstance(one, NoiseSession)
