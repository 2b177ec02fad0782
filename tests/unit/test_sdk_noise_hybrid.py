"""The experimental hybrid: it agrees, it fails closed, and its ML-KEM secret really counts."""

import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem

from hive_a2a.noise import AES, HybridHandshake, NoiseError, NoiseSession, wire_suite
from hive_a2a.noise.handshake import MESSAGE_MAX_BYTES
from hive_a2a.noise.hybrid import ENCAPSULATED_BYTES, ENCAPSULATION_KEY_BYTES
from tests.noise_rig import CALLER, SERVER, shake, two_sides


@pytest.mark.parametrize("pattern", ["IK", "XX"])
def test_two_sides_agree(pattern):
    one, other = two_sides(pattern, hybrid=True)
    assert one.writes_next
    assert not other.writes_next
    shake(one, other)
    assert one.split() == tuple(reversed(other.split()))
    assert one.hash == other.hash
    assert (one.remote_static, other.remote_static) == (SERVER.public, CALLER.public)
    assert one.proved
    assert (one.initiator, other.initiator) == (True, False)
    ends = [NoiseSession.of(side, bytes(16)) for side in (one, other)]
    assert ends[1].open(*ends[0].seal(b"hello", b"bound"), b"bound") == b"hello"


@pytest.mark.parametrize("pattern", ["IK", "XX"])
def test_a_closed_one_opens_nothing(pattern):
    one, other = two_sides(pattern, hybrid=True)
    other.read(one.write(b""))
    answer = other.write(b"")
    one.close()
    with pytest.raises(NoiseError):
        one.read(answer)


def test_it_is_not_the_plain_handshake():
    one, _ = two_sides("IK", hybrid=True)
    _, plain = two_sides("IK")
    with pytest.raises(NoiseError):
        plain.read(one.write(b""))


@pytest.mark.parametrize("pattern", ["IK", "XX"])
def test_another_ml_kem_secret_opens_nothing(pattern):
    """The keys hang on the ML-KEM secret: with it exchanged, and all else right, no tag fits."""
    one, other = two_sides(pattern, hybrid=True)
    other.read(one.write(b""))
    one._private = mlkem.MLKEM768PrivateKey.generate()
    answer = other.write(b"")
    if pattern == "IK":
        with pytest.raises(NoiseError, match="does not open"):
            one.read(answer)
        assert one.failed
    else:
        one.read(answer)
        last = one.write(b"")
        with pytest.raises(NoiseError, match="does not open"):
            other.read(last)
        assert other.failed


@pytest.mark.parametrize("pattern", ["IK", "XX"])
def test_every_kind_of_cut_and_change_ends_it(pattern):

    one, other = two_sides(pattern, hybrid=True)
    sizes = [len(message) for message in shake(one, other)]
    for turn, size in enumerate(sizes):
        for place in {0, 31, 40, 100, 600, 1087, 1088, 1200, size - 1}:
            if place < size:
                assert breaks(pattern, turn, lambda message, at=place: flipped(message, at))
                assert breaks(pattern, turn, lambda message, at=place: message[:at])


def flipped(message: bytes, place: int) -> bytes:
    return message[:place] + bytes((message[place] ^ 1,)) + message[place + 1 :]


def breaks(pattern, turn, change) -> bool:
    """Tell whether changing the message of a turn ends the handshake before both sides are done."""
    one, other = two_sides(pattern, hybrid=True)
    for number in range(3):
        try:
            message = one.write(b"payload _")
            other.read(change(message) if number == turn else message)
        except NoiseError:
            assert one.failed or other.failed
            with pytest.raises(NoiseError):
                (other if other.failed else one).split()
            return True
        if one.finished and other.finished:
            return False
        one, other = other, one
    return False


def test_an_encapsulation_key_that_is_none_ends_it():
    one, _ = two_sides("IK", hybrid=True)
    other = two_sides("IK", hybrid=True)[1]
    plain = one._noise
    other.read(plain.write(b"\xff" * ENCAPSULATION_KEY_BYTES))
    with pytest.raises(NoiseError, match="does not open"):
        other.write(b"")
    assert other.failed


def test_a_message_without_room_for_its_key_ends_it():
    one, other = two_sides("IK", hybrid=True)
    with pytest.raises(NoiseError):
        other.read(one._noise.write(b"short"))
    assert other.failed


def test_speaking_out_of_turn_ends_it():
    one, other = two_sides("IK", hybrid=True)
    with pytest.raises(NoiseError):
        other.write(b"")
    with pytest.raises(NoiseError):
        one.read(b"x" * 3000)
    assert one.failed
    assert other.failed
    one, other = two_sides("IK", hybrid=True)
    shake(one, other)
    with pytest.raises(NoiseError):
        one.read(b"x" * 3000)
    with pytest.raises(NoiseError):
        one.write(b"")


def test_its_messages_have_the_limit_of_noise():
    one, other = two_sides("IK", hybrid=True)
    other.read(one.write(b""))
    with pytest.raises(NoiseError, match="too long"):
        other.write(bytes(MESSAGE_MAX_BYTES - ENCAPSULATED_BYTES))
    assert other.failed
    with pytest.raises(NoiseError):
        one.read(bytes(MESSAGE_MAX_BYTES + 1))
    assert one.failed


def test_it_knows_two_patterns():
    with pytest.raises(NoiseError, match="IK and XX"):
        HybridHandshake("NN", wire_suite(AES), initiator=True)


def test_a_library_without_ml_kem_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, mlkem.__name__, None)
    package = sys.modules[mlkem.__name__.rpartition(".")[0]]
    monkeypatch.delattr(package, "mlkem")
    with pytest.raises(NoiseError, match="no ML-KEM"):
        two_sides("IK", hybrid=True)
