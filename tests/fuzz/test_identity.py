"""Made-up certificates, tokens and ids: refused in the declared way, whatever they are."""

import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from hive.core.clock import SystemClock
from hive.core.errors import IdentityError, InvalidIdError
from hive.security.identity.certificates import (
    CertificateSigner,
    leaf_svid,
    new_key,
    self_signed,
    verified_leaf,
)
from hive.security.identity.jwt_svids import jwk_set, jwt_key_id, verified_token
from hive.security.identity.ports import SpiffeId
from hive.security.identity.workload.messages import WORKLOAD
from hive_a2a.identity.proof import signed_compact
from tests.fuzz.mutator import fuzz

pytestmark = pytest.mark.fuzz
DOMAIN = "hive.example"
READER = SpiffeId(f"spiffe://{DOMAIN}/agent/reader")
NOW = SystemClock().now()
KEY = new_key()
JWKS = jwk_set([KEY], 1)
ROOT = self_signed(DOMAIN, KEY, serial=1, now=NOW, life=timedelta(days=1))
LEAF = leaf_svid(
    READER, CertificateSigner(ROOT, KEY), (), serial=2, now=NOW, life=timedelta(hours=1)
)


def claims(**changes):
    at = int(NOW.timestamp())
    return {"sub": READER.text, "aud": ["a"], "iat": at, "exp": at + 300, **changes}


def judged(text: str) -> None:
    seen = verified_token(text, "a", JWKS, domain=DOMAIN, now=NOW)
    assert seen.spiffe_id.trust_domain == DOMAIN
    WORKLOAD["ValidateJWTSVIDResponse"]().claims.update(dict(seen.claims))


def test_tokens():
    header = {"alg": "ES256", "kid": jwt_key_id(KEY)}
    good = [signed_compact(header, claims(), KEY).encode()]
    fuzz(good, lambda data: judged(data.decode("latin-1")), allowed=IdentityError)


def test_claims_that_are_well_signed():
    header = {"alg": "ES256", "kid": jwt_key_id(KEY)}

    def target(data: bytes) -> None:
        try:
            document = json.loads(data)
            text = signed_compact(header, document, KEY)
        except (ValueError, RecursionError):
            raise IdentityError("not JSON") from None
        judged(text)

    good = [json.dumps(claims()).encode(), json.dumps(claims(aud="a", jti="x", sid="y")).encode()]
    fuzz(good, target, allowed=IdentityError)


def test_certificates():
    roots = [ROOT.public_bytes(Encoding.DER)]

    def target(data: bytes) -> None:
        assert verified_leaf([data], roots, now=NOW).spiffe_id == READER

    fuzz([LEAF.chain[0]], target, allowed=IdentityError)


def test_ids():
    def target(data: bytes) -> None:
        spiffe_id = SpiffeId(data.decode("utf-8", "replace"))
        assert SpiffeId(str(spiffe_id)) == spiffe_id
        assert spiffe_id.text == f"spiffe://{spiffe_id.trust_domain}{spiffe_id.path}"

    fuzz([READER.text.encode(), b"spiffe://a.b/c/d_e.f-g"], target, allowed=InvalidIdError)
