"""Keys of the authority at rest: sealed under a key derived from the node's master key, bound to their names."""

from typing import Final

from hive.core.errors import IdentityError
from hive_a2a.crypto import derive_key, open_sealed, seal
from hive_a2a.errors import CryptoError

_PURPOSE: Final = b"hive identity keys v1"
_DOMAIN: Final = b"hive.identity.key.v1\0"


class MasterSealed:
    """Seals and opens; without the master key a copy of the database holds nothing."""

    def __init__(self, master_key: bytes) -> None:
        self._key = derive_key(master_key, info=_PURPOSE)

    def seal(self, name: str, secret: bytes) -> bytes:
        """Seal a secret under its name."""
        return seal(self._key, secret, _DOMAIN + name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Open what was sealed under this name.

        Raises:
            IdentityError: another master key sealed it, or it was changed or exchanged.

        """
        try:
            return open_sealed(self._key, sealed, _DOMAIN + name.encode())
        except CryptoError as error:
            raise IdentityError(
                "A key of the authority does not open.",
                why="Another master key sealed it, or it was changed.",
                fix="Start with the HIVE_MASTER_KEY that this database was written with.",
            ) from error


def resealed_key(name: str, sealed: bytes, old: bytes, new: bytes) -> bytes:
    """Return a sealed key under another master key; one that is under it already stays.

    Raises:
        IdentityError: neither opens it.

    """
    try:
        secret = MasterSealed(old).open(name, sealed)
    except IdentityError:
        MasterSealed(new).open(name, sealed)
        return sealed
    return MasterSealed(new).seal(name, secret)
