"""Backups: one file of mode 0600 with the database, the keys that open it, and the staged sources.

The file is a tar archive. The witness's memory is taken before the database, so that it never knows of
entries that the backup lacks. Reading one back ends with a verification of the whole ledger.
"""

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from anyio import to_thread

from hive.core.clock import Clock, SystemClock
from hive.core.errors import ConfigError, HiveError
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings
from hive.engines.open import restore_database
from hive.engines.opening import BackupSummary
from hive.node.database_svid import DatabaseSvid
from hive.node.state import StateFolder
from hive.web.values import AuditVerdict, BackupDone

DATABASE: Final = "database"
KEYS: Final = (
    "checkpoint.key",
    "identity.unkept",
    "master.key",
    "node-sealing.key",
    "node.id",
    "node.key",
    "operator.token",
    "warrants.key",
)
FOLDERS: Final = ("witness", "witnessed", "receipts", "sources", "bundles", "trust", "policy")

Dump = Callable[[Path], Awaitable[BackupSummary]]
Verify = Callable[[], Awaitable[AuditVerdict]]


async def write_backup(
    path: Path, *, dump: Dump, state: StateFolder, clock: Clock, verify: Verify
) -> BackupDone:
    """Write a backup, whole or not at all; it tells whether the ledger it came from verifies.

    Raises:
        EngineError: the database could not be read.
        HiveError: the file could not be written.

    """
    began = clock.monotonic()
    with tempfile.TemporaryDirectory(prefix="hive-backup-", dir=state.path) as work:
        folder = Path(work)
        await to_thread.run_sync(_copy_state, state.path, folder)
        (folder / DATABASE).mkdir()
        await dump(folder / DATABASE)
        verdict = await verify()
        try:
            size = await to_thread.run_sync(_pack, folder, path)
        except OSError as error:
            raise HiveError(
                "The backup could not be written.", why=str(error), fix="Name another file."
            ) from error
    return BackupDone(
        path=str(path),
        size_bytes=size,
        sha256=await to_thread.run_sync(digest_of, path),
        entries=verdict.entries,
        verified=verdict.ok,
        took_ms=round((clock.monotonic() - began) * 1000, 1),
    )


async def restore_backup(settings: Settings, path: str) -> BackupDone:
    """Read a backup into an unused state folder and verify the ledger that it brought.

    Raises:
        ConfigError: the state folder is in use, or the file is no backup.
        EngineError: the database could not be filled.

    """
    from hive.node.alone import open_records
    from hive.node.build import all_migrations

    clock = SystemClock()
    began = clock.monotonic()
    _refuse_used(settings)
    state = StateFolder(settings, clock, SystemRandomness())
    with tempfile.TemporaryDirectory(prefix="hive-restore-", dir=settings.state) as work:
        folder = Path(work)
        await to_thread.run_sync(_unpack, Path(path), folder)
        await to_thread.run_sync(_copy_state, folder, settings.state)
        await restore_database(
            settings,
            folder / DATABASE,
            migrations=all_migrations(),
            database_tls=DatabaseSvid(state, clock).context,
        )
    async with open_records(settings) as records:
        verdict = await records.verify()
    return BackupDone(
        path=path,
        size_bytes=await to_thread.run_sync(os.path.getsize, path),
        sha256=await to_thread.run_sync(digest_of, Path(path)),
        entries=verdict.entries,
        verified=verdict.ok,
        took_ms=round((clock.monotonic() - began) * 1000, 1),
    )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_used(settings: Settings) -> None:
    used = [name for name in (*KEYS, *FOLDERS) if (settings.state / name).exists()]
    if used:
        raise ConfigError(
            "A backup is only read into an unused state folder.",
            why=f"{settings.state} already holds {', '.join(used)}.",
            fix="Name another folder:  hive restore FILE --state DIR",
        )


def _copy_state(source: Path, target: Path) -> None:
    for name in KEYS:
        if (source / name).is_file():
            shutil.copy2(source / name, target / name)
            (target / name).chmod(0o600)
    for name in FOLDERS:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, symlinks=True)


def _pack(folder: Path, path: Path) -> int:
    coming = path.with_name(path.name + ".part")
    descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                archive.add(folder, arcname=".")
            file.flush()
            os.fsync(file.fileno())
        coming.replace(path)
    finally:
        coming.unlink(missing_ok=True)
    return path.stat().st_size


def _unpack(path: Path, folder: Path) -> None:
    try:
        with tarfile.open(path, mode="r:") as archive:
            # The filter refuses absolute names, ways out of the folder, devices and links that leave it.
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise ConfigError(
            f"{path} is not a backup that can be read.",
            why=str(error),
            fix="Name a file that `hive backup` wrote.",
        ) from error
    if not (folder / DATABASE).is_dir():
        raise ConfigError(f"{path} is not a backup.", why="It holds no database.")
