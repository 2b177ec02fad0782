"""Signatures of cards attacked: altered, replaced, forged, confused, appended.

Where the plain SDK's verifier is open to the attack, the test shows that first.
"""

import base64
import hashlib
import hmac
import json

import pytest
from a2a.types import AgentCard
from a2a.utils.signing import SignatureVerificationError, create_signature_verifier
from google.protobuf.json_format import ParseDict
from jwt import PyJWK

from hive_a2a.base64url import to_base64url_text
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jcs import canonical_card
from hive_a2a.cards.jwk import CardAlgorithm, key_set
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.policies import Jwks, Pinned, Tofu
from hive_a2a.cards.sign import SigningKey, sign_card, sign_with
from hive_a2a.cards.verify import verify_card
from tests.cards_rig import PEER, as_dict, from_dict, refusal, whole_card
from tests.unit.test_sdk_cards_signed import header_of, with_header
from tests.unit.test_sdk_cards_trust import without_jwk

pytestmark = pytest.mark.anyio
KEY = SigningKey.make()
CURVE_KEY = SigningKey.make(CardAlgorithm.ES256)


def leaves(value, path=()):
    """Yield the place of every value in a card, empty ones included."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*path, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from leaves(one, (*path, index))
    if path:
        yield path


def changed_at(members, path, change):
    members = json.loads(json.dumps(members))
    inner = members
    for step in path[:-1]:
        inner = inner[step]
    change(inner, path[-1])
    return members


def another(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if value is None:
        return "x"
    return type(value)()


def officially_verified(card, public):
    create_signature_verifier(lambda kid, jku: PyJWK(public.jwk()), ["EdDSA", "ES256"])(card)


# In one order in every process: that of a protobuf map is drawn anew.
PLACES = sorted(
    (path for path in leaves(as_dict(whole_card())) if path[0] != "signatures"), key=repr
)


def without(inner, step):
    del inner[step]


def altered(inner, step):
    inner[step] = another(inner[step])


def renamed(inner, step):
    if isinstance(inner, dict):
        inner[f"{step}x"] = inner.pop(step)
    else:
        inner.append(inner[step])


@pytest.mark.parametrize("change", [without, altered, renamed])
@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
async def test_no_value_of_a_signed_card_can_be_altered_added_or_taken(path, change):
    signed = sign_card(whole_card(), KEY)
    members = changed_at(as_dict(signed), path, change)
    card = ParseDict(members, AgentCard(), ignore_unknown_fields=True)
    if card == signed:
        return
    with pytest.raises(CardError) as refused:
        await verify_card(card, Pinned([KEY.public]))
    assert refusal(refused) in (CardFault.BAD_SIGNATURE, CardFault.NOT_COVERED)


EMPTY_CHANGES = {
    "no need to authenticate": lambda card: card.security_requirements.add(),
    "a requirement less": lambda card: card.security_requirements.pop(0),
    "a weaker alternative": lambda card: (
        card.security_requirements.add().schemes["key"].SetInParent()
    ),
    "a scheme less": lambda card: card.security_schemes.pop("mtls"),
    "a skill more": lambda card: card.skills.add(),
    "an extension more": lambda card: card.capabilities.extensions.add(),
    "an empty parameter": lambda card: card.capabilities.extensions[0].params.update({"more": ""}),
}


@pytest.mark.parametrize("change", EMPTY_CHANGES.values(), ids=EMPTY_CHANGES)
async def test_empty_members_cannot_be_slipped_in_or_out(change):
    signed = sign_card(whole_card(), KEY)
    change(signed)
    officially_verified(signed, KEY.public)  # the attack: the plain verifier sees nothing
    with pytest.raises(CardError) as refused:
        await verify_card(signed, Pinned([KEY.public]))
    assert refusal(refused) is CardFault.NOT_COVERED


@pytest.mark.parametrize("key", [KEY, CURVE_KEY], ids=["EdDSA", "ES256"])
async def test_no_bit_of_a_signature_or_header_can_be_flipped(key):
    signed = sign_card(whole_card(), key)
    for member in ("signature", "protected"):
        text = getattr(signed.signatures[0], member)
        raw = base64.urlsafe_b64decode(text + "==")
        for at in range(0, len(raw), 7 if member == "protected" else 1):
            broken = whole_card()
            broken.signatures.add().CopyFrom(signed.signatures[0])
            flipped = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
            setattr(broken.signatures[0], member, to_base64url_text(flipped))
            with pytest.raises(CardError):
                await verify_card(broken, Pinned([key.public]))


async def test_a_stripped_signature_is_not_an_unsigned_card():
    trust = Tofu()
    await verify_card(sign_card(whole_card(), KEY), trust, peer=PEER)
    for stripped in (whole_card(), with_header(sign_card(whole_card(), KEY), alg="none")):
        with pytest.raises(CardError) as refused:
            await verify_card(stripped, trust, peer=PEER)
        assert refusal(refused) is CardFault.STRIPPED


async def test_a_spoofed_card_with_another_name_is_not_a_new_peer():
    trust = Tofu()
    await verify_card(sign_card(whole_card(), KEY), trust, peer=PEER)
    spoofed = sign_card(whole_card(name="somebody else"), SigningKey.make())
    with pytest.raises(CardError) as refused:
        await verify_card(spoofed, trust, peer=PEER)
    assert refusal(refused) is CardFault.KEY_CHANGED


async def test_a_key_that_takes_over_the_kid_is_not_the_key():
    trust = Tofu()
    await verify_card(sign_card(whole_card(), KEY), trust, peer=PEER)
    thief = SigningKey.make(kid=KEY.public.kid)
    for spoofed, fault in (
        (sign_card(whole_card(), thief), CardFault.KEY_CHANGED),
        (with_header(sign_card(whole_card(), thief), jwk=...), CardFault.BAD_SIGNATURE),
        (
            with_header(sign_card(whole_card(), thief), jwk=KEY.public.jwk()),
            CardFault.BAD_SIGNATURE,
        ),
    ):
        for policy in (trust, Pinned([KEY.public])):
            with pytest.raises(CardError) as refused:
                await verify_card(spoofed, policy, peer=PEER)
            assert refusal(refused) is fault


async def test_a_signature_put_beside_a_genuine_one_is_never_a_successor():
    """Signatures do not cover each other: anybody can add his own to a genuine card."""
    thief, trust = SigningKey.make(), Tofu()
    genuine = sign_card(whole_card(), KEY, epoch=1)
    # The thief claims the trusted key as his own companion, and the newest epoch.
    with_thief = sign_card(genuine, thief, beside=[KEY.public], epoch=9)
    officially_verified_by_either = create_signature_verifier(
        lambda kid, jku: PyJWK(header_key(with_thief, kid)), ["EdDSA"]
    )
    officially_verified_by_either(with_thief)
    await verify_card(genuine, trust, peer=PEER)
    verdict = await verify_card(with_thief, trust, peer=PEER)
    assert verdict.keys == (KEY.public,)
    assert verdict.epoch == 1
    with pytest.raises(CardError) as refused:
        await verify_card(sign_card(whole_card(), thief, epoch=9), trust, peer=PEER)
    assert refusal(refused) is CardFault.KEY_CHANGED


def header_key(card, kid):
    for index in range(len(card.signatures)):
        if header_of(card, index)["kid"] == kid:
            return header_of(card, index)["jwk"]
    raise AssertionError(kid)


async def test_a_named_successor_must_sign_itself():
    trust, heir = Tofu(), SigningKey.make()
    await verify_card(sign_card(whole_card(), KEY), trust, peer=PEER)
    both = sign_with(whole_card(), [KEY, heir])
    both.signatures[1].signature = to_base64url_text(bytes(64))
    assert (await verify_card(both, trust, peer=PEER)).keys == (KEY.public,)


async def test_on_first_sight_of_several_signatures_only_one_owner_is_taken():
    thief = SigningKey.make()
    trust = Tofu()
    signed = sign_card(sign_card(whole_card(), KEY), thief)
    await verify_card(signed, trust, peer=PEER)
    pin = await trust.store.get(PEER)
    assert pin.keys == (KEY.public,)


async def test_a_duplicated_signature_is_refused():
    signed = sign_card(whole_card(), KEY)
    signed.signatures.add().CopyFrom(signed.signatures[0])
    officially_verified(signed, KEY.public)
    with pytest.raises(CardError) as refused:
        await verify_card(signed, Pinned([KEY.public]))
    assert refusal(refused) is CardFault.MALFORMED


def forged(card, algorithm, sign, kid):
    header = to_base64url_text(json.dumps({"alg": algorithm, "kid": kid, "typ": "JOSE"}).encode())
    signed = f"{header}.{to_base64url_text(canonical_card(card))}".encode()
    copy = from_dict(as_dict(card))
    copy.signatures.add(protected=header, signature=to_base64url_text(sign(signed)))
    return copy


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS256", "RS256", "es256", "eddsa"]
)
async def test_no_other_algorithm_signs_a_card(algorithm):
    public_pem = json.dumps(KEY.public.jwk()).encode()
    secrets = [b"", KEY.public.raw, to_base64url_text(KEY.public.raw).encode(), public_pem]
    for secret in secrets:
        card = forged(
            whole_card(),
            algorithm,
            lambda data, secret=secret: hmac.digest(secret, data, hashlib.sha256),
            KEY.public.kid,
        )
        with pytest.raises(CardError) as refused:
            await verify_card(card, Pinned([KEY.public]))
        assert refusal(refused) is CardFault.ALGORITHM


async def test_a_verifier_that_lists_shared_secrets_takes_the_public_key_for_one():
    """The attack that a list of allowed algorithms invites, and that a key's own algorithm does not."""
    card = forged(
        whole_card(),
        "HS256",
        lambda data: hmac.digest(KEY.public.raw, data, hashlib.sha256),
        KEY.public.kid,
    )
    naive = create_signature_verifier(lambda kid, jku: KEY.public.raw, ["EdDSA", "HS256"])
    naive(card)
    with pytest.raises(CardError):
        await verify_card(card, Pinned([KEY.public]))


@pytest.mark.parametrize(
    ("key", "claimed"), [(KEY, "ES256"), (CURVE_KEY, "EdDSA")], ids=["EdDSA", "ES256"]
)
async def test_a_key_verifies_by_its_own_algorithm_only(key, claimed):
    card = forged(whole_card(), claimed, key.sign, key.public.kid)
    with pytest.raises(CardError) as refused:
        await verify_card(card, Pinned([key.public]))
    assert refusal(refused) is CardFault.ALGORITHM


@pytest.mark.parametrize("signature", [b"", bytes(64), b"\xff" * 64, bytes(63), bytes(65)])
@pytest.mark.parametrize("key", [KEY, CURVE_KEY], ids=["EdDSA", "ES256"])
async def test_an_empty_signature_is_none(key, signature):
    card = forged(whole_card(), str(key.public.algorithm), lambda _: signature, key.public.kid)
    with pytest.raises(CardError) as refused:
        await verify_card(card, Pinned([key.public]))
    assert refusal(refused) is CardFault.BAD_SIGNATURE


@pytest.mark.parametrize(
    "kid",
    ["../logo.svg", "../../etc/passwd", "/dev/null", "file:///x", "' OR 1=1 --", "https://evil.example/k", "%s%n"],
)  # fmt: skip
async def test_a_kid_is_a_name_and_never_a_path(kid, tmp_path, monkeypatch):
    """A key provider that opens `keys/<kid>` can be led to a file that the attacker knows, or put there."""
    known = b"<svg>anybody can fetch this from the agent's own web page</svg>"
    (tmp_path / "keys").mkdir()
    (tmp_path / "logo.svg").write_bytes(known)
    card = forged(whole_card(), "HS256", lambda data: hmac.digest(known, data, hashlib.sha256), kid)
    if kid == "../logo.svg":
        create_signature_verifier(
            lambda name, _: (tmp_path / "keys" / name).read_bytes(), ["EdDSA", "HS256"]
        )(card)
    asked = []

    async def fetch(url):
        asked.append(url)
        return json.dumps(key_set((KEY.public,))).encode()

    monkeypatch.chdir(tmp_path / "keys")
    signed = forged(whole_card(), "EdDSA", SigningKey.make().sign, kid)
    for trust in (Pinned([KEY.public]), Jwks(["https://keys.example/a"], fetch), Tofu()):
        with pytest.raises(CardError) as refused:
            await verify_card(signed, trust, peer=PEER)
        assert refusal(refused) is CardFault.UNKNOWN_KEY
    assert asked == ["https://keys.example/a"]


async def test_a_jku_of_the_attacker_is_never_fetched():
    attacker = SigningKey.make(CardAlgorithm.ES256, kid="key-1")
    evil = "https://evil.example/jwks.json"
    spoofed = without_jwk(attacker, jku=evil)
    web = {evil: key_set((attacker.public,))}

    def naive_provider(kid, jku):
        return next(PyJWK(one) for one in web[jku]["keys"] if one["kid"] == kid)

    # The attack: the card itself says where the key lies that vouches for it.
    create_signature_verifier(naive_provider, ["ES256"])(spoofed)

    asked = []

    async def fetch(url):
        asked.append(url)
        return json.dumps(web[url]).encode()

    allowed = ["https://keys.example/jwks.json"]
    for trust in (Jwks(allowed, fetch), Tofu(fetch=fetch), Tofu(fetch=fetch, jku_allowed=allowed)):
        with pytest.raises(CardError) as refused:
            await verify_card(spoofed, trust, peer=PEER)
        assert refusal(refused) is CardFault.FOREIGN_KEY_SET
    assert asked == []


@pytest.mark.parametrize(
    "jku",
    [
        "https://keys.example.evil.example/good/a",
        "https://keys.example@evil.example/good/a",
        "https://keys.example\\@evil.example/good/a",
        "https://evil.example/https://keys.example/good/a",
        "https://keys.example:444/good/a",
        "http://keys.example/good/a",
        "https://keys.example/good/../evil/a",
        "https://keys.example/good/%2e%2e/evil/a",
        "https://keys.example/good/a?next=https://evil.example",
        "https://keys.example/good/\nevil",
        "//keys.example/good/a",
        "https://KEYS.example/Good/a",
    ],
)
async def test_a_jku_that_only_looks_allowed_is_not_fetched(jku):
    async def fetch(url):
        pytest.fail(f"{url} was fetched")

    card = without_jwk(SigningKey.make(CardAlgorithm.ES256), jku=jku)
    with pytest.raises(CardError) as refused:
        await verify_card(card, Jwks(["https://keys.example/good/"], fetch))
    assert refusal(refused) is CardFault.FOREIGN_KEY_SET


async def test_an_old_card_is_not_shown_again():
    """A genuine card of before, with Noise not yet in it or an old key, replayed by somebody between."""
    keys = AgentKeys.ephemeral()
    old = keys.sign(whole_card())
    rotated = keys.rotate()
    trust = Tofu()
    await verify_card(old, trust, peer=PEER)
    await verify_card(rotated.sign(whole_card()), trust, peer=PEER)
    for public in keys.public:
        officially_verified(old, public)
    with pytest.raises(CardError) as refused:
        await verify_card(old, trust, peer=PEER)
    assert refusal(refused) is CardFault.OLDER


async def test_terms_cannot_be_taken_out_of_a_header():
    signed = sign_card(whole_card(), KEY, epoch=5)
    bare = with_header(signed, **{"urn:hive-a2a:card:1": ...})
    with pytest.raises(CardError) as refused:
        await verify_card(bare, Pinned([KEY.public]))
    assert refusal(refused) is CardFault.BAD_SIGNATURE


def test_the_plain_verifier_refuses_what_it_covers():
    """So that the attacks above succeed for the reason they name."""
    signed = sign_card(whole_card(), KEY)
    officially_verified(signed, KEY.public)
    signed.name = "other"
    with pytest.raises(SignatureVerificationError):
        officially_verified(signed, KEY.public)
