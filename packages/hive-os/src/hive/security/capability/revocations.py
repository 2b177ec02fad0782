"""What counts no more: warrants by their id, and all that came of a task, an agent or a root.

Held in memory, because it is asked at every call; kept in the database, because it outlives the node.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

import anyio
import msgspec

from hive.core.errors import BadInputError, HiveError
from hive.core.ids import plain_text
from hive.engines.ports import Database
from hive.security.capability.warrant import Warrant, mark

Kind: TypeAlias = Literal["id", "task", "agent", "root"]
AGENT: Final = "agent"
KINDS: Final[tuple[Kind, ...]] = ("id", "task", "agent", "root")
VALUE_MAX_CHARS: Final = 200
REVOKED_MAX: Final = 100_000
WATCH_PAUSE_S: Final = 0.5
_CHANGED: Final = "hive_warrants"
log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One thing that counts no more, since when, by whom, and why.

    An agent is revoked with all that it holds at that moment; what is made for it later counts, as long as it runs.
    """

    kind: Kind
    value: str
    at: datetime
    by: str
    reason: str = ""


class RevokedBook:
    """The revocations of this node."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Revocation] = {}
        self.on_change: Callable[[], None] = lambda: None

    async def load(self) -> None:
        """Read what was revoked before."""
        rows = await self._database.fetch(
            'SELECT kind, value, at, "by", reason FROM warrant_revoked LIMIT $1', REVOKED_MAX
        )
        for row in rows:
            one = msgspec.convert(dict(row), Revocation)
            known = self._known.get(mark(one.kind, one.value))
            # What was revoked here this moment may not be in the database yet.
            if known is None or known.at < one.at:
                self._known[mark(one.kind, one.value)] = one

    async def watch(self) -> None:
        """Follow what other nodes of this database revoke, until cancelled."""
        while True:
            try:
                async with self._database.listen(_CHANGED) as changes:
                    await self.load()
                    self.on_change()
                    async for _ in changes:
                        await self.load()
                        self.on_change()
            except HiveError as error:
                log.warning("warrants.revocations_not_followed", extra={"error": error.what})
                await anyio.sleep(WATCH_PAUSE_S)

    async def add(self, one: Revocation) -> bool:
        """Revoke: in the memory of this node at once, then durably. False where it was revoked before.

        Raises:
            BadInputError: it cannot be named so, or the book is full.

        """
        if one.kind not in KINDS or not 0 < len(one.value) <= VALUE_MAX_CHARS:
            raise BadInputError(
                "A warrant, a task, an agent or a root can be revoked, by its name."
            )
        key = mark(one.kind, one.value)
        if key not in self._known and len(self._known) >= REVOKED_MAX:
            raise BadInputError("Too much is revoked already.", why=f"At most {REVOKED_MAX}.")
        if key not in self._known or one.kind == AGENT:
            self._known[key] = one
            self.on_change()
        again = "DO UPDATE SET at = excluded.at" if one.kind == AGENT else "DO NOTHING"
        written = await self._database.execute(
            'INSERT INTO warrant_revoked (kind, value, at, "by", reason)'  # noqa: S608  of two words
            f" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, value) {again}",
            one.kind,
            one.value,
            one.at,
            one.by,
            plain_text(one.reason),
        )
        await self._database.execute(f"NOTIFY {_CHANGED}")
        return not written.endswith(" 0")

    def against(self, warrant: Warrant) -> Revocation | None:
        """Return what revokes a warrant, None where nothing does."""
        if not self._known or self._known.keys().isdisjoint(warrant.marks):
            return None
        for one in warrant.marks:
            found = self._known.get(one)
            if found is not None and (found.kind != AGENT or warrant.minted_at <= found.at):
                return found
        return None

    def all(self) -> Iterable[Revocation]:
        """Return everything that is revoked."""
        return self._known.values()

    @property
    def known(self) -> Mapping[str, Revocation]:
        """Return everything that is revoked, by its mark."""
        return self._known
