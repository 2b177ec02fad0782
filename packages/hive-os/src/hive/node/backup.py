"""Backups: one file of mode 0600 with the database, the keys that open it, and proof that it verifies."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from hive.core.clock import Clock
from hive.core.settings import Settings
from hive.engines.ports import Database
from hive.node.state import StateFolder
from hive.web.ports import AuditVerdict, BackupDone


async def write_backup(
    path: Path,
    *,
    database: Database,
    state: StateFolder,
    clock: Clock,
    verify: Callable[[], Awaitable[AuditVerdict]],
) -> BackupDone:
    """Write a backup and verify it."""
    raise NotImplementedError


async def restore_backup(settings: Settings, path: str) -> BackupDone:
    """Read a backup into the state folder."""
    raise NotImplementedError
