"""Sessions: any order, each text once, keys that change under way and end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_a2a.noise import (
    AES,
    WIRE_SUITES,
    NoiseError,
    NoiseSession,
    ReplayedError,
    SessionLimits,
    SessionSpentError,
    decode_frame,
    encode_frame,
    wire_suite,
)
from hive_a2a.noise.window import ReplayWindow
from tests.noise_rig import StillClock, shake, two_sessions, two_sides

STEP = 1 << 20


@pytest.mark.parametrize("suite", WIRE_SUITES)
def test_texts_open_on_the_other_side_in_any_order(suite):
    one, other = two_sessions(suite=suite)
    texts = [(one.seal(b"%d" % n, b"request"), b"%d" % n) for n in range(100)]
    for sealed, text in reversed(texts):
        assert other.open(*sealed, b"request") == text
    answer = other.seal(b"", b"")
    assert answer.nonce == 0
    assert len(answer.data) == 16
    assert one.open(*answer, b"") == b""


def test_a_text_is_bound_to_session_direction_number_and_associated_data():
    one, other = two_sessions()
    _, stranger = two_sessions()
    number, data = one.seal(b"text", b"bound")
    for session, attempt in (
        (one, (number, data, b"bound")),
        (stranger, (number, data, b"bound")),
        (other, (number + 1, data, b"bound")),
        (other, (number, data, b"other")),
        (other, (number, data[:-1], b"bound")),
        (other, (number, b"", b"bound")),
        (other, (-1, data, b"bound")),
        (other, (2**64, data, b"bound")),
        (other, (2**64 - 1, data, b"bound")),
    ):
        with pytest.raises(NoiseError):
            session.open(*attempt)
    assert other.open(number, data, b"bound") == b"text"


def test_both_ends_know_the_same_hash_and_each_other():
    one, other = two_sessions()
    assert one.hash == other.hash
    assert one.remote_static != other.remote_static
    assert (one.initiator, other.initiator) == (True, False)
    assert one.id.hex() in repr(one)


def test_the_number_of_texts_moves_to_the_next_key():
    one, other = two_sessions(SessionLimits(rekey_messages=2))
    sealed = [one.seal(b"x", b"") for _ in range(7)]
    assert [s.nonce for s in sealed] == [0, 1, STEP, STEP + 1, 2 * STEP, 2 * STEP + 1, 3 * STEP]
    for s in sealed:
        assert other.open(*s, b"") == b"x"
    assert one.generation == other.newest_received == 3
    assert other.generation == one.newest_received == 0


def test_time_moves_to_the_next_key_even_before_the_first_text():
    clock = StillClock()
    one, other = two_sessions(SessionLimits(rekey_s=600), clock)
    clock.seconds += 599
    assert one.seal(b"", b"").nonce == 0
    clock.seconds += 1
    late = one.seal(b"late", b"")
    assert late.nonce == STEP
    assert other.open(*late, b"") == b"late"
    clock.seconds += 600
    first_back = other.seal(b"back", b"")
    assert first_back.nonce == STEP
    assert one.open(*first_back, b"") == b"back"


def test_the_amount_sealed_moves_to_the_next_key():
    one, other = two_sessions(SessionLimits(rekey_bytes=100))
    sealed = [one.seal(bytes(60), b"") for _ in range(5)]
    assert [s.nonce for s in sealed] == [0, 1, STEP, STEP + 1, 2 * STEP]
    for s in reversed(sealed):
        assert other.open(*s, b"") == bytes(60)


def test_what_was_under_way_when_the_key_changed_still_opens_for_a_while():
    clock = StillClock()
    one, other = two_sessions(SessionLimits(rekey_messages=4, grace_s=60), clock)
    old = [one.seal(b"old", b"") for _ in range(4)]
    new = [one.seal(b"new", b"") for _ in range(2)]
    assert other.open(*new[1], b"") == b"new"
    assert other.open(*old[3], b"") == b"old"
    clock.seconds += 59.9
    assert other.open(*old[0], b"") == b"old"
    assert other.open(*new[0], b"") == b"new"
    clock.seconds += 0.1
    with pytest.raises(ReplayedError):
        other.open(*old[1], b"")


def test_only_so_many_old_keys_are_kept_and_dropped_ones_are_gone():
    clock = StillClock()
    one, other = two_sessions(SessionLimits(rekey_messages=1, old_generations_max=2), clock)
    sealed = [one.seal(b"%d" % n, b"") for n in range(6)]
    assert other.open(*sealed[5], b"") == b"5"
    assert set(other._generations) == {3, 4, 5}
    assert other.open(*sealed[3], b"") == b"3"
    with pytest.raises(ReplayedError):
        other.open(*sealed[2], b"")
    clock.seconds += 30
    assert other.open(*one.seal(b"6", b""), b"") == b"6"
    assert set(other._generations) == {4, 5, 6}
    clock.seconds += 30  # the grace of 4 began with 5, that of 5 with 6
    other.forget_old(clock.seconds)
    assert set(other._generations) == {5, 6}
    clock.seconds += 30
    other.forget_old(clock.seconds)
    assert set(other._generations) == {6}


def test_without_old_keys_nothing_of_before_opens():
    one, other = two_sessions(SessionLimits(rekey_messages=1, old_generations_max=0))
    old, new = one.seal(b"old", b""), one.seal(b"new", b"")
    other.open(*new, b"")
    with pytest.raises(ReplayedError):
        other.open(*old, b"")


def test_a_session_ends_by_age_by_count_or_by_word():
    clock = StillClock()
    one, other = two_sessions(SessionLimits(lifetime_s=100, idle_s=1000), clock)
    sealed = one.seal(b"", b"")
    assert one.ends_at == clock.seconds + 100
    clock.seconds += 100
    assert one.expired(clock.seconds)
    for attempt in (lambda: one.seal(b"", b""), lambda: other.open(*sealed, b"")):
        with pytest.raises(SessionSpentError):
            attempt()
    assert one.closed

    one, other = two_sessions(SessionLimits(rekey_messages=1, generations_max=2))
    for s in (one.seal(b"", b""), one.seal(b"", b"")):
        other.open(*s, b"")
    with pytest.raises(SessionSpentError):
        one.seal(b"", b"")
    with pytest.raises(NoiseError):
        other.open(2 * STEP, bytes(16), b"")

    one, other = two_sessions()
    one.close()
    one.close()
    one.forget_old(clock.seconds)
    assert one.expired(0)
    assert not one._generations
    assert not hasattr(one, "_send_key")
    with pytest.raises(SessionSpentError):
        one.seal(b"", b"")
    with pytest.raises(SessionSpentError):
        one.open(*other.seal(b"", b""), b"")


def test_a_receiver_keeps_to_its_own_last_generation():
    one, other = two_sessions(SessionLimits(rekey_messages=1))
    other.limits = SessionLimits(generations_max=2)
    sealed = [one.seal(b"", b"") for _ in range(3)]
    other.open(*sealed[1], b"")
    with pytest.raises(NoiseError):
        other.open(*sealed[2], b"")
    other.limits = SessionLimits()
    other.open(*sealed[2], b"")


def test_a_session_that_nobody_uses_ends():
    clock = StillClock()
    one, other = two_sessions(SessionLimits(idle_s=10), clock)
    clock.seconds += 9
    sealed = one.seal(b"", b"")
    clock.seconds += 9
    assert not one.expired(clock.seconds)
    assert other.expired(clock.seconds)
    with pytest.raises(NoiseError):
        other.open(sealed.nonce, bytes(16), b"")
    assert other.expired(clock.seconds), "a forged text is no use"
    other.open(*sealed, b"")
    assert not other.expired(clock.seconds)


def test_a_text_has_a_limit_on_both_sides():
    one, other = two_sessions(SessionLimits(text_bytes_max=10))
    assert other.open(*one.seal(bytes(10), b""), b"") == bytes(10)
    with pytest.raises(NoiseError, match="too long"):
        one.seal(bytes(11), b"")
    with pytest.raises(NoiseError):
        other.open(1, bytes(27), b"")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rekey_messages": 0},
        {"rekey_messages": STEP + 1},
        {"generations_max": 0},
        {"generations_max": 1 << 44},
        {"window": 0},
        {"ahead_max": 0},
        {"old_generations_max": -1},
    ],
)
def test_limits_that_would_break_the_numbers_are_refused(wrong):
    with pytest.raises(NoiseError):
        SessionLimits(**wrong)


@pytest.mark.parametrize(("length", "keys"), [(15, 32), (16, 31), (17, 32)])
def test_an_id_or_key_of_a_wrong_size_makes_no_session(length, keys):
    with pytest.raises(NoiseError):
        NoiseSession(
            bytes(length), wire_suite(AES), bytes(keys), bytes(32), b"", None, 0.0,
            initiator=True, limits=SessionLimits(),
        )  # fmt: skip


def test_a_session_is_made_of_a_finished_handshake_once():
    one, other = two_sides()
    with pytest.raises(NoiseError):
        NoiseSession.of(one, bytes(16))
    shake(one, other)
    session = NoiseSession.of(one, bytes(16))
    assert session.limits == SessionLimits()
    with pytest.raises(NoiseError):
        NoiseSession.of(one, bytes(16))


def test_who_answers_in_ik_is_sure_of_the_other_side_after_the_first_text():
    one, other = two_sessions()
    assert one.proved
    assert not other.proved
    other.seal(b"", b"")
    assert not other.proved
    other.open(*one.seal(b"", b""), b"")
    assert other.proved


@settings(max_examples=500)
@given(numbers=st.lists(st.integers(0, 12), max_size=30), size=st.integers(1, 6))
def test_the_window_tells_as_a_set_would(numbers, size):
    window, seen, top = ReplayWindow(size), set(), -1
    for number in numbers:
        fresh = number not in seen and number > top - size
        assert window.fresh(number) == fresh
        if fresh:
            window.mark(number)
            seen.add(number)
            top = max(top, number)


@given(session_id=st.binary(min_size=16, max_size=16), nonce=st.integers(0, 2**64 - 1), data=st.binary(min_size=16, max_size=100))  # fmt: skip
def test_a_frame_is_taken_apart_as_it_was_put_together(session_id, nonce, data):
    frame = encode_frame(session_id, nonce, data)
    assert decode_frame(frame) == (session_id, nonce, data)
    assert len(frame) == 25 + len(data)
    for wrong in (frame[: 25 + 15], b"\x02" + frame[1:], b""):
        with pytest.raises(NoiseError):
            decode_frame(wrong)


def test_a_frame_of_known_bytes():
    frame = encode_frame(bytes(range(16)), (3 << 20) + 5, b"t" * 16)
    assert frame.hex() == "01" + bytes(range(16)).hex() + "0000000000300005" + "74" * 16


@pytest.mark.parametrize(("session_id", "nonce"), [(b"short", 0), (bytes(16), -1), (bytes(16), 2**64)])  # fmt: skip
def test_what_fits_no_frame_is_refused(session_id, nonce):
    with pytest.raises(NoiseError):
        encode_frame(session_id, nonce, bytes(16))
