"""base64url without padding (RFC 4648, section 5), read strictly: one text for one value."""

from base64 import urlsafe_b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import Final

_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def to_base64url(data: bytes) -> bytes:
    """Write bytes."""
    return urlsafe_b64encode(data).rstrip(b"=")


def from_base64url(text: bytes) -> bytes:
    """Read what `to_base64url` wrote, and nothing else.

    Raises:
        binascii.Error: it is something else.

    """
    if b"+" in text or b"/" in text or b"=" in text:
        raise Base64Error("not base64url")
    padded = text.translate(_TO_STANDARD) + b"=" * (-len(text) % 4)
    data = a2b_base64(padded, strict_mode=True)
    if to_base64url(data) != text:  # the last character may carry bits that say nothing
        raise Base64Error("not canonical")
    return data


def to_base64url_text(data: bytes) -> str:
    """Write bytes as a text, as JOSE does."""
    return to_base64url(data).decode()


def from_base64url_text(text: str) -> bytes:
    """Read what `to_base64url_text` wrote, and nothing else.

    Raises:
        binascii.Error: it is something else.

    """
    if not text.isascii():
        raise Base64Error("not base64url")
    return from_base64url(text.encode())
