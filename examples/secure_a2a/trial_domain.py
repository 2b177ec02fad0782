"""A SPIFFE trust domain to try things with: an authority in memory. In earnest, SVIDs come from a Workload API.

svid("spiffe://acme.example/greeter")     an identity of it, good for an hour
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hive_a2a.identity.svid import Svid, svid_from_pem

DOMAIN = "acme.example"
_KEY = ec.generate_private_key(ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, DOMAIN)])


def _certificate(
    key: ec.EllipticCurvePrivateKey, name: x509.Name, uri: str, *, root: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not root,
                key_cert_sign=root,
                crl_sign=root,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=not root
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(_KEY.public_key()), critical=False
        )
        .sign(_KEY, hashes.SHA256())
    )


_ROOT = _certificate(_KEY, _NAME, f"spiffe://{DOMAIN}", root=True)


def svid(spiffe_id: str) -> Svid:
    """Return an identity of the trust domain."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _certificate(key, x509.Name([]), spiffe_id, root=False)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    bundle = _ROOT.public_bytes(Encoding.PEM)
    return svid_from_pem(leaf.public_bytes(Encoding.PEM), private, bundle)
