"""The one writer of the ledger: lines in, durable and chained lines out.

Everything that waited while one commit ran goes into the next one (group commit). A line is durable when
`append` returns. Where the connection broke in the middle of a commit, the writer first finds out what
happened, under a lock that no late statement of its own can pass, and only then goes on: the batch is
answered as written, or written again in a fresh epoch. So an append is durable, or raised and is not.
"""

import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self, cast

import anyio

from hive.core.clock import Clock, SystemClock
from hive.core.errors import (
    ConflictError,
    DiskFloorError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    EpochLostError,
    HiveError,
)
from hive.core.ids import NodeId
from hive.core.randomness import Randomness, SystemRandomness
from hive.engines.ports import Database, Row
from hive.ledger.batch import APPEND_SQL, Batch, ChainHead, PendingLine, prepare
from hive.ledger.contents import Contents
from hive.ledger.entry import EPOCH_OPENED, GENESIS_HASH, Draft, Entry, EntryKind
from hive.ledger.faults import away, closed, crashed, epoch_lost, refused

log: Final = logging.getLogger(__name__)
QUEUE_MAX_ENTRIES: Final = 8192
LEASE_S: Final = 60.0
PATIENCE_S: Final = 10.0
DRAIN_S: Final = 5.0
FLOOR_AGE_MAX_S: Final = 0.25
_PAUSE_MIN_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.5

Observer = Callable[[Sequence[Entry]], None]
_AWAY: Final = (EngineUnavailableError, EngineTimeoutError)


class LedgerWriter:
    """Appends to the chain of this node's epoch. Made by `open`, one per node."""

    def __init__(
        self,
        database: Database,
        contents: Contents,
        *,
        node: NodeId,
        clock: Clock,
        randomness: Randomness,
        disk_floor_bytes: int,
        state_dir: Path,
        lease_s: float,
        patience_s: float,
        observer: Observer | None,
    ) -> None:
        self._database = database
        self._contents = contents
        self._node = node
        self._clock = clock
        self._instance = randomness.token(16).hex()
        self._floor_bytes = disk_floor_bytes
        self._state_dir = state_dir
        self._lease_s = lease_s
        self._patience_s = patience_s
        self._observer = observer
        self._head = ChainHead(node=node, epoch=0, sequence=0, hash=GENESIS_HASH)
        self._queue: deque[PendingLine] = deque()
        self._places = anyio.Semaphore(QUEUE_MAX_ENTRIES, fast_acquire=True)
        self._wake = anyio.Event()
        self._stopped = anyio.Event()
        self._closing = False
        self._doubt = ""
        self._lost: EpochLostError | None = None
        self._lost_event = anyio.Event()
        self._floor_read_at = float("-inf")
        self._free_bytes = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database: Database,
        contents: Contents,
        *,
        node: NodeId,
        state_dir: Path,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        disk_floor_bytes: int = 0,
        lease_s: float = LEASE_S,
        patience_s: float = PATIENCE_S,
        observer: Observer | None = None,
    ) -> AsyncIterator[Self]:
        """Open the next epoch of a node and write into it until the context ends.

        `observer` is told of every durable batch, in order; it must not block.

        Raises:
            EngineUnavailableError: the database is away.

        """
        writer = cls(
            database,
            contents,
            node=node,
            clock=clock or SystemClock(),
            randomness=randomness or SystemRandomness(),
            disk_floor_bytes=disk_floor_bytes,
            state_dir=state_dir,
            lease_s=lease_s,
            patience_s=patience_s,
            observer=observer,
        )
        await writer._open_epoch(after=None, expected="")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer._run)
            try:
                yield writer
            finally:
                with anyio.move_on_after(DRAIN_S, shield=True):
                    await writer._drain()
                tasks.cancel_scope.cancel()

    @property
    def chain(self) -> str:
        """Return the name of the chain that is written now."""
        return self._head.chain

    @property
    def head(self) -> ChainHead:
        """Return where the chain stands."""
        return self._head

    async def wait_lost(self) -> None:
        """Wait until another writer took this node's place; nothing can be appended from then on."""
        await self._lost_event.wait()

    async def append(self, draft: Draft, *, then: Callable[[], None] | None = None) -> Entry:
        """Write one line; when this returns it is durable.

        `then` is called in the very moment it is durable, also if the caller gave up waiting
        meanwhile; it must not raise.

        Raises:
            EpochLostError: a newer epoch of this node exists.
            EngineUnavailableError: the database is away; the line was not written.
            DiskFloorError: too little disk is left for a new intent.
            StateError: its moves contradict each other.
            BadInputError: it cannot be written at all.

        """
        if draft.kind is EntryKind.INTENT:
            self._check_floor()
        if self._lost is not None:
            raise self._lost
        line = await prepare(draft, self._contents)
        line.then = then
        async with self._places:
            if self._closing:
                raise closed()
            self._queue.append(line)
            self._wake.set()
            try:
                await line.done.wait()
            except BaseException:
                # Whoever is called off learns first what becomes of a line that is on its way: what he does next must see it.
                line.abandoned = True
                if not any(one is line for one in self._queue):
                    with anyio.CancelScope(shield=True):
                        await line.done.wait()
                raise
        if line.error is not None:
            raise line.error
        return cast("Entry", line.entry)

    def _check_floor(self) -> None:
        now = self._clock.monotonic()
        if now - self._floor_read_at > FLOOR_AGE_MAX_S:
            status = os.statvfs(self._state_dir)
            self._free_bytes = status.f_bavail * status.f_frsize
            self._floor_read_at = now
        if self._free_bytes < self._floor_bytes:
            raise DiskFloorError(
                "The disk is almost full, so that a new call cannot be recorded.",
                why=f"{self._free_bytes >> 20} MiB of disk are left, the floor is "
                f"{self._floor_bytes >> 20} MiB.",
                fix="Free some space, or lower HIVE_DISK_FLOOR_BYTES.",
            )

    async def _run(self) -> None:
        try:
            while self._queue or not self._closing:
                if not self._queue:
                    self._wake = anyio.Event()
                    await self._wake.wait()
                batch = Batch.take(self._queue)
                if batch.lines:
                    await self._write_or_fail(batch)
        finally:
            self._closing = True
            for line in self._queue:
                line.fail(closed())
            self._stopped.set()

    async def _drain(self) -> None:
        self._closing = True
        self._wake.set()
        await self._stopped.wait()

    async def _write_or_fail(self, batch: Batch) -> None:
        try:
            if self._doubt:
                await self._resolve(self._doubt, patience_s=0.0)
            await self._write(batch)
        except EpochLostError as error:
            self._lost = error
            self._lost_event.set()
            batch.fail(error)
        except HiveError as error:
            batch.fail(error)
        except Exception as error:
            log.exception("ledger.append.crashed")
            self._doubt = self._doubt or _last_hash(batch)
            batch.fail(crashed(error))
        except BaseException:
            batch.fail(closed())
            raise

    async def _write(self, batch: Batch) -> None:
        """Write one batch, through outages up to the patience.

        Raises:
            HiveError: nothing of it was written.

        """
        deadline = self._clock.monotonic() + self._patience_s
        raced = False
        while True:
            batch.chain_to(self._head)
            try:
                await self._send(batch)
            except (*_AWAY, ConflictError) as error:
                if isinstance(error, ConflictError):
                    if raced or len(batch.lines) > 1:
                        await self._write_alone(batch, error)
                        return
                    raced = True  # Another line stands in its place: a fresh epoch is free of it.
                if await self._is_durable(batch, deadline):
                    self._settled(batch, self._head)
                    return
                if self._clock.monotonic() > deadline:
                    raise away() from error
            except EngineError as error:
                await self._write_alone(batch, error)
                return
            else:
                return

    async def _write_alone(self, batch: Batch, error: EngineError) -> None:
        """Judge each line of a refused batch by itself: the poisoned one fails, the others land."""
        if len(batch.lines) == 1:
            batch.fail(refused(error))
            return
        for single in batch.split():
            await self._write_or_fail(single)

    async def _is_durable(self, batch: Batch, deadline: float) -> bool:
        self._doubt = _last_hash(batch)
        left_s = deadline - self._clock.monotonic()
        return await self._resolve(self._doubt, patience_s=left_s)

    async def _send(self, batch: Batch) -> None:
        rows = await self._database.fetch(APPEND_SQL, *batch.arguments(self._head, self._lease_s))
        outcome = rows[0]["outcome"]
        if outcome == "expired":
            await self._renew()
            rows = await self._database.fetch(
                APPEND_SQL, *batch.arguments(self._head, self._lease_s)
            )
            outcome = rows[0]["outcome"]
        if outcome != "ok":
            raise epoch_lost(self._head)
        self._settled(batch, batch.head_after(self._head))

    def _settled(self, batch: Batch, head: ChainHead) -> None:
        self._head = head
        self._tell(batch)
        batch.succeed()

    def _tell(self, batch: Batch) -> None:
        if self._observer is None:
            return
        try:
            self._observer(batch.entries)
        except Exception:
            # The lines are durable, whatever an observer makes of them.
            log.exception("ledger.observer.crashed")

    async def _renew(self) -> None:
        rows = await self._database.fetch(
            "SELECT ledger_renew_epoch($1, $2, $3) AS renewed",
            self._node,
            self._head.epoch,
            self._lease_s,
        )
        if not rows[0]["renewed"]:
            raise epoch_lost(self._head)

    async def _resolve(self, expected: str, *, patience_s: float) -> bool:
        """Find out whether the batch that ends in `expected` is durable; if not, open a new epoch.

        Raises:
            EngineUnavailableError: the database did not come back in time; the doubt remains.
            EpochLostError: another writer took this node's place.

        """
        deadline = self._clock.monotonic() + patience_s
        pause_s = _PAUSE_MIN_S
        while True:
            try:
                committed = await self._open_epoch(after=self._head.epoch, expected=expected)
            except _AWAY as error:
                if self._clock.monotonic() + pause_s > deadline:
                    raise away() from error
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)
            else:
                self._doubt = ""
                log.warning("ledger.reconnected", extra={"chain": self.chain, "kept": committed})
                return committed

    async def _open_epoch(self, *, after: int | None, expected: str) -> bool:
        """Open the next epoch with its first line; True where `expected` proved to be written."""
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(
                "SELECT * FROM ledger_open_epoch($1, $2, $3, $4, $5)",
                self._node,
                self._instance,
                self._lease_s,
                after,
                expected or None,
            )
            row = rows[0]
            if row["outcome"] == "lost":
                raise epoch_lost(self._head)
            if row["outcome"] == "committed":
                self._head = ChainHead(
                    node=self._node,
                    epoch=cast("int", row["epoch"]),
                    sequence=cast("int", row["head_sequence"]),
                    hash=cast("str", row["head_hash"]),
                )
                return True
            head = ChainHead(
                node=self._node, epoch=cast("int", row["epoch"]), sequence=0, hash=GENESIS_HASH
            )
            genesis = Batch(lines=[await prepare(self._first_line(head, row), self._contents)])
            genesis.chain_to(head)
            await transaction.fetch(APPEND_SQL, *genesis.arguments(head, self._lease_s))
        self._head = genesis.head_after(head)
        self._tell(genesis)
        return False

    def _first_line(self, head: ChainHead, row: Row) -> Draft:
        return Draft(
            kind=EntryKind.EVENT,
            name=EPOCH_OPENED,
            at=self._clock.now(),
            body={
                "node": self._node,
                "epoch": head.epoch,
                "previous_chain": cast("str | None", row["head_chain"]),
                "previous_sequence": cast("int | None", row["head_sequence"]),
                "previous_hash": cast("str | None", row["head_hash"]),
            },
        )


def _last_hash(batch: Batch) -> str:
    return batch.entries[-1].hash if batch.entries else ""
