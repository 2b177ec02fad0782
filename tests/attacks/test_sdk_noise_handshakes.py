"""Attacks on the handshake: changed, cut, swapped, replayed, with keys that make every secret zero."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hive_a2a.crypto import KeyPair, new_exchange_pair
from hive_a2a.noise import (
    AES,
    WIRE_SUITES,
    Handshake,
    NoiseError,
    NoiseSession,
    SessionStore,
    StoreLimits,
    cipher,
    wire_suite,
)
from tests.noise_rig import CALLER, PROLOGUE, SERVER, StillClock, two_sides

SUITE = wire_suite(AES)
# Points of small order of Curve25519, and their twins above the field: whoever multiplies one gets zero.
SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def messages(pattern: str, suite: str) -> int:
    one, other = two_sides(pattern, suite)
    count = 0
    while not one.finished:
        other.read(one.write(b""))
        one, other = other, one
        count += 1
    return count


@pytest.mark.parametrize("suite", WIRE_SUITES)
@pytest.mark.parametrize(("pattern", "turns"), [("IK", 2), ("XX", 3)])
def test_every_flipped_bit_of_every_byte_ends_the_handshake(pattern, turns, suite):
    assert messages(pattern, suite) == turns
    broken = 0
    for turn in range(turns):
        place = 0
        while True:
            one, other = two_sides(pattern, suite)
            for _ in range(turn):
                other.read(one.write(b"payload"))
                one, other = other, one
            message = bytearray(one.write(b"payload"))
            if place == len(message):
                break
            message[place] ^= 1 << place % 8
            # The first message of XX proves nothing yet: what was changed in it ends the second.
            try:
                other.read(bytes(message))
                answer = other.write(b"")
                with pytest.raises(NoiseError):
                    one.read(answer)
                assert (pattern, turn) == ("XX", 0)
                assert one.failed
            except NoiseError:
                assert other.failed
                with pytest.raises(NoiseError):
                    other.write(b"")
                with pytest.raises(NoiseError):
                    other.split()
            broken += 1
            place += 1
    assert broken == {"IK": 96 + 48, "XX": 32 + 96 + 64}[pattern] + 7 * turns


@pytest.mark.parametrize(("pattern", "turns"), [("IK", 2), ("XX", 3)])
def test_a_message_that_is_cut_or_longer_ends_the_handshake(pattern, turns):
    for turn in range(turns):
        size = 1
        length = 0
        while length < size:
            one, other = two_sides(pattern)
            for _ in range(turn):
                other.read(one.write(b""))
                one, other = other, one
            message = one.write(b"")
            size = len(message)
            with pytest.raises(NoiseError):
                other.read(message[:length])
            assert other.failed
            length += 1
    one, other = two_sides("IK")
    with pytest.raises(NoiseError):
        other.read(one.write(b"") + b"x")


def forged_first_message(server: bytes, point: bytes) -> bytes:
    """Write the first message of IK as one who knows no private key at all: every secret is zero."""

    def derive(chaining_key: bytes, secret: bytes) -> tuple[bytes, bytes]:
        extracted = hmac.digest(chaining_key, secret, "sha256")
        first = hmac.digest(extracted, b"\x01", "sha256")
        return first, hmac.digest(extracted, first + b"\x02", "sha256")

    def mix(state: bytes, data: bytes) -> bytes:
        return hashlib.sha256(state + data).digest()

    name = b"Noise_IK_25519_AESGCM_SHA256"
    state = chaining_key = name.ljust(32, b"\x00")
    for known in (PROLOGUE, server, point):
        state = mix(state, known)
    said = point
    for text in (point, b"let me in"):  # es gives zero, and so does ss with this static key
        chaining_key, key = derive(chaining_key, bytes(32))
        sealed = AESGCM(key).encrypt(bytes(12), text, state)
        state = mix(state, sealed)
        said += sealed
    return said


@pytest.mark.parametrize("point", SMALL_ORDER, ids=range(len(SMALL_ORDER)))
def test_a_key_that_makes_every_secret_zero_is_refused(point):
    other = Handshake("IK", SUITE, initiator=False, prologue=PROLOGUE, static=SERVER)
    with pytest.raises(NoiseError, match="public key"):
        other.read(forged_first_message(SERVER.public, point))
    assert other.failed


def test_without_that_refusal_one_who_knows_nothing_would_be_let_in(monkeypatch):
    """The same forged message passes a server whose exchange lets zeros through."""
    monkeypatch.setattr(cipher.CipherSuite, "shared", lambda _self, _own, _other: bytes(32))
    other = Handshake("IK", SUITE, initiator=False, prologue=PROLOGUE, static=SERVER)
    assert other.read(forged_first_message(SERVER.public, SMALL_ORDER[0])) == b"let me in"


@pytest.mark.parametrize("point", SMALL_ORDER, ids=range(len(SMALL_ORDER)))
def test_a_card_with_such_a_key_is_refused_too(point):
    one = Handshake("IK", SUITE, initiator=True, static=CALLER, remote_static=point)
    with pytest.raises(NoiseError, match="public key"):
        one.write(b"")
    assert one.failed


def test_messages_of_two_handshakes_do_not_mix():
    one, other = two_sides()
    other.read(one.write(b""))
    second, second_other = two_sides()
    second_other.read(second.write(b""))
    answer = second_other.write(b"")
    with pytest.raises(NoiseError):
        one.read(answer)
    assert one.failed
    with pytest.raises(NoiseError):
        one.read(other.write(b""))


def test_a_reflected_message_ends_the_handshake():
    for pattern in ("IK", "XX"):
        one, _ = two_sides(pattern)
        message = one.write(b"")
        with pytest.raises(NoiseError):
            one.read(message)
        assert one.failed


def test_another_suite_or_pattern_of_the_same_keys_opens_nothing():
    one, _ = two_sides("IK", WIRE_SUITES[0])
    _, other = two_sides("IK", WIRE_SUITES[1])
    with pytest.raises(NoiseError):
        other.read(one.write(b""))
    one, _ = two_sides("XX")
    _, other = two_sides("IK")
    with pytest.raises(NoiseError):
        other.read(one.write(b"a long enough payload for the tags of the other pattern" * 3))


def recorded_first_message() -> bytes:
    one, _ = two_sides()
    return one.write(b"")


def play(recording: bytes, store: SessionStore, clock: StillClock, number: int) -> NoiseSession:
    _, server = two_sides()
    server.read(recording)
    server.write(b"")
    session = NoiseSession.of(server, b"%016d" % number, clock=clock)
    store.add(session)
    return session


def test_a_recorded_first_message_gives_its_player_nothing():
    clock = StillClock()
    store = SessionStore(StoreLimits(), clock)
    session = play(recorded_first_message(), store, clock, 1)
    assert session.remote_static == CALLER.public, "it names the victim"
    assert not session.proved, "so whoever acts on it must wait for a text that opens"
    with pytest.raises(NoiseError):
        session.open(0, bytes(32), b"")
    assert not session.proved


def test_a_recording_played_many_times_pushes_out_no_session_of_its_victim():
    clock = StillClock()
    recording = recorded_first_message()

    def victim_survives(*, guarded: bool) -> bool:
        store = SessionStore(StoreLimits(sessions_max=8, sessions_per_peer_max=4), clock)
        one, server = two_sides()
        server.read(one.write(b""))
        one.read(server.write(b""))
        own = NoiseSession.of(one, b"v" * 16, clock=clock)
        held = NoiseSession.of(server, b"v" * 16, clock=clock)
        store.add(held)
        held.open(*own.seal(b"hello", b""), b"")
        for number in range(20):
            session = play(recording, SessionStore(StoreLimits(), clock), clock, number)
            session.proved = not guarded
            store.add(session)
        return store.get(b"v" * 16) is held

    assert not victim_survives(guarded=False), (
        "the attack works where a recording counts as its caller"
    )
    assert victim_survives(guarded=True)


def test_a_flood_of_half_open_handshakes_is_bounded_and_an_honest_one_gets_through():
    clock = StillClock()
    store = SessionStore(StoreLimits(pending_max=50), clock)
    one, server = two_sides("XX")
    for number in range(500):
        store.begin(b"a%015d" % number, two_sides("XX")[1])
    server.read(one.write(b""))
    one.read(server.write(b""))
    store.begin(b"h" * 16, server)
    for number in range(49):  # as much of the flood as comes within one round trip
        store.begin(b"b%015d" % number, two_sides("XX")[1])
    assert store.pending == 50
    taken = store.take(b"h" * 16)
    assert taken is server
    taken.read(one.write(b""))
    assert taken.finished


def test_a_caller_cannot_take_the_name_of_another():
    """Whoever knows only a public key cannot finish a handshake under it."""
    mallory = new_exchange_pair()
    claimed = KeyPair(mallory.private, CALLER.public)
    one, server = two_sides("IK", caller=claimed)
    with pytest.raises(NoiseError):
        server.read(one.write(b""))
    one, server = two_sides("XX", caller=claimed)
    server.read(one.write(b""))
    one.read(server.write(b""))
    with pytest.raises(NoiseError):
        server.read(one.write(b""))
    assert server.remote_static is None
