"""An engine of warrants that is loaded when the first token is minted or shown: most nodes never see one."""

from collections.abc import Sequence
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hive.core.drivers import Table
from hive.security.capability.ports import MintOrder, WarrantOpening, Warrants
from hive.security.capability.warrant import Warrant


class LaterWarrants:
    """Loads the engine of a URL on its first use; the scheme is judged at once."""

    def __init__(self, engines: Table[Warrants], opening: WarrantOpening) -> None:
        engines.row(opening.url)
        self._engines = engines
        self._opening = opening

    @classmethod
    def open(cls, opening: WarrantOpening) -> Warrants:
        """Open the shipped engines' own. Raises ConfigError."""
        from hive.security.capability.drivers import WARRANTS

        return cls(WARRANTS, opening)

    @cached_property
    def _engine(self) -> Warrants:
        return self._engines.load(self._opening.url).open(self._opening)

    @property
    def root(self) -> str:
        """Return the public key with which this node mints, in hexadecimal."""
        key = Ed25519PrivateKey.from_private_bytes(self._opening.root)
        return key.public_key().public_bytes_raw().hex()

    @property
    def roots(self) -> Sequence[bytes]:
        """Return every root that is trusted, the node's own first."""
        return self._engine.roots

    def mint(self, order: MintOrder) -> str:
        """Return a warrant of the node's own root as the header shows it. Raises BadInputError."""
        return self._engine.mint(order)

    def attenuate(self, token: str, order: MintOrder, *, holder_private: bytes) -> str:
        """Hand a warrant on: the same or less, never longer. Raises BadInputError."""
        return self._engine.attenuate(token, order, holder_private=holder_private)

    def parse(self, token: str) -> Warrant:
        """Read a warrant without trusting it. Raises BadInputError."""
        return self._engine.parse(token)

    def verify(self, token: str) -> Warrant:
        """Verify a warrant. Raises IdentityError."""
        return self._engine.verify(token)

    def revocation_list(self, ids: Sequence[str], *, version: int) -> bytes:
        """Sign a list of the ids of this root that are void."""
        return self._engine.revocation_list(ids, version=version)

    def install(self, signed_list: bytes) -> None:
        """Take a signed revocation list of a trusted root. Raises IdentityError."""
        self._engine.install(signed_list)
