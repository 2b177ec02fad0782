"""Cards signed here verify in the official Python SDK, and the other way round; both write them alike."""

import json

import pytest
from a2a.types import AgentCard
from a2a.utils.signing import (
    SignatureVerificationError,
    create_agent_card_signer,
    create_signature_verifier,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt import PyJWK
from jwt.api_jws import PyJWS
from tests.cards_rig import PEER, refusal, whole_card

from hive_a2a.base64url import to_base64url_text
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jcs import canonical_card, canonical_json
from hive_a2a.cards.jwk import CardAlgorithm
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.policies import Pinned, Tofu, Unsigned
from hive_a2a.cards.reading import decode_base64url
from hive_a2a.cards.sign import SigningKey, sign_card
from hive_a2a.cards.verify import verify_card

pytestmark = pytest.mark.anyio
ALGORITHMS = pytest.mark.parametrize("algorithm", list(CardAlgorithm))


def official_verifier(*keys):
    by_kid = {key.kid: PyJWK(key.jwk()) for key in keys}
    return create_signature_verifier(lambda kid, jku: by_kid[kid], ["EdDSA", "ES256"])


def official_signer(key, kid="official"):
    return create_agent_card_signer(
        key.pem(), {"alg": str(key.public.algorithm), "kid": kid, "jku": None, "typ": "JOSE"}
    )


@ALGORITHMS
async def test_cards_signed_here_verify_there(algorithm):
    key = SigningKey.make(algorithm)
    signed = sign_card(whole_card(), key, jku="https://agent.example/keys")
    official_verifier(key.public)(signed)
    signed.version = "9"
    with pytest.raises(SignatureVerificationError):
        official_verifier(key.public)(signed)


async def test_cards_of_a_rotation_verify_there_by_either_key():
    keys = AgentKeys.ephemeral(tuple(CardAlgorithm)).rotate()
    signed = keys.sign(whole_card())
    for at, public in enumerate(keys.public):
        alone = AgentCard()
        alone.CopyFrom(signed)
        del alone.signatures[:]
        alone.signatures.add().CopyFrom(signed.signatures[at])
        official_verifier(public)(alone)


@ALGORITHMS
async def test_cards_signed_there_verify_here(algorithm):
    key = SigningKey.make(algorithm, kid="official")
    signed = official_signer(key)(whole_card())
    verdict = await verify_card(signed, Pinned([key.public]))
    assert verdict.kid == "official"
    assert not verdict.exact
    assert verdict.epoch == 0
    signed.skills[0].name = "other"
    with pytest.raises(CardError) as refused:
        await verify_card(signed, Pinned([key.public]))
    assert refusal(refused) is CardFault.BAD_SIGNATURE


async def test_a_foreign_owner_cannot_go_back_to_plain_cards():
    key = SigningKey.make(CardAlgorithm.ES256, kid="official")

    async def fetch(url):
        return json.dumps({"keys": [key.public.jwk()]}).encode()

    trust = Unsigned(Tofu(fetch=fetch))
    await verify_card(official_signer(key)(whole_card()), trust, peer=PEER)
    with pytest.raises(CardError) as refused:
        await verify_card(whole_card(), trust, peer=PEER)
    assert refusal(refused) is CardFault.STRIPPED


def test_cards_with_empty_required_members_are_written_alike():
    """They are not signed here, and yet verified as they were signed elsewhere."""
    key = SigningKey.make(CardAlgorithm.ES256, kid="official")
    for changes in ({"description": ""}, {"capabilities": {}}, {"skills": [], "version": ""}):
        signed = official_signer(key)(whole_card(**changes))
        assert _payload_of(signed, key) == canonical_card(signed)


def _payload_of(signed, key):
    """Return our canonical bytes where the official signature is over them."""
    payload = canonical_card(signed)
    one = signed.signatures[0]
    token = f"{one.protected}.{to_base64url_text(payload)}.{one.signature}"
    return PyJWS().decode(token, PyJWK(key.public.jwk()), algorithms=["ES256"])


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
PARAMS = st.recursive(
    st.none() | st.booleans() | TEXT | st.floats(-1e15, 1e15) | st.integers(-(10**15), 10**15),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
KEY = SigningKey.make(CardAlgorithm.EDDSA, kid="official")


@settings(max_examples=150, deadline=None)
@given(
    name=TEXT.filter(bool), params=st.dictionaries(TEXT, PARAMS, max_size=4), tags=st.lists(TEXT)
)
def test_generated_cards_are_written_alike(name, params, tags):
    card = whole_card(name=name)
    card.capabilities.extensions[0].params.Clear()
    card.capabilities.extensions[0].params.update(params)
    card.skills[0].tags.extend(tags)
    official_verifier(KEY.public)(sign_card(card, KEY))
    signed = official_signer(KEY)(card)
    one = signed.signatures[0]
    data = f"{one.protected}.{to_base64url_text(canonical_card(signed))}".encode()
    assert KEY.public.verifies(decode_base64url(one.signature, "It"), data)


def test_a_signature_of_ours_is_plain_jws():
    signed = sign_card(whole_card(), KEY)
    one = signed.signatures[0]
    token = f"{one.protected}.{to_base64url_text(canonical_card(signed))}.{one.signature}"
    read = PyJWS().decode_complete(token, PyJWK(KEY.public.jwk()), algorithms=["EdDSA"])
    assert read["payload"] == canonical_card(signed)
    assert read["header"] == json.loads(canonical_json(read["header"]))
