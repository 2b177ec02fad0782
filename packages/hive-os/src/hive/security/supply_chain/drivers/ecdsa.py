"""ECDSA over P-256 with SHA-256, as cosign signs; the one place here that speaks to the cryptography library."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key


def verify_p256(der: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a key made a signature (in DER) over a message."""
    try:
        key = load_der_public_key(der)
    except ValueError:
        return False
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return False
    try:
        key.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
