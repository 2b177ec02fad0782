"""Sign a card: JWS (RFC 7515) over JCS, as the standard says (1.0, section 8.4).

Beside `alg`, `kid`, `typ` and perhaps `jku`, the protected header holds three things that other SDKs
pass over and our own reads:

    jwk                    the public key, for whoever meets the agent for the first time
    urn:hive-a2a:card:1    sha256: of the whole card, empty values included (see `jcs`)
                           keys: the thumbprints of all keys that the owner signs with at present
                           epoch: grows whenever the owner's keys change
    x5c                    the certificates of the key, where it has some (SPIFFE)

`keys` is what makes rotation safe. Signatures do not cover each other, so anybody can put his own beside
a genuine one; only a successor that the trusted key itself names is one.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hive_a2a.base64url import to_base64url_text
from hive_a2a.call import Proto
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jcs import canonical_card, canonical_json, card_hash, empty_required
from hive_a2a.cards.jwk import COORDINATE_BYTES, CardAlgorithm, CardKey, card_key_of
from hive_a2a.cards.reading import CardLimits, decode_base64url, read_object
from hive_a2a.faults import Json

TERMS: Final = "urn:hive-a2a:card:1"
"""The header parameter that covers what the standard's own signature does not."""
SIGNATURES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that signs cards; it never prints.

    `certificates` are those of the key in DER, leaf first, without the root.
    """

    private: Ed25519PrivateKey | EllipticCurvePrivateKey = field(repr=False)
    public: CardKey
    certificates: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def make(cls, algorithm: CardAlgorithm = CardAlgorithm.EDDSA, *, kid: str = "") -> "SigningKey":
        """Make a fresh key; its kid is its thumbprint, unless another is given."""
        if algorithm is CardAlgorithm.EDDSA:
            return cls.of(Ed25519PrivateKey.generate(), kid=kid)
        return cls.of(generate_private_key(SECP256R1()), kid=kid)

    @classmethod
    def of(
        cls,
        private: Ed25519PrivateKey | EllipticCurvePrivateKey,
        *,
        kid: str = "",
        certificates: Sequence[bytes] = (),
    ) -> "SigningKey":
        """Take a key of `cryptography`, for example that of an SVID with its certificates.

        Raises:
            CardError: it is neither Ed25519 nor P-256.

        """
        return cls(private, card_key_of(private.public_key(), kid), tuple(certificates))

    @classmethod
    def from_pem(cls, pem: bytes, *, kid: str = "") -> "SigningKey":
        """Read a private key as `pem` wrote it.

        Raises:
            CardError: it is no such key.

        """
        try:
            private = load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey | EllipticCurvePrivateKey):
            raise CardError(
                CardFault.KEYS,
                "A signing key cannot be read.",
                why="It is not a private Ed25519 or P-256 key in PEM without a password.",
                fix="Make one with `SigningKey.make`.",
            )
        return cls.of(private, kid=kid)

    def pem(self) -> bytes:
        """Write the private key as PKCS#8 in PEM; keep it where only its owner can read."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, data: bytes) -> bytes:
        """Sign bytes as JWS wants it (RFC 7518, RFC 8037)."""
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(data)
        halves = decode_dss_signature(self.private.sign(data, ECDSA(SHA256())))
        return b"".join(half.to_bytes(COORDINATE_BYTES, "big") for half in halves)


def sign_card(
    card: Proto,
    key: SigningKey,
    *,
    jku: str | None = None,
    beside: Sequence[CardKey] = (),
    epoch: int = 0,
) -> Proto:
    """Return the card with this key's signature; one that it had before is replaced.

    `beside` are the other keys that the owner signs with at present: whoever trusts this key trusts them too.

    Raises:
        CardError: a required member is missing or empty, or the card has no canonical form.

    """
    if empty := empty_required(card):
        raise CardError(
            CardFault.EMPTY_REQUIRED,
            "The card cannot be signed.",
            why=f"Required members are missing or empty: {', '.join(empty)}. Signatures do not cover "
            "such members alike in all SDKs.",
            fix="Give them a value (for `capabilities`, say `streaming` either way).",
        )
    names = sorted({key.public.thumbprint, *(one.thumbprint for one in beside)})
    terms: dict[str, Json] = {
        "sha256": to_base64url_text(card_hash(card)),
        "keys": names,
        "epoch": epoch,
    }
    header: dict[str, Json] = {
        "alg": str(key.public.algorithm),
        "kid": key.public.kid,
        "typ": "JOSE",
        "jwk": key.public.jwk(),
        TERMS: terms,
    }
    if jku:
        header["jku"] = jku
    if key.certificates:
        header["x5c"] = [_base64(one) for one in key.certificates]
    protected = to_base64url_text(canonical_json(header))
    signed = f"{protected}.{to_base64url_text(canonical_card(card))}".encode()
    copy = type(card)()
    copy.CopyFrom(card)
    _drop(copy, key.public.kid)
    copy.signatures.add(protected=protected, signature=to_base64url_text(key.sign(signed)))
    return copy


def sign_with(
    card: Proto, keys: Sequence[SigningKey], *, jku: str | None = None, epoch: int = 0
) -> Proto:
    """Return the card with the signatures of these keys and no others, each naming the others.

    Raises:
        CardError: as for `sign_card`.

    """
    copy = type(card)()
    copy.CopyFrom(card)
    del copy.signatures[:]
    names = [key.public for key in keys]
    for key in keys:
        copy = sign_card(copy, key, jku=jku, beside=names, epoch=epoch)
    return copy


def _drop(card: Proto, kid: str) -> None:
    kept = [one for one in card.signatures if _kid(one.protected) != kid]
    del card.signatures[:]
    card.signatures.extend(kept)


def _kid(protected: str) -> Json:
    try:
        return read_object(decode_base64url(protected, "A header"), CardLimits(), "A header").get(
            "kid"
        )
    except CardError:
        return None


def _base64(data: bytes) -> str:
    """Certificates in a header are in plain base64, unlike everything else there (RFC 7515, 4.1.6)."""
    return base64.b64encode(data).decode()
