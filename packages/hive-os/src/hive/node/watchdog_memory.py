"""What the watchdog holds against agents, over a restart and a kill: a table, and the lines that it lacks.

The table is written every few seconds, with the place in the ledger up to which it has counted. A node that begins reads the
lines after that place again, and those of the last hour for its counters, up to a bound.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import HiveError
from hive.core.ids import NodeId
from hive.engines.ports import Database
from hive.ledger.entry import Entry
from hive.ledger.rows import COLUMNS, entry_of
from hive.node.watchdog import Watchdog
from hive.security.watchdog.reputation import RECENT_S
from hive.security.watchdog.standing_book import StandingBook

log: Final = logging.getLogger(__name__)
SAVE_EVERY_S: Final = 5.0
LINES_MAX: Final = 20_000
EPOCHS_MAX: Final = 64
# The newest lines of each epoch only: the table is seconds old, so what it lacks is short.
_LINES: Final = (
    f"SELECT {COLUMNS} FROM (SELECT node, epoch FROM epoch WHERE node = $1 AND lease_until > $2"  # noqa: S608
    f" ORDER BY epoch DESC LIMIT {EPOCHS_MAX}) e CROSS JOIN LATERAL (SELECT * FROM entry"
    f" WHERE chain = e.node || '.' || e.epoch ORDER BY sequence DESC LIMIT {LINES_MAX}) l"
    " WHERE l.at > $2 AND (l.name = 'watchdog.alarm' OR l.kind = 'result' AND l.name LIKE 'send %'"
    " OR l.kind = 'intent' AND position('\"refused\"' in l.body) > 0)"
    f" ORDER BY e.epoch DESC, l.sequence DESC LIMIT {LINES_MAX}"
)


class WatchdogMemory:
    """Keeps the standings of a watchdog."""

    def __init__(self, watchdog: Watchdog, database: Database, clock: Clock, node: NodeId) -> None:
        self._watchdog = watchdog
        self._database = database
        self._clock = clock
        self._node = node
        self._book = StandingBook(database, clock, node)

    async def recall(self) -> None:
        """Take over what was known before this node began. Raises EngineError."""
        counted = await self._book.load(self._watchdog.reputation)
        since = self._clock.now() - timedelta(seconds=RECENT_S)
        # A line may be durable a little after the time it bears.
        earliest = since if counted is None else min(since, counted.at - timedelta(minutes=1))
        self._watchdog.recall(await self._lines(earliest), counted)
        await self._book.trim()

    async def keep(self) -> None:
        """Save every few seconds, until cancelled; what fails is saved the next time."""
        while True:
            await anyio.sleep(SAVE_EVERY_S)
            try:
                await self.save()
            except HiveError as error:
                log.warning("watchdog.standings_not_kept", extra={"error": error.what})

    async def save(self) -> None:
        """Save what changed. Raises EngineError."""
        counted = self._watchdog.counted_to
        if counted is not None and self._watchdog.reputation.changed:
            await self._book.save(self._watchdog.reputation, counted)

    async def _lines(self, since: datetime) -> Sequence[Entry]:
        rows = await self._database.fetch(_LINES, self._node, since)
        return [entry_of(row) for row in reversed(rows)]
