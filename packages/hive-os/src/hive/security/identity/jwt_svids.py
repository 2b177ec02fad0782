"""JWT-SVIDs: signed with one algorithm, and believed only with it.

The token never says how it is to be verified: the algorithms are listed here, the key is looked up in our own
bundle by its name, and a header that brings a key, or names another type, is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from hive.core.errors import IdentityError, InvalidIdError
from hive.core.json import Json
from hive.security.identity.certificates import key_id
from hive.security.identity.ports import JwtSvid, SpiffeId, SvidOrder
from hive_a2a.errors import A2AError
from hive_a2a.identity.jws import (
    CompactToken,
    check_times,
    load_object,
    parse_compact,
    pin,
    public_key,
    refuse_key_in_header,
    seconds,
)
from hive_a2a.identity.proof import public_jwk, signed_compact

ALGORITHMS: Final = pin(("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384",
                         "PS512"))  # fmt: skip
LEEWAY_S: Final = 5.0
KEYS_MAX: Final = 32
LIFE_MAX_S: Final = 3600.0
_TYPES: Final = ("", "jwt", "jose")
SESSION_CLAIM: Final = "sid"


@dataclass(frozen=True, slots=True)
class SeenToken:
    """A JWT-SVID that was verified."""

    spiffe_id: SpiffeId
    claims: Mapping[str, Json]
    id: str
    session: str
    authority: str
    starts_at: datetime | None


def jwt_key_id(key: EllipticCurvePrivateKey) -> str:
    """Return the name of a signing key."""
    return key_id(key.public_key()).hex()


def signed_svid(
    order: SvidOrder,
    audience: Sequence[str],
    key: EllipticCurvePrivateKey,
    *,
    token_id: str,
    now: datetime,
) -> JwtSvid:
    """Issue a JWT-SVID."""
    at = int(now.timestamp())
    ends_at = at + int(order.ttl_s)
    claims = {
        "sub": order.subject.text,
        "aud": list(audience),
        "iat": at,
        "exp": ends_at,
        "jti": token_id,
    }
    if order.session:
        claims[SESSION_CLAIM] = order.session
    header = {"alg": "ES256", "kid": jwt_key_id(key), "typ": "JWT"}
    return JwtSvid(
        spiffe_id=order.subject,
        token=signed_compact(header, claims, key),
        id=token_id,
        ends_at=datetime.fromtimestamp(ends_at, UTC),
    )


def jwk_set(keys: Sequence[EllipticCurvePrivateKey], sequence: int) -> bytes:
    """Return the keys of a bundle as a JWK set (SPIFFE Trust Domain and Bundle, 4)."""
    listed = [
        {**public_jwk(key), "kid": jwt_key_id(key), "use": "jwt-svid", "alg": "ES256"}
        for key in keys
    ]
    return json.dumps({"keys": listed, "spiffe_sequence": sequence}).encode()


def verified_token(
    text: str, audience: str, jwks: bytes, *, domain: str, now: datetime
) -> SeenToken:
    """Return whom a JWT-SVID names, if it was made for this audience and a key of the bundle signed it.

    Raises:
        IdentityError: it does not verify; `why` is safe to tell whoever showed it.

    """
    if not audience:
        raise _refused("An audience must be named.")
    try:
        token = parse_compact(text)
        refuse_key_in_header(token)
        check_times(token.claims, now.timestamp(), LEEWAY_S)
        authority = _signer_of(token, jwks)
        begun = token.claims.get("iat")
        starts_at = None if begun is None else datetime.fromtimestamp(seconds(begun), UTC)
    except A2AError as error:
        raise _refused(error.what) from None
    except (OverflowError, OSError, ValueError):
        raise _refused("A time in it is no time.") from None
    subject = _subject(token, domain)
    if audience not in _audience(token):
        raise _refused("It was made for another audience.")
    return SeenToken(
        spiffe_id=subject,
        claims=token.claims,
        id=_word(token.claims.get("jti")),
        session=_word(token.claims.get(SESSION_CLAIM)),
        authority=authority,
        starts_at=starts_at,
    )


def _signer_of(token: CompactToken, jwks: bytes) -> str:
    if token.typ not in _TYPES:
        raise A2AError("It is a token of another type.")
    if token.alg not in ALGORITHMS or not token.kid:
        raise A2AError("Its algorithm is not accepted, or it names no key.")
    listed = load_object(jwks).get("keys")
    for jwk in listed[:KEYS_MAX] if isinstance(listed, list) else ():
        if isinstance(jwk, dict) and jwk.get("kid") == token.kid and _may_sign(jwk):
            if public_key(jwk).verifies(token, ALGORITHMS):
                return token.kid
            break
    raise A2AError("No key of the trust domain signed it.")


def _may_sign(jwk: Mapping[str, object]) -> bool:
    return jwk.get("use", "jwt-svid") == "jwt-svid"


def _subject(token: CompactToken, domain: str) -> SpiffeId:
    try:
        subject = SpiffeId(_word(token.claims.get("sub")))
    except InvalidIdError:
        raise _refused("Its subject is not a SPIFFE id.") from None
    if subject.trust_domain != domain or not subject.path:
        raise _refused("Its subject is not a workload of this trust domain.")
    return subject


def _audience(token: CompactToken) -> tuple[str, ...]:
    given = token.claims.get("aud")
    listed = given if isinstance(given, list) else [given]
    return tuple(one for one in listed if isinstance(one, str))


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _refused(why: str) -> IdentityError:
    return IdentityError("The JWT-SVID is not accepted.", why=why)
