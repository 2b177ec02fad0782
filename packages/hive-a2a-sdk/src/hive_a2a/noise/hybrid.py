"""EXPERIMENTAL, off by default: the handshake with an ML-KEM-768 secret mixed in through a psk place.

**This is no standard pattern of Noise, nobody outside has reviewed it, and there are no published
vectors for it.** It is meant to keep what is recorded today closed to whoever has a quantum computer later;
who is on the other side is still proved by X25519 alone. If ML-KEM or this mixing were broken, what is
left is the plain pattern: a psk can only add (Noise, section 9).

    IKpsk2   1 -> e, es, s, ss, payload = encapsulation key (1,184 bytes) then the caller's payload
             2 <- ML-KEM ciphertext (1,088 bytes), then the Noise message e, ee, se, psk, payload
    XXpsk3   1 -> e, payload = encapsulation key then the caller's payload
             2 <- e, ee, s, es, payload = ML-KEM ciphertext then the caller's payload
             3 -> s, se, psk, payload

psk = HKDF-SHA256(ML-KEM secret, salt empty, info = `hive-a2a/noise/ml-kem-768/v1`, 0x00, SHA-256 of the
encapsulation key, SHA-256 of the ciphertext), 32 bytes. Only what is sent after `psk` has the hybrid
protection: payloads of earlier messages have not.
"""

import hashlib
from types import ModuleType
from typing import TYPE_CHECKING, Final

from hive_a2a.crypto import KeyPair, derive_key
from hive_a2a.noise.cipher import CipherSuite, does_not_open
from hive_a2a.noise.errors import NoiseError
from hive_a2a.noise.handshake import MESSAGE_MAX_BYTES, Handshake

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

HYBRID_PATTERNS: Final = {"IK": "IKpsk2", "XX": "XXpsk3"}
ENCAPSULATION_KEY_BYTES: Final = 1184
ENCAPSULATED_BYTES: Final = 1088
_LABEL: Final = b"hive-a2a/noise/ml-kem-768/v1\x00"


class HybridHandshake:
    """A handshake of the pattern IK or XX with an ML-KEM-768 secret in it; speaks as `Handshake` does."""

    def __init__(
        self,
        pattern: str,
        suite: CipherSuite,
        *,
        initiator: bool,
        prologue: bytes = b"",
        static: KeyPair | None = None,
        remote_static: bytes | None = None,
    ) -> None:
        """Begin.

        Raises:
            NoiseError: another pattern, a key is missing, or this build of `cryptography` has no ML-KEM.

        """
        if pattern not in HYBRID_PATTERNS:
            raise NoiseError("The hybrid knows the patterns IK and XX.", fix="Take one of them.")
        self._kem = _ml_kem()
        self._noise = Handshake(
            HYBRID_PATTERNS[pattern],
            suite,
            initiator=initiator,
            prologue=prologue,
            static=static,
            remote_static=remote_static,
        )
        self._clear_front = pattern == "IK"
        self._turn = 0
        self._private: MLKEM768PrivateKey | None = None
        self._key = b""

    @property
    def finished(self) -> bool:
        """Tell whether all messages were exchanged."""
        return self._noise.finished

    @property
    def failed(self) -> bool:
        """Tell whether this handshake is dead."""
        return self._noise.failed

    @property
    def writes_next(self) -> bool:
        """Tell whether it is this side's turn to write."""
        return self._noise.writes_next

    @property
    def initiator(self) -> bool:
        """Tell whether this side began."""
        return self._noise.initiator

    @property
    def suite(self) -> CipherSuite:
        """Return the primitives in use."""
        return self._noise.suite

    @property
    def remote_static(self) -> bytes | None:
        """Return the other's static key, as `Handshake` does."""
        return self._noise.remote_static

    @property
    def proved(self) -> bool:
        """Tell whether the other side is proved to be there now, as `Handshake` does."""
        return self._noise.proved

    @property
    def hash(self) -> bytes:
        """Return the hash of the finished handshake."""
        return self._noise.hash

    def write(self, payload: bytes) -> bytes:
        """Return the next message, with a payload in it.

        Raises:
            NoiseError: it is not this side's turn, or the message is too long. The handshake is dead.

        """
        try:
            message = self._write(payload)
        except NoiseError:
            self.close()
            raise
        self._turn += 1
        return message

    def read(self, message: bytes) -> bytes:
        """Return the payload of the other's next message.

        Raises:
            NoiseError: it does not open, or comes out of turn. The handshake is dead.

        """
        try:
            payload = self._read(message)
        except NoiseError:
            self.close()
            raise
        self._turn += 1
        return payload

    def split(self) -> tuple[bytes, bytes]:
        """Return this side's sending key and its receiving key.

        Raises:
            NoiseError: the handshake is not finished.

        """
        return self._noise.split()

    def close(self) -> None:
        """Drop all keys; nothing works from here on."""
        self._private = None
        self._noise.close()

    def _write(self, payload: bytes) -> bytes:
        front = b""
        if self._noise.writes_next and self._turn == 0:
            self._private = self._kem.MLKEM768PrivateKey.generate()
            self._key = self._private.public_key().public_bytes_raw()
            payload = self._key + payload
        elif self._noise.writes_next and self._turn == 1:
            ciphertext = self._encapsulate()
            if self._clear_front:
                front = ciphertext
            else:
                payload = ciphertext + payload
        message = front + self._noise.write(payload)
        if len(message) > MESSAGE_MAX_BYTES:
            raise NoiseError("A handshake message is too long.")
        return message

    def _read(self, message: bytes) -> bytes:
        if len(message) > MESSAGE_MAX_BYTES or self._noise.writes_next:
            raise does_not_open()
        answer = self._turn == 1
        if answer and self._clear_front:
            ciphertext, message = _cut(message, ENCAPSULATED_BYTES)
            self._decapsulate(ciphertext)
        payload = self._noise.read(message)
        if self._turn == 0:
            self._key, payload = _cut(payload, ENCAPSULATION_KEY_BYTES)
        elif answer and not self._clear_front:
            ciphertext, payload = _cut(payload, ENCAPSULATED_BYTES)
            self._decapsulate(ciphertext)
        return payload

    def _encapsulate(self) -> bytes:
        try:
            key = self._kem.MLKEM768PublicKey.from_public_bytes(self._key)
        except ValueError:  # a coefficient is out of range
            raise does_not_open() from None
        secret, ciphertext = key.encapsulate()
        self._noise.add_psk(_psk(secret, self._key, ciphertext))
        return bytes(ciphertext)

    def _decapsulate(self, ciphertext: bytes) -> None:
        private = self._private
        if private is None:
            raise does_not_open()
        # A wrong ciphertext gives another secret, not an error: the next tag then does not open.
        self._private = None
        self._noise.add_psk(_psk(private.decapsulate(ciphertext), self._key, ciphertext))


AnyHandshake = Handshake | HybridHandshake


def _psk(secret: bytes, key: bytes, ciphertext: bytes) -> bytes:
    said = hashlib.sha256(key).digest() + hashlib.sha256(ciphertext).digest()
    return derive_key(secret, info=_LABEL + said)


def _cut(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise does_not_open()
    return data[:size], data[size:]


def _ml_kem() -> ModuleType:
    """Import it late: it is not on by default, and older builds of the library do not have it."""
    try:
        from cryptography.hazmat.primitives.asymmetric import mlkem
    except ImportError:
        raise NoiseError(
            "This installation has no ML-KEM.",
            why="The installed `cryptography` is too old for it.",
            fix="Upgrade it, or leave the hybrid off.",
        ) from None
    return mlkem
