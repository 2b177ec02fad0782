"""X.509 as SPIFFE wants it: roots, intermediates and leaves made, and chains judged.

A leaf names exactly one URI, its SPIFFE id, and nothing else. An authority names its trust domain. Times begin a
moment in the past, for clocks that differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from hive.core.errors import IdentityError
from hive.security.identity.ports import SpiffeId, X509Svid
from hive_a2a.identity.svid import sole_id

CLOCK_SKEW: Final = timedelta(seconds=10)
CHAIN_MAX_CERTIFICATES: Final = 5
CHAIN_MAX_BYTES: Final = 32 << 10
SERIAL_BYTES: Final = 16
_SIGNS: Final = x509.KeyUsage(
    digital_signature=False,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
_SPEAKS: Final = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=False,
    crl_sign=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
_PURPOSES: Final = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
)


@dataclass(frozen=True, slots=True)
class CertificateSigner:
    """A certificate that may sign others, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def key_id(self) -> str:
        """Return the key's identifier, which leaves name as their authority's, in hexadecimal."""
        return key_id(self.key.public_key()).hex()

    def __repr__(self) -> str:
        return f"CertificateSigner({self.key_id})"


@dataclass(frozen=True, slots=True)
class SeenLeaf:
    """A certificate whose chain was verified."""

    spiffe_id: SpiffeId
    serial: str
    authority: str
    starts_at: datetime
    ends_at: datetime


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PKCS #8 DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def key_from_der(data: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key of PKCS #8 DER. Raises IdentityError."""
    try:
        key = load_der_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise IdentityError("A key of the authority cannot be read.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityError("A key of the authority is of another kind.", why="It is not P-256.")
    return key


def self_signed(
    domain: str, key: ec.EllipticCurvePrivateKey, *, serial: int, now: datetime, life: timedelta
) -> x509.Certificate:
    """Return a root of a trust domain."""
    public = key.public_key()
    name = _name(domain, public)
    builder = _authority(domain, public, name, name, key, depth=None)
    return _dated(builder, serial, now, now + life).sign(key, hashes.SHA256())


def signed_authority(
    domain: str,
    public: ec.EllipticCurvePublicKey,
    signer: CertificateSigner,
    *,
    serial: int,
    now: datetime,
    life: timedelta,
    depth: int,
) -> x509.Certificate:
    """Return an authority that another one vouches for; `depth` more may follow below it."""
    above = signer.certificate
    name = _name(domain, public)
    builder = _authority(domain, public, name, above.subject, signer.key, depth=depth)
    ends_at = min(now + life, above.not_valid_after_utc)
    return _dated(builder, serial, now, ends_at).sign(signer.key, hashes.SHA256())


def _authority(
    domain: str,
    public: ec.EllipticCurvePublicKey,
    name: x509.Name,
    issuer: x509.Name,
    signing: ec.EllipticCurvePrivateKey,
    *,
    depth: int | None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]),
            critical=False,
        )
    )


def _dated(
    builder: x509.CertificateBuilder, serial: int, now: datetime, ends_at: datetime
) -> x509.CertificateBuilder:
    begun = (now - CLOCK_SKEW).replace(microsecond=0)
    return (
        builder.serial_number(serial)
        .not_valid_before(begun)
        .not_valid_after(ends_at.replace(microsecond=0))
    )


def leaf_svid(
    subject: SpiffeId,
    signer: CertificateSigner,
    above: Sequence[bytes],
    *,
    serial: int,
    now: datetime,
    life: timedelta,
    common_name: str = "",
) -> X509Svid:
    """Issue an SVID with a fresh key; `above` are the certificates that follow the leaf."""
    called = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else []
    key = new_key()
    ends_at = min(now + life, signer.certificate.not_valid_after_utc).replace(microsecond=0)
    starts_at = (now - CLOCK_SKEW).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(called))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(starts_at)
        .not_valid_after(ends_at)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SPEAKS, critical=True)
        .add_extension(_PURPOSES, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
            critical=False,
        )
        # Critical, for the subject is empty most of the time (RFC 5280, 4.2.1.6).
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject.text)]),
            critical=True,
        )
        .sign(signer.key, hashes.SHA256())
    )
    return X509Svid(
        spiffe_id=subject,
        chain=(certificate.public_bytes(Encoding.DER), *above),
        key=key_to_der(key),
        serial=f"{serial:x}",
        starts_at=now.replace(microsecond=0),
        ends_at=ends_at,
    )


def verified_leaf(chain: Sequence[bytes], roots: Sequence[bytes], *, now: datetime) -> SeenLeaf:
    """Return whom a chain (DER, leaf first) names, if one of the roots vouches for it.

    Raises:
        IdentityError: it does not verify, is no SVID, has ended or has not begun.

    """
    if not 0 < len(chain) <= CHAIN_MAX_CERTIFICATES or sum(map(len, chain)) > CHAIN_MAX_BYTES:
        raise _refused("It has no certificate, or too many.")
    leaf, *above = map(loaded, chain)
    try:
        store = Store([x509.load_der_x509_certificate(root) for root in roots])
        PolicyBuilder().store(store).time(now).build_client_verifier().verify(leaf, above)
    except VerificationError:
        raise _refused("No root of the trust domain vouches for it now.") from None
    except Exception as error:
        raise _refused("It is not an SVID.") from error
    return seen_leaf(leaf)


def loaded(data: bytes) -> x509.Certificate:
    """Return a certificate (DER) of a stranger, read. Raises IdentityError."""
    try:
        return x509.load_der_x509_certificate(data)
    except Exception as error:
        raise _refused("It cannot be read.") from error


def seen_leaf(leaf: x509.Certificate) -> SeenLeaf:
    """Return whom a certificate names whose chain somebody verified.

    Raises:
        IdentityError: it is no SVID of a workload.

    """
    try:
        found = SpiffeId(sole_id(_uris(leaf)))
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        limits = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    except Exception as error:
        raise _refused("It is not an SVID.") from error
    if limits.ca:
        raise _refused("It is an authority's, and no workload's.")
    if not found.path:
        raise _refused("It names a trust domain and no workload.")
    return SeenLeaf(
        spiffe_id=found,
        serial=f"{leaf.serial_number:x}",
        authority=(authority.key_identifier or b"").hex(),
        starts_at=leaf.not_valid_before_utc,
        ends_at=leaf.not_valid_after_utc,
    )


def key_id(public: ec.EllipticCurvePublicKey) -> bytes:
    """Return the identifier of a public key (RFC 5280, 4.2.1.2, method 1)."""
    return x509.SubjectKeyIdentifier.from_public_key(public).digest


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate, in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def public_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half as SubjectPublicKeyInfo DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _name(domain: str, public: ec.EllipticCurvePublicKey) -> x509.Name:
    # A serial number in the name tells the generations of one trust domain apart.
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, domain[:64]),
            x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, key_id(public).hex()),
        ]
    )


def _refused(why: str) -> IdentityError:
    return IdentityError("The certificate is not accepted.", why=why)
