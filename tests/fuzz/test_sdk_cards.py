"""Made-up bytes for everything that reads a stranger's card: `CardError` comes out, and nothing else."""

import json

import anyio
import pytest
from a2a.types import AgentCard

from hive_a2a.base64url import to_base64url_text
from hive_a2a.cards.describe import card_json, described
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.files import write_private
from hive_a2a.cards.jcs import canonical_json, card_hash
from hive_a2a.cards.jwk import CardAlgorithm, key_set, read_jwk, read_key_set
from hive_a2a.cards.keys import FILE_NAME, AgentKeys
from hive_a2a.cards.noise_params import NoiseParams
from hive_a2a.cards.policies import Pinned, Tofu
from hive_a2a.cards.reading import CardLimits, decode_base64url, read_object
from hive_a2a.cards.resolve import check_places, read_card
from hive_a2a.cards.sign import SigningKey, sign_card
from hive_a2a.cards.spiffe import SpiffeBundle
from hive_a2a.cards.trust import FileTrust
from hive_a2a.cards.verify import read_signed, verify_card
from hive_a2a.origins import beneath, is_loopback, origin_of
from hive_a2a.policy import Policy
from tests.cards_rig import PEER, SetClock, whole_card
from tests.fuzz.mutator import fuzz
from tests.unit.test_sdk_cards_resolve import OLD_CARD
from tests.unit.test_sdk_cards_spiffe import ID, NOW, Authority

pytestmark = pytest.mark.fuzz
KEYS = AgentKeys.ephemeral(tuple(CardAlgorithm))
SIGNED = KEYS.sign(
    described(whole_card(), policy=Policy.open(), noise=NoiseParams(static_key=KEYS.noise.public)),
    jku="https://agent.example/.well-known/jwks.json",
)
HEADER = decode_base64url(SIGNED.signatures[0].protected, "header")


def now(call, *args, **more):
    """Run what never waits."""

    async def run():
        return await call(*args, **more)

    return anyio.run(run)


def test_cards():
    trust = Tofu()

    def taken(data):
        card = read_card(data)
        read_signed(card)
        card_hash(card)
        verdict = now(verify_card, card, Pinned(KEYS.public))
        check_places(card, PEER, verdict)
        # Whatever is taken by a pinned key is the card that was signed.
        assert card_hash(card) == card_hash(SIGNED)

    taken(card_json(SIGNED))
    fuzz([card_json(SIGNED)], taken, allowed=CardError)
    fuzz(
        [card_json(SIGNED), json.dumps(OLD_CARD).encode()],
        lambda data: now(verify_card, read_card(data), trust, peer=PEER),
        allowed=CardError,
    )


def test_headers_of_signatures():
    def read(data):
        card = AgentCard()
        card.signatures.add(protected=to_base64url_text(data), signature="AAAA")
        read_signed(card)

    fuzz([HEADER], read, allowed=CardError)


def test_key_sets():
    good = json.dumps(key_set(KEYS.public)).encode()
    fuzz([good], read_key_set, allowed=CardError)
    fuzz(
        [json.dumps(key.jwk()).encode() for key in KEYS.public],
        lambda data: read_jwk(read_object(data, CardLimits(), "It")),
        allowed=CardError,
    )


def test_json_and_its_canonical_form():
    def same(data):
        value = read_object(data, CardLimits(), "It")
        written = canonical_json(value)
        assert canonical_json(json.loads(written, parse_int=float)) == written

    fuzz([card_json(SIGNED), b'{"a": [1, 2.5, 1e300, "\\u20ac", null]}'], same, allowed=CardError)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_certificates_in_a_header():
    authority = Authority()
    svid = authority.svid()
    trust = SpiffeBundle(bundle=lambda: [authority.certificate], spiffe_id=ID, clock=SetClock(NOW))

    def taken(der):
        key = SigningKey.of(svid.private, certificates=[der])
        now(verify_card, sign_card(whole_card(), key), trust)

    taken(svid.certificates[0])
    fuzz(svid.certificates, taken, allowed=CardError)


def test_addresses():
    def read(data):
        url = data.decode("utf-8", "surrogateescape")
        if not origin_of(url):
            raise CardError(CardFault.MALFORMED, "no origin")
        is_loopback(url)
        assert not beneath(url, "https://other.example/")
        assert origin_of(origin_of(url)) == origin_of(url)

    good = [b"https://agent.example:8443/a/b.json", b"http://[::1]:80/", b"http://127.0.0.1/x"]
    fuzz(good, read, allowed=CardError)


def test_files_of_trust_and_keys(tmp_path):
    path = tmp_path / "trust.json"
    now(verify_card, SIGNED, Tofu(FileTrust(path)), peer=PEER)

    def trusted(data):
        write_private(path, data)
        now(FileTrust(path).get, PEER)

    fuzz([path.read_bytes()], trusted, allowed=CardError)
    AgentKeys.load_or_make(tmp_path).rotate()
    keys_path = tmp_path / FILE_NAME

    def loaded(data):
        write_private(keys_path, data)
        AgentKeys.load_or_make(tmp_path).sign(whole_card())

    fuzz([keys_path.read_bytes()], loaded, allowed=CardError)
