"""Bytes of several fields: each has its length (4 bytes, big-endian) in front, and nothing follows the last.

`ab` + `c` and `a` + `bc` are different bytes this way, which is what everything that is hashed or bound
needs.
"""

from typing import Final

from hive_a2a.sealed.errors import SealCode, SealFault

_LENGTH_BYTES: Final = 4
FIELDS_MAX: Final = 512


def pack_fields(*fields: bytes) -> bytes:
    """Write fields one after the other."""
    return b"".join([part for one in fields for part in (len(one).to_bytes(4, "big"), one)])


def read_fields(data: bytes, *, least: int, most: int) -> list[bytes]:
    """Read all fields of `data`.

    Raises:
        SealFault: a length is wrong, or there are fewer than `least` or more than `most`.

    """
    found: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        if start > end or at > end or len(found) == most:
            raise SealFault(SealCode.MALFORMED)
        found.append(data[start:at])
    if len(found) < least:
        raise SealFault(SealCode.MALFORMED)
    return found
