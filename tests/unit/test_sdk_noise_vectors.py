"""The published vectors, every one of them, through the code that speaks on the wire."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hive_a2a.crypto import KeyPair
from hive_a2a.noise.cipher import CipherState, CipherSuite, parse_suite
from hive_a2a.noise.handshake import Handshake
from hive_a2a.noise.patterns import parse_pattern

FOLDER = Path(__file__).parents[1] / "vectors" / "noise"
FILES = {
    "cacophony": (944, "3bde7c09a6f349ee11c825c50fcc02649f8f02a47c857a459206b357f9386cae"),
    "snow": (408, "69da433305fd045f6c9f01b656662a389d022688986fd39fbe7af009cd402fd3"),
}


def side(vector: dict[str, Any], who: str, suite: CipherSuite, pattern: str) -> Handshake:
    def raw(name: str) -> bytes | None:
        return bytes.fromhex(vector[f"{who}_{name}"]) if f"{who}_{name}" in vector else None

    def pair(name: str) -> KeyPair | None:
        private = raw(name)
        if private is None:
            return None
        return KeyPair(private, suite.private(private).public_key().public_bytes_raw())

    initiator = who == "init"
    form = parse_pattern(pattern)
    return Handshake(
        pattern,
        suite,
        initiator=initiator,
        prologue=raw("prologue") or b"",
        static=pair("static"),
        remote_static=raw("remote_static") if form.known(initiator=not initiator) else None,
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{who}_psks", ())],
        ephemeral=pair("ephemeral"),
    )


def run(vector: dict[str, Any]) -> int:
    """Return how many texts went through after the handshake."""
    _, pattern, rest = vector["protocol_name"].split("_", 2)
    suite = parse_suite(rest)
    one = side(vector, "init", suite, pattern)
    other = side(vector, "resp", suite, pattern)
    first = one
    messages = iter(vector["messages"])
    while not (one.finished and other.finished):
        step = next(messages)
        payload, expected = bytes.fromhex(step["payload"]), bytes.fromhex(step["ciphertext"])
        assert one.write(payload) == expected
        assert other.read(expected) == payload
        one, other = other, one
    assert one.hash == other.hash
    if "handshake_hash" in vector:
        assert one.hash.hex() == vector["handshake_hash"]
    senders = transport(one, other, suite)
    if parse_pattern(pattern).one_way:
        senders = iter([next(transport(first, other if first is one else one, suite))] * 100)
    sealed = 0
    for step, (sealing, opening) in zip(messages, senders, strict=False):
        payload, expected = bytes.fromhex(step["payload"]), bytes.fromhex(step["ciphertext"])
        assert sealing.encrypt(payload, b"") == expected
        assert opening.decrypt(expected, b"") == payload
        sealed += 1
    return sealed


def transport(
    one: Handshake, other: Handshake, suite: CipherSuite
) -> Iterator[tuple[CipherState, CipherState]]:
    """Yield who seals and who opens the next text, in turns."""
    ends = [[CipherState(suite, key) for key in end.split()] for end in (one, other)]
    there, back = (ends[0][0], ends[1][1]), (ends[1][0], ends[0][1])
    while True:
        yield there
        yield back


@pytest.mark.parametrize("name", FILES)
def test_every_published_vector_gives_its_bytes(name):
    count, digest = FILES[name]
    text = gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes())
    assert hashlib.sha256(text).hexdigest() == digest
    vectors = json.loads(text)["vectors"]
    for vector in vectors:
        try:
            assert run(vector) > 0
        except Exception as error:
            error.add_note(vector["protocol_name"])
            raise
    assert len(vectors) == count


def test_what_is_spoken_on_the_wire_is_among_the_vectors():
    names = set()
    for name in FILES:
        text = gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes())
        names |= {vector["protocol_name"] for vector in json.loads(text)["vectors"]}
    for pattern in ("IK", "XX", "IKpsk2", "XXpsk3"):
        assert f"Noise_{pattern}_25519_ChaChaPoly_SHA256" in names
        assert f"Noise_{pattern}_25519_AESGCM_SHA256" in names


def test_the_ciphers_count_their_nonces_in_opposite_byte_orders():
    chacha, aes = parse_suite("25519_ChaChaPoly_SHA256"), parse_suite("25519_AESGCM_SHA256")
    assert chacha.nonce(1) == bytes(4) + b"\x01" + bytes(7)
    assert aes.nonce(1) == bytes(4) + bytes(7) + b"\x01"
    nonces = [aes.nonce(count) for count in range(600)]
    assert all(before < after for before, after in pairwise(nonces))
