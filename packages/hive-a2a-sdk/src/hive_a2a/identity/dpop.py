"""Proof of possession (RFC 9449): a token that is bound to a key is worth nothing without a fresh proof.

The proof names the method and address of this very request, is bound to the token by its hash, is young, and
is accepted once. With `DpopNonces` it must also hold a word that this server gave out lately, so that proofs
cannot be made in advance.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from hive_a2a.base64url import to_base64url_text
from hive_a2a.call import RequestHead
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.faults import WireFault
from hive_a2a.identity.challenge import challenge
from hive_a2a.identity.jws import (
    BadTokenError,
    CompactToken,
    parse_compact,
    pin,
    public_key,
    refuse_key_in_header,
    seconds,
    thumbprint,
)
from hive_a2a.identity.once import MemoryOnce, OnceStore

PROOF_BYTES_MAX: Final = 8 << 10
JTI_CHARS_MAX: Final = 256
_PORTS: Final = {"https": 443, "http": 80}
_UNRESERVED: Final = "-._~"
_KEPT: Final = _UNRESERVED + "!$&'()*+,;=:@/%"


class DpopNonces:
    """Words that a proof must repeat; made from the time and a secret, so that nothing is stored.

    Give the servers of a cluster one `secret`.
    """

    def __init__(
        self, *, secret: bytes = b"", period_s: float = 120.0, clock: WallClock | None = None
    ) -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._period_s = period_s
        self._clock = clock or MachineClock()

    def current(self) -> str:
        """Return the word of this period."""
        return self._word(self._period())

    def accepts(self, nonce: object) -> bool:
        """Tell whether it is the word of this period or the one before."""
        if not isinstance(nonce, str):
            return False
        period, given = self._period(), nonce.encode("utf-8", "replace")
        now, before = (self._word(one).encode() for one in (period, period - 1))
        return hmac.compare_digest(now, given) or hmac.compare_digest(before, given)

    def _period(self) -> int:
        return int(self._clock.now().timestamp() // self._period_s)

    def _word(self, period: int) -> str:
        word = hmac.digest(self._secret, b"dpop-nonce\x00" + period.to_bytes(8, "big"), "sha256")
        return to_base64url_text(word[:16])


class DpopVerifier:
    """Checks proofs on the server; one for all authenticators, since a proof is good once for all of them."""

    def __init__(
        self,
        *,
        used: OnceStore | None = None,
        nonces: DpopNonces | None = None,
        algorithms: Sequence[str] = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256"),
        age_s: float = 60.0,
        ahead_s: float = 10.0,
        clock: WallClock | None = None,
    ) -> None:
        self._clock = clock or MachineClock()
        self._used = MemoryOnce(clock=self._clock) if used is None else used
        self._nonces = nonces
        self._pinned = pin(algorithms)
        self._age_s, self._ahead_s = age_s, ahead_s

    async def verify(self, head: RequestHead, token: str, jkt: str) -> None:
        """Check the proof that came with a token which is bound to the key with thumbprint `jkt`.

        Raises:
            WireFault: there is none, it is not valid for this request, or it was used (401).

        """
        proof = head.headers.get("dpop", "")
        if not proof:
            raise self._refused("The token is bound to a key; a DPoP proof is needed.")
        try:
            read = parse_compact(proof, bytes_max=PROOF_BYTES_MAX)
            self._check_key(read, jkt)
            self._check_request(read, head, token)
            jti = _jti(read)
        except BadTokenError as error:
            raise self._refused(error.what) from None
        if self._nonces is not None and not self._nonces.accepts(read.claims.get("nonce")):
            raise self._refused("The proof lacks this server's nonce.", error="use_dpop_nonce")
        if not await self._used.first_use(jkt, jti, for_s=self._age_s + self._ahead_s):
            raise self._refused("The proof was used before.")

    @property
    def algorithms(self) -> str:
        """Return the accepted algorithms, as a challenge names them."""
        return " ".join(sorted(self._pinned))

    def _check_key(self, proof: CompactToken, jkt: str) -> None:
        if proof.typ != "dpop+jwt":
            raise BadTokenError("The proof is not of type dpop+jwt.")
        refuse_key_in_header(proof, but="jwk")
        jwk = proof.header.get("jwk")
        if not isinstance(jwk, dict):
            raise BadTokenError("The proof carries no key.")
        if not public_key(jwk).verifies(proof, self._pinned):
            raise BadTokenError("The proof's signature is not valid.")
        if not hmac.compare_digest(thumbprint(jwk).encode(), jkt.encode("utf-8", "replace")):
            raise BadTokenError("The proof is by another key than the token's.")

    def _check_request(self, proof: CompactToken, head: RequestHead, token: str) -> None:
        claims = proof.claims
        if claims.get("htm") != head.http_method:
            raise BadTokenError("The proof is for another method.")
        if same_target(claims.get("htu")) != same_target(head.url):
            raise BadTokenError("The proof is for another address.")
        now = self._clock.now().timestamp()
        age_s = now - seconds(claims.get("iat"))
        if not -self._ahead_s <= age_s <= self._age_s:
            raise BadTokenError("The proof is not from now.")
        expected = to_base64url_text(hashlib.sha256(token.encode("utf-8", "replace")).digest())
        ath = claims.get("ath")
        if not isinstance(ath, str) or not hmac.compare_digest(
            ath.encode("utf-8", "replace"), expected.encode()
        ):
            raise BadTokenError("The proof is for another token.")

    def _refused(self, reason: str, *, error: str = "invalid_dpop_proof") -> WireFault:
        fault = challenge("DPoP", error, reason, algs=self.algorithms)
        if self._nonces is not None:
            fault.headers += ((b"dpop-nonce", self._nonces.current().encode()),)
        return fault


def same_target(url: object) -> str:
    """Write an address so that equal ones are equal texts (RFC 3986, 6.2.2 and 6.2.3), without its query.

    Raises:
        BadTokenError: it is not an absolute HTTP address.

    """
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc:
        raise BadTokenError("The proof names no address.")
    shown = f"[{host}]" if ":" in host else host
    place = shown if port in (None, _PORTS[parts.scheme]) else f"{shown}:{port}"
    return f"{parts.scheme}://{place}{_path(parts.path)}"


def _path(path: str) -> str:
    # Each %XX of an unreserved character becomes that character, every other one upper case; a decoded
    # slash or percent sign would make another path of it, so those stay as they are.
    pieces = path.split("%")
    made = [quote(pieces[0], safe=_KEPT)]
    for piece in pieces[1:]:
        char = unquote("%" + piece[:2])
        plain = len(char) == 1 and char.isascii() and (char.isalnum() or char in _UNRESERVED)
        made.append((char if plain else "%" + piece[:2].upper()) + quote(piece[2:], safe=_KEPT))
    return "".join(made) or "/"


def _jti(proof: CompactToken) -> str:
    jti: Any = proof.claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_CHARS_MAX:
        raise BadTokenError("The proof has no identifier (jti).")
    return jti
