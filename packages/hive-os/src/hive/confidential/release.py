"""The key of an image, handed to the guest that proved to be it: challenge, evidence, HPKE to its ephemeral key.

A challenge counts once and for a short time, whatever came of it. What is bound into the evidence is the challenge
and the guest's key, so evidence of one guest seals nothing to another.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from anyio import to_thread
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from hive.confidential.ports import (
    BINDING_BYTES,
    Attested,
    EvidenceDocument,
    EvidenceVerifier,
    refused,
)
from hive.confidential.references import References
from hive.core.clock import Clock
from hive.core.errors import AttestationError
from hive.core.randomness import Randomness

NONCE_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
LIFE: Final = timedelta(minutes=2)
_RANDOM_BYTES: Final = 12
_END_BYTES: Final = 4
_CODE_BYTES: Final = 16
_PURPOSE: Final = b"hive image key release v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseChallenge:
    """What a guest has to bind into its evidence."""

    nonce: bytes
    image: str
    ends_at: datetime


class KeyRelease:
    """Hands keys of images to guests that prove to be them.

    `keys` looks a key up by the image's name; `note` writes down what was released, before it is. A challenge is
    not kept: it carries a code of this node over its end and its image. That it was answered is kept until its end.
    """

    def __init__(
        self,
        *,
        references: Callable[[], References],
        verifier: Callable[[str], EvidenceVerifier],
        keys: Callable[[str], Awaitable[bytes | None]],
        note: Callable[[Attested], Awaitable[None]],
        code_key: bytes,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._references = references
        self._verifier = verifier
        self._keys = keys
        self._note = note
        self._code_key = code_key
        self._clock = clock
        self._randomness = randomness
        self._answered: dict[bytes, datetime] = {}

    def challenge(self, image: str) -> ReleaseChallenge:
        """Make a challenge for whoever says that it is an image; whether there is such an image is not told."""
        ends_at = self._clock.now() + LIFE
        head = self._randomness.token(_RANDOM_BYTES)
        head += int(ends_at.timestamp()).to_bytes(_END_BYTES, "big")
        nonce = head + self._code(head, image)
        return ReleaseChallenge(nonce=nonce, image=image, ends_at=ends_at)

    async def release(
        self, image: str, nonce: bytes, public_key: bytes, evidence: EvidenceDocument
    ) -> bytes:
        """Return the image's key, sealed to the guest's key (HPKE: X25519, HKDF-SHA256, AES-256-GCM).

        Raises:
            AttestationError: the challenge does not count, the evidence does not hold, no reference names
                what was measured, or there is no key.

        """
        now = self._clock.now()
        self._check_challenge(image, nonce, now)
        binding = release_binding(nonce, public_key, image)
        reference = self._references().of(image, evidence.kind)
        verify = self._verifier(evidence.kind).verify
        judged = await to_thread.run_sync(
            lambda: verify(evidence, reference=reference, binding=binding, now=now)
        )
        key = await self._keys(image)
        if key is None:
            raise AttestationError(
                f"There is no key of the image {image}.", fix=f"hive secret set image-{image}"
            )
        self._use(nonce, now)
        await self._note(judged)
        return seal_to(public_key, key, binding)

    def _check_challenge(self, image: str, nonce: bytes, now: datetime) -> None:
        head, code = nonce[:-_CODE_BYTES], nonce[-_CODE_BYTES:]
        whole = len(nonce) == NONCE_BYTES and hmac.compare_digest(code, self._code(head, image))
        if not whole or int.from_bytes(head[-_END_BYTES:], "big") <= now.timestamp():
            raise refused("There is no such challenge of this image, or it has ended.")

    def _use(self, nonce: bytes, now: datetime) -> None:
        """Count a challenge as answered; there is no wait between the look and the mark."""
        self._answered = {one: ends for one, ends in self._answered.items() if ends > now}
        if nonce in self._answered:
            raise refused("The challenge was answered already.")
        self._answered[nonce] = now + LIFE

    def _code(self, head: bytes, image: str) -> bytes:
        return hmac.digest(self._code_key, head + image.encode(), "sha256")[:_CODE_BYTES]


def release_binding(nonce: bytes, public_key: bytes, image: str) -> bytes:
    """Return what a guest has bound into its evidence: SHA-384 over challenge, key and image, and zeros to 64 bytes.

    Raises:
        AttestationError: the key is none of X25519.

    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise refused("The guest's key is none of X25519, or the challenge is none.")
    said = _PURPOSE + nonce + public_key + image.encode()
    return hashlib.sha384(said).digest().ljust(BINDING_BYTES, b"\0")


def seal_to(public_key: bytes, key: bytes, binding: bytes) -> bytes:
    """Seal a key to a guest; `binding` has to be known to open it.

    Raises:
        AttestationError: the guest's key is none that anything can be sealed to.

    """
    try:
        return _suite().encrypt(key, X25519PublicKey.from_public_bytes(public_key), binding)
    except ValueError as error:
        raise refused("Nothing can be sealed to the guest's key.") from error


def open_sealed(private_key: X25519PrivateKey, sealed: bytes, binding: bytes) -> bytes:
    """Open what was sealed: the guest's half.

    Raises:
        AttestationError: it was sealed to another key, for another challenge, or changed.

    """
    try:
        return _suite().decrypt(sealed, private_key, binding)
    except (InvalidTag, ValueError) as error:
        raise refused("What was released is not for this guest.") from error


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
