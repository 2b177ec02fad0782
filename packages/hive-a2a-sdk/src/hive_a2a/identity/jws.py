"""Compact signed tokens (RFC 7515): parsed strictly, verified only with a key that fits the algorithm.

Nothing in a token says how it is to be verified: the algorithms are the verifier's own list, the key is the
one that the verifier holds, and a header that points to or carries a key is refused by whoever reads it.
"""

import hashlib
import json
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from hive_a2a.base64url import from_base64url_text, to_base64url_text
from hive_a2a.errors import A2AError
from hive_a2a.exact_json import read_exact

TOKEN_BYTES_MAX: Final = 16 << 10
RSA_BITS_MIN: Final = 2048
KID_CHARS_MAX: Final = 256
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_FITS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
    ("RSA", ""): _RSA,
}
ASYMMETRIC: Final = frozenset().union(*_FITS.values())
"""Every algorithm that may be pinned: whoever can verify one of these cannot sign with it."""
_THUMBPRINT: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
_KEY_IN_HEADER: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64"})


class BadTokenError(A2AError):
    """A token, proof or key is not what its standard wants; `what` is safe to tell its sender."""


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A token that was read but not verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @property
    def alg(self) -> str:
        """Return the algorithm that the token claims; empty where it is not a word."""
        return _word(self.header.get("alg"))

    @property
    def kid(self) -> str:
        """Return the name of its key; empty where it names none.

        Raises:
            BadTokenError: the name is not a short string.

        """
        kid = self.header.get("kid", "")
        if not isinstance(kid, str) or len(kid) > KID_CHARS_MAX:
            raise BadTokenError("The token's kid is not a name.")
        return kid

    @property
    def typ(self) -> str:
        """Return its media type in lower case, without `application/`."""
        return _word(self.header.get("typ")).lower().removeprefix("application/")


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key, and the only algorithms it may be used with."""

    kid: str
    algorithms: frozenset[str]
    key: Any

    def verifies(self, token: CompactToken, pinned: frozenset[str]) -> bool:
        """Tell whether the token is signed by this key, with an algorithm that both sides pinned."""
        alg = token.alg
        if alg not in pinned or alg not in self.algorithms:
            return False
        try:
            return bool(_algorithm(alg).verify(token.signed, self.key, token.signature))
        except (InvalidSignature, ValueError, TypeError):
            return False


def parse_compact(text: str, *, bytes_max: int = TOKEN_BYTES_MAX) -> CompactToken:
    """Read a compact token without believing it.

    Raises:
        BadTokenError: too long, not three parts, not strict base64url, or not JSON objects.

    """
    if len(text) > bytes_max:
        raise BadTokenError("The token is too long.")
    parts = text.split(".")
    if len(parts) != 3:
        raise BadTokenError("The token does not have three parts.")
    header, claims, signature = (_part(part) for part in parts)
    signed = f"{parts[0]}.{parts[1]}".encode("ascii")
    return CompactToken(load_object(header), load_object(claims), signed, signature)


def refuse_key_in_header(token: CompactToken, *, but: str = "") -> None:
    """Refuse a header that brings a key or its address, or that asks for what is not understood.

    Raises:
        BadTokenError: it has one of them, other than `but`.

    """
    for name in token.header:
        if name in _KEY_IN_HEADER and name != but:
            raise BadTokenError("The token's header brings its own key or a critical extension.")


def load_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object in which no name comes twice.

    Raises:
        BadTokenError: it is anything else.

    """
    try:
        loaded = read_exact(data)
    except ValueError:
        raise BadTokenError("A part of it is not JSON with unique names.") from None
    if not isinstance(loaded, dict):
        raise BadTokenError("A part of it is not a JSON object.")
    return loaded


def _part(text: str) -> bytes:
    try:
        return from_base64url_text(text)
    except Base64Error:
        raise BadTokenError("A part of it is not base64url.") from None


def public_key(jwk: Mapping[str, Any]) -> VerifyKey:
    """Return the key of a JWK for verifying.

    Raises:
        BadTokenError: symmetric, private, of an unknown kind, too small, or meant for something else.

    """
    kty = _word(jwk.get("kty"))
    fits = _FITS.get((kty, _word(jwk.get("crv")) if kty != "RSA" else ""), frozenset())
    if not fits or "d" in jwk or "k" in jwk or jwk.get("use", "sig") not in ("sig", "jwt-svid"):
        raise BadTokenError("The key is not a public key for signatures of a known kind.")
    ops = jwk.get("key_ops", ["verify"])
    if not isinstance(ops, list) or "verify" not in ops:
        raise BadTokenError("The key is not meant for verifying.")
    if "alg" in jwk:
        fits &= {_word(jwk["alg"])}
    try:
        key = _algorithm(min(fits)).from_jwk(dict(jwk)) if fits else None
    except Exception as error:  # noqa: BLE001 - the library has no one error for a broken key
        raise BadTokenError("The key cannot be read.", why=type(error).__name__) from None
    if key is None or (isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_MIN):
        raise BadTokenError("The key is too small, or names an algorithm that does not fit it.")
    kid = jwk.get("kid", "")
    return VerifyKey(kid if isinstance(kid, str) else "", fits, key)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the RFC 7638 thumbprint (SHA-256) of a public key that `public_key` accepts."""
    members = {name: jwk[name] for name in _THUMBPRINT[jwk["kty"]]}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return to_base64url_text(hashlib.sha256(text.encode()).digest())


def pin(algorithms: Sequence[str]) -> frozenset[str]:
    """Return the pinned algorithms.

    Raises:
        A2AError: none, or one that is symmetric or unknown.

    """
    pinned = frozenset(algorithms)
    if not pinned or not pinned <= ASYMMETRIC:
        raise A2AError(
            "These algorithms cannot be pinned.",
            why="Only asymmetric signatures are accepted: whoever verifies must not be able to sign.",
            fix=f"Choose from {', '.join(sorted(ASYMMETRIC))}.",
        )
    return pinned


def seconds(value: object) -> float:
    """Return a NumericDate (RFC 7519).

    Raises:
        BadTokenError: it is not a number that a clock could show.

    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 53:
        raise BadTokenError("A time in the token is not a number of seconds.")
    return float(value)


def check_times(claims: Mapping[str, Any], now: float, leeway_s: float) -> float:
    """Check `exp` (required), `nbf` and `iat`; return when the token ends.

    Raises:
        BadTokenError: expired, not yet valid, or without an end.

    """
    if "exp" not in claims:
        raise BadTokenError("The token has no end (exp).")
    ends_at = seconds(claims["exp"])
    if now >= ends_at + leeway_s:
        raise BadTokenError("The token expired.")
    for name in ("nbf", "iat"):
        if name in claims and now < seconds(claims[name]) - leeway_s:
            raise BadTokenError("The token is not yet valid.")
    return ends_at


def _algorithm(alg: str) -> Any:  # noqa: ANN401 - the library's own classes
    from jwt.algorithms import get_default_algorithms

    return get_default_algorithms()["EdDSA" if alg == "Ed25519" else alg]


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
