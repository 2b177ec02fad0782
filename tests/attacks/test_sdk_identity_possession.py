"""Stolen tokens and overheard proofs: worth nothing without the key or certificate, and nothing twice."""

import hashlib

import pytest

from hive_a2a.base64url import to_base64url_text
from hive_a2a.identity.bearer import JwtBearer
from hive_a2a.identity.dpop import DpopNonces, DpopVerifier
from hive_a2a.identity.jws import parse_compact
from hive_a2a.identity.once import MemoryOnce
from hive_a2a.identity.proof import DpopKey, public_jwk, signed_compact
from tests.identity_rig import (
    AUDIENCE,
    ISSUER,
    JWKS,
    KEY,
    OTHER_KEY,
    URL,
    StandingClock,
    challenge_of,
    head,
    hs256,
    refusal,
    token,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
def holder(clock):
    return DpopKey(OTHER_KEY, clock=clock)


@pytest.fixture
def bearer(clock):
    return JwtBearer(ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(clock=clock), clock=clock)


@pytest.fixture
def bound(holder):
    return token(cnf={"jkt": holder.jkt})


def with_proof(bound: str, proof: str, **more):
    return head(f"DPoP {bound}", headers={"dpop": proof}, **more)


def proof_of(holder_claims: dict, key=OTHER_KEY, **header) -> str:
    top = {"typ": "dpop+jwt", "alg": "ES256", "jwk": public_jwk(key), **header}
    return signed_compact({k: v for k, v in top.items() if v is not ...}, holder_claims, key)


def good_claims(bound: str, clock, **changes) -> dict:
    good = {
        "jti": "once",
        "htm": "POST",
        "htu": URL,
        "iat": int(clock.now().timestamp()),
        "ath": to_base64url_text(hashlib.sha256(bound.encode()).digest()),
        **changes,
    }
    return {k: v for k, v in good.items() if v is not ...}


async def test_a_proof_is_accepted_once(bearer, holder, bound):
    request = with_proof(bound, holder.proof("POST", URL, token=bound))
    assert (await bearer.identify(request)).name == f"bearer:{ISSUER}#alice"
    assert "used before" in (await refusal(bearer.identify(request))).message


async def test_without_the_memory_the_replay_would_pass(clock, holder, bound):
    class Forgetful:
        async def first_use(self, owner, nonce, *, for_s):
            return True

    bearer = JwtBearer(
        ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(used=Forgetful(), clock=clock), clock=clock
    )
    request = with_proof(bound, holder.proof("POST", URL, token=bound))
    assert await bearer.identify(request)
    assert await bearer.identify(request)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"htu": "https://other.example/rpc"}, "another address"),
        ({"htu": "https://agent.example/other"}, "another address"),
        ({"htu": "http://agent.example/rpc"}, "another address"),
        ({"htu": "https://agent.example:8443/rpc"}, "another address"),
        ({"htu": "https://agent.example%2Frpc"}, "another address"),
        ({"htu": "https://user@agent.example/rpc"}, "names no address"),
        ({"htu": "https://agent.example:x/rpc"}, "names no address"),
        ({"htu": ...}, "names no address"),
        ({"htu": 7}, "names no address"),
        ({"htm": "GET"}, "another method"),
        ({"htm": "post"}, "another method"),
        ({"htm": ...}, "another method"),
        ({"iat": 1}, "not from now"),
        ({"iat": 1_780_315_200 + 3600}, "not from now"),
        ({"iat": 1_780_315_200 - 61}, "not from now"),
        ({"iat": ...}, "not a number"),
        ({"iat": True}, "not a number"),
        ({"ath": ...}, "another token"),
        ({"ath": to_base64url_text(hashlib.sha256(b"other").digest())}, "another token"),
        ({"jti": ...}, "no identifier"),
        ({"jti": ""}, "no identifier"),
        ({"jti": "x" * 300}, "no identifier"),
    ],
)
async def test_a_proof_for_something_else_is_refused(bearer, bound, clock, changes, reason):
    fault = await refusal(
        bearer.identify(with_proof(bound, proof_of(good_claims(bound, clock, **changes))))
    )
    assert fault.status == 401
    assert reason in fault.message
    assert challenge_of(fault).startswith('DPoP error="invalid_dpop_proof"')
    # The same proof without the fault passes, so it is this fault that was refused.
    assert await bearer.identify(with_proof(bound, proof_of(good_claims(bound, clock))))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "JWT"}, "not of type"),
        ({"typ": ...}, "not of type"),
        ({"jwk": ...}, "carries no key"),
        ({"jwk": "k1"}, "carries no key"),
        ({"jwk": {**public_jwk(OTHER_KEY), "d": "AAAA"}}, "not a public key"),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, "not a public key"),
        ({"jwk": {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}}, "cannot be read"),
        ({"jwk": public_jwk(KEY)}, "signature is not valid"),
        ({"alg": "none"}, "signature is not valid"),
        ({"jku": "https://evil.example"}, "its own key"),
        ({"crit": ["x"]}, "its own key"),
    ],
)
async def test_a_proof_with_an_odd_header_is_refused(bearer, bound, clock, header, reason):
    odd = proof_of(good_claims(bound, clock), **header)
    fault = await refusal(bearer.identify(with_proof(bound, odd)))
    assert reason in fault.message


async def test_a_proof_is_not_an_hmac_with_the_key_that_it_carries(bearer, bound, clock):
    top = {"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": to_base64url_text(b"k")}}
    forged = hs256(top, good_claims(bound, clock), b"k")
    assert (await refusal(bearer.identify(with_proof(bound, forged)))).status == 401


async def test_the_thief_signs_with_a_key_of_its_own(bearer, bound, clock):
    forged = proof_of(good_claims(bound, clock), KEY)
    assert "another key" in (await refusal(bearer.identify(with_proof(bound, forged)))).message


async def test_a_bound_token_is_no_bearer_token(bearer, bound):
    assert parse_compact(bound).claims["cnf"]
    assert "proof is needed" in (await refusal(bearer.identify(head(f"Bearer {bound}")))).message
    assert "proof is needed" in (await refusal(bearer.identify(head(f"DPoP {bound}")))).message


async def test_a_server_without_dpop_refuses_what_it_cannot_check(clock, bound):
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=clock)
    for word in ("Bearer", "DPoP"):
        assert (await refusal(bearer.identify(head(f"{word} {bound}")))).status == 401
    assert await bearer.identify(head(f"Bearer {token()}"))


@pytest.mark.parametrize("cnf", [{}, [], "x", {"kid": "k"}, {"jkt": "x", "kid": "k"}, {"jkt": 7}])
async def test_a_binding_that_cannot_be_checked_is_not_passed_over(bearer, cnf):
    assert (await refusal(bearer.identify(head(f"Bearer {token(cnf=cnf)}")))).status == 401


async def test_an_unbound_token_does_not_pass_as_a_bound_one(bearer, holder):
    plain = token()
    request = with_proof(plain, holder.proof("POST", URL, token=plain))
    assert "not bound" in (await refusal(bearer.identify(request))).message


async def test_a_server_can_insist_on_bound_tokens(clock, holder, bound):
    bearer = JwtBearer(
        ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(clock=clock), bound=True, clock=clock
    )
    assert "not bound" in (await refusal(bearer.identify(head(f"Bearer {token()}")))).message
    assert await bearer.identify(with_proof(bound, holder.proof("POST", URL, token=bound)))


async def test_a_certificate_bound_token_is_worth_nothing_on_another_connection(clock):
    own, other = hashlib.sha256(b"own").digest(), hashlib.sha256(b"other").digest()
    bound = token(cnf={"x5t#S256": to_base64url_text(own)})
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=clock)
    assert await bearer.identify(head(f"Bearer {bound}", certificate_sha256=own))
    for shown in (other, b""):
        fault = await refusal(bearer.identify(head(f"Bearer {bound}", certificate_sha256=shown)))
        assert "another TLS certificate" in fault.message
    odd = token(cnf={"x5t#S256": ""})
    assert (await refusal(bearer.identify(head(f"Bearer {odd}")))).status == 401
    odd = token(cnf={"x5t#S256": 7})
    request = head(f"Bearer {odd}", certificate_sha256=own)
    assert (await refusal(bearer.identify(request))).status == 401


async def test_both_bindings_must_hold(bearer, holder):
    own = hashlib.sha256(b"own").digest()
    bound = token(cnf={"x5t#S256": to_base64url_text(own), "jkt": holder.jkt})
    proof = holder.proof("POST", URL, token=bound)
    assert (await refusal(bearer.identify(with_proof(bound, proof)))).status == 401
    assert await bearer.identify(with_proof(bound, proof, certificate_sha256=own))
    only_certificate = token(cnf={"x5t#S256": to_base64url_text(own)})
    request = with_proof(
        only_certificate,
        holder.proof("POST", URL, token=only_certificate),
        certificate_sha256=own,
    )
    assert "not bound to a key" in (await refusal(bearer.identify(request))).message


async def test_a_proof_made_in_advance_lacks_the_nonce(clock, holder, bound):
    nonces = DpopNonces(clock=clock)
    bearer = JwtBearer(
        ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(nonces=nonces, clock=clock), clock=clock
    )
    early = with_proof(bound, holder.proof("POST", URL, token=bound))
    fault = await refusal(bearer.identify(early))
    assert 'error="use_dpop_nonce"' in challenge_of(fault)
    given = dict(fault.headers)[b"dpop-nonce"].decode()
    assert holder.heard(URL, given)
    assert await bearer.identify(with_proof(bound, holder.proof("POST", URL, token=bound)))
    clock.passed_s = 120
    assert await bearer.identify(with_proof(bound, holder.proof("POST", URL, token=bound)))
    clock.passed_s = 240
    late = with_proof(bound, holder.proof("POST", URL, token=bound))
    assert 'error="use_dpop_nonce"' in challenge_of(await refusal(bearer.identify(late)))
    assert not nonces.accepts(7)


async def test_a_full_memory_refuses_instead_of_forgetting(clock):
    once = MemoryOnce(entries_max=3, per_owner_max=2, clock=clock)
    assert await once.first_use("a", "1", for_s=60)
    assert not await once.first_use("a", "1", for_s=60)
    assert await once.first_use("a", "2", for_s=60)
    fault = await refusal(once.first_use("a", "3", for_s=60))
    assert (fault.status, fault.retry_after_s) == (429, 60)
    assert await once.first_use("b", "1", for_s=60)
    assert (await refusal(once.first_use("c", "1", for_s=60))).status == 429
    assert not await once.first_use("a", "1", for_s=60)
    clock.passed_s = 60
    assert await once.first_use("a", "1", for_s=60)
    assert len(once) == 1


async def test_two_authenticators_share_one_memory(clock, holder, bound):
    once = MemoryOnce(clock=clock)
    bearers = [
        JwtBearer(
            ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(used=once, clock=clock), clock=clock
        )
        for _ in range(2)
    ]
    request = with_proof(bound, holder.proof("POST", URL, token=bound))
    assert await bearers[0].identify(request)
    assert "used before" in (await refusal(bearers[1].identify(request))).message
