"""Checkpoints while the ledger grows: every so many entries or seconds a root is signed and witnessed."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, cast

import anyio

from hive.core.clock import Clock, SystemClock
from hive.core.errors import HiveError
from hive.engines.ports import Database
from hive.ledger.entry import Entry
from hive.ledger.merkle import Frontier
from hive.ledger.notes import NoteSigner, parse_checkpoint
from hive.ledger.ports import Witness

log: Final = logging.getLogger(__name__)
EVERY_ENTRIES: Final = 1000
EVERY_S: Final = 60.0
CHAINS_MAX: Final = 16


class Checkpointer:
    """Follows the writer as its `observer`; `run` signs from time to time, `write` at once."""

    def __init__(
        self,
        database: Database,
        *,
        signer: NoteSigner,
        witness: Witness | None = None,
        clock: Clock | None = None,
        every_entries: int = EVERY_ENTRIES,
        every_s: float = EVERY_S,
    ) -> None:
        self._database = database
        self._signer = signer
        self._witness = witness
        self._clock = clock or SystemClock()
        self._every_entries = every_entries
        self._every_s = every_s
        self._trees: OrderedDict[str, Frontier] = OrderedDict()
        self._signed: dict[str, int] = {}
        self._due = anyio.Event()
        self._lock = anyio.Lock()

    def observe(self, entries: Sequence[Entry]) -> None:
        """Take note of durable entries; never blocks."""
        for entry in entries:
            tree = self._trees.get(entry.chain)
            if tree is None:
                tree = self._trees[entry.chain] = Frontier()
                if len(self._trees) > CHAINS_MAX:
                    self._signed.pop(self._trees.popitem(last=False)[0], None)
            if entry.sequence == tree.size + 1:
                tree.push(bytes.fromhex(entry.hash))
        last = entries[-1]
        if last.sequence - self._signed.get(last.chain, 0) >= self._every_entries:
            self._due.set()

    async def run(self) -> None:
        """Sign for as long as the node runs; what fails is tried again the next time."""
        while True:
            with anyio.move_on_after(self._every_s):
                await self._due.wait()
            self._due = anyio.Event()
            try:
                await self.write()
            except HiveError as error:
                log.warning("ledger.checkpoint.failed", extra={"error": str(error)})

    async def write(self) -> int:
        """Sign every chain that has grown; return how many checkpoints were made.

        Raises:
            LedgerError: the witness refused: the history is not the one it has signed before.
            EngineUnavailableError: the database is away.

        """
        made = 0
        async with self._lock:
            for chain in list(self._trees):
                await self._catch_up(chain, self._trees[chain])
                made += await self._sign(chain, self._trees[chain])
            while len(self._trees) > 1:
                self._signed.pop(self._trees.popitem(last=False)[0], None)
        return made

    async def _catch_up(self, chain: str, tree: Frontier) -> None:
        """Add entries that were found durable after an outage, unseen by the observer."""
        size_before = tree.size
        rows = await self._database.fetch(
            "SELECT hash FROM entry WHERE chain = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
            chain,
            size_before,
            self._every_entries,
        )
        # What the observer added while the query ran is not added twice.
        for row in rows[tree.size - size_before :]:
            tree.push(bytes.fromhex(cast("str", row["hash"])))

    async def _sign(self, chain: str, tree: Frontier) -> int:
        size, root = tree.size, tree.root()
        if size <= self._signed.get(chain, 0):
            return 0
        note = self._signer.checkpoint(chain, size, root)
        if self._witness is not None:
            note += await self._witness.countersign(parse_checkpoint(note))
        await self._database.execute(
            "INSERT INTO checkpoint (chain, size, at, note) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (chain, size) DO NOTHING",
            chain,
            size,
            self._clock.now(),
            note,
        )
        self._signed[chain] = size
        return 1
