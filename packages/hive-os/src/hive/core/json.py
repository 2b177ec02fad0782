"""JSON as a type, and the one canonical way to write it (RFC 8785 for the values Hive produces)."""

import re
from typing import Final, TypeAlias

import msgspec

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")
_DECODER: Final = msgspec.json.Decoder()
DEPTH_MAX: Final = 64
# A string without an end takes the rest of the text, and nothing is tried twice: else the time would grow with
# the square of the length.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")


def encode(value: object) -> bytes:
    """Write JSON with sorted keys and no spaces: equal values give equal bytes."""
    return _CANONICAL.encode(value)


def decode(data: bytes | str) -> Json:
    """Read JSON.

    Raises:
        ValueError: it is not JSON, not UTF-8, or nested deeper than the decoder allows.

    """
    try:
        value: Json = _DECODER.decode(data)
    except RecursionError as error:
        message = "JSON is nested too deeply"
        raise ValueError(message) from error
    return value


def depth_exceeds(data: bytes, limit: int = DEPTH_MAX) -> bool:
    """Tell whether brackets outside strings nest deeper than `limit`, without parsing."""
    if data.count(b"[") + data.count(b"{") <= limit:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            return True
    return False
