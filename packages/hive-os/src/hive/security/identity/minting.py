"""Issuing with an intermediate that is at hand: what the node's own authority and one given from elsewhere share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from hive.core.clock import Clock
from hive.core.randomness import Randomness
from hive.security.identity.certificates import SERIAL_BYTES, CertificateSigner, leaf_svid
from hive.security.identity.jwt_svids import jwk_set, signed_svid
from hive.security.identity.ports import JwtSvid, SvidOrder, TrustBundle, X509Svid

TOKEN_ID_BYTES = 16


@dataclass(slots=True, kw_only=True)
class Mint:
    """Signs SVIDs; `above` follows each leaf, `token_keys` are newest first."""

    trust_domain: str
    signer: CertificateSigner
    above: tuple[bytes, ...]
    token_keys: tuple[EllipticCurvePrivateKey, ...]
    roots: tuple[bytes, ...]
    sequence: int
    clock: Clock
    randomness: Randomness

    def x509(self, order: SvidOrder) -> X509Svid:
        """Issue an X.509-SVID."""
        return leaf_svid(
            order.subject,
            self.signer,
            self.above,
            serial=new_serial(self.randomness),
            now=self.clock.now(),
            life=timedelta(seconds=order.ttl_s),
            common_name=order.common_name,
        )

    def jwt(self, order: SvidOrder, audience: Sequence[str]) -> JwtSvid:
        """Issue a JWT-SVID."""
        return signed_svid(
            order,
            audience,
            self.token_keys[0],
            token_id=self.randomness.token(TOKEN_ID_BYTES).hex(),
            now=self.clock.now(),
        )

    def bundle(self) -> TrustBundle:
        """Return what verifies both."""
        return TrustBundle(
            trust_domain=self.trust_domain,
            roots=self.roots,
            jwks=jwk_set(self.token_keys, self.sequence),
            sequence=self.sequence,
        )


def new_serial(randomness: Randomness) -> int:
    """Return an unguessable, positive serial number (RFC 5280, 4.1.2.2)."""
    return int.from_bytes(randomness.token(SERIAL_BYTES), "big") | 1


def domain_of(certificate: x509.Certificate) -> str:
    """Return the trust domain that an authority's certificate names; empty where it names none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0].removeprefix("spiffe://") if len(uris) == 1 else ""
