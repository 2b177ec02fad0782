"""A record on disk that costs little: one thread writes, and whoever comes while it does waits for the next write.

An entry gets its place in the chain when it is handed over, so the order is the order of the calls. The
thread writes what has gathered in one piece, synced (`Fsync`), then wakes everybody who waited for it.
Every so many entries or seconds it signs a head.

When the disk is full or fails, new attempts are refused, and with them the calls. Entries that already have
their place are kept (the outcomes of calls under way, bounded by `held_max`) and written when the
disk takes them; below `disk_floor_bytes` attempts are refused while there is still room for outcomes.

A folder belongs to one process at a time. What a crash left half-written is cut off at the next start, and
an entry says how much it was.
"""

import asyncio
import logging
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable
from hmac import HMAC
from pathlib import Path
from types import TracebackType
from typing import Final

import anyio
import anyio.to_thread

from hive_a2a.buckets import RateKey, TokenBuckets
from hive_a2a.call import RequestHead
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.crypto import derive_key, signing_pair
from hive_a2a.policy import RateLimits
from hive_a2a.ports import Stage
from hive_a2a.stages.audit import (
    AuditKind,
    CallRecord,
    begin_commitment,
    cut,
    unavailable,
)
from hive_a2a.stages.audit_batch import AuditLimits, WaitingBatch, WaitingLines, WriterBell
from hive_a2a.stages.audit_chain import (
    CHAIN_ID_BYTES,
    HEADS_NAME,
    AuditLine,
    SignedHead,
    encoder,
    file_name,
    head_line,
    line_of,
    next_hash,
    opening,
    start_of,
)
from hive_a2a.stages.audit_disk import Fsync, LeftRecord, LogFile, lock_folder, recover

log = logging.getLogger(__name__)
REASONS_MAX: Final = 64
_RETRY_S: Final = 1.0
_GATHER_S: Final = 0.02
_FREE_EVERY_BATCHES: Final = 32
_COMMITMENT_LABEL: Final = b"hive-a2a/audit-commitment/v1"
OpenLog = Callable[[Path, bool], LogFile]


def _open_log(path: Path, synced: bool) -> LogFile:  # noqa: FBT001
    return LogFile(path, synced=synced)


class FileAudit:
    """The record of one server; `key` is an Ed25519 private key that signs nothing else."""

    def __init__(
        self,
        folder: Path,
        key: bytes,
        *,
        fsync: Fsync | str = Fsync.BATCH,
        limits: AuditLimits | None = None,
        clock: WallClock | None = None,
        open_log: OpenLog = _open_log,
    ) -> None:
        self._folder = folder
        self._pair = signing_pair(key)
        self._secret = derive_key(key, info=_COMMITMENT_LABEL)
        self._fsync = Fsync(fsync)
        self._limits = limits or AuditLimits()
        self._clock = clock or MachineClock()
        self._open_log = open_log
        rates = RateLimits(
            per_s=self._limits.refusals_per_s,
            burst=self._limits.refusals_burst,
            buckets_max=self._limits.refusal_buckets_max,
        )
        self._told = TokenBuckets(rates, self._clock)
        self._mutex = threading.Lock()
        self._bell = WriterBell(self._mutex)
        self._batch = WaitingBatch()
        self._counts: Counter[str] = Counter()
        self._open = self._closing = False
        self._full = self._failing = False
        self._chain = b""
        self._n = self._signed_n = 0
        self._hash = b""
        self._file_bytes = 0
        self._written = (0, b"")
        self._signed_at = self._summed_at = 0.0
        self._lock_fd = -1
        self._log: LogFile | None = None
        self._heads: LogFile  # from `open` on
        self._thread: threading.Thread | None = None

    @property
    def public_key(self) -> bytes:
        """Return the key that verifies the record."""
        return self._pair.public

    @property
    def takes_attempts(self) -> bool:
        """Tell whether an attempt can be recorded now."""
        return self._open and not (self._full or self._failing)

    def open(self) -> None:
        """Find the end of the record, mend it after a crash, and begin to write.

        Raises:
            AuditError: another process writes there, or entries are missing that were signed.
            OSError: the folder cannot be written to.

        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = lock_folder(self._folder)
        try:
            left = recover(self._folder, self._pair.public)
            synced = self._fsync is not Fsync.OFF
            self._heads = self._open_log(self._folder / HEADS_NAME, synced)
        except BaseException:
            self._unlock()
            raise
        self._closing, self._open = False, True
        self._signed_at = self._summed_at = self._clock.monotonic()
        self._begin(left)
        self._thread = threading.Thread(target=self._run, name="hive-a2a-audit", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left, sign a last head, and let go of the folder."""
        if self._thread is None:
            return
        with self._mutex:
            self._open, self._closing = False, True
            self._bell.ring(urgent=True)
        self._thread.join()
        self._thread = None
        self._heads.close()
        if self._log is not None:
            self._log.close()
            self._log = None
        self._unlock()

    def __enter__(self) -> "FileAudit":
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> "FileAudit":
        await anyio.to_thread.run_sync(self.open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close)

    async def attempt(self, record: CallRecord) -> None:
        """Record an attempt; it is durable when this returns.

        Raises:
            AuditUnavailableError: it cannot be recorded, so the call must not happen.

        """
        loop = asyncio.get_running_loop()  # the writer's thread can wake a loop, not a task
        with self._mutex:
            if not self.takes_attempts:
                raise unavailable()
            batch = self._append(record)
            event = batch.waiters.get(loop)
            if event is None:
                event = batch.waiters[loop] = anyio.Event()
                # Whoever else is ready in this turn of the loop comes into the same write. It costs the
                # first no time: it could not go on before the next turn anyway.
                loop.call_soon(self._hurry)
        await event.wait()
        if batch.failed:
            raise unavailable()

    def outcome(self, record: CallRecord) -> None:
        """Record how an attempt ended; neither waits nor fails."""
        with self._mutex:
            if self._open and self._batch.entries < self._limits.held_max:
                self._append(record)
            else:
                self._counts[f"lost:{record.ending}"] += 1

    def refusal(self, record: CallRecord) -> None:
        """Record a refused call, or count it where there are too many; neither waits nor fails."""
        with self._mutex:
            known = bool(record.scheme) and self.takes_attempts
            if known and self._told.take_now(RateKey(record.caller)) is None:
                self._append(record)
            else:
                self._count(f"{record.stage}:call")

    def refused(self, head: RequestHead, stage: Stage, reason: str) -> None:
        """Count a request that was refused before there was a call."""
        with self._mutex:
            self._count(f"{stage}:{cut(reason)}")

    def commitment(self, call: str, field: str) -> HMAC:
        """Begin a commitment to content."""
        return begin_commitment(self._secret, call, field)

    def _hurry(self) -> None:
        """Have written what waits, without a further entry."""
        with self._mutex:
            self._batch.due = True
            self._bell.ring(urgent=True)

    def _begin(self, left: LeftRecord | None) -> None:
        """Continue a record, or begin one."""
        if left is None:
            self._chain = secrets.token_bytes(CHAIN_ID_BYTES)
            self._n, self._hash = 0, start_of(self._chain, self._pair.public)
            self._new_file()
            return
        self._chain, self._n, self._hash = left.chain, left.n, left.hash
        self._log = self._open_log(left.path, self._fsync is not Fsync.OFF)
        self._file_bytes = self._log.size_bytes
        if left.lost_bytes:
            counts = {"lost_bytes": left.lost_bytes}
            facts = {"lost_sha256": left.lost_sha256}
            self._append(CallRecord(kind=AuditKind.REPAIRED, counts=counts, facts=facts))

    def _new_file(self) -> None:
        self._batch.pieces.append(WaitingLines(begins=self._n + 1))
        self._file_bytes = 0
        self._append(opening(self._chain, self._pair.public, self._hash))

    def _append(self, record: CallRecord) -> WaitingBatch:
        """Give an entry its place; the lock is held, or nobody else is there yet."""
        if self._file_bytes >= self._limits.rotate_bytes:
            self._new_file()
        self._n += 1
        packed = encoder.encode(AuditLine(self._n, self._clock.now(), record))
        self._hash = next_hash(self._hash, packed)
        line = line_of(packed, self._hash)
        self._file_bytes += len(line)
        batch = self._batch
        batch.pieces[-1].lines.append(line)
        batch.entries += 1
        batch.last_n, batch.last_hash = self._n, self._hash
        if record.kind is not AuditKind.ATTEMPT:
            self._bell.ring(urgent=False)
        return batch

    def _count(self, name: str) -> None:
        if name not in self._counts and len(self._counts) >= REASONS_MAX:
            name = "other"
        self._counts[name] += 1

    def _run(self) -> None:
        """Write until closed; the only thread that touches the files."""
        number = 0
        while True:
            with self._mutex:
                self._rest()
                self._sum_up()
                batch, self._batch = self._batch, WaitingBatch()
                closing = self._closing
            if batch.entries and not self._written_whole(batch):
                if closing:
                    return
                continue
            number += 1
            self._sign_when_due(closing=closing)
            if self._full or number % _FREE_EVERY_BATCHES == 1:
                self._look_at_room()
            if closing and not (self._batch.entries or self._counts):
                return

    def _rest(self) -> None:
        """Wait until something is to be written that somebody waits for, or has waited long enough."""
        if self._batch.due or self._closing:
            return
        if self._signed_n or not self._batch.entries:
            self._bell.rest(_GATHER_S, lightly=True)
        if not (self._batch.entries or self._closing):
            self._bell.rest(self._idle_s(), lightly=False)

    def _idle_s(self) -> float:
        due_s = self._limits.head_every_s if self._written[0] > self._signed_n else 3600.0
        if self._full or self._failing:
            due_s = _RETRY_S
        return min(due_s, self._limits.summary_every_s)

    def _sum_up(self) -> None:
        """Write what was only counted, from time to time."""
        due = self._clock.monotonic() - self._summed_at >= self._limits.summary_every_s
        if self._counts and (due or self._closing) and not self._failing:
            counts, self._counts = dict(self._counts), Counter()
            self._summed_at = self._clock.monotonic()
            self._append(CallRecord(kind=AuditKind.SUMMARY, counts=counts))

    def _written_whole(self, batch: WaitingBatch) -> bool:
        """Write a batch; on failure put what is left of it before what comes next, and wait a little."""
        try:
            for piece in batch.pieces:
                self._write(piece)
        except OSError as error:
            log.warning("audit.not_written", extra={"error": error.errno})
            batch.settle(failed=True)
            with self._mutex:
                self._failing = True
                self._put_back(batch)
                if not self._closing:
                    self._bell.rest(_RETRY_S, lightly=True)
            return False
        self._failing = False
        self._written = (batch.last_n, batch.last_hash)
        batch.settle(failed=False)
        return True

    def _put_back(self, batch: WaitingBatch) -> None:
        later = self._batch
        later.pieces[:0] = batch.pieces
        if not later.entries:
            later.last_n, later.last_hash = batch.last_n, batch.last_hash
        later.entries += batch.entries

    def _write(self, piece: WaitingLines) -> None:
        if piece.begins:
            path = self._folder / file_name(piece.begins)
            begun = self._open_log(path, self._fsync is not Fsync.OFF)
            if self._log is not None:
                self._log.close()
            self._log = begun
            piece.begins = 0
        if self._log is None or not piece.lines:
            return
        if self._fsync is Fsync.EACH:
            while piece.lines:
                self._log.append(piece.lines[0])
                del piece.lines[0]
        else:
            self._log.append(b"".join(piece.lines))
            piece.lines.clear()

    def _sign_when_due(self, *, closing: bool) -> None:
        n, after = self._written
        new = n - self._signed_n
        now = self._clock.monotonic()
        late = now - self._signed_at >= self._limits.head_every_s
        first = self._signed_n == 0
        if not new or not (first or late or closing or new >= self._limits.head_every_entries):
            return
        head = SignedHead(self._chain.hex(), n, after.hex(), self._clock.now())
        try:
            self._heads.append(head_line(self._pair.private, head))
        except OSError as error:
            log.warning("audit.head_not_written", extra={"error": error.errno})
            return
        self._signed_n, self._signed_at = n, now

    def _look_at_room(self) -> None:
        full = self._heads.free_bytes() < self._limits.disk_floor_bytes
        if full != self._full:
            log.warning("audit.disk_full" if full else "audit.disk_has_room")
        self._full = full

    def _unlock(self) -> None:
        os.close(self._lock_fd)
        self._lock_fd = -1
