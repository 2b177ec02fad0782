"""Checkpoints while the ledger grows: every so many entries or seconds a root is signed and witnessed."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, cast

import anyio

from hive.core.clock import Clock, SystemClock
from hive.core.errors import HiveError, LedgerError, WitnessAwayError
from hive.engines.ports import Database
from hive.ledger.entry import Entry
from hive.ledger.merkle import Frontier
from hive.ledger.notes import NoteSigner, parse_checkpoint
from hive.ledger.ports import Witness
from hive.ledger.proving import growth_path, leaves_after

log: Final = logging.getLogger(__name__)
EVERY_ENTRIES: Final = 1000
EVERY_S: Final = 60.0
CHAINS_MAX: Final = 16
WITNESS_TIMEOUT_S: Final = 30.0
SKEW_MAX_S: Final = 300.0


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
        self._bases: dict[str, Frontier] = {}  # the tree at the size that the witness has signed
        self._due = anyio.Event()
        self._lock = anyio.Lock()

    def observe(self, entries: Sequence[Entry]) -> None:
        """Take note of durable entries; never blocks."""
        for entry in entries:
            tree = self._trees.get(entry.chain)
            if tree is None:
                tree = self._trees[entry.chain] = Frontier()
                if len(self._trees) > CHAINS_MAX:
                    self._drop_oldest()
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
            except LedgerError as error:
                # Not an outage: somebody's history is not the one that was signed before.
                log.error("ledger.checkpoint.refused", extra={"error": str(error)})  # noqa: TRY400
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
                self._drop_oldest()
        return made

    def _drop_oldest(self) -> None:
        chain, _ = self._trees.popitem(last=False)
        self._signed.pop(chain, None)
        self._bases.pop(chain, None)

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
            note += await self._witnessed(self._witness, chain, note)
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

    async def _witnessed(self, witness: Witness, chain: str, note: str) -> str:
        """Return what a witness adds to a note; nothing while it is away, and never a false signature."""
        checkpoint = parse_checkpoint(note)
        tree = self._trees[chain].copy()

        async def prove(old_size: int) -> list[bytes]:
            base = self._bases.get(chain)
            if base is None or base.size != old_size:
                return await growth_path(self._database, chain, old_size, checkpoint.size)
            return base.growth(await leaves_after(self._database, chain, old_size, checkpoint.size))

        try:
            with anyio.fail_after(WITNESS_TIMEOUT_S):
                lines = await witness.countersign(checkpoint, prove)
        except (WitnessAwayError, TimeoutError) as error:
            log.warning("ledger.witness.away", extra={"error": str(error)})
            return ""
        signed_at = parse_checkpoint(note + lines).witnessed_at(witness.key) if lines else None
        if lines and signed_at is None:
            raise _lying("What it gave for this checkpoint is no signature of its key.")
        if signed_at is not None and abs(signed_at - self._clock.now().timestamp()) > SKEW_MAX_S:
            raise _lying(
                f"It says that it signed at {signed_at}, over {SKEW_MAX_S:.0f} s from now."
            )
        self._bases[chain] = tree
        return lines


def _lying(why: str) -> LedgerError:
    return LedgerError(
        "The witness's signature is not accepted.",
        why=why,
        fix="Compare both clocks and the witness's key in HIVE_WITNESS_URL.",
    )
