"""Access tokens of an attacker: each gets past a verifier that only checks the signature, and none past ours."""

import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from hive_a2a.base64url import from_base64url_text, to_base64url_text
from hive_a2a.errors import A2AError
from hive_a2a.identity.bearer import AnyBearer, JwtBearer
from hive_a2a.identity.jws import parse_compact
from hive_a2a.identity.proof import public_jwk
from tests.identity_rig import (
    AUDIENCE,
    ISSUER,
    JWKS,
    KEY,
    OTHER_KEY,
    Authority,
    StandingClock,
    challenge_of,
    head,
    hs256,
    issuer,
    public_pem,
    refusal,
    token,
)

pytestmark = pytest.mark.anyio
AT = 1_780_315_200


@pytest.fixture
def bearer():
    return JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=StandingClock())


def signature_alone(text: str, key=None) -> dict:
    """Verify as one does who forgets everything but the signature."""
    unchecked = {
        f"verify_{one}": False for one in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
    }
    return jwt.decode(text, key or KEY.public_key(), algorithms=["ES256"], options=unchecked)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "https://another-agent.example"}, "meant for somebody else"),
        ({"aud": ["https://a.example", "https://b.example"]}, "meant for somebody else"),
        ({"aud": []}, "meant for somebody else"),
        ({"aud": f"{AUDIENCE}/"}, "meant for somebody else"),
        ({"aud": ...}, "whom it is meant for"),
        ({"aud": [AUDIENCE, 1]}, "whom it is meant for"),
        ({"exp": AT - 3600}, "expired"),
        ({"exp": AT - 60}, "expired"),
        ({"exp": ...}, "no end"),
        ({"nbf": AT + 3600}, "not yet valid"),
        ({"iat": AT + 3600}, "not yet valid"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": f"{ISSUER}/"}, "another issuer"),
        ({"iss": ...}, "another issuer"),
        ({"sub": ...}, "no subject"),
        ({"sub": ""}, "no subject"),
        ({"sub": "a\nb"}, "no subject"),
    ],
)
async def test_a_well_signed_token_that_is_not_for_here_or_now_is_refused(bearer, changes, reason):
    stolen = token(**changes)
    assert signature_alone(stolen)
    fault = await refusal(bearer.identify(head(f"Bearer {stolen}")))
    assert fault.status == 401
    assert reason in fault.message
    assert challenge_of(fault).startswith('Bearer error="invalid_token"')


async def test_the_same_token_without_the_fault_is_accepted(bearer):
    caller = await bearer.identify(head(f"Bearer {token()}"))
    assert caller.name == f"bearer:{ISSUER}#alice"


@pytest.mark.parametrize("value", ["9" * 400, "Infinity", '"2030"', "true", "null", "-1", "1e400"])
async def test_an_end_that_is_no_time_is_no_end(bearer, value):
    claims = json.dumps(json.loads(token_claims(token()))).replace(str(AT + 300), value)
    odd = resigned(claims.encode())
    fault = await refusal(bearer.identify(head(f"Bearer {odd}")))
    assert fault.status == 401


async def test_a_token_without_signature_is_refused(bearer):
    claims = token().split(".")[1]
    for alg in ("none", "None", "NONE", ""):
        header = to_base64url_text(json.dumps({"alg": alg, "typ": "JWT"}).encode())
        forged = f"{header}.{claims}."
        assert jwt.decode(forged, options={"verify_signature": False})
        fault = await refusal(bearer.identify(head(f"Bearer {forged}")))
        assert "algorithm is not accepted" in fault.message


async def test_the_public_key_is_no_shared_secret(bearer):
    for secret in (public_pem(), json.dumps(JWKS["keys"][0]).encode()):
        forged = hs256({"alg": "HS256", "kid": "k1"}, dict(parse_compact(token()).claims), secret)
        signed, _, signature = forged.rpartition(".")
        # What a verifier does that lets the token choose between HMAC and a signature:
        assert to_base64url_text(hmac.digest(secret, signed.encode(), "sha256")) == signature
        fault = await refusal(bearer.identify(head(f"Bearer {forged}")))
        assert "algorithm is not accepted" in fault.message
    with pytest.raises(A2AError):
        JwtBearer(ISSUER, AUDIENCE, keys=JWKS, algorithms=["ES256", "HS256"])
    with pytest.raises(A2AError):
        JwtBearer(ISSUER, AUDIENCE, keys=JWKS, algorithms=["none"])


async def test_a_symmetric_key_in_the_key_set_verifies_nothing():
    shared = {"kty": "oct", "k": to_base64url_text(b"x" * 32), "kid": "k2", "alg": "ES256"}
    bearer = JwtBearer(
        ISSUER, AUDIENCE, keys={"keys": [shared, *JWKS["keys"]]}, clock=StandingClock()
    )
    forged = hs256({"alg": "ES256", "kid": "k2"}, dict(parse_compact(token()).claims), b"x" * 32)
    fault = await refusal(bearer.identify(head(f"Bearer {forged}")))
    assert "signature is not valid" in fault.message


async def test_an_rsa_key_is_not_used_with_the_algorithm_of_another_kind():
    key = rsa.generate_private_key(65537, 2048)
    numbers = key.public_key().public_numbers()
    jwk = {
        "kty": "RSA",
        "kid": "k1",
        "n": to_base64url_text(numbers.n.to_bytes(256, "big")),
        "e": "AQAB",
        "alg": "PS256",
    }
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=[jwk], clock=StandingClock())
    claims = dict(parse_compact(token()).claims)
    good = jwt.encode(claims, key, "PS256", headers={"kid": "k1"})
    assert await bearer.identify(head(f"Bearer {good}"))
    # RS256 is pinned, and the key is RSA, but the key says that it is for PS256 only.
    other = jwt.encode(claims, key, "RS256", headers={"kid": "k1"})
    assert (
        "signature is not valid"
        in (await refusal(bearer.identify(head(f"Bearer {other}")))).message
    )


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/proc/self/environ",
        "https://evil.example/keys",
        "k1' OR '1'='1",
        "k1\x00",
        "K1",
        "",
    ],
)
async def test_a_key_name_is_only_compared(kid):
    asked = []

    def answer(method, path, headers, body):
        asked.append(path)
        return JWKS

    async with issuer(answer) as there:
        bearer = JwtBearer(ISSUER, AUDIENCE, jwks_url=f"{there.url}/keys", clock=StandingClock())
        forged = token(OTHER_KEY, {"kid": kid})
        fault = await refusal(bearer.identify(head(f"Bearer {forged}")))
        await bearer.aclose()
    assert fault.status == 401
    assert set(asked) == {"/keys"}


@pytest.mark.parametrize("kid", [["k1"], {"k": 1}, 7, True, "k" * 300])
async def test_a_key_name_that_is_no_name_is_refused(bearer, kid):
    fault = await refusal(bearer.identify(head(f"Bearer {token(header={'kid': kid})}")))
    assert "kid" in fault.message


async def test_a_token_does_not_bring_its_own_key(bearer):
    jwk = public_jwk(OTHER_KEY)
    forged = token(OTHER_KEY, {"jwk": jwk})
    # A verifier that believes the header accepts it:
    assert signature_alone(forged, jwt.PyJWK(jwk).key)
    assert "its own key" in (await refusal(bearer.identify(head(f"Bearer {forged}")))).message


@pytest.mark.parametrize("name", ["jku", "x5u"])
async def test_nobody_fetches_the_key_from_where_the_token_says(bearer, name):
    async with issuer(lambda *_: {"keys": [{**public_jwk(OTHER_KEY), "kid": "k1"}]}) as attacker:
        forged = token(OTHER_KEY, {name: f"{attacker.url}/keys"})
        fault = await refusal(bearer.identify(head(f"Bearer {forged}")))
    assert "its own key" in fault.message
    assert attacker.asked == []


async def test_a_certificate_in_the_header_is_no_key(bearer):
    chain, _ = Authority().leaf("spiffe://hive.example/x", key=OTHER_KEY)
    der = load_pem_x509_certificate(chain).public_bytes(Encoding.DER)
    forged = token(OTHER_KEY, {"x5c": [to_base64url_text(der)]})
    assert "its own key" in (await refusal(bearer.identify(head(f"Bearer {forged}")))).message


async def test_a_critical_extension_that_is_not_known_is_refused(bearer):
    odd = token(header={"crit": ["exp"], "b64": True})
    assert signature_alone(token())
    assert "critical" in (await refusal(bearer.identify(head(f"Bearer {odd}")))).message


@pytest.mark.parametrize("typ", ["dpop+jwt", "logout+jwt", "JOSE", "id_token"])
async def test_a_token_of_another_kind_is_no_access_token(bearer, typ):
    other = token(header={"typ": typ})
    assert signature_alone(other)
    assert "another type" in (await refusal(bearer.identify(head(f"Bearer {other}")))).message


async def test_the_key_of_one_issuer_does_not_sign_for_another():
    clock = StandingClock()
    theirs = {"keys": [{**public_jwk(OTHER_KEY), "kid": "k1"}]}
    both = AnyBearer(
        JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=clock),
        JwtBearer("https://evil.example", AUDIENCE, keys=theirs, clock=clock),
    )
    mixed = token(OTHER_KEY)  # says ISSUER, signed by the other one
    # A verifier with one pool of keys accepts it:
    pool = [KEY.public_key(), OTHER_KEY.public_key()]
    assert any(_verifies(mixed, key) for key in pool)
    assert (await refusal(both.identify(head(f"Bearer {mixed}")))).status == 401
    own = await both.identify(head(f"Bearer {token(OTHER_KEY, iss='https://evil.example')}"))
    assert own.name == "bearer:https://evil.example#alice"


async def test_metadata_of_another_issuer_is_not_used():
    async with issuer(lambda *_: None) as there:
        said = {"issuer": "", "jwks_uri": f"{there.url}/keys"}
        there.answer = lambda method, path, *_: said if "openid-config" in path else JWKS
        for named, accepted in ((there.url, True), ("https://evil.example", False)):
            said["issuer"] = named
            bearer = JwtBearer(there.url, AUDIENCE, clock=StandingClock())
            asked = bearer.identify(head(f"Bearer {token(iss=there.url)}"))
            if accepted:
                assert (await asked).name == f"bearer:{there.url}#alice"
            else:
                assert (await refusal(asked)).status == 503
            await bearer.aclose()


async def test_a_claim_that_comes_twice_is_refused(bearer):
    claims = token_claims(token())
    double = b'{"aud":"https://another-agent.example",' + claims[1:]
    odd = resigned(double)
    assert signature_alone(odd)["aud"] == AUDIENCE  # the last one wins elsewhere
    assert "unique names" in (await refusal(bearer.identify(head(f"Bearer {odd}")))).message


async def test_one_token_has_one_spelling(bearer):
    good = token()
    for odd in (good + "=", good.replace(".", ".\n", 1), good + " x", good[:-1] + "_" + good[-1]):
        assert (await refusal(bearer.identify(head(f"Bearer {odd}")))).status == 401
    assert await bearer.identify(head(f"Bearer {good}"))


async def test_a_changed_token_is_refused_after_the_good_one_was_remembered(bearer):
    good = token()
    assert await bearer.identify(head(f"Bearer {good}"))
    top, _, signature = good.split(".")
    other = token(sub="mallory").split(".")[1]
    assert (await refusal(bearer.identify(head(f"Bearer {top}.{other}.{signature}")))).status == 401


async def test_a_remembered_token_ends_when_it_ends():
    clock = StandingClock()
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=clock, keep_s=3600)
    good = token()
    assert await bearer.identify(head(f"Bearer {good}"))
    clock.passed_s = 359
    assert await bearer.identify(head(f"Bearer {good}"))
    clock.passed_s = 361
    assert "expired" in (await refusal(bearer.identify(head(f"Bearer {good}")))).message


async def test_a_small_rsa_key_verifies_nothing():
    key = rsa.generate_private_key(65537, 1024)
    n = to_base64url_text(key.public_key().public_numbers().n.to_bytes(128, "big"))
    with pytest.raises(A2AError):
        JwtBearer(ISSUER, AUDIENCE, keys=[{"kty": "RSA", "n": n, "e": "AQAB"}])


async def test_the_challenge_repeats_nothing_of_the_caller(bearer):
    fault = await refusal(bearer.identify(head('Bearer "><marquee>x</marquee>\r\nset-cookie: a')))
    assert "marquee" not in challenge_of(fault)
    assert "marquee" not in fault.message


def _verifies(text: str, key) -> bool:
    try:
        return bool(signature_alone(text, key))
    except jwt.InvalidSignatureError:
        return False


def token_claims(text: str) -> bytes:
    return from_base64url_text(text.split(".")[1])


def resigned(claims: bytes) -> str:
    header = to_base64url_text(json.dumps({"alg": "ES256", "kid": "k1"}).encode())
    signed = f"{header}.{to_base64url_text(claims)}"
    r, s = decode_dss_signature(KEY.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{to_base64url_text(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
