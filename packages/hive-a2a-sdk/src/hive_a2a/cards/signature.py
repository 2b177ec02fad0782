"""The header of a signature on a card: read, bounded, and not believed.

An algorithm that is not known here ("none" and shared secrets among them) is read as None, and such a
signature counts for nothing. A header that makes something critical is refused, as RFC 7515 wants it.
"""

from dataclasses import dataclass
from typing import Final

from hive_a2a.call import Proto
from hive_a2a.cards.errors import malformed
from hive_a2a.cards.jwk import KID_CHARS_MAX, CardAlgorithm, CardKey, read_jwk
from hive_a2a.cards.reading import CardLimits, decode_base64url, read_object
from hive_a2a.cards.sign import TERMS

CHAIN_MAX: Final = 6
_HEADER_LIMITS: Final = CardLimits(size_bytes=32 << 10, depth=8)
_ALGORITHMS: Final = {
    "EdDSA": CardAlgorithm.EDDSA,
    "Ed25519": CardAlgorithm.EDDSA,
    "ES256": CardAlgorithm.ES256,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSignature:
    """One signature, read but not believed."""

    kid: str
    algorithm: CardAlgorithm | None
    protected: str
    signature: bytes
    jku: str = ""
    jwk: CardKey | None = None
    chain: tuple[str, ...] = ()
    sha256: bytes = b""
    names: frozenset[str] = frozenset()
    epoch: int = 0


def read_signature(signature: Proto) -> CardSignature:
    """Read one signature of a card.

    Raises:
        CardError: it is not what its standard wants.

    """
    header = read_object(
        decode_base64url(signature.protected, "The header of a signature"),
        _HEADER_LIMITS,
        "The header of a signature",
    )
    if "crit" in header or "b64" in header:
        raise malformed("The header of a signature wants what is not known here.")
    kid = header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_CHARS_MAX or not kid.isprintable():
        raise malformed("The kid of a signature is not a short, printable text.")
    # The official Python SDK writes null for a jku that was not given.
    jku = "" if header.get("jku") is None else header["jku"]
    chain = header.get("x5c", [])
    if not isinstance(jku, str) or not isinstance(chain, list) or len(chain) > CHAIN_MAX:
        raise malformed("The jku or x5c of a signature is not what the standard wants.")
    if not all(isinstance(one, str) for one in chain):
        raise malformed("A certificate in x5c is not a text.")
    algorithm = header.get("alg")
    terms = header.get(TERMS, {})
    if not isinstance(algorithm, str) or not isinstance(terms, dict):
        raise malformed("The header of a signature has no alg, or odd terms.")
    sha256, names = terms.get("sha256", ""), terms.get("keys", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise malformed("The keys that a signature names are no texts.")
    return CardSignature(
        kid=kid,
        algorithm=_ALGORITHMS.get(algorithm),
        protected=signature.protected,
        signature=decode_base64url(signature.signature, "A signature"),
        jku=jku,
        jwk=read_jwk(header["jwk"]) if "jwk" in header and algorithm in _ALGORITHMS else None,
        chain=tuple(chain),
        sha256=decode_base64url(sha256, "A hash"),
        names=frozenset(names),
        epoch=whole_number(terms.get("epoch", 0)),
    )


def whole_number(value: object) -> int:
    """Read a count that a stranger wrote.

    Raises:
        CardError: it is none.

    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise malformed("An epoch is not a whole number from zero on.")
    return value
