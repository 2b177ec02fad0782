"""The primitives that Hive signs and seals with: Ed25519, X25519, AES-256-GCM, HKDF-SHA256.

Keys travel as raw bytes (32 each). Nothing is invented here: every primitive is the one of
`cryptography`; what is decided here is how they are framed, so that no caller chooses a nonce,
forgets the associated data or signs two kinds of document with the same bytes.

    seal            AES-256-GCM, nonce of 12 random bytes in front, tag at the end
    seal_alike      the same, but equal texts give equal bytes: the nonce is an HMAC of the text
    seal_for        X25519 + HKDF + AES-256-GCM to a receiver who is offline; anonymous, so sign inside
    sign            Ed25519 over `context`, a zero byte, then the message
    sign_note       Ed25519 over the bare text of a signed note (C2SP), as its verifiers expect it
"""

import hmac
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hive_a2a.errors import CryptoError

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_SEAL_FOR_LABEL: Final = b"hive/seal-for/v1\x00"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and its public half, raw; the private half never prints."""

    private: bytes
    public: bytes

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()})"


def new_key() -> bytes:
    """Make a fresh key for `seal`."""
    return secrets.token_bytes(KEY_BYTES)


def new_signing_pair() -> KeyPair:
    """Make a fresh Ed25519 pair."""
    return signing_pair(secrets.token_bytes(KEY_BYTES))


def signing_pair(private: bytes) -> KeyPair:
    """Return the Ed25519 pair of a private key (its seed, RFC 8032).

    Raises:
        CryptoError: it has not 32 bytes.

    """
    key = Ed25519PrivateKey.from_private_bytes(_sized(private, "An Ed25519 private key"))
    return KeyPair(private, key.public_key().public_bytes_raw())


@lru_cache(maxsize=16)
def _signing_key(private: bytes) -> Ed25519PrivateKey:
    """Unpack a key once: that costs more than a signature."""
    return Ed25519PrivateKey.from_private_bytes(_sized(private, "An Ed25519 private key"))


def sign(private: bytes, message: bytes, *, context: bytes) -> bytes:
    """Sign a message for one purpose; a signature made for another purpose does not verify.

    Raises:
        CryptoError: the key has not 32 bytes, or the context is empty or holds a zero byte.

    """
    return _signing_key(private).sign(_in_context(context, message))


def verify(public: bytes, signature: bytes, message: bytes, *, context: bytes) -> bool:
    """Tell whether a signature is the key's own, over this message, for this purpose."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _in_context(context, message))
    except (InvalidSignature, ValueError):
        return False
    return True


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt and authenticate; `associated` is bound but not carried.

    One key seals at most 2^32 texts, since its nonces are random.

    Raises:
        CryptoError: the key has not 32 bytes.

    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_sized(key, "A sealing key")).encrypt(nonce, plaintext, associated)


def seal_alike(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt so that equal texts under one key give equal bytes; `open_sealed` opens it.

    For content that is named by the hash of its ciphertext. It tells an onlooker which texts are equal.

    Raises:
        CryptoError: the key has not 32 bytes.

    """
    sized = _sized(key, "A sealing key")
    # Two keys from one, so that the nonce's HMAC and the cipher never share theirs.
    nonce_key = hmac.digest(sized, b"hive/seal-alike/v1/nonce", "sha256")
    bound = len(associated).to_bytes(8, "big") + associated + plaintext
    nonce = hmac.digest(nonce_key, bound, "sha256")[:_NONCE_BYTES]
    return nonce + AESGCM(sized).encrypt(nonce, plaintext, associated)


def sign_note(private: bytes, text: bytes) -> bytes:
    """Sign the text of a note; keep the key for notes alone, since nothing else separates purposes.

    Raises:
        CryptoError: the key has not 32 bytes.

    """
    return Ed25519PrivateKey.from_private_bytes(_sized(private, "An Ed25519 private key")).sign(
        text
    )


def verify_note(public: bytes, signature: bytes, text: bytes) -> bool:
    """Tell whether a signature is the key's own over the bare text of a note."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def open_sealed(key: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        CryptoError: another key, other associated data, or a changed or cut text.

    """
    if len(ciphertext) < _NONCE_BYTES + _TAG_BYTES:
        raise _does_not_open()
    cipher = AESGCM(_sized(key, "A sealing key"))
    try:
        return cipher.decrypt(ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], associated)
    except InvalidTag:
        raise _does_not_open() from None


def derive_key(
    secret: bytes, *, info: bytes, salt: bytes = b"", size_bytes: int = KEY_BYTES
) -> bytes:
    """Derive a key for one purpose from a secret (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=size_bytes, salt=salt or None, info=info).derive(secret)


def new_exchange_pair() -> KeyPair:
    """Make a fresh X25519 pair."""
    return exchange_pair(secrets.token_bytes(KEY_BYTES))


def exchange_pair(private: bytes) -> KeyPair:
    """Return the X25519 pair of a private key (RFC 7748).

    Raises:
        CryptoError: it has not 32 bytes.

    """
    key = X25519PrivateKey.from_private_bytes(_sized(private, "An X25519 private key"))
    return KeyPair(private, key.public_key().public_bytes_raw())


def seal_for(receiver: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Seal for the holder of an X25519 public key, who need not be there.

    The ephemeral public key stands in front. The sender is anonymous: sign what is sealed.

    Raises:
        CryptoError: the public key is not valid.

    """
    ephemeral = X25519PrivateKey.generate()
    public = ephemeral.public_key().public_bytes_raw()
    key = _agreed_key(ephemeral, receiver, public, receiver)
    return public + seal(key, plaintext, associated)


def open_for(private: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Return what was sealed for the holder of this X25519 private key.

    Raises:
        CryptoError: sealed for somebody else, other associated data, or a changed or cut text.

    """
    if len(ciphertext) < KEY_BYTES:
        raise _does_not_open()
    own = X25519PrivateKey.from_private_bytes(_sized(private, "An X25519 private key"))
    ephemeral = ciphertext[:KEY_BYTES]
    key = _agreed_key(own, ephemeral, ephemeral, own.public_key().public_bytes_raw())
    return open_sealed(key, ciphertext[KEY_BYTES:], associated)


def _agreed_key(own: X25519PrivateKey, other: bytes, ephemeral: bytes, receiver: bytes) -> bytes:
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # not 32 bytes, or a point of small order: the shared secret would be zero
        raise CryptoError(
            "An X25519 public key is not valid.",
            why="It has not 32 bytes, or lies in the small subgroup.",
            fix="Take the key from the receiver's signed identity.",
        ) from None
    return derive_key(shared, info=_SEAL_FOR_LABEL + ephemeral + receiver)


def _in_context(context: bytes, message: bytes) -> bytes:
    if not context or b"\x00" in context:
        raise CryptoError(
            "A signature needs a context.",
            why="The context is empty or holds a zero byte.",
            fix="Name the purpose, for example b'hive/audit/v1'.",
        )
    return context + b"\x00" + message


def _sized(key: bytes, what: str) -> bytes:
    if len(key) != KEY_BYTES:
        raise CryptoError(
            f"{what} has {KEY_BYTES} bytes.",
            why=f"This one has {len(key)}.",
            fix="Make one with the functions of hive_a2a.crypto.",
        )
    return key


def _does_not_open() -> CryptoError:
    return CryptoError(
        "A sealed text does not open.",
        why="Another key, other associated data, or it was changed or cut.",
        fix="Check which key and context it was sealed with.",
    )
