"""The file that a record is written to: appended whole or not at all, and where it was left after a crash.

`LogFile` is what the writer of the record needs of a disk; a test passes one whose disk is full.
"""

import fcntl
import os
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from hive_a2a.stages.audit import AuditError
from hive_a2a.stages.audit_chain import (
    HEADS_NAME,
    AuditFormatError,
    SignedHead,
    files_of,
    lines_of,
    next_hash,
    opened_of,
    read_head,
    read_line,
    start_of,
)

LOCK_NAME: Final = "lock"
_PRIVATE: Final = 0o600


class Fsync(StrEnum):
    """When an entry is on the disk.

    EACH: every entry is written and synced alone. BATCH: what came while the disk was busy is written and synced
    together; an attempt still waits for its own. OFF: handed to the system, which survives the end of the
    process, but not of the machine.
    """

    EACH = "each"
    BATCH = "batch"
    OFF = "off"


class LogFile:
    """A file that grows by whole pieces."""

    def __init__(self, path: Path, *, synced: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        # With O_DSYNC one system call writes and syncs, so the writer waits for the interpreter's lock once.
        self._fd = os.open(path, flags | (os.O_DSYNC if synced else 0), _PRIVATE)
        self._torn = False
        self.size_bytes = os.fstat(self._fd).st_size
        if synced:
            sync_folder(path.parent)

    def append(self, data: bytes) -> None:
        """Write a piece; what a failure left of it is taken out again, now or before the next one.

        Raises:
            OSError: it is not written.

        """
        if self._torn:
            self._mend()
        try:
            view = memoryview(data)
            while view:
                view = view[self.write(view) :]
        except OSError:
            self._torn = True
            self._mend()
            raise
        self.size_bytes += len(data)

    def write(self, data: memoryview) -> int:
        """Write some of it; return how much."""
        return os.write(self._fd, data)

    def free_bytes(self) -> int:
        """Return how much room the disk has."""
        found = os.fstatvfs(self._fd)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)

    def _mend(self) -> None:
        os.ftruncate(self._fd, self.size_bytes)
        self._torn = False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def lock_folder(folder: Path) -> int:
    """Take the folder for this process alone; return what holds it.

    Raises:
        AuditError: another process writes there.

    """
    fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise AuditError(
            "The record is in use.",
            why=f"Another process writes to {folder}.",
            fix="Stop the server that does, or give this one a `folder` of its own.",
        ) from None
    return fd


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftRecord:
    """Where a record was left: its chain, its last entry, and what a crash made of the end of it."""

    chain: bytes
    n: int
    hash: bytes
    path: Path
    lost_bytes: int = 0
    lost_sha256: str = ""


def recover(folder: Path, public: bytes) -> LeftRecord | None:
    """Find the end of a record; cut what a crash left half-written behind it. None where there is none.

    Raises:
        AuditError: what is wrong is no crash: entries are missing that were signed, or the chain breaks.

    """
    files = files_of(folder)
    heads = _heads(folder, public)
    newest = max(heads, key=lambda head: head.n, default=None)
    left: LeftRecord | None = None
    good_bytes = 0
    while files and left is None:
        left, good_bytes = _read_to_end(files[-1], public)
        if left is None and (newest is None or len(files) > 1):
            # Not even its first line stands: the crash came while the file was begun.
            _set_aside(files.pop())
        elif left is None:
            break
    if newest is not None and (left is None or left.n < newest.n):
        raise _not_ours(f"{newest.n} entries were signed, {left.n if left else 0} are left.")
    return None if left is None else _cut(left, good_bytes)


def _set_aside(path: Path) -> None:
    """Take a file out of the record that has not one good entry, without losing what it is."""
    path.rename(path.with_suffix(".torn"))


def _cut(left: LeftRecord, good_bytes: int) -> LeftRecord:
    size_bytes = left.path.stat().st_size
    if size_bytes == good_bytes:
        return left
    with left.path.open("rb+") as file:
        file.seek(good_bytes)
        lost = sha256()
        while piece := file.read(1 << 20):
            lost.update(piece)
        file.truncate(good_bytes)
        os.fsync(file.fileno())
    return LeftRecord(
        chain=left.chain,
        n=left.n,
        hash=left.hash,
        path=left.path,
        lost_bytes=size_bytes - good_bytes,
        lost_sha256=lost.hexdigest(),
    )


def _heads(folder: Path, public: bytes) -> list[SignedHead]:
    path = folder / HEADS_NAME
    if not path.exists():
        return []
    heads: list[SignedHead] = []
    for offset, line, ended in lines_of(path):
        if not ended:
            os.truncate(path, offset)
            break
        try:
            heads.append(read_head(line, public))
        except AuditFormatError as error:
            raise _not_ours(error.what) from None
    return heads


def _read_to_end(path: Path, public: bytes) -> tuple[LeftRecord | None, int]:
    """Return the last good entry of a file, and where it ends."""
    left: LeftRecord | None = None
    good_bytes = 0
    for offset, line, ended in lines_of(path):
        try:
            read = read_line(line)
            if not ended:
                break
            if left is None:
                chain, key, before = opened_of(read.entry.record)
                if key != public or (read.entry.n == 1 and before != start_of(chain, public)):
                    raise _not_ours("It was begun with another key.")
                left = LeftRecord(chain=chain, n=read.entry.n - 1, hash=before, path=path)
        except AuditFormatError:
            break
        after = next_hash(left.hash, read.packed)
        if after != read.claimed or read.entry.n != left.n + 1:
            break
        left = LeftRecord(chain=left.chain, n=read.entry.n, hash=after, path=path)
        good_bytes = offset + len(line) + 1
    return left, good_bytes


def _not_ours(why: str) -> AuditError:
    return AuditError(
        "The record cannot be continued.",
        why=why,
        fix="Look at it with `hive-a2a audit verify`, move the folder away, and begin a new one.",
    )
