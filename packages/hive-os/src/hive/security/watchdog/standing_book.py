"""Standings over a restart: what an agent has done weighs as much after it as before.

Times in the table are those of the wall, times of a standing are monotonic: they are turned into each other here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from hive.core.clock import Clock
from hive.core.ids import NodeId
from hive.engines.ports import Database
from hive.security.watchdog.reputation import AGENTS_MAX, Reputation, Standing

FADED_AFTER: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedLine:
    """The last line of the ledger that standings hold, and when it was written."""

    chain: str
    sequence: int
    at: datetime


class StandingBook:
    """The tables of standings, for one node."""

    def __init__(self, database: Database, clock: Clock, node: NodeId) -> None:
        self._database = database
        self._clock = clock
        self._node = node

    async def load(self, reputation: Reputation) -> CountedLine | None:
        """Take over what is kept; return up to where it was counted. Raises EngineError."""
        now, now_s = self._clock.now(), self._clock.monotonic()
        rows = await self._database.fetch(
            "SELECT * FROM (SELECT * FROM reputation WHERE at > $1 ORDER BY at DESC LIMIT $2) newest"
            " ORDER BY at",
            now - FADED_AFTER,
            AGENTS_MAX,
        )
        for row in rows:
            past_s = (now - cast("datetime", row["at"])).total_seconds()
            standing = Standing(
                good=cast("float", row["good"]),
                bad=cast("float", row["bad"]),
                at_s=now_s - max(0.0, past_s),
            )
            reputation.put(cast("str", row["agent"]), standing)
        counted = await self._database.fetch(
            "SELECT chain, sequence, at FROM reputation_counted WHERE node = $1", self._node
        )
        for row in counted:
            return CountedLine(
                chain=cast("str", row["chain"]),
                sequence=cast("int", row["sequence"]),
                at=cast("datetime", row["at"]),
            )
        return None

    async def save(self, reputation: Reputation, counted: CountedLine) -> None:
        """Keep what changed since the last time, and up to where it was counted, or neither. Raises EngineError."""
        now, now_s = self._clock.now(), self._clock.monotonic()
        changed = reputation.take_changed()
        try:
            async with self._database.transaction() as transaction:
                await transaction.execute(
                    "INSERT INTO reputation (agent, good, bad, at)"
                    " SELECT * FROM unnest($1::text[], $2::float8[], $3::float8[], $4::timestamptz[])"
                    " ON CONFLICT (agent) DO UPDATE"
                    " SET good = excluded.good, bad = excluded.bad, at = excluded.at",
                    list(changed),
                    [one.good for one in changed.values()],
                    [one.bad for one in changed.values()],
                    [now - timedelta(seconds=now_s - one.at_s) for one in changed.values()],
                )
                await transaction.execute(
                    "INSERT INTO reputation_counted (node, chain, sequence, at)"
                    " VALUES ($1, $2, $3, $4) ON CONFLICT (node) DO UPDATE"
                    " SET chain = excluded.chain, sequence = excluded.sequence, at = excluded.at",
                    self._node,
                    counted.chain,
                    counted.sequence,
                    counted.at,
                )
        except BaseException:
            reputation.give_back(changed)
            raise

    async def trim(self) -> None:
        """Remove what has faded away, and what is over the bound. Raises EngineError."""
        await self._database.execute(
            "DELETE FROM reputation WHERE at <= $1 OR agent IN"
            " (SELECT agent FROM reputation ORDER BY at DESC OFFSET $2)",
            self._clock.now() - FADED_AFTER,
            AGENTS_MAX,
        )
