"""Public keys as JSON Web Keys (RFC 7517): Ed25519 for EdDSA, P-256 for ES256, and no other.

The algorithm belongs to the key, never to the message: what a header says must be what the key is for,
so no text can be passed off as another algorithm's, and "none" and shared secrets are not there at all.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hive_a2a.base64url import to_base64url_text
from hive_a2a.cards.errors import CardFault, malformed, not_taken
from hive_a2a.cards.jcs import canonical_json
from hive_a2a.cards.reading import CardLimits, decode_base64url, read_object
from hive_a2a.faults import Json

COORDINATE_BYTES: Final = 32
KEYS_MAX: Final = 64
KID_CHARS_MAX: Final = 256


class CardAlgorithm(StrEnum):
    """What a card may be signed with; the values are those of the header's `alg`."""

    EDDSA = "EdDSA"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True)
class CardKey:
    """A public key that verifies cards. `raw` has 32 bytes (Ed25519) or 64 (P-256: x, then y)."""

    algorithm: CardAlgorithm
    raw: bytes
    kid: str = ""

    def __post_init__(self) -> None:
        if not self.kid:
            object.__setattr__(self, "kid", self.thumbprint)

    @property
    def thumbprint(self) -> str:
        """Return the key's own name (RFC 7638), which nobody can give to another key."""
        digest = hashlib.sha256(canonical_json(self._members())).digest()
        return to_base64url_text(digest)

    def jwk(self) -> dict[str, Json]:
        """Write it as a JSON Web Key."""
        return {**self._members(), "kid": self.kid, "alg": str(self.algorithm), "use": "sig"}

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Tell whether a signature over these bytes is this key's."""
        if len(signature) != 2 * COORDINATE_BYTES:
            return False
        try:
            if self.algorithm is CardAlgorithm.EDDSA:
                Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, signed)
            else:
                r, s = (int.from_bytes(half, "big") for half in _halves(signature))
                _p256(self.raw).verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True

    def _members(self) -> dict[str, Json]:
        if self.algorithm is CardAlgorithm.EDDSA:
            return {"crv": "Ed25519", "kty": "OKP", "x": to_base64url_text(self.raw)}
        x, y = _halves(self.raw)
        return {"crv": "P-256", "kty": "EC", "x": to_base64url_text(x), "y": to_base64url_text(y)}


def card_key_of(public: object, kid: str = "") -> CardKey:
    """Return a public key of `cryptography` as a key for cards.

    Raises:
        CardError: it is neither Ed25519 nor P-256.

    """
    if isinstance(public, Ed25519PublicKey):
        return CardKey(CardAlgorithm.EDDSA, public.public_bytes_raw(), kid)
    if isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1):
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return CardKey(CardAlgorithm.ES256, point[1:], kid)
    raise not_taken(CardFault.ALGORITHM, "A card is signed with Ed25519 or P-256, nothing else.")


def read_jwk(jwk: object) -> CardKey:
    """Read one public key.

    Raises:
        CardError: it is no key for cards, not for signatures, or holds a private half.

    """
    if not isinstance(jwk, Mapping):
        raise malformed("A JSON Web Key is not an object.")
    if "d" in jwk or "k" in jwk:
        raise malformed("A JSON Web Key holds a secret.")
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid) > KID_CHARS_MAX:
        raise malformed("The kid of a JSON Web Key is not a short text.")
    kind = (jwk.get("kty"), jwk.get("crv"))
    if kind == ("OKP", "Ed25519"):
        key = CardKey(CardAlgorithm.EDDSA, _coordinate(jwk.get("x")), kid)
    elif kind == ("EC", "P-256"):
        raw = _coordinate(jwk.get("x")) + _coordinate(jwk.get("y"))
        _checked_p256(raw)
        key = CardKey(CardAlgorithm.ES256, raw, kid)
    else:
        raise not_taken(CardFault.ALGORITHM, "A key is neither Ed25519 nor P-256.")
    # RFC 9864 names the algorithm after its curve; both names mean the same signature.
    if jwk.get("alg", key.algorithm) not in (key.algorithm, jwk.get("crv")):
        raise not_taken(CardFault.ALGORITHM, "A key is for another algorithm than its curve's.")
    if jwk.get("use", "sig") != "sig" or "verify" not in _operations(jwk):
        raise malformed("A JSON Web Key is not for verifying signatures.")
    return key


def read_key_set(data: bytes, limits: CardLimits | None = None) -> tuple[CardKey, ...]:
    """Read a JSON Web Key Set; keys of other kinds in it are passed over, as the standard says.

    Raises:
        CardError: it is no key set, too large, has too many keys, or one kid for two keys.

    """
    members = read_object(data, limits or CardLimits(), "A key set").get("keys")
    if not isinstance(members, list) or len(members) > KEYS_MAX:
        raise malformed(f"A key set has a list of at most {KEYS_MAX} keys.")
    keys = [read_jwk(one) for one in members if _is_for_cards(one)]
    if len({key.kid for key in keys}) != len(keys):
        raise malformed("A key set names two keys alike.")
    return tuple(keys)


def key_set(keys: tuple[CardKey, ...]) -> dict[str, Json]:
    """Write a JSON Web Key Set."""
    return {"keys": [key.jwk() for key in keys]}


def _is_for_cards(jwk: object) -> bool:
    if not isinstance(jwk, Mapping):
        return True
    return jwk.get("kty") in ("OKP", "EC") and jwk.get("crv") in ("Ed25519", "P-256")


def _operations(jwk: Mapping[str, Any]) -> list[Any]:
    operations = jwk.get("key_ops", ["verify"])
    return operations if isinstance(operations, list) else []


def _coordinate(text: object) -> bytes:
    data = decode_base64url(text, "A coordinate of a key")
    if len(data) != COORDINATE_BYTES:
        raise malformed(f"A coordinate of a key has not {COORDINATE_BYTES} bytes.")
    return data


def _halves(raw: bytes) -> tuple[bytes, bytes]:
    return raw[:COORDINATE_BYTES], raw[COORDINATE_BYTES:]


def _p256(raw: bytes) -> EllipticCurvePublicKey:
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), b"\x04" + raw)


def _checked_p256(raw: bytes) -> None:
    try:
        _p256(raw)
    except ValueError:
        raise malformed("A key is no point of its curve.") from None
