"""Answers to challenges: the node's keys, the work, the quote of its TPM, and its signature over all of that.

The work is Hashcash: a number with which a hash over the challenge and the node's keys begins with so many zero bits. It
is found by trying and checked by one hash of a fixed length, whatever was sent. It is a price, not a wall: who has many
cores pays it in seconds. What ties an answer to one machine is the TPM.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from hive.core.errors import BadInputError, IdentityError
from hive.security.identity.registration.challenges import read_challenge, refused
from hive_a2a.base64url import from_base64url_text, to_base64url_text
from hive_a2a.crypto import KEY_BYTES, sign, verify

ANSWER_MAX_CHARS: Final = 16_384
EVIDENCE_MAX_BYTES: Final = 4096
COUNTER_BYTES: Final = 8
TRIES_AT_ONCE: Final = 20_000
_WORK: Final = b"hive.registration.work.v1\0"
_QUOTE: Final = b"hive.registration.quote.v1\0"
_CONTEXT: Final = b"hive/registration/v1"


class RegistrationAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node answers: its id, its public keys, the work (`counter`), and what its TPM said, signed by its key."""

    challenge: str
    node: str
    signing: bytes
    sealing: bytes
    counter: int = 0
    quote: bytes = b""
    quote_signature: bytes = b""
    signature: bytes = b""

    @property
    def text(self) -> str:
        """Return it as it is handed over."""
        return to_base64url_text(msgspec.json.encode(self))

    @property
    def signed_part(self) -> bytes:
        """Return what the node signs."""
        return msgspec.json.encode(msgspec.structs.replace(self, signature=b""))

    def zero_bits(self) -> int:
        """Return how much work it shows: one hash of a fixed length."""
        return _zero_bits(self._work_so_far(), self.counter)

    def _work_so_far(self) -> "hashlib._Hash":
        return hashlib.sha256(_WORK + _bound(self.challenge, self.node, self.signing, self.sealing))

    def holds_its_key(self) -> bool:
        """Tell whether the node's own key signed it."""
        return verify(self.signing, self.signature, self.signed_part, context=_CONTEXT)

    def worked(
        self, bits: int, *, goes_on: Callable[[], bool] = lambda: True
    ) -> "RegistrationAnswer":
        """Return it with the work done; `goes_on` is asked now and then.

        Raises:
            IdentityError: it was called off.

        """
        so_far, counter = self._work_so_far(), 0
        while _zero_bits(so_far, counter) < bits:
            counter += 1
            if counter % TRIES_AT_ONCE == 0 and not goes_on():
                raise IdentityError("The work was called off.")
        return msgspec.structs.replace(self, counter=counter)


class Answering:
    """Answers challenges of others with this node's keys."""

    def __init__(self, *, node: str, signing: bytes, public: bytes, sealing: bytes) -> None:
        self._signing = signing
        self._node, self._public, self._sealing = node, public, sealing

    def qualifier(self, challenge: str) -> bytes:
        """Return what the TPM's quote has to carry (`tpm2_quote -q`). Raises IdentityError."""
        return qualifier_of(self._begun(challenge))

    def answer(
        self,
        challenge: str,
        *,
        quote: bytes = b"",
        quote_signature: bytes = b"",
        goes_on: Callable[[], bool] = lambda: True,
    ) -> RegistrationAnswer:
        """Do the work and sign; takes seconds where work is asked.

        Raises:
            IdentityError: the challenge is another node's, or asks for a quote and there is none.

        """
        begun = self._begun(challenge)
        asked = read_challenge(challenge)
        if asked.tpm and not (quote and quote_signature):
            raise IdentityError(
                "The challenge asks for a quote of this machine's TPM.",
                fix="hive identity node nonce CHALLENGE     says what the quote has to carry",
            )
        worked = begun.worked(asked.bits, goes_on=goes_on)
        whole = msgspec.structs.replace(worked, quote=quote, quote_signature=quote_signature)
        signature = sign(self._signing, whole.signed_part, context=_CONTEXT)
        return msgspec.structs.replace(whole, signature=signature)

    def _begun(self, challenge: str) -> RegistrationAnswer:
        if read_challenge(challenge).node != self._node:
            raise IdentityError("The challenge is for another node.", why=f"This is {self._node}.")
        return RegistrationAnswer(
            challenge=challenge, node=self._node, signing=self._public, sealing=self._sealing
        )


def read_answer(text: str) -> RegistrationAnswer:
    """Return an answer as it was handed over, nothing in it believed.

    Raises:
        BadInputError: it is none.

    """
    try:
        if len(text) > ANSWER_MAX_CHARS:
            raise BadInputError("The answer is too long.")
        answer = msgspec.json.decode(from_base64url_text(text), type=RegistrationAnswer)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadInputError("The answer cannot be read.") from error
    sizes = len(answer.signing) == len(answer.sealing) == KEY_BYTES
    bounded = max(len(answer.quote), len(answer.quote_signature)) <= EVIDENCE_MAX_BYTES
    if not sizes or not bounded or not 0 <= answer.counter < 1 << 8 * COUNTER_BYTES:
        raise refused("A part of the answer has an impossible size.")
    return answer


def qualifier_of(answer: RegistrationAnswer) -> bytes:
    """Return what ties a quote to one challenge and to one node's keys: 32 bytes."""
    return hashlib.sha256(
        _QUOTE + _bound(answer.challenge, answer.node, answer.signing, answer.sealing)
    ).digest()


def _bound(challenge: str, node: str, signing: bytes, sealing: bytes) -> bytes:
    parts = (challenge.encode(), node.encode(), signing, sealing)
    return b"".join(hashlib.sha256(part).digest() for part in parts)


def _zero_bits(so_far: "hashlib._Hash", counter: int) -> int:
    tried = so_far.copy()
    tried.update(counter.to_bytes(COUNTER_BYTES, "big"))
    return 256 - int.from_bytes(tried.digest(), "big").bit_length()
