"""Small secret files: readable by their owner alone, replaced whole or not at all, one writer at a time.

A file is written beside its place, forced to disk and renamed, so whoever is killed at any moment leaves the
old one or the new one. A file that others could read or write is not used, and one that cannot be understood
is never taken for an empty one: that would forget every pin.
"""

import contextlib
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hive_a2a.cards.errors import CardError, CardFault

OWNER_ONLY: Final = 0o600
SIZE_BYTES_MAX: Final = 32 << 20
LOCK_TRIES_MAX: Final = 1000
LOCK_PAUSE_S: Final = 0.01


def read_private(path: Path) -> bytes | None:
    """Return what is in a private file; None where there is none.

    Raises:
        CardError: it is a link, no plain file, somebody else's, or others may read or write it.

    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _not_usable(path, f"It cannot be opened ({error.strerror}).") from None
    try:
        facts = os.fstat(number)
        if not stat.S_ISREG(facts.st_mode):
            raise _not_usable(path, "It is not a plain file.")
        if facts.st_uid != os.geteuid():
            raise _not_usable(path, "It belongs to somebody else.")
        if facts.st_mode & 0o077:
            raise _not_usable(path, f"Others may use it (mode {stat.S_IMODE(facts.st_mode):04o}).")
        with os.fdopen(number, "rb", closefd=False) as file:
            data = file.read(SIZE_BYTES_MAX + 1)
    finally:
        os.close(number)
    if len(data) > SIZE_BYTES_MAX:
        raise _not_usable(path, f"It has more than {SIZE_BYTES_MAX} bytes.")
    return data


def write_private(path: Path, data: bytes) -> None:
    """Replace a private file, whole or not at all; it is on disk when this returns.

    Raises:
        CardError: it cannot be written.

    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(number)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise _not_usable(path, f"It cannot be written ({error.strerror}).") from None


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep other processes from writing a file; the lock goes with the process that holds it.

    Raises:
        CardError: another process keeps it too long, or the folder cannot be written.

    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, OWNER_ONLY)
    except OSError as error:
        raise _not_usable(path, f"Its lock cannot be opened ({error.strerror}).") from None
    try:
        for _ in range(LOCK_TRIES_MAX):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(LOCK_PAUSE_S)
        else:
            raise _not_usable(path, "Another process keeps its lock.")
        _sweep(path)
        yield
    finally:
        os.close(number)


def _sweep(path: Path) -> None:
    """Remove what a killed writer left beside the file; the lock says that no other is at it."""
    for left in path.parent.glob(f".{path.name}.*"):
        if left.suffix != ".lock":
            left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _not_usable(path: Path, why: str) -> CardError:
    return CardError(
        CardFault.STORE,
        f"The file {path.name!r} cannot be used.",
        why=why,
        fix=f"Look at {path}; it must be a plain file of this user with mode 0600.",
    )
