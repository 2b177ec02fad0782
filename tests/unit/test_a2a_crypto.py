"""The primitives: they open for whom they are meant, and nothing else opens them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_a2a import crypto
from hive_a2a.errors import CryptoError


@given(
    text=st.binary(max_size=200), associated=st.binary(max_size=20), place=st.integers(0, 10_000)
)
def test_a_sealed_text_opens_whole_or_not_at_all(text, associated, place):
    key = crypto.new_key()
    sealed = crypto.seal(key, text, associated)
    assert crypto.open_sealed(key, sealed, associated) == text
    changed = bytearray(sealed)
    changed[place % len(sealed)] ^= 1
    for other in (bytes(changed), sealed[:-1], sealed + b"x", b""):
        with pytest.raises(CryptoError):
            crypto.open_sealed(key, other, associated)
    with pytest.raises(CryptoError):
        crypto.open_sealed(key, sealed, associated + b"x")
    with pytest.raises(CryptoError):
        crypto.open_sealed(crypto.new_key(), sealed, associated)


def test_a_signature_is_good_for_one_key_message_and_purpose():
    pair, other = crypto.new_signing_pair(), crypto.new_signing_pair()
    signature = crypto.sign(pair.private, b"text", context=b"hive/a/v1")
    assert crypto.verify(pair.public, signature, b"text", context=b"hive/a/v1")
    assert not crypto.verify(other.public, signature, b"text", context=b"hive/a/v1")
    assert not crypto.verify(pair.public, signature, b"tex", context=b"hive/a/v1")
    assert not crypto.verify(pair.public, signature, b"text", context=b"hive/b/v1")
    assert not crypto.verify(pair.public, signature[:-1], b"text", context=b"hive/a/v1")
    assert not crypto.verify(b"", signature, b"text", context=b"hive/a/v1")


def test_a_context_cannot_flow_into_the_message():
    pair = crypto.new_signing_pair()
    assert crypto.sign(pair.private, b"bc", context=b"a") != crypto.sign(
        pair.private, b"c", context=b"ab"
    )
    for context in (b"", b"a\x00b"):
        with pytest.raises(CryptoError):
            crypto.sign(pair.private, b"text", context=context)


def test_what_is_sealed_for_one_receiver_opens_for_nobody_else():
    receiver, other = crypto.new_exchange_pair(), crypto.new_exchange_pair()
    sealed = crypto.seal_for(receiver.public, b"text", b"to bob")
    assert crypto.open_for(receiver.private, sealed, b"to bob") == b"text"
    for private, text, associated in (
        (other.private, sealed, b"to bob"),
        (receiver.private, sealed, b"to eve"),
        (receiver.private, sealed[:-1], b"to bob"),
        (receiver.private, sealed[:10], b"to bob"),
        (receiver.private, other.public + sealed[32:], b"to bob"),
    ):
        with pytest.raises(CryptoError):
            crypto.open_for(private, text, associated)


def test_a_point_of_small_order_is_refused():
    with pytest.raises(CryptoError):
        crypto.seal_for(bytes(32), b"text", b"")


def test_ed25519_and_hkdf_give_the_published_values():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert crypto.signing_pair(seed).public.hex() == public  # RFC 8032, 7.1, test 1
    derived = crypto.derive_key(
        bytes.fromhex("0b" * 22),
        salt=bytes.fromhex("000102030405060708090a0b0c"),
        info=bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"),
        size_bytes=42,
    )
    assert derived.hex().startswith("3cb25f25faacd57a90434f64d0362f2a")  # RFC 5869, A.1


def test_a_private_key_never_prints():
    pair = crypto.new_signing_pair()
    assert pair.private.hex() not in repr(pair)
    assert repr(pair.private) not in repr(pair)
