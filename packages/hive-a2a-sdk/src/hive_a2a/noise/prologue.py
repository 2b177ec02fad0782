"""What both sides must agree on before the first byte: it is hashed into the handshake, never sent.

A stripped or altered card, another audience or another version gives another prologue, and the
handshake fails at its first authenticated message.
"""

from typing import Final

_LABEL: Final = b"hive-a2a/noise/prologue/v1"


def prologue(extension_uri: str, card_hash: bytes, audience: str, a2a_version: str) -> bytes:
    """Return the bytes to hash in: the label, then each field, each with its length in front.

    A length is four bytes, big-endian; texts are UTF-8. `card_hash` is the SHA-256 of the card's
    canonical form, `audience` the URL under which the card offers the interface.
    """
    fields = (_LABEL, extension_uri.encode(), card_hash, audience.encode(), a2a_version.encode())
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)
