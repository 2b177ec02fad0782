"""A card is signed, read and taken: by keys, by headers, by the standards' own examples."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hive_a2a.base64url import to_base64url_text
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jwk import (
    KEYS_MAX,
    CardAlgorithm,
    CardKey,
    card_key_of,
    key_set,
    read_jwk,
    read_key_set,
)
from hive_a2a.cards.policies import Pinned
from hive_a2a.cards.reading import CardLimits, decode_base64url, read_object
from hive_a2a.cards.sign import SIGNATURES_MAX, TERMS, SigningKey, sign_card, sign_with
from hive_a2a.cards.verify import TrustedBy, read_signed, verify_card
from tests.cards_rig import PEER, refusal, whole_card

pytestmark = pytest.mark.anyio
ALGORITHMS = pytest.mark.parametrize("algorithm", list(CardAlgorithm))


def header_of(card, index=0):
    return json.loads(decode_base64url(card.signatures[index].protected, "header"))


def with_header(card, index=0, **members):
    """Return the card with another header on one signature, which so is not valid any more."""
    header = {**header_of(card, index), **members}
    header = {name: value for name, value in header.items() if value is not ...}
    copy = type(card)()
    copy.CopyFrom(card)
    copy.signatures[index].protected = to_base64url_text(json.dumps(header).encode())
    return copy


@ALGORITHMS
async def test_a_signed_card_is_taken_by_its_key(algorithm):
    key = SigningKey.make(algorithm)
    signed = sign_card(whole_card(), key, jku="https://keys.example/jwks.json", epoch=7)
    verdict = await verify_card(signed, Pinned([key.public]))
    assert verdict.trusted_by is TrustedBy.PINNED
    assert (verdict.kid, verdict.keys, verdict.epoch) == (key.public.kid, (key.public,), 7)
    assert verdict.exact
    assert verdict.signed
    assert verdict.known_before
    header = header_of(signed)
    assert header["alg"] == algorithm
    assert header["typ"] == "JOSE"
    assert header["jku"] == "https://keys.example/jwks.json"
    assert header["jwk"] == key.public.jwk()
    assert "d" not in header["jwk"]


async def test_signing_leaves_the_given_card_alone():
    card = whole_card()
    sign_card(card, SigningKey.make())
    assert card == whole_card()


async def test_two_keys_sign_side_by_side_and_either_is_enough():
    old, new = SigningKey.make(), SigningKey.make(CardAlgorithm.ES256)
    signed = sign_with(whole_card(), [new, old])
    assert len(signed.signatures) == 2
    for key, other in ((old, new), (new, old)):
        verdict = await verify_card(signed, Pinned([key.public]))
        assert verdict.kid == key.public.kid
        assert verdict.keys == (key.public, other.public)
    both = await verify_card(signed, Pinned([old.public, new.public]))
    assert both.signed


async def test_signing_again_replaces_ones_own_signature_and_keeps_another():
    one, other = SigningKey.make(), SigningKey.make()
    first = sign_card(sign_card(whole_card(), other), one)
    again = sign_card(first, one)
    assert [header_of(again, at)["kid"] for at in (0, 1)] == [other.public.kid, one.public.kid]
    first.signatures[0].protected = "not a header"
    assert len(sign_card(first, one).signatures) == 2


async def test_a_card_with_an_empty_required_member_is_not_signed():
    with pytest.raises(CardError) as refused:
        sign_card(whole_card(description="", skills=[]), SigningKey.make())
    assert refusal(refused) is CardFault.EMPTY_REQUIRED
    assert "description, skills" in refused.value.why


@ALGORITHMS
def test_a_private_key_survives_being_written_and_never_prints(algorithm):
    key = SigningKey.make(algorithm, kid="mine")
    again = SigningKey.from_pem(key.pem(), kid="mine")
    assert again.public == key.public
    assert key.public.verifies(again.sign(b"x"), b"x")
    assert "private" not in repr(key)


def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_a_key_of_another_kind_signs_no_card():
    pem = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", pem):
        with pytest.raises(CardError) as refused:
            SigningKey.from_pem(text)
        assert refusal(refused) is CardFault.KEYS
    for other in (rsa_key(), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(CardError) as refused:
            card_key_of(other.public_key())
        assert refusal(refused) is CardFault.ALGORITHM


def test_thumbprints_are_those_of_the_standards():
    # RFC 8037, appendix A.3; the second key is that of RFC 7517, appendix A.1.
    edwards = read_jwk(
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    )
    assert edwards.thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    curve = read_jwk(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "use": "sig",
            "kid": "1",
        }
    )
    assert curve.kid == "1"


def test_the_signature_of_the_standard_is_verified():
    # RFC 8037, appendix A.5.
    key = read_jwk(
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    )
    signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    text = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    signature = decode_base64url(text, "signature")
    assert key.verifies(signature, signed)
    assert not key.verifies(signature, signed + b"x")
    assert not key.verifies(signature[:-1], signed)


@ALGORITHMS
def test_a_key_set_survives_being_written(algorithm):
    keys = (SigningKey.make(algorithm).public, SigningKey.make(algorithm, kid="b").public)
    assert read_key_set(json.dumps(key_set(keys)).encode()) == keys


def test_keys_of_other_kinds_in_a_key_set_are_passed_over():
    good = SigningKey.make().public
    others = [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
    ]
    data = json.dumps({"keys": [*others, good.jwk()]}).encode()
    assert read_key_set(data) == (good,)


P256 = SigningKey.make(CardAlgorithm.ES256).public.jwk()
ED = SigningKey.make().public.jwk()


@pytest.mark.parametrize(
    ("jwk", "fault"),
    [
        ("no object", CardFault.MALFORMED),
        ({**ED, "d": "AA"}, CardFault.MALFORMED),
        ({**ED, "k": "AA"}, CardFault.MALFORMED),
        ({**ED, "kid": 7}, CardFault.MALFORMED),
        ({**ED, "kid": "k" * 257}, CardFault.MALFORMED),
        ({**ED, "x": 7}, CardFault.MALFORMED),
        ({**ED, "x": "AA"}, CardFault.MALFORMED),
        ({**ED, "x": ED["x"] + "="}, CardFault.MALFORMED),
        ({**ED, "use": "enc"}, CardFault.MALFORMED),
        ({**ED, "key_ops": ["sign"]}, CardFault.MALFORMED),
        ({**ED, "key_ops": "verify"}, CardFault.MALFORMED),
        ({**ED, "alg": "ES256"}, CardFault.ALGORITHM),
        ({**P256, "alg": "EdDSA"}, CardFault.ALGORITHM),
        ({**P256, "alg": "HS256"}, CardFault.ALGORITHM),
        ({**P256, "y": P256["x"]}, CardFault.MALFORMED),
        ({**P256, "crv": "P-384"}, CardFault.ALGORITHM),
        ({**P256, "crv": ["P-256"]}, CardFault.ALGORITHM),
    ],
)
def test_a_key_that_is_not_for_verifying_cards_is_refused(jwk, fault):
    with pytest.raises(CardError) as refused:
        read_jwk(jwk)
    assert refusal(refused) is fault


def test_a_key_may_be_named_by_its_curve_and_list_its_operations():
    assert read_jwk({**ED, "alg": "Ed25519", "key_ops": ["verify"]}).jwk() == ED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": [7]}',
        b'{"keys": [], "keys": []}',
        json.dumps({"keys": [ED] * (KEYS_MAX + 1)}).encode(),
        json.dumps({"keys": [ED, ED]}).encode(),
    ],
)
def test_what_is_no_key_set_is_refused(data):
    with pytest.raises(CardError) as refused:
        read_key_set(data)
    assert refusal(refused) is CardFault.MALFORMED


@pytest.mark.parametrize("raw", [b"\0" * 64, b"\xff" * 64])
def test_a_key_that_is_no_point_verifies_nothing(raw):
    assert not CardKey(CardAlgorithm.ES256, raw).verifies(bytes(64), b"x")
    assert not CardKey(CardAlgorithm.EDDSA, raw[:31]).verifies(bytes(64), b"x")


@pytest.mark.parametrize(
    "text", ["A", "AB", "AAA=", "AA==", "A+/A", " AAA", "AAA\n", "ÄÄ", None, 7]
)
def test_base64url_has_one_form(text):
    with pytest.raises(CardError):
        decode_base64url(text, "It")


def test_base64url_of_any_bytes_is_read_back():
    for size in range(5):
        data = bytes(range(250, 250 + size))
        assert decode_base64url(to_base64url_text(data), "It") == data


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b'{"a": "' + b"x" * 100 + b'"}', CardFault.TOO_LARGE),
        (b'{"a": [[[[0]]]]}', CardFault.TOO_LARGE),
        (b"[1]", CardFault.MALFORMED),
        (b'{"a": 1, "a": 1}', CardFault.MALFORMED),
        (b'{"a": {"b": 1, "b": 2}}', CardFault.MALFORMED),
        (b'{"a": NaN}', CardFault.MALFORMED),
        (b'{"a": -Infinity}', CardFault.MALFORMED),
        (b'{"a": 1', CardFault.MALFORMED),
        (b"\xff\xfe{}", CardFault.MALFORMED),
        (b'{"\xed\xa0\x80": 1}', CardFault.MALFORMED),
        (b'{"\\ud800": 1}', CardFault.MALFORMED),
        (b'{"a": ["\\udfff"]}', CardFault.MALFORMED),
    ],
)
def test_json_of_a_stranger_is_bounded_and_has_one_meaning(data, fault):
    with pytest.raises(CardError) as refused:
        read_object(data, CardLimits(size_bytes=64, depth=4), "It")
    assert refusal(refused) is fault


def test_a_whole_surrogate_pair_is_a_character():
    assert read_object(b'{"a": "\\ud83d\\ude00"}', CardLimits(), "It") == {"a": "\U0001f600"}


def test_brackets_in_texts_do_not_nest():
    text = '{"a": "[[[[[[\\"[[["}'
    assert read_object(text.encode(), CardLimits(depth=1), "It") == json.loads(text)


LONG = base64.b64encode(b"x").decode()


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["exp"]},
        {"b64": False},
        {"kid": ...},
        {"kid": ""},
        {"kid": 7},
        {"kid": "k" * 257},
        {"kid": "a\nb"},
        {"kid": "a\u202eb"},
        {"alg": ...},
        {"alg": 7},
        {"alg": ["EdDSA"]},
        {"jku": 7},
        {"jwk": "key"},
        {"jwk": {**ED, "d": "AA"}},
        {"x5c": "text"},
        {"x5c": [7]},
        {"x5c": [LONG] * 7},
        {TERMS: []},
        {TERMS: {"keys": "a"}},
        {TERMS: {"keys": [7]}},
        {TERMS: {"sha256": 7}},
        {TERMS: {"sha256": "="}},
        {TERMS: {"epoch": -1}},
        {TERMS: {"epoch": True}},
        {TERMS: {"epoch": "1"}},
        {TERMS: {"epoch": 1 << 53}},
    ],
)
def test_a_header_that_is_not_what_the_standard_wants_is_refused(members):
    signed = sign_card(whole_card(), SigningKey.make())
    read_signed(with_header(signed))
    with pytest.raises(CardError) as refused:
        read_signed(with_header(signed, **members))
    assert refusal(refused) is CardFault.MALFORMED


@pytest.mark.parametrize("protected", ["", "e30=", "W10", "eyJhIjoxLCJhIjoxfQ", "A" * 60_000])
def test_a_header_that_is_no_bounded_object_is_refused(protected):
    card = whole_card()
    card.signatures.add(protected=protected, signature="AAAA")
    with pytest.raises(CardError):
        read_signed(card)


def test_the_number_of_signatures_is_bounded():
    keys = [SigningKey.make() for _ in range(SIGNATURES_MAX + 1)]
    read_signed(sign_with(whole_card(), keys[1:]))
    with pytest.raises(CardError) as refused:
        read_signed(sign_with(whole_card(), keys))
    assert refusal(refused) is CardFault.MALFORMED


async def test_signatures_by_unknown_algorithms_are_passed_over():
    key = SigningKey.make()
    signed = sign_card(sign_card(whole_card(), SigningKey.make(kid="other")), key)
    odd = with_header(signed, 0, alg="RS256", jwk={"kty": "RSA"})
    assert (await verify_card(odd, Pinned([key.public]))).kid == key.public.kid


async def test_the_newer_name_of_an_algorithm_means_the_same():
    signed = read_signed(with_header(sign_card(whole_card(), SigningKey.make()), alg="Ed25519"))
    assert signed.signatures[0].algorithm is CardAlgorithm.EDDSA


async def test_a_noise_extension_that_is_not_valid_is_refused():
    card = whole_card()
    card.capabilities.extensions.add(uri="urn:hive-a2a:noise:1", params={"suites": "one"})
    with pytest.raises(CardError) as refused:
        await verify_card(card, Pinned([]), peer=PEER)
    assert refusal(refused) is CardFault.MALFORMED
