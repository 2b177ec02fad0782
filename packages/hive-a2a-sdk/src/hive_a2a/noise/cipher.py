"""Which primitives a Noise name stands for, and the cipher that counts its own nonces.

Two suites are spoken on the wire (`WIRE_SUITES`); `wire_suite` refuses the others. The others that
`parse_suite` knows exist so that the published test vectors can be run against this very code.

Nonces, 12 bytes: four zero bytes, then the 64-bit counter: **little-endian for ChaCha20-Poly1305,
big-endian for AES-GCM** (Noise, section 12). The largest counter, 2^64-1, never seals a message: it is
what the next key is made with (`next_key`).
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from hive_a2a.noise.errors import NoiseError

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
NONCE_MAX: Final = 2**64 - 1
ExchangeKey = X25519PrivateKey | X448PrivateKey


class Aead(Protocol):
    """A cipher with its key inside."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Seal."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Open."""
        ...


_CIPHERS: Final[dict[str, tuple[Callable[[bytes], Aead], Literal["little", "big"]]]] = {
    "ChaChaPoly": (ChaCha20Poly1305, "little"),
    "AESGCM": (AESGCM, "big"),
}
_HASHES: Final = {
    "SHA256": "sha256",
    "SHA512": "sha512",
    "BLAKE2s": "blake2s",
    "BLAKE2b": "blake2b",
}
_EXCHANGES: Final[
    dict[str, tuple[type[X25519PrivateKey | X448PrivateKey], Callable[[bytes], object], int]]
] = {
    "25519": (X25519PrivateKey, X25519PublicKey.from_public_bytes, 32),
    "448": (X448PrivateKey, X448PublicKey.from_public_bytes, 56),
}


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """The three primitives that the end of a protocol name says; make one with `parse_suite`."""

    name: str
    aead: Callable[[bytes], Aead]
    byte_order: Literal["little", "big"]
    hash_name: str
    hash_bytes: int
    exchange_name: str
    exchange_bytes: int

    def nonce(self, count: int) -> bytes:
        """Return the 12 bytes of a counter."""
        return b"\x00\x00\x00\x00" + count.to_bytes(8, self.byte_order)

    def digest(self, data: bytes) -> bytes:
        """Hash."""
        return hashlib.new(self.hash_name, data, usedforsecurity=True).digest()

    def derive(self, chaining_key: bytes, secret: bytes, outputs: int) -> tuple[bytes, ...]:
        """Return two or three fresh keys (Noise, section 4.3)."""
        extracted = hmac.digest(chaining_key, secret, self.hash_name)
        found: list[bytes] = []
        last = b""
        for number in range(1, outputs + 1):
            last = hmac.digest(extracted, last + bytes((number,)), self.hash_name)
            found.append(last)
        return tuple(found)

    def new_private(self) -> ExchangeKey:
        """Make a fresh private key."""
        return _EXCHANGES[self.exchange_name][0].generate()

    def private(self, raw: bytes) -> ExchangeKey:
        """Unpack a private key.

        Raises:
            NoiseError: it has not the size that the exchange has.

        """
        return _unpacked(self.exchange_name, raw)

    def shared(self, own: ExchangeKey, other: bytes) -> bytes:
        """Return what two keys agree on.

        Raises:
            NoiseError: the other's public key is not valid, or all of the result is zero.

        """
        try:
            public = _EXCHANGES[self.exchange_name][1](other)
            secret: bytes = own.exchange(public)  # type: ignore[arg-type]  # of one row of the table
        except ValueError:  # also raised where the result is zero: a point of small order
            raise _bad_public() from None
        # The library refuses it already; the promise must not hang on its build.
        if not any(secret):
            raise _bad_public()
        return secret


@lru_cache(maxsize=8)
def _unpacked(exchange_name: str, raw: bytes) -> ExchangeKey:
    """Unpack a long-lived key once: that costs as much as an exchange."""
    kind, _, size = _EXCHANGES[exchange_name]
    if len(raw) != size:
        raise NoiseError(
            f"A private key of the exchange {exchange_name} has {size} bytes.",
            why=f"This one has {len(raw)}.",
            fix="Make one with hive_a2a.crypto.new_exchange_pair().",
        )
    return kind.from_private_bytes(raw)


@lru_cache(maxsize=32)
def parse_suite(name: str) -> CipherSuite:
    """Return the suite of a name such as `25519_ChaChaPoly_SHA256`.

    Raises:
        NoiseError: it is not known.

    """
    match name.split("_"):
        case [exchange, cipher, digest] if (
            exchange in _EXCHANGES and cipher in _CIPHERS and digest in _HASHES
        ):
            aead, byte_order = _CIPHERS[cipher]
            algorithm = _HASHES[digest]
            return CipherSuite(
                name=name,
                aead=aead,
                byte_order=byte_order,
                hash_name=algorithm,
                hash_bytes=hashlib.new(algorithm).digest_size,
                exchange_name=exchange,
                exchange_bytes=_EXCHANGES[exchange][2],
            )
    raise NoiseError(
        "This cipher suite is not known.",
        why="It is none of the names that Noise gives to what is built in here.",
        fix=f"Take one of {', '.join(WIRE_SUITES)}.",
    )


CHACHA: Final = "25519_ChaChaPoly_SHA256"
AES: Final = "25519_AESGCM_SHA256"
WIRE_SUITES: Final = (CHACHA, AES)


def wire_suite(name: str) -> CipherSuite:
    """Return a suite that is spoken on the wire.

    Raises:
        NoiseError: it is another one; nobody may talk us into it.

    """
    if name not in WIRE_SUITES:
        raise NoiseError(
            "This cipher suite is not spoken here.",
            why=f"Spoken are {', '.join(WIRE_SUITES)}.",
            fix="Take one that the card lists.",
        )
    return parse_suite(name)


def next_key(suite: CipherSuite, key: bytes) -> bytes:
    """Return the key after this one; there is no way back (Noise, section 11.3)."""
    sealed = suite.aead(key).encrypt(suite.nonce(NONCE_MAX), bytes(KEY_BYTES), b"")
    return sealed[:KEY_BYTES]


class CipherState:
    """A key and the number of its next message, for messages that arrive in order.

    Without a key, texts pass as they are: so does a handshake begin. A text that does not open leaves
    the count alone.
    """

    __slots__ = ("_aead", "_key", "count", "suite")

    def __init__(self, suite: CipherSuite, key: bytes | None = None) -> None:
        self.suite = suite
        self.set_key(key)

    def set_key(self, key: bytes | None) -> None:
        """Take a key, and count from zero again."""
        self._key = key
        self._aead = None if key is None else self.suite.aead(key)
        self.count = 0

    @property
    def keyed(self) -> bool:
        """Tell whether there is a key."""
        return self._aead is not None

    def encrypt(self, plaintext: bytes, associated: bytes) -> bytes:
        """Seal the next text.

        Raises:
            NoiseError: all nonces of the key are used.

        """
        if self._aead is None:
            return plaintext
        sealed = self._aead.encrypt(self._next_nonce(), plaintext, associated)
        self.count += 1
        return sealed

    def decrypt(self, ciphertext: bytes, associated: bytes) -> bytes:
        """Open the next text.

        Raises:
            NoiseError: it does not open, or all nonces of the key are used.

        """
        if self._aead is None:
            return ciphertext
        try:
            plaintext = self._aead.decrypt(self._next_nonce(), ciphertext, associated)
        except InvalidTag:
            raise does_not_open() from None
        self.count += 1
        return plaintext

    def rekey(self) -> None:
        """Go on with the next key; the count stays, as Noise has it."""
        if self._key is not None:
            self._key = next_key(self.suite, self._key)
            self._aead = self.suite.aead(self._key)

    def _next_nonce(self) -> bytes:
        if self.count >= NONCE_MAX:
            raise NoiseError(
                "A key has no nonce left.",
                why="It has sealed as many texts as there are numbers.",
                fix="Shake hands again.",
            )
        return self.suite.nonce(self.count)


def does_not_open() -> NoiseError:
    """Return the one error for all that does not open, so that it tells nothing."""
    return NoiseError(
        "A message does not open.",
        why="It was changed or cut, is for somebody else, or the two sides disagree.",
        fix="Shake hands again; if that fails too, fetch the peer's card again.",
    )


def _bad_public() -> NoiseError:
    return NoiseError(
        "A public key is not valid.",
        why="It has the wrong size, or lies where every secret is zero.",
        fix="Take the key from the peer's signed card.",
    )
