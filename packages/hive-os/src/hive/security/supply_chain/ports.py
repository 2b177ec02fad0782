"""What is asked of whoever checks signatures, and what it answers."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hive.core.call import Refused
from hive.security.supply_chain.locks import PinnedPart

CHECK = "supply_chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A bundle that is whole and of somebody who is trusted, for exactly one artifact.

    `signer` is the name of the key or the identity that signed, `key` what names it for machines; `digest` is the
    artifact's, `bundle` the SHA-256 of the bundle itself. `statement` is what was signed about the artifact; None
    where nothing but the artifact was.
    """

    signer: str
    key: str
    digest: str
    bundle: str
    statement: bytes | None = None


class Verifier(Protocol):
    """Tells whether a bundle vouches for an artifact. Whatever is wrong with either is a refusal, never an error."""

    async def verify(self, bundle: bytes, digest: str) -> Verified | Refused:
        """Check one bundle for the artifact with this SHA-256, in hexadecimal."""
        ...


class VerifierDriver(Verifier, Protocol):
    """One kind of verifier, made from the URL that names it; trusted keys lie in `state` unless it says where."""

    def __init__(self, url: str, *, state: Path) -> None: ...


class BillWriter(Protocol):
    """Writes bills of materials in one form."""

    def write(
        self, *, name: str, version: str, parts: list[PinnedPart], made_at: datetime
    ) -> bytes:
        """Return the bill of a package: what its locks pin, the same bytes for the same input."""
        ...


def refused(reason: str, detail: str = "") -> Refused:
    """Return a refusal of this layer."""
    return Refused(check=CHECK, reason=reason, detail=detail)
