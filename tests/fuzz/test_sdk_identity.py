"""Made-up tokens, proofs, keys and ids: refused in the declared way, whatever they are."""

import hashlib
import json

import anyio
import pytest

from hive_a2a.base64url import to_base64url_text
from hive_a2a.errors import A2AError
from hive_a2a.faults import WireFault
from hive_a2a.identity.bearer import JwtBearer
from hive_a2a.identity.dpop import DpopVerifier
from hive_a2a.identity.jwks import read_keys
from hive_a2a.identity.jws import (
    BadTokenError,
    check_times,
    load_object,
    parse_compact,
    public_key,
    thumbprint,
)
from hive_a2a.identity.proof import public_jwk, signed_compact
from hive_a2a.identity.svid import BadSvidError, trust_domain
from tests.fuzz.mutator import fuzz
from tests.identity_rig import (
    AUDIENCE,
    ISSUER,
    JWKS,
    KEY,
    NOW,
    OTHER_KEY,
    URL,
    StandingClock,
    claims,
    head,
    token,
)

pytestmark = [pytest.mark.fuzz, pytest.mark.anyio]
JKT = thumbprint(public_jwk(OTHER_KEY))
BOUND = token(cnf={"jkt": JKT})


class EveryUse:
    """Takes every proof for new: what is looked for here is a crash, not a replay."""

    async def first_use(self, owner: str, nonce: str, *, for_s: float) -> bool:
        return True


def run(bearer: JwtBearer, authorization: str, **more) -> None:
    async def once() -> None:
        assert await bearer.identify(head(authorization, **more)) is not None

    coroutine = once()
    try:
        coroutine.send(None)  # nothing in it waits, so no loop is needed
    except StopIteration:
        return
    raise AssertionError("it waited")


def test_tokens():
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=StandingClock())
    good = [token().encode(), token(aud=["x", AUDIENCE]).encode()]
    fuzz(
        good,
        lambda data: run(bearer, "Bearer " + data.decode("latin-1")),
        allowed=WireFault,
    )


def test_claims_that_are_well_signed():
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=StandingClock(), kept_max=16)

    def target(data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            raise BadTokenError("not JSON") from None
        text = signed_compact({"alg": "ES256", "kid": "k1"}, document, KEY)
        run(bearer, f"Bearer {text}")

    good = [json.dumps(claims()).encode(), json.dumps(claims(nbf=1, aud=[AUDIENCE])).encode()]
    fuzz(good, target, allowed=(WireFault, BadTokenError))


def test_proofs():
    clock = StandingClock()
    bearer = JwtBearer(
        ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(used=EveryUse(), clock=clock), clock=clock
    )
    top = {"typ": "dpop+jwt", "alg": "ES256", "jwk": public_jwk(OTHER_KEY)}
    body = {
        "jti": "once",
        "htm": "POST",
        "htu": URL,
        "iat": int(NOW.timestamp()),
        "ath": to_base64url_text(hashlib.sha256(BOUND.encode()).digest()),
    }

    def target(data: bytes) -> None:
        try:
            header, claimed = json.loads(data)
            text = signed_compact(header, claimed, OTHER_KEY)
        except (ValueError, TypeError, RecursionError):
            text = data.decode("latin-1")
        run(bearer, f"DPoP {BOUND}", headers={"dpop": text})

    good = [json.dumps([top, body]).encode(), signed_compact(top, body, OTHER_KEY).encode()]
    fuzz(good, target, allowed=WireFault)


def test_key_sets():
    good = [json.dumps(JWKS).encode(), json.dumps({"keys": [public_jwk(OTHER_KEY)] * 2}).encode()]

    def target(data: bytes) -> None:
        for key in read_keys(load_object(data)):
            key.verifies(parse_compact(token()), frozenset({"ES256"}))

    fuzz(good, target, allowed=A2AError)


def test_keys_and_thumbprints():
    good = [json.dumps(public_jwk(KEY)).encode()]

    def target(data: bytes) -> None:
        jwk = load_object(data)
        public_key(jwk)
        assert len(thumbprint(jwk)) == 43

    fuzz(good, target, allowed=BadTokenError)


def test_times():
    good = [b'{"exp": 1800000000, "nbf": 1, "iat": 1}']
    fuzz(good, lambda data: check_times(load_object(data), 1.7e9, 60), allowed=BadTokenError)


def test_ids():
    good = [b"spiffe://hive.example/a/b", b"spiffe://hive.example"]
    fuzz(good, lambda data: trust_domain(data.decode("latin-1")), allowed=BadSvidError)


def test_the_harness_runs_the_good_ones():
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=StandingClock())
    run(bearer, f"Bearer {token()}")
    with pytest.raises(WireFault):
        run(bearer, "Bearer x")
    assert anyio.run(bearer.identify, head(f"Bearer {token()}"))
