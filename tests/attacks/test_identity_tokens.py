"""Tokens that want to be a JWT-SVID for this audience: unsigned, confused, borrowed, widened, late."""

import base64
import hmac
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hive.core.clock import SystemClock
from hive.core.errors import IdentityError
from hive.core.ids import AgentId, SandboxId
from hive.security.identity.certificates import new_key
from hive.security.identity.jwt_svids import jwk_set, jwt_key_id, verified_token
from hive_a2a.identity.proof import public_jwk, signed_compact
from tests.workload_rig import DOMAIN, MovedClock, opened_service

READER = f"spiffe://{DOMAIN}/agent/reader"
KEY, OTHER = new_key(), new_key()
JWKS = jwk_set([KEY], 1)
NOW = SystemClock().now()


def made(key=KEY, header=None, **claims):
    at = int(NOW.timestamp())
    body = {"sub": READER, "aud": ["billing"], "iat": at, "exp": at + 300, **claims}
    head = {"alg": "ES256", "kid": jwt_key_id(KEY), "typ": "JWT", **(header or {})}
    return signed_compact(head, {k: v for k, v in body.items() if v is not ...}, key)


def seen(token, audience="billing", **more):
    return verified_token(token, audience, JWKS, domain=DOMAIN, now=more.get("now", NOW))


def unsigned(header, *, secret=b""):
    at = int(NOW.timestamp())
    body = {"sub": READER, "aud": ["billing"], "exp": at + 300}
    signed = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, body)
    )
    tag = hmac.digest(secret, signed.encode(), "sha256") if secret else b""
    return f"{signed}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"


def test_a_sound_token_is_believed():
    assert seen(made()).spiffe_id.text == READER
    assert seen(made(aud="billing")).spiffe_id.text == READER


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 0])
def test_a_token_without_a_signature_is_nobodys(alg):
    kid = jwt_key_id(KEY)
    with pytest.raises(IdentityError):
        seen(unsigned({"alg": alg, "kid": kid, "typ": "JWT"}))
    header, body, _ = made(header={"alg": alg}).split(".")
    with pytest.raises(IdentityError):
        seen(f"{header}.{body}.")


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_the_public_key_is_not_a_shared_secret(form):
    secret = KEY.public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
    token = unsigned({"alg": "HS256", "kid": jwt_key_id(KEY), "typ": "JWT"}, secret=secret)
    with pytest.raises(IdentityError, match="not accepted"):
        seen(token)


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": public_jwk(OTHER)},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/chain"},
        {"crit": ["exp"]},
    ],
)
def test_a_token_does_not_bring_its_own_key(header):
    for key in (OTHER, KEY):
        with pytest.raises(IdentityError):
            seen(made(key=key, header=header))


@pytest.mark.parametrize(
    "kid",
    ["", "../../dev/null", jwt_key_id(OTHER), 7, "x" * 5000],
    ids=["empty", "a path", "another's", "a number", "long"],
)
def test_a_name_of_a_key_is_looked_up_and_nothing_else(kid):
    for key in (OTHER, KEY):
        with pytest.raises(IdentityError):
            seen(made(key=key, header={"kid": kid}))


def test_another_key_under_the_right_name_signs_nothing():
    with pytest.raises(IdentityError, match="No key of the trust domain"):
        seen(made(key=OTHER))


def test_a_token_is_good_for_its_audience_alone():
    for audience in ("payroll", "BILLING", "billing ", "bill", ""):
        with pytest.raises(IdentityError):
            seen(made(), audience=audience)
    for given in (..., [], [["billing"]], {"billing": 1}, None, ["payroll"]):
        with pytest.raises(IdentityError):
            seen(made(aud=given))


def test_a_token_has_an_end_and_a_beginning():
    for moved_s in (306, -20):
        with pytest.raises(IdentityError):
            seen(made(), now=NOW + timedelta(seconds=moved_s))
    for end in (..., "soon", True, None, 1e400, -1):
        with pytest.raises(IdentityError):
            seen(made(exp=end))


@pytest.mark.parametrize(
    "subject",
    [
        ...,
        "",
        "reader",
        f"spiffe://{DOMAIN}",
        "spiffe://other.example/agent/reader",
        f"spiffe://{DOMAIN}/agent/../agent/reader",
        f"SPIFFE://{DOMAIN}/agent/reader",
        f"spiffe://{DOMAIN}:443/agent/reader",
        f"spiffe://{DOMAIN}/agent/reader?x=1",
        7,
    ],
)
def test_a_subject_is_a_workload_of_this_trust_domain(subject):
    with pytest.raises(IdentityError):
        seen(made(sub=subject))


def test_a_token_of_another_type_is_not_an_identity():
    with pytest.raises(IdentityError, match="another type"):
        seen(made(header={"typ": "at+jwt"}))


def test_a_key_for_something_else_signs_no_identity():
    listed = json.loads(JWKS)
    listed["keys"][0]["use"] = "x509-svid"
    with pytest.raises(IdentityError):
        verified_token(made(), "billing", json.dumps(listed).encode(), domain=DOMAIN, now=NOW)


@pytest.mark.anyio
async def test_the_service_gives_no_token_without_an_audience_nor_for_another_id():
    async with opened_service() as service:
        enrolment = service.enrol(SandboxId("s"), AgentId("reader"))
        for audience in ([], [""], ["x" * 600], [str(number) for number in range(17)]):
            with pytest.raises(IdentityError):
                await service.jwt(enrolment, audience)
        with pytest.raises(IdentityError, match="No identity"):
            await service.jwt(enrolment, ["billing"], f"spiffe://{DOMAIN}/agent/admin")
        assert not service.events.all


@pytest.mark.anyio
async def test_a_revoked_token_and_one_of_a_revoked_agent_are_refused():
    async with opened_service(clock=MovedClock()) as service:
        enrolment = service.enrol(SandboxId("s"), AgentId("reader"))
        first, second = [await service.jwt(enrolment, ["billing"]) for _ in range(2)]
        await service.revoke(first.id)
        with pytest.raises(IdentityError, match="revoked"):
            await service.check_jwt("billing", first.token)
        assert await service.check_jwt("billing", second.token)
        await service.revoke(READER)
        with pytest.raises(IdentityError, match="revoked"):
            await service.check_jwt("billing", second.token)
