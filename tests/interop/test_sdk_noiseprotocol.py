"""Against another implementation of Noise (`noiseprotocol`), with random keys, payloads and sizes."""

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from hive_a2a.crypto import KeyPair, new_exchange_pair
from hive_a2a.noise import WIRE_SUITES, Handshake, NoiseError, NoiseSession, SessionLimits
from hive_a2a.noise.cipher import CipherState, parse_suite
from hive_a2a.noise.patterns import parse_pattern

PATTERNS = [
    "N", "K", "X", "NN", "NK", "NX", "KN", "KK", "KX", "XN", "XK", "XX", "IN", "IK", "IX", "IKpsk2", "XXpsk3",
]  # fmt: skip
SUITES = [
    f"{exchange}_{cipher}_{digest}"
    for exchange in ("25519", "448")
    for cipher in ("AESGCM", "ChaChaPoly")
    for digest in ("SHA256", "SHA512", "BLAKE2s", "BLAKE2b")
]


def foreign(
    name: str, *, initiator: bool, prologue: bytes, static, remote, psks
) -> NoiseConnection:
    connection = NoiseConnection.from_name(name.encode())
    connection.set_prologue(prologue)
    if psks:
        connection.set_psks(psks=list(psks))
    connection.set_as_initiator() if initiator else connection.set_as_responder()
    if static is not None:
        connection.set_keypair_from_private_bytes(Keypair.STATIC, static)
    if remote is not None:
        connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
    connection.start_handshake()
    return connection


def pair_of(suite):
    key = suite.new_private()
    return KeyPair(key.private_bytes_raw(), key.public_key().public_bytes_raw())


@settings(max_examples=150, deadline=None)
@given(data=st.data(), pattern=st.sampled_from(PATTERNS), ending=st.sampled_from(SUITES))
def test_both_implementations_understand_each_other(data, pattern, ending):
    suite, form = parse_suite(ending), parse_pattern(pattern)
    initiator = data.draw(st.booleans())
    prologue = data.draw(st.binary(max_size=100))
    psks = [data.draw(st.binary(min_size=32, max_size=32).filter(any)) for _ in range(form.psks)]

    def needs(*, initiator: bool) -> bool:
        return form.known(initiator=initiator) or form.sends_static(initiator=initiator)

    own = pair_of(suite) if needs(initiator=initiator) else None
    theirs = pair_of(suite) if needs(initiator=not initiator) else None
    here = Handshake(
        pattern,
        suite,
        initiator=initiator,
        prologue=prologue,
        static=own,
        remote_static=theirs.public if form.known(initiator=not initiator) else None,
        psks=psks,
    )
    there = foreign(
        f"Noise_{pattern}_{ending}",
        initiator=not initiator,
        prologue=prologue,
        static=theirs.private if theirs else None,
        remote=own.public if form.known(initiator=initiator) else None,
        psks=psks,
    )
    while not here.finished:
        payload = data.draw(st.binary(max_size=300))
        if here.writes_next:
            assert there.read_message(here.write(payload)) == payload
        else:
            assert here.read(bytes(there.write_message(payload))) == payload
    assert there.handshake_finished
    assert here.hash == there.get_handshake_hash()
    sending, receiving = (CipherState(suite, key) for key in here.split())
    for _ in range(3):
        text = data.draw(st.binary(max_size=2000))
        if initiator or not form.one_way:
            assert there.decrypt(sending.encrypt(text, b"")) == text
        if not initiator or not form.one_way:
            assert receiving.decrypt(bytes(there.encrypt(text)), b"") == text


@pytest.mark.parametrize("ending", WIRE_SUITES)
def test_a_session_seals_what_noise_seals_under_the_same_number_and_rekeys_alike(ending):
    suite = parse_suite(ending)
    server, caller = new_exchange_pair(), new_exchange_pair()
    here = Handshake("IK", suite, initiator=True, static=caller, remote_static=server.public)
    there = foreign(
        f"Noise_IK_{ending}",
        initiator=False,
        prologue=b"",
        static=server.private,
        remote=None,
        psks=[],
    )
    there.read_message(here.write(b""))
    here.read(bytes(there.write_message(b"")))
    session = NoiseSession.of(here, bytes(16), limits=SessionLimits(rekey_messages=3))
    foreign_ends = there.noise_protocol
    for count in range(12):
        sealed = session.seal(b"text %d" % count, b"bound")
        assert sealed.nonce == (count // 3 << 20) + count % 3
        if count and count % 3 == 0:
            foreign_ends.cipher_state_decrypt.rekey()
        foreign_ends.cipher_state_decrypt.n = sealed.nonce
        opened = foreign_ends.cipher_state_decrypt.decrypt_with_ad(b"bound", sealed.data)
        assert opened == b"text %d" % count
    foreign_ends.cipher_state_encrypt.n = 5
    data = bytes(foreign_ends.cipher_state_encrypt.encrypt_with_ad(b"a", b"back"))
    assert session.open(5, data, b"a") == b"back"


@pytest.mark.parametrize("ending", WIRE_SUITES)
def test_both_refuse_a_changed_message(ending):
    server = new_exchange_pair()
    for place in range(0, 96, 7):
        here = Handshake(
            "IK",
            parse_suite(ending),
            initiator=True,
            static=new_exchange_pair(),
            remote_static=server.public,
        )
        message = bytearray(here.write(b""))
        message[place] ^= 1
        there = foreign(
            f"Noise_IK_{ending}",
            initiator=False,
            prologue=b"",
            static=server.private,
            remote=None,
            psks=[],
        )
        own = Handshake("IK", parse_suite(ending), initiator=False, static=server)
        with pytest.raises(NoiseError):
            own.read(bytes(message))
        with pytest.raises(InvalidTag):
            there.read_message(bytes(message))
