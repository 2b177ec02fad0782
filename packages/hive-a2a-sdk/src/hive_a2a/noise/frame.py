"""How a sealed text travels: one byte of version, the session's id, its number, then the text."""

from typing import Final, NamedTuple

from hive_a2a.noise.cipher import TAG_BYTES
from hive_a2a.noise.errors import NoiseError
from hive_a2a.noise.session import ID_BYTES

FRAME_VERSION: Final = 1
_NUMBER_BYTES: Final = 8
FRAME_HEAD_BYTES: Final = 1 + ID_BYTES + _NUMBER_BYTES
_VERSION: Final = bytes((FRAME_VERSION,))


class SealedFrame(NamedTuple):
    """A sealed text with what it takes to find its session."""

    session_id: bytes
    nonce: int
    data: bytes


def encode_frame(session_id: bytes, nonce: int, data: bytes) -> bytes:
    """Return `01`, the id (16 bytes), the number (8 bytes, big-endian), the sealed text.

    Raises:
        NoiseError: the id has not 16 bytes, or the number does not fit.

    """
    if len(session_id) != ID_BYTES or not 0 <= nonce < 1 << 64:
        raise _not_a_frame()
    return b"".join((_VERSION, session_id, nonce.to_bytes(_NUMBER_BYTES, "big"), data))


def decode_frame(frame: bytes) -> SealedFrame:
    """Take a frame apart; nothing in it is proved yet.

    Raises:
        NoiseError: it is too short, or of another version.

    """
    if len(frame) < FRAME_HEAD_BYTES + TAG_BYTES or frame[:1] != _VERSION:
        raise _not_a_frame()
    number = int.from_bytes(frame[1 + ID_BYTES : FRAME_HEAD_BYTES], "big")
    return SealedFrame(frame[1 : 1 + ID_BYTES], number, frame[FRAME_HEAD_BYTES:])


def _not_a_frame() -> NoiseError:
    return NoiseError(
        "This is no sealed frame.",
        why="It is too short, or of a version that is not spoken here.",
        fix="Look at the extension's version in the card.",
    )
