"""Read a stranger's JSON: within bounds, one meaning only.

What two readers could read differently has no meaning here (`exact_json`, `base64url`).
"""

import re
from binascii import Error as Base64Error
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from hive_a2a.base64url import from_base64url_text
from hive_a2a.cards.errors import CardFault, malformed, not_taken
from hive_a2a.exact_json import read_exact

# A string without an end takes the rest of the text, and nothing is tried twice: else the time would grow with
# the square of the length.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLimits:
    """How much a card or a key set of a stranger may be, and how long it may take to come."""

    size_bytes: int = 1 << 20
    depth: int = 64
    timeout_s: float = 10.0
    redirects_max: int = 3


def read_object(data: bytes, limits: CardLimits, what: str) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        CardError: it is too large or too deep, not JSON, no object, or says a member twice.

    """
    if len(data) > limits.size_bytes:
        raise not_taken(CardFault.TOO_LARGE, f"{what} has more than {limits.size_bytes} bytes.")
    if _depth(data) > limits.depth:
        raise not_taken(CardFault.TOO_LARGE, f"{what} nests deeper than {limits.depth} levels.")
    try:
        value = read_exact(data)
    except ValueError:
        raise malformed(f"{what} is not JSON, or says a member twice.") from None
    if not isinstance(value, dict):
        raise malformed(f"{what} is not a JSON object.")
    return value


def decode_base64url(text: object, what: str) -> bytes:
    """Read base64url, and nothing that is merely like it.

    Raises:
        CardError: it is no text, has padding, foreign characters or spare bits.

    """
    if isinstance(text, str):
        with suppress(Base64Error):
            return from_base64url_text(text)
    raise malformed(f"{what} is not base64url.")


def _depth(data: bytes) -> int:
    deepest = depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
