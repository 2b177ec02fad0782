"""Cards signed here verify in the official JavaScript SDK, and the other way round; needs node and npm."""

import json
import shutil
from pathlib import Path

import anyio
import pytest
from tests.cards_rig import as_dict, from_dict, refusal, whole_card
from tests.interop.test_a2a_javascript_client import program  # noqa: F401 - a fixture

from hive_a2a.cards.describe import card_json, described
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jcs import canonical_card
from hive_a2a.cards.jwk import CardAlgorithm, read_jwk
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.noise_params import NoiseParams
from hive_a2a.cards.policies import Pinned
from hive_a2a.cards.resolve import read_card
from hive_a2a.cards.sign import SigningKey, sign_card
from hive_a2a.cards.verify import verify_card
from hive_a2a.policy import Policy

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent / "js"
BOTH = (CardAlgorithm.EDDSA, CardAlgorithm.ES256)


@pytest.fixture
def ask(program):  # noqa: F811
    script = shutil.copy(HERE / "cards.mjs", program.parent)

    async def asked(**request):
        with anyio.fail_after(60):
            done = await anyio.run_process(
                ["node", str(script)], input=json.dumps(request).encode(), check=False
            )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return asked


def served(keys, **changes):
    card = described(
        whole_card(**changes),
        policy=Policy.open(),
        schemes={"token": {"httpAuthSecurityScheme": {"scheme": "Bearer"}}},
        noise=NoiseParams(static_key=keys.noise.public, epoch=keys.epoch),
    )
    return keys.sign(card, jku="https://agent.example/.well-known/jwks.json")


async def test_cards_signed_here_verify_there_and_altered_ones_do_not(ask):
    keys = AgentKeys.ephemeral(BOTH).rotate()
    cases = []
    for public in keys.public:
        # One known key at a time, so that each signature is what counts.
        good = json.loads(card_json(served(keys)))
        cases.append((good, public, True))
        cases.append(({**good, "name": "other"}, public, False))
    for algorithm in BOTH:
        key = SigningKey.make(algorithm)
        cases.append((as_dict(sign_card(whole_card(), key)), key.public, True))
        cases.append((as_dict(sign_card(whole_card(), key)), SigningKey.make().public, False))
    said = await ask(verify=[{"card": card, "keys": [public.jwk()]} for card, public, _ in cases])
    assert said["verified"] == [good for _, _, good in cases]
    for (card, _, _), canonical in zip(cases, said["canonical"], strict=True):
        assert canonical == canonical_card(read_card(json.dumps(card).encode())).decode()


async def test_cards_signed_there_verify_here_and_altered_ones_do_not(ask):
    wanted = [
        {"card": as_dict(whole_card()), "alg": alg, "kid": f"js-{alg}"}
        for alg in ("EdDSA", "ES256")
    ]
    said = await ask(sign=wanted)
    assert len(said["signed"]) == 2
    for one, asked in zip(said["signed"], wanted, strict=True):
        card = from_dict(one["card"])
        key = read_jwk(one["key"])
        verdict = await verify_card(card, Pinned([key]))
        assert verdict.kid == asked["kid"]
        # Empty members are left out of that signature, and the verdict does not claim otherwise.
        assert not verdict.exact
        card.description = "other"
        with pytest.raises(CardError) as refused:
            await verify_card(card, Pinned([key]))
        assert refusal(refused) is CardFault.BAD_SIGNATURE


async def test_what_its_own_form_leaves_out_of_a_signature_verifies_nowhere(ask):
    """The SDK loses the security schemes where it signs its inner form; both sides refuse that card."""
    card = as_dict(whole_card())
    plain = {name: value for name, value in card.items() if name != "securitySchemes"}
    said = await ask(
        sign=[{"card": one, "alg": "ES256", "kid": "k", "inner": True} for one in (card, plain)]
    )
    there = await ask(
        verify=[{"card": one["card"], "keys": [one["key"]]} for one in said["signed"]]
    )
    assert there["verified"] == [False, True]
    lost, whole = said["signed"]
    assert (await verify_card(from_dict(whole["card"]), Pinned([read_jwk(whole["key"])]))).signed
    with pytest.raises(CardError) as refused:
        await verify_card(from_dict(lost["card"]), Pinned([read_jwk(lost["key"])]))
    assert refusal(refused) is CardFault.BAD_SIGNATURE
