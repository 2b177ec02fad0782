"""Made-up bytes for everything in Noise that reads a stranger's: `NoiseError` comes out, and no other."""

import pytest

from hive_a2a.noise import AES, NoiseError, decode_frame, encode_frame, wire_suite
from hive_a2a.noise.cipher import parse_suite
from hive_a2a.noise.patterns import parse_pattern
from tests.fuzz.mutator import fuzz
from tests.noise_rig import shake, two_sessions, two_sides

pytestmark = pytest.mark.fuzz


def names(parse):
    def target(data: bytes) -> None:
        parse(data.decode("utf-8", "surrogateescape"))

    return target


def test_frames():
    good = [
        encode_frame(bytes(range(16)), number, bytes(size))
        for number, size in ((0, 16), (2**64 - 1, 400))
    ]

    def target(data: bytes) -> None:
        frame = decode_frame(data)
        assert encode_frame(*frame) == data

    fuzz(good, target, allowed=NoiseError)


def test_suite_names():
    fuzz([AES.encode(), b"448_ChaChaPoly_BLAKE2s"], names(parse_suite), allowed=NoiseError)
    fuzz([AES.encode()], names(wire_suite), allowed=NoiseError)


def test_pattern_names():
    fuzz([b"IK", b"XXpsk3", b"NNpsk0+psk2", b"X1X1"], names(parse_pattern), allowed=NoiseError)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize(("pattern", "turns"), [("IK", 2), ("XX", 3)])
def test_handshake_messages(pattern, turns, hybrid):
    """Each message in turn, read by a copy of who is to read it: dead after anything but the true one."""
    for turn in range(turns):
        one, other = two_sides(pattern, hybrid=hybrid)
        for _ in range(turn):
            other.read(one.write(b""))
            one, other = other, one
        true = one.write(b"payload")
        rewind = remembered(other)

        def target(data: bytes, reader=other, back=rewind) -> None:
            back()
            try:
                reader.read(data)
            except NoiseError:
                assert reader.failed
                raise

        fuzz([true], target, allowed=NoiseError)


def remembered(side):
    """Return a call that brings a side of a handshake back to where it is now."""
    noise = getattr(side, "_noise", side)
    state = noise._state
    kept = (
        dict(side.__dict__),
        dict(noise.__dict__),
        list(noise._psks),
        state.hash,
        state._chaining_key,
    )
    cipher = state._cipher
    inside = (cipher._key, cipher._aead, cipher.count)

    def back() -> None:
        side.__dict__.update(kept[0])
        noise.__dict__.update(kept[1])
        noise._psks[:] = kept[2]
        state.hash, state._chaining_key = kept[3:]
        cipher._key, cipher._aead, cipher.count = inside

    return back


def test_sealed_texts():
    one, other = two_sessions()
    good = [encode_frame(one.id, *one.seal(b"text %d" % n, b"")) for n in range(2)]
    extra = [one.seal(b"more", b"") for _ in range(3)]

    def target(data: bytes) -> None:
        frame = decode_frame(data)
        other._generations[0].window.__init__(1024)
        assert other.open(frame.nonce, frame.data, b"").startswith(b"text")

    fuzz(good, target, allowed=NoiseError)
    assert all(other.open(*sealed, b"") == b"more" for sealed in extra)


def test_a_handshake_is_as_good_as_before_after_all_that():
    shake(*two_sides())
