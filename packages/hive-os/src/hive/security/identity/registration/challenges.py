"""Challenges: what a foreign node has to answer, for how long, and what the answer has to cost.

A challenge is not kept. It carries a code of this node over all that it says, so it cannot be made easier, longer or
another node's; that it was used is kept until it would have ended by itself.
"""

import hashlib
import hmac
from datetime import timedelta
from typing import Final

import msgspec

from hive.core.clock import Clock
from hive.core.errors import IdentityError
from hive.core.ids import name
from hive.core.randomness import Randomness
from hive_a2a.base64url import from_base64url_text, to_base64url_text
from hive_a2a.crypto import derive_key

LIFE: Final = timedelta(minutes=15)
BITS_MAX: Final = 32
NONCE_BYTES: Final = 16
CHALLENGE_MAX_CHARS: Final = 2048
NODE_MAX_CHARS: Final = 64
_PURPOSE: Final = b"hive node registration v1"


class RegistrationChallenge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node is asked: by whom, who it is, how many bits of work, whether a TPM has to speak; `ends_at` in seconds."""

    host: str
    node: str
    nonce: str
    bits: int
    tpm: bool
    ends_at: int
    code: str = ""

    @property
    def text(self) -> str:
        """Return it as it is handed over."""
        return to_base64url_text(msgspec.json.encode(self))


class Challenges:
    """Makes challenges, and knows its own."""

    def __init__(
        self, *, host: str, master_key: bytes, clock: Clock, randomness: Randomness
    ) -> None:
        self._host = host
        self._key = derive_key(master_key, info=_PURPOSE)
        self._clock = clock
        self._randomness = randomness

    def make(self, node: str, *, bits: int, tpm: bool) -> RegistrationChallenge:
        """Make one for a node. Raises InvalidIdError."""
        asked = RegistrationChallenge(
            host=self._host,
            node=name(node, what="node id"),
            nonce=self._randomness.token(NONCE_BYTES).hex(),
            bits=bits,
            tpm=tpm,
            ends_at=int((self._clock.now() + LIFE).timestamp()),
        )
        return msgspec.structs.replace(asked, code=self._code(asked))

    def own(self, text: str) -> RegistrationChallenge:
        """Return a challenge of this node that has not ended.

        Raises:
            IdentityError: it is none, it was changed, or its time is over.

        """
        challenge = read_challenge(text)
        if not hmac.compare_digest(self._code(challenge).encode(), challenge.code.encode()):
            raise refused("This node did not make the challenge, or it was changed.")
        if challenge.ends_at <= self._clock.now().timestamp():
            raise refused("The challenge has ended.")
        return challenge

    def _code(self, challenge: RegistrationChallenge) -> str:
        said = msgspec.json.encode(msgspec.structs.replace(challenge, code=""))
        return hmac.digest(self._key, said, hashlib.sha256).hex()


def read_challenge(text: str) -> RegistrationChallenge:
    """Return a challenge of whoever made it.

    Raises:
        IdentityError: it is none.

    """
    if len(text) > CHALLENGE_MAX_CHARS:
        raise refused("The challenge cannot be read.")
    try:
        challenge = msgspec.json.decode(from_base64url_text(text), type=RegistrationChallenge)
    except (ValueError, msgspec.MsgspecError) as error:
        raise refused("The challenge cannot be read.") from error
    if not 0 <= challenge.bits <= BITS_MAX or not 0 < len(challenge.node) <= NODE_MAX_CHARS:
        raise refused("The challenge asks for something impossible.")
    return challenge


def refused(why: str) -> IdentityError:
    """Return the error of a registration that is not accepted."""
    return IdentityError("The node is not registered.", why=why, fix="Ask for a fresh challenge.")
