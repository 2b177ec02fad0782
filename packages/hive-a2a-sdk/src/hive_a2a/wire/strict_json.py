"""JSON that two readers cannot read differently.

Refused are a key that stands twice in one object (one reader takes the first, another the last), numbers
that are none (NaN, Infinity) or have no end, half of a surrogate pair, and bytes that are not UTF-8. The
quick reader of this package says nothing of a repeated key, so keys are counted first; the slow,
exact look is only taken where some key text stands twice anywhere.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any, Final, TypeAlias

import msgspec

from hive_a2a.exact_json import EXACT, RepeatedMemberError
from hive_a2a.faults import PARSE_ERROR, WireFault, invalid

Json: TypeAlias = Any
# Quotes stand only around strings in JSON, so matching from the front never loses its place.
_STRING: Final = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?', re.DOTALL)
_URL_SAFE: Final = str.maketrans("-_", "+/")


def read_json(body: bytes) -> Json:
    """Return the value of a body.

    Raises:
        WireFault: it is not JSON (-32700), or a value that cannot be represented (-32602).

    """
    try:
        value = msgspec.json.decode(body)
    except msgspec.ValidationError:
        raise invalid("The body holds a number that cannot be represented.") from None
    except UnicodeDecodeError:
        raise WireFault(PARSE_ERROR, "The body is not UTF-8.") from None
    except (msgspec.DecodeError, RecursionError):
        raise WireFault(PARSE_ERROR, "The body is not JSON.") from None
    admit_keys(body)
    return value


def admit_keys(body: bytes) -> None:
    """Let valid JSON pass that has no key twice in one object.

    Raises:
        WireFault: it has (-32700).

    """
    keys = [key for key, colon in _STRING.findall(body) if colon]
    if len(set(keys)) == len(keys) and not any(b"\\" in key for key in keys):
        return
    try:
        EXACT.decode(body.decode())
    except RepeatedMemberError:
        raise WireFault(PARSE_ERROR, "The body has a key twice in one object.") from None
    except (ValueError, RecursionError):
        raise WireFault(PARSE_ERROR, "The body is not JSON.") from None


def read_base64(text: str) -> bytes:
    """Return the bytes of base64, in either alphabet, padded or not, and nothing else.

    Raises:
        WireFault: it is something else (-32602).

    """
    if "-" in text or "_" in text:
        text = text.translate(_URL_SAFE)
    if len(text) % 4:
        text += "=" * (-len(text) % 4)
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise invalid("A part's raw bytes are not base64.") from None
