"""The served card says what is really on, whatever its author wrote."""

import json

import pytest
from a2a.types import AgentInterface

from hive_a2a.cards.describe import card_etag, card_json, described, etag_matches
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jcs import empty_required
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.noise_params import NOISE_URI, NoiseParams, noise_of, put_noise
from hive_a2a.cards.policies import Pinned
from hive_a2a.cards.resolve import read_card
from hive_a2a.cards.verify import verify_card
from hive_a2a.policy import POLICY_URI, Policy, Sealing
from hive_a2a.ports import Stage
from tests.cards_rig import as_dict, refusal, whole_card

pytestmark = pytest.mark.anyio
SCHEMES = {
    "token": {"httpAuthSecurityScheme": {"scheme": "Bearer"}},
    "mtls": {"mtlsSecurityScheme": {}},
}
NOISE = NoiseParams(static_key=b"k" * 32, epoch=2)


def extension(card, uri):
    found = [one for one in card.capabilities.extensions if one.uri == uri]
    assert len(found) <= 1
    return found[0] if found else None


def test_schemes_are_those_that_are_on_and_any_suffices():
    served = described(whole_card(), policy=Policy.secure(), schemes=SCHEMES)
    assert set(served.security_schemes) == {"token", "mtls"}
    assert as_dict(served)["securityRequirements"] == [
        {"schemes": {"token": {}}},
        {"schemes": {"mtls": {}}},
    ]
    assert not served.skills[0].security_requirements
    assert served.security_schemes["mtls"].HasField("mtls_security_scheme")


def test_an_open_server_says_that_nothing_need_be_shown():
    served = described(whole_card(), policy=Policy.open(), schemes=SCHEMES)
    assert as_dict(served)["securityRequirements"][-1] == {}
    assert not described(whole_card(), policy=Policy.open()).security_requirements


def test_without_authentication_no_scheme_is_promised():
    served = described(
        whole_card(), policy=Policy.secure().without(Stage.AUTHENTICATION), schemes=SCHEMES
    )
    assert not served.security_schemes
    assert not served.security_requirements


@pytest.mark.parametrize("scheme", [{"nonsense": {}}, {"httpAuthSecurityScheme": 7}])
def test_a_scheme_that_the_standard_does_not_know_is_refused(scheme):
    with pytest.raises(CardError) as refused:
        described(whole_card(), policy=Policy.secure(), schemes={"odd": scheme})
    assert refusal(refused) is CardFault.MALFORMED


def test_every_weakening_is_in_the_card():
    policy = Policy.open().without(Stage.RATE, Stage.AUDIT)
    served = described(whole_card(), policy=policy)
    assert list(extension(served, POLICY_URI).params["weakened"]) == list(policy.weakened)
    assert policy.weakened
    secure = extension(described(whole_card(), policy=Policy.secure()), POLICY_URI)
    assert list(secure.params["weakened"]) == []


def test_what_the_author_wrote_of_policy_and_noise_is_replaced():
    card = whole_card()
    card.capabilities.extensions.add(uri=POLICY_URI, params={"weakened": []})
    put_noise(card, NoiseParams(static_key=b"x" * 32))
    card.signatures.add(protected="p", signature="s")
    served = described(card, policy=Policy.open().without(Stage.NOISE), noise=NOISE)
    assert extension(served, POLICY_URI).params["weakened"]
    assert extension(served, NOISE_URI) is None
    assert extension(served, "urn:example:odd") is not None
    assert not served.signatures
    assert card.signatures, "the given card was changed"


@pytest.mark.parametrize("sealing", [Sealing.OFFERED, Sealing.REQUIRED])
def test_noise_is_said_with_its_parameters(sealing):
    served = described(whole_card(), policy=Policy(sealing=sealing), noise=NOISE)
    said = noise_of(served)
    assert said.static_key == NOISE.static_key
    assert said.epoch == 2
    assert said.required is (sealing is Sealing.REQUIRED)


def test_noise_that_is_required_needs_its_parameters():
    with pytest.raises(CardError) as refused:
        described(whole_card(), policy=Policy(sealing=Sealing.REQUIRED))
    assert refusal(refused) is CardFault.KEYS
    assert noise_of(described(whole_card(), policy=Policy.secure())) is None


def test_capabilities_are_said_either_way():
    card = whole_card(capabilities={})
    assert empty_required(card) == ("capabilities",)
    served = described(card, policy=Policy.secure(), push=True)
    assert empty_required(served) == ()
    said = as_dict(served)["capabilities"]
    assert (said["streaming"], said["pushNotifications"], said["extendedAgentCard"]) == (
        False,
        True,
        False,
    )
    kept = as_dict(described(whole_card(), policy=Policy.secure(), extended=False))["capabilities"]
    assert (kept["streaming"], kept["extendedAgentCard"]) == (True, False)


def test_interfaces_are_replaced_where_given():
    one = AgentInterface(url="https://a/", protocol_binding="JSONRPC", protocol_version="1.0")
    served = described(whole_card(), policy=Policy.secure(), interfaces=[one])
    assert list(served.supported_interfaces) == [one]


async def test_a_described_card_is_signed_served_and_read_back_whole():
    keys = AgentKeys.ephemeral()
    served = described(whole_card(), policy=Policy.secure(), schemes=SCHEMES, noise=NOISE)
    wire = card_json(keys.sign(served))
    members = json.loads(wire)
    read = read_card(wire)
    assert (await verify_card(read, Pinned(keys.public))).exact
    assert members["supportedInterfaces"][0]["url"] == "https://agent.example/a"


def test_a_card_for_both_protocols_has_the_members_that_old_clients_look_for():
    offers = [
        {"url": "https://a/", "protocolBinding": "JSONRPC", "protocolVersion": version}
        for version in ("1.0", "0.3")
    ]
    members = json.loads(card_json(whole_card(supportedInterfaces=offers)))
    assert members["url"] == "https://a/"
    assert members["protocolVersion"] == "0.3"


def test_the_etag_changes_with_the_card_and_not_with_its_signatures():
    keys = AgentKeys.ephemeral()
    etag = card_etag(whole_card())
    assert card_etag(keys.sign(whole_card())) == etag
    assert card_etag(whole_card(version="2")) != etag
    assert etag_matches(etag, etag)
    assert etag_matches(f'"x", {etag.removeprefix("W/")}', etag)
    assert etag_matches("*", etag)
    assert not etag_matches('W/"x"', etag)
    assert not etag_matches("", etag)
