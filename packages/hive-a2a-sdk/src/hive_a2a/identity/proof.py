"""Make DPoP proofs (RFC 9449): the key never leaves this object, each proof is for one request."""

import hashlib
import json
import secrets
from collections import OrderedDict
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from hive_a2a.base64url import to_base64url_text
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import A2AError
from hive_a2a.identity.dpop import same_target
from hive_a2a.identity.jws import thumbprint

_NONCES_KEPT_MAX: Final = 64
_NONCE_CHARS_MAX: Final = 512


class DpopKey:
    """A key pair that tokens are bound to, and the nonces that servers gave for it, by origin."""

    def __init__(
        self,
        key: EllipticCurvePrivateKey | Ed25519PrivateKey | None = None,
        *,
        clock: WallClock | None = None,
    ) -> None:
        self._key = key or generate_private_key(SECP256R1())
        self._alg, self._jwk = signing_alg(self._key), public_jwk(self._key)
        self._clock = clock or MachineClock()
        self._nonces: OrderedDict[str, str] = OrderedDict()

    @property
    def jkt(self) -> str:
        """Return the thumbprint that tokens are bound to."""
        return thumbprint(self._jwk)

    def proof(self, method: str, url: str, *, token: str = "") -> str:
        """Return a proof for one request; `token` is the access token that goes with it, if one does."""
        target = same_target(url)
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": target,
            "iat": int(self._clock.now().timestamp()),
        }
        if token:
            claims["ath"] = to_base64url_text(hashlib.sha256(token.encode()).digest())
        nonce = self._nonces.get(_origin(target))
        if nonce is not None:
            claims["nonce"] = nonce
        header = {"typ": "dpop+jwt", "alg": self._alg, "jwk": self._jwk}
        return signed_compact(header, claims, self._key)

    def heard(self, url: str, nonce: str | None) -> bool:
        """Remember the nonce of an answer; return whether it is a new one, so that a retry makes sense."""
        if not nonce or len(nonce) > _NONCE_CHARS_MAX:
            return False
        origin = _origin(same_target(url))
        if self._nonces.get(origin) == nonce:
            return False
        self._nonces[origin] = nonce
        while len(self._nonces) > _NONCES_KEPT_MAX:
            self._nonces.popitem(last=False)
        return True

    def __repr__(self) -> str:
        return f"DpopKey({self.jkt})"


def signing_alg(key: object) -> str:
    """Return the algorithm of a signing key.

    Raises:
        A2AError: it is neither P-256 nor Ed25519.

    """
    if isinstance(key, Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    raise A2AError("This key cannot sign here.", why="It is neither P-256 nor Ed25519.")


def public_jwk(key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> dict[str, str]:
    """Return the public half of a signing key as a JWK."""
    if isinstance(key, Ed25519PrivateKey):
        raw = key.public_key().public_bytes_raw()
        return {"kty": "OKP", "crv": "Ed25519", "x": to_base64url_text(raw)}
    numbers = key.public_key().public_numbers()
    x, y = (to_base64url_text(one.to_bytes(32, "big")) for one in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def signed_compact(
    header: dict[str, Any],
    claims: dict[str, Any],
    key: EllipticCurvePrivateKey | Ed25519PrivateKey,
) -> str:
    """Return a compact JWS (RFC 7515)."""
    parts = (json.dumps(one, separators=(",", ":")).encode() for one in (header, claims))
    signed = ".".join(to_base64url_text(part) for part in parts)
    if isinstance(key, Ed25519PrivateKey):
        signature = key.sign(signed.encode())
    else:
        r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{signed}.{to_base64url_text(signature)}"


def _origin(target: str) -> str:
    return "/".join(target.split("/", 3)[:3])
