"""An image under a key: AES-256-GCM in pieces, each bound to its place, the last one marked (STREAM).

Pieces that are cut off, swapped, repeated or of another file are refused before a byte of them is handed on; what
was handed on before has to be thrown away by whoever wrote it, which `written_whole` does.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hive.core.errors import AttestationError
from hive.core.randomness import Randomness

MAGIC: Final = b"hive sealed image 1\n"
KEY_BYTES: Final = 32
PIECE_BYTES: Final = 1 << 20
PIECES_MAX: Final = 1 << 24
HEAD_MAX_BYTES: Final = 4096
_PREFIX_BYTES: Final = 7
_TAG_BYTES: Final = 16


class SealedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plain head of a sealed image: which image it is, and what its nonces begin with."""

    image: str
    prefix: bytes


def seal(source: IO[bytes], image: str, key: bytes, randomness: Randomness) -> Iterator[bytes]:
    """Yield a sealed image.

    Raises:
        AttestationError: the source is too large.

    """
    head = SealedHead(image=image, prefix=randomness.token(_PREFIX_BYTES))
    text = msgspec.json.encode(head)
    bound = MAGIC + len(text).to_bytes(2, "big") + text
    yield bound
    cipher = AESGCM(_checked(key))
    number, piece = 0, source.read(PIECE_BYTES)
    while True:
        following = source.read(PIECE_BYTES)
        nonce = _nonce(head.prefix, number, last=not following)
        yield cipher.encrypt(nonce, piece, bound)
        if not following:
            return
        number, piece = number + 1, following


def unseal(source: IO[bytes], key: bytes, *, image: str) -> Iterator[bytes]:
    """Yield what was sealed; nothing of a piece that does not hold.

    Raises:
        AttestationError: it is of another image or key, was changed, or ends too early.

    """
    head, bound = read_head(source)
    if head.image != image:
        raise _bad(f"It is the image {head.image!r}.")
    cipher = AESGCM(_checked(key))
    number, piece = 0, source.read(PIECE_BYTES + _TAG_BYTES)
    while True:
        following = source.read(PIECE_BYTES + _TAG_BYTES)
        nonce = _nonce(head.prefix, number, last=not following)
        try:
            yield cipher.decrypt(nonce, piece, bound)
        except InvalidTag as error:
            raise _bad("A piece was changed, is out of place, or the key is another.") from error
        if not following:
            return
        number, piece = number + 1, following


def read_head(source: IO[bytes]) -> tuple[SealedHead, bytes]:
    """Return the head of a sealed image, and its bytes as they are bound into every piece.

    Raises:
        AttestationError: it is no sealed image.

    """
    begin = source.read(len(MAGIC) + 2)
    size = int.from_bytes(begin[-2:], "big")
    if begin[: len(MAGIC)] != MAGIC or len(begin) != len(MAGIC) + 2 or size > HEAD_MAX_BYTES:
        raise _bad("It does not begin as one.")
    text = source.read(size)
    try:
        head = msgspec.json.decode(text, type=SealedHead)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _bad("Its head is not readable.") from error
    if len(text) != size or len(head.prefix) != _PREFIX_BYTES:
        raise _bad("Its head is not whole.")
    return head, begin + text


def written_whole(path: Path, pieces: Iterator[bytes], *, mode: int = 0o600) -> int:
    """Write pieces to a new file that appears whole or not at all; return its size.

    Raises:
        FileExistsError: there is one already.

    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".hive-")
    try:
        with os.fdopen(handle, "wb") as file:
            size = sum(file.write(piece) for piece in pieces)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        os.link(name, path)
        return size
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    if number >= PIECES_MAX:
        raise _bad(f"It has more than {PIECES_MAX} pieces.")
    return prefix + number.to_bytes(4, "big") + bytes([last])


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise _bad(f"A key has {KEY_BYTES} bytes.")
    return key


def _bad(why: str) -> AttestationError:
    return AttestationError("It is not the sealed image that it should be.", why=why)
