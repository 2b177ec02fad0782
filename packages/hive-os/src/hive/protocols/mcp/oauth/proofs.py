"""Proofs of possession (RFC 9449) that clients show: at the token endpoint, and with a token that is bound.

A proof is good once, for one method and address, and only with a nonce of this process: one that was recorded
before a restart is worth nothing after it, so that what was used needs no table.

Reading a proof remembers nothing: anybody can make a key and sign with it. It is remembered once the caller has
found that key bound to a token or code that is good; a full memory refuses and forgets nothing that still counts.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hive.core.clock import Clock
from hive.core.randomness import Randomness

if TYPE_CHECKING:
    from hive_a2a.identity.dpop import DpopNonces
    from hive_a2a.identity.once import MemoryOnce

PROOF_MAX_BYTES: Final = 8 << 10
AGE_S: Final = 60.0
AHEAD_S: Final = 10.0
JTI_MAX_CHARS: Final = 256
PROOFS_MAX: Final = 100_000
PROOFS_PER_KEY_MAX: Final = 20_000
ALGORITHMS: Final = ("ES256", "EdDSA")


class BadProofError(Exception):
    """A proof does not fit; the text may be told."""

    def __init__(self, reason: str, *, error: str = "invalid_dpop_proof") -> None:
        super().__init__(reason)
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadProof:
    """A proof that fits its request and was not spent yet: whose key made it, and its identifier."""

    jkt: str
    jti: str


class DpopProofs:
    """Checks proofs; one for all endpoints, since each is good once."""

    def __init__(self, *, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._secret = randomness.token(32)
        self._once: MemoryOnce | None = None
        self._words: DpopNonces | None = None

    @property
    def nonce(self) -> str:
        """Return the nonce that a proof made now must hold."""
        return self._nonces().current()

    def read(self, proof: str, *, method: str, url: str, token: str = "") -> ReadProof:
        """Check a proof and remember nothing of it; `token` is what it must be for.

        Raises:
            BadProofError: it is not valid for this request.

        """
        from hive_a2a.identity.jws import BadTokenError

        try:
            jkt, jti, nonce = self._read(proof, method, url, token)
        except BadTokenError as error:
            raise BadProofError(error.what) from None
        if not self._nonces().accepts(nonce):
            raise BadProofError("The proof lacks this server's nonce.", error="use_dpop_nonce")
        return ReadProof(jkt=jkt, jti=jti)

    async def spend(self, proof: ReadProof) -> None:
        """Use a proof up, after everything else of the request was found good.

        Raises:
            BadProofError: it was used, or there is no room to remember it.

        """
        from hive_a2a.faults import WireFault

        try:
            first = await self._used().first_use(proof.jkt, proof.jti, for_s=AGE_S + AHEAD_S)
        except WireFault:
            raise BadProofError("Too many proofs in too short a time.") from None
        if not first:
            raise BadProofError("The proof was used before.")

    def _read(self, proof: str, method: str, url: str, token: str) -> tuple[str, str, object]:
        from hive_a2a.identity.dpop import same_target
        from hive_a2a.identity.jws import (
            BadTokenError,
            parse_compact,
            pin,
            public_key,
            refuse_key_in_header,
            seconds,
            thumbprint,
        )

        read = parse_compact(proof, bytes_max=PROOF_MAX_BYTES)
        refuse_key_in_header(read, but="jwk")
        jwk = read.header.get("jwk")
        if read.typ != "dpop+jwt" or not isinstance(jwk, dict):
            raise BadTokenError("It is no proof with a key.")
        if not public_key(jwk).verifies(read, pin(ALGORITHMS)):
            raise BadTokenError("The proof's signature is not valid.")
        claims = read.claims
        if claims.get("htm") != method or same_target(claims.get("htu")) != same_target(url):
            raise BadTokenError("The proof is for another request.")
        age_s = self._clock.now().timestamp() - seconds(claims.get("iat"))
        if not -AHEAD_S <= age_s <= AGE_S:
            raise BadTokenError("The proof is not from now.")
        if token and not _is_for(claims.get("ath"), token):
            raise BadTokenError("The proof is for another token.")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= JTI_MAX_CHARS:
            raise BadTokenError("The proof has no identifier (jti).")
        return thumbprint(jwk), jti, claims.get("nonce")

    def _nonces(self) -> "DpopNonces":
        from hive_a2a.identity.dpop import DpopNonces

        if self._words is None:
            self._words = DpopNonces(secret=self._secret, clock=self._clock)
        return self._words

    def _used(self) -> "MemoryOnce":
        from hive_a2a.identity.once import MemoryOnce

        if self._once is None:
            self._once = MemoryOnce(
                entries_max=PROOFS_MAX, per_owner_max=PROOFS_PER_KEY_MAX, clock=self._clock
            )
        return self._once


def _is_for(ath: object, token: str) -> bool:
    from hive_a2a.base64url import to_base64url_text

    expected = to_base64url_text(hashlib.sha256(token.encode("utf-8", "replace")).digest())
    return isinstance(ath, str) and hmac.compare_digest(ath.encode(), expected.encode())
