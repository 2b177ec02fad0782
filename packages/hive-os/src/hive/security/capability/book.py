"""The warrants of a node: minted and revoked by its operator, verified where they come in.

A task's own warrant needs none of this: it never leaves the node, and the node vouches for it. What comes in from
elsewhere is verified here once; from then on the task it is for is judged by the value.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, cast

import anyio
import msgspec

from hive.core.call import Refused
from hive.core.clock import Clock
from hive.core.errors import IdentityError, NotFoundError
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.engines.ports import Database
from hive.security.capability.objection import CHECK
from hive.security.capability.ports import (
    MintedLine,
    MintOrder,
    WarrantNoticed,
    Warrants,
)
from hive.security.capability.revocations import Kind, Revocation, RevokedBook
from hive.security.capability.warrant import Warrant

MINTED: Final = "warrant.minted"
REVOKED: Final = "warrant.revoked"
LISTED_MAX: Final = 1000


class WarrantBook:
    """Mints, verifies, revokes."""

    def __init__(
        self,
        *,
        database: Database,
        engine: Warrants,
        clock: Clock,
        emit: WarrantNoticed,
    ) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock
        self._emit = emit
        self._revoked = RevokedBook(database)
        self._changing = anyio.Lock()
        self._version = 0

    @property
    def root(self) -> str:
        """Return the public key with which this node mints, in hexadecimal."""
        return self._engine.root

    @property
    def roots(self) -> Sequence[bytes]:
        """Return the public keys of those who may mint for this node."""
        return self._engine.roots

    async def load(self) -> None:
        """Read what was revoked before, and the newest signed list of it."""
        await self._revoked.load()
        rows = await self._database.fetch(
            "SELECT version, signed FROM warrant_list WHERE root = $1", self.root
        )
        for row in rows:
            self._version = cast("int", row["version"])
            self._engine.install(cast("bytes", row["signed"]))

    def on_revoked(self, observer: Callable[[], None]) -> None:
        """Call `observer` whenever something was revoked, here or on another node."""
        self._revoked.on_change = observer

    async def watch(self) -> None:
        """Follow what other nodes of this database revoke, until cancelled."""
        await self._revoked.watch()

    async def mint(self, order: MintOrder, *, by: str) -> Warrant:
        """Make a warrant for the holder of a key, and write that down. Raises BadInputError."""
        warrant = self._engine.parse(self._engine.mint(order))
        await self._database.execute(
            'INSERT INTO warrant_minted (id, holder, "by", minted_at, not_after, token)'
            " VALUES ($1, $2, $3, $4, $5, $6)",
            warrant.id,
            warrant.holder,
            by,
            self._clock.now(),
            warrant.not_after,
            warrant.token,
        )
        body: dict[str, Json] = {
            "warrant": warrant.id,
            "holder": warrant.holder,
            "not_after": warrant.not_after.isoformat(),
            "depth": warrant.depth,
            "by": by,
        }
        await self._emit(MINTED, body)
        return warrant

    async def minted(self) -> Sequence[MintedLine]:
        """Return what this node gave out, newest first."""
        rows = await self._database.fetch(
            'SELECT id, holder, "by", minted_at, not_after, token FROM warrant_minted'
            " ORDER BY minted_at DESC LIMIT $1",
            LISTED_MAX,
        )
        return [msgspec.convert(dict(row), MintedLine) for row in rows]

    async def minted_one(self, warrant: str) -> Warrant:
        """Return one that this node gave out. Raises NotFoundError."""
        for line in await self.minted():
            if line.id == warrant:
                return self._engine.parse(line.token)
        raise NotFoundError(
            f"This node minted no warrant {plain_text(warrant)[:80]!r}.", fix="hive warrant list"
        )

    def verify(self, token: str) -> Warrant:
        """Verify a warrant that was shown, its signatures and all; whoever shows it has to prove possession as well.

        Raises:
            IdentityError: it counts for nothing here.

        """
        warrant = self._engine.verify(token)
        revoked = self._revoked.against(warrant)
        if revoked is not None:
            raise IdentityError("The warrant was revoked.", why=f"{revoked.kind} {revoked.value}")
        return warrant

    def objection(self, warrant: Warrant) -> Refused | None:
        """Object to a warrant that was revoked since it was made; asked at every call."""
        revoked = self._revoked.against(warrant)
        if revoked is None:
            return None
        return Refused(
            check=CHECK,
            reason="its warrant was revoked",
            detail=f"{revoked.kind} {revoked.value} by {revoked.by} at {revoked.at.isoformat()}",
        )

    async def revoke(self, kind: Kind, value: str, *, by: str, reason: str = "") -> bool:
        """Revoke what has a name; the next call under it is refused. False where it was before.

        Raises:
            BadInputError: it cannot be named so.

        """
        one = Revocation(
            kind=kind, value=value, at=self._clock.now(), by=by, reason=plain_text(reason)[:500]
        )
        async with self._changing:
            if not await self._revoked.add(one):
                return False
            await self._sign()
        body: dict[str, Json] = {"kind": kind, "value": value, "by": by, "reason": one.reason}
        await self._emit(REVOKED, body)
        return True

    def revocations(self) -> Sequence[Revocation]:
        """Return what is revoked, newest first."""
        return sorted(self._revoked.all(), key=_when, reverse=True)

    async def signed_list(self) -> bytes:
        """Return the newest signed list, for nodes and servers elsewhere that trust this root."""
        rows = await self._database.fetch(
            "SELECT signed FROM warrant_list WHERE root = $1", self.root
        )
        return cast("bytes", rows[0]["signed"]) if rows else b""

    async def _sign(self) -> None:
        ids = [one.value for one in self._revoked.all() if one.kind == "id"]
        self._version += 1
        signed = self._engine.revocation_list(ids, version=self._version)
        self._engine.install(signed)
        await self._database.execute(
            "INSERT INTO warrant_list (root, version, signed) VALUES ($1, $2, $3)"
            " ON CONFLICT (root) DO UPDATE SET version = excluded.version, signed = excluded.signed",
            self.root,
            self._version,
            signed,
        )


def _when(one: Revocation) -> datetime:
    return one.at
