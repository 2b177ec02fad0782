"""The handshake: two sides agree, or one of them is dead and says nothing of why."""

import pytest

from hive_a2a.crypto import KeyPair, exchange_pair, new_exchange_pair
from hive_a2a.errors import A2AError
from hive_a2a.noise import AES, CHACHA, WIRE_SUITES, Handshake, NoiseError, prologue, wire_suite
from hive_a2a.noise.cipher import NONCE_MAX, CipherState, next_key, parse_suite
from hive_a2a.noise.handshake import MESSAGE_MAX_BYTES
from hive_a2a.noise.patterns import parse_pattern
from tests.noise_rig import CALLER, PROLOGUE, SERVER, shake, two_sides

SUITE = wire_suite(AES)


@pytest.mark.parametrize("suite", WIRE_SUITES)
@pytest.mark.parametrize("pattern", ["IK", "XX"])
def test_two_sides_agree_on_keys_hash_and_each_other(pattern, suite):
    one, other = two_sides(pattern, suite)
    assert one.writes_next
    assert not other.writes_next
    assert not one.finished
    shake(one, other)
    assert one.split() == tuple(reversed(other.split()))
    assert one.hash == other.hash
    assert (one.remote_static, other.remote_static) == (SERVER.public, CALLER.public)
    assert not one.writes_next
    assert not other.writes_next
    assert one.suite is other.suite is wire_suite(suite)
    assert (one.initiator, other.initiator) == (True, False)


def test_no_two_handshakes_are_alike():
    seen = set()
    for _ in range(3):
        one, other = two_sides()
        said = shake(one, other)
        seen |= {one.hash, *one.split(), *said}
    assert len(seen) == 3 * 5


def test_the_messages_of_ik_are_as_short_as_they_can_be():
    one, other = two_sides("IK")
    first = one.write(b"")
    other.read(first)
    assert (len(first), len(other.write(b""))) == (96, 48)


def test_only_who_may_hear_a_recording_waits_for_a_proof():
    for pattern, proved in (("IK", (True, False)), ("XX", (True, True))):
        one, other = two_sides(pattern)
        assert not one.proved
        assert not other.proved
        shake(one, other)
        assert (one.proved, other.proved) == proved


def test_a_one_way_pattern_never_proves_that_somebody_is_there():
    one = Handshake("X", SUITE, initiator=True, static=CALLER, remote_static=SERVER.public)
    other = Handshake("X", SUITE, initiator=False, static=SERVER)
    shake(one, other)
    assert not one.proved
    assert not other.proved
    assert one.split() == tuple(reversed(other.split()))


def test_a_side_that_speaks_out_of_turn_is_dead():
    one, other = two_sides()
    with pytest.raises(NoiseError, match="does not go on"):
        other.write(b"")
    assert other.failed
    with pytest.raises(NoiseError):
        other.read(one.write(b""))
    with pytest.raises(NoiseError):
        one.write(b"")
    assert one.failed
    assert one.remote_static is None


def test_a_side_that_broke_off_in_the_middle_is_dead():
    for broken in (0, 1):
        sides = two_sides()
        message = sides[0].write(b"") if broken else b""
        with pytest.raises(TypeError):
            sides[1].read(list(message)) if broken else sides[0].write("text")
        assert sides[broken].failed
        for attempt in (sides[broken].read, sides[broken].write):
            with pytest.raises(NoiseError, match="does not go on"):
                attempt(message)


def test_nothing_is_split_or_hashed_before_the_end():
    one, other = two_sides()
    for side in (one, other):
        with pytest.raises(NoiseError):
            side.split()
        with pytest.raises(NoiseError):
            _ = side.hash
    shake(one, other)
    with pytest.raises(NoiseError):
        one.write(b"more")
    with pytest.raises(NoiseError):
        one.split()
    other.close()
    with pytest.raises(NoiseError):
        other.split()


def test_another_prologue_opens_nothing():
    one, other = two_sides(prologues=(PROLOGUE, PROLOGUE + b"x"))
    with pytest.raises(NoiseError, match="does not open"):
        other.read(one.write(b""))
    assert other.failed


@pytest.mark.parametrize("place", range(4))
def test_each_field_of_the_prologue_counts(place):
    fields = ["urn:x", b"h" * 32, "https://a.example", "1.0"]
    changed = list(fields)
    changed[place] = fields[place][:-1]
    assert prologue(*fields) != prologue(*changed)


def test_no_field_of_the_prologue_flows_into_the_next():
    assert prologue("ab", b"c", "d", "e") != prologue("a", b"bc", "d", "e")
    assert prologue("", b"", "", "").count(b"\x00\x00\x00\x00") == 4
    assert prologue("é", b"", "", "").endswith("\x00\x00\x00\x02é".encode() + bytes(12))


def test_another_server_cannot_answer_in_its_place():
    one, _ = two_sides()
    _, impostor = two_sides(server=new_exchange_pair())
    with pytest.raises(NoiseError):
        impostor.read(one.write(b""))


def test_a_handshake_message_has_a_limit_on_both_sides():
    one, other = two_sides()
    with pytest.raises(NoiseError, match="too long"):
        one.write(bytes(MESSAGE_MAX_BYTES))
    assert one.failed
    with pytest.raises(NoiseError, match="too long"):
        other.read(bytes(MESSAGE_MAX_BYTES + 1))
    assert other.failed
    one, other = two_sides()
    longest = MESSAGE_MAX_BYTES - 96
    assert other.read(one.write(bytes(longest))) == bytes(longest)


@pytest.mark.parametrize(
    ("pattern", "given"),
    [
        ("IK", {"initiator": True, "static": CALLER}),
        ("IK", {"initiator": True, "remote_static": SERVER.public}),
        ("IK", {"initiator": False}),
        ("IK", {"initiator": False, "static": SERVER, "remote_static": CALLER.public}),
        ("XX", {"initiator": True, "static": CALLER, "remote_static": SERVER.public}),
        ("XX", {"initiator": True}),
        ("IK", {"initiator": True, "static": CALLER, "remote_static": b"short"}),
        ("XXpsk3", {"initiator": True, "static": CALLER, "psks": [b"short"]}),
        ("XXpsk3", {"initiator": True, "static": CALLER, "psks": [bytes(32)] * 2}),
        ("XX", {"initiator": True, "static": CALLER, "psks": [bytes(32)]}),
        ("IKx", {"initiator": True}),
    ],
)
def test_a_handshake_that_lacks_a_key_or_has_one_too_many_does_not_begin(pattern, given):
    with pytest.raises(NoiseError):
        Handshake(pattern, SUITE, **given)


def test_a_shared_secret_comes_before_its_place_or_the_handshake_ends():
    def sides(psk: bytes | None, other_psk: bytes) -> tuple[Handshake, Handshake]:
        return (
            Handshake(
                "XXpsk3", SUITE, initiator=True, static=CALLER, psks=[] if psk is None else [psk]
            ),
            Handshake("XXpsk3", SUITE, initiator=False, static=SERVER, psks=[other_psk]),
        )

    one, other = sides(None, b"k" * 32)
    other.read(one.write(b""))
    one.read(other.write(b""))
    with pytest.raises(NoiseError, match="missing"):
        one.write(b"")
    assert one.failed

    one, other = sides(None, b"k" * 32)
    other.read(one.write(b""))
    one.read(other.write(b""))
    one.add_psk(b"k" * 32)
    assert other.read(one.write(b"late")) == b"late"
    assert one.split() == tuple(reversed(other.split()))

    one, other = sides(b"k" * 32, b"K" * 32)
    other.read(one.write(b""))
    one.read(other.write(b""))
    with pytest.raises(NoiseError):
        other.read(one.write(b""))


def test_a_used_secret_makes_no_room_for_another():
    one = Handshake("NNpsk0", SUITE, initiator=True, psks=[b"k" * 32])
    one.write(b"")
    with pytest.raises(NoiseError):
        one.add_psk(b"k" * 32)


@pytest.mark.parametrize("name", ["", "IK_", "ik", "IKpsk", "IKpsk3", "XXpsk4", "XXpsk2+psk1", "XXpsk1+psk1", "IKIK", "1", "XX psk3", "IKpsk²"])  # fmt: skip
def test_an_unknown_pattern_is_refused(name):
    with pytest.raises(NoiseError, match="pattern"):
        parse_pattern(name)


@pytest.mark.parametrize("name", ["", "25519", "25519_AESGCM", "25519_AESGCM_SHA256_", "25519_AES_SHA256", "P256_AESGCM_SHA256", "25519_AESGCM_MD5"])  # fmt: skip
def test_an_unknown_suite_is_refused(name):
    with pytest.raises(NoiseError, match="suite"):
        parse_suite(name)


def test_only_two_suites_are_spoken_on_the_wire():
    assert {CHACHA, AES} == {wire_suite(name).name for name in WIRE_SUITES}
    for name in ("25519_ChaChaPoly_BLAKE2s", "448_AESGCM_SHA512", "none"):
        with pytest.raises(NoiseError, match="not spoken"):
            wire_suite(name)


def test_a_private_key_of_a_wrong_size_is_refused():
    one = Handshake("XX", SUITE, initiator=True, static=KeyPair(b"short", bytes(32)))
    other = Handshake("XX", SUITE, initiator=False, static=SERVER)
    other.read(one.write(b""))
    one.read(other.write(b""))
    with pytest.raises(NoiseError, match="32 bytes"):
        one.write(b"")
    assert one.failed


def test_a_result_of_zeros_is_refused_even_where_the_library_lets_it_through():
    class Careless:
        def exchange(self, public: object) -> bytes:
            return bytes(32)

    with pytest.raises(NoiseError, match="public key"):
        SUITE.shared(Careless(), SERVER.public)  # type: ignore[arg-type]


def test_a_cipher_without_a_key_passes_and_with_one_counts():
    cipher = CipherState(SUITE)
    assert cipher.encrypt(b"x", b"") == cipher.decrypt(b"x", b"") == b"x"
    cipher.rekey()
    assert not cipher.keyed
    assert cipher.count == 0
    sealing, opening = CipherState(SUITE, bytes(32)), CipherState(SUITE, bytes(32))
    first, second = sealing.encrypt(b"a", b"h"), sealing.encrypt(b"b", b"h")
    with pytest.raises(NoiseError):
        opening.decrypt(second, b"h")
    assert opening.count == 0
    assert (opening.decrypt(first, b"h"), opening.decrypt(second, b"h")) == (b"a", b"b")
    sealing.rekey()
    with pytest.raises(NoiseError):
        opening.decrypt(sealing.encrypt(b"c", b""), b"")
    opening.rekey()
    opening.count = sealing.count = 7
    assert opening.decrypt(sealing.encrypt(b"d", b""), b"") == b"d"


def test_a_key_stops_before_its_last_nonce():
    cipher = CipherState(SUITE, bytes(32))
    cipher.count = NONCE_MAX - 1
    cipher.encrypt(b"", b"")
    for attempt in (cipher.encrypt, cipher.decrypt):
        with pytest.raises(NoiseError, match="nonce"):
            attempt(b"", b"")


def test_the_next_key_says_nothing_of_the_one_before():
    key = b"k" * 32
    chain = [key := next_key(SUITE, key) for _ in range(4)]
    assert len({b"k" * 32, *chain}) == 5
    assert all(len(one) == 32 for one in chain)


def test_an_error_is_one_of_the_sdks_own_and_holds_no_key():
    one, other = two_sides()
    message = bytearray(one.write(b"payload"))
    message[-1] ^= 1
    with pytest.raises(A2AError) as caught:
        other.read(bytes(message))
    told = f"{caught.value!r} {caught.value} {caught.value.fix}"
    for secret in (CALLER.private, SERVER.private, CALLER.public, b"payload"):
        assert secret.hex() not in told
        assert repr(secret) not in told
    assert repr(exchange_pair(b"\x01" * 32)).find(CALLER.private.hex()) == -1
