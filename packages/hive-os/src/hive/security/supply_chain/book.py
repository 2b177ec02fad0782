"""The newest signed package of each name that ran here: an older one that comes back is a replay.

An attacker who has yesterday's package with its good signature needs no key to bring yesterday's hole back. So a package
of a name has to be at least as new as the last, by its version and then by the moment it was signed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from hive.core.clock import Clock
from hive.engines.ports import Database
from hive.security.supply_chain.packages import SignedPackage
from hive.security.supply_chain.statement import PackageClaim, SignedKind
from hive.security.supply_chain.versions import rank


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestPackage:
    """What ran here last under a name."""

    kind: SignedKind
    name: str
    version: str
    issued: datetime
    digest: str
    bundle: str
    signer: str


class PackageBook:
    """Remembers it in the database."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def older(self, claim: PackageClaim) -> str:
        """Tell how a package is older than the one that ran here last; "" where it is not."""
        newest = await self.newest(claim.kind, claim.name)
        if newest is None:
            return ""
        if rank(claim.version) < rank(newest.version):
            return f"It is version {claim.version}, and {newest.version} has run here."
        same = rank(claim.version) == rank(newest.version)
        if same and claim.issued < newest.issued:
            return f"It was signed before the {newest.version} that has run here."
        return ""

    async def newest(self, kind: SignedKind, name: str) -> NewestPackage | None:
        """Return what ran here last under a name."""
        rows = await self._database.fetch(
            "SELECT version, issued, digest, bundle, signer FROM signed_package "
            "WHERE kind = $1 AND name = $2",
            kind.value,
            name,
        )
        if not rows:
            return None
        row = rows[0]
        return NewestPackage(
            kind=kind,
            name=name,
            version=cast("str", row["version"]),
            issued=cast("datetime", row["issued"]),
            digest=cast("str", row["digest"]),
            bundle=cast("str", row["bundle"]),
            signer=cast("str", row["signer"]),
        )

    async def note(self, signed: SignedPackage) -> None:
        """Remember that a package runs here from now on."""
        claim, verified = signed.claim, signed.verified
        await self._database.execute(
            "INSERT INTO signed_package (kind, name, version, issued, digest, bundle, signer, at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (kind, name) DO UPDATE SET "
            "version = excluded.version, issued = excluded.issued, digest = excluded.digest, "
            "bundle = excluded.bundle, signer = excluded.signer, at = excluded.at",
            claim.kind.value,
            claim.name,
            claim.version,
            claim.issued,
            verified.digest,
            verified.bundle,
            verified.signer,
            self._clock.now(),
        )

    async def forget(self, kind: SignedKind, name: str) -> bool:
        """Allow an older package of a name again; tell whether there was one."""
        rows = await self._database.fetch(
            "DELETE FROM signed_package WHERE kind = $1 AND name = $2 RETURNING name",
            kind.value,
            name,
        )
        return bool(rows)
