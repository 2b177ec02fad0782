"""Copy a whole database out and in again, over an ordinary connection; no other program is needed.

A backup is a folder: `manifest.json` and one file of COPY's binary format for each table, all taken in one
snapshot. It is logical: it goes into any PostgreSQL that Hive runs on. The schema is not in it, for the
migrations make it: the manifest says which were applied. Restoring happens in one transaction, into an
empty database only, and checks every file's hash and every table's number of rows.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg  # type: ignore[import-untyped]
import msgspec

from hive.core.clock import Clock
from hive.core.errors import EngineError
from hive.engines.drivers.postgresql_errors import translated
from hive.engines.migrations import Migration
from hive.engines.opening import BackupSummary

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
COPY_TIMEOUT_S: Final = 3600.0
_HISTORY: Final = "hive_migrations"

_TABLES: Final = """
SELECT n.nspname AS schema, c.relname AS name,
       array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
GROUP BY n.nspname, c.relname ORDER BY n.nspname, c.relname
"""
_SEQUENCES: Final = """
SELECT schemaname AS schema, sequencename AS name, last_value
FROM pg_sequences ORDER BY schemaname, sequencename
"""


class TableBackup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of a backup."""

    schema: str
    name: str
    columns: tuple[str, ...]
    file: str
    rows: int
    sha256: str


class SequenceBackup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a sequence stood; None: it was never used."""

    schema: str
    name: str
    last: int | None


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup holds."""

    format: int
    made_at: str
    server: str
    migrations: tuple[tuple[str, str], ...]
    tables: tuple[TableBackup, ...]
    sequences: tuple[SequenceBackup, ...]


async def dump(connection: asyncpg.Connection, folder: Path, clock: Clock) -> BackupSummary:
    """Write a backup of everything into an empty folder.

    Raises:
        EngineError: the folder is not empty, or the database refused.

    """
    _make_empty(folder)
    with translated():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            manifest = await _dump_all(connection, folder, clock)
    fresh = folder / f"{MANIFEST}.fresh"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    fresh.rename(folder / MANIFEST)
    return _summary(manifest)


def _make_empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise EngineError(
            "The backup cannot be written.",
            why=f"{folder} is not empty.",
            fix="Name a new folder.",
        )


async def _dump_all(connection: asyncpg.Connection, folder: Path, clock: Clock) -> BackupManifest:
    tables = [
        await _dump_table(connection, folder, row)
        for row in await connection.fetch(_TABLES)
        if row["name"] != _HISTORY
    ]
    history = await connection.fetch(f"SELECT name, checksum FROM {_HISTORY} ORDER BY applied_at")  # noqa: S608
    sequences = await connection.fetch(_SEQUENCES)
    return BackupManifest(
        format=FORMAT,
        made_at=clock.now().isoformat(),
        server=await connection.fetchval("SELECT current_setting('server_version')"),
        migrations=tuple((row["name"], row["checksum"]) for row in history),
        tables=tuple(tables),
        sequences=tuple(
            SequenceBackup(schema=row["schema"], name=row["name"], last=row["last_value"])
            for row in sequences
        ),
    )


async def _dump_table(
    connection: asyncpg.Connection, folder: Path, row: asyncpg.Record
) -> TableBackup:
    file = f"{row['schema']}.{row['name']}.copy"
    tag = await connection.copy_from_table(
        row["name"],
        schema_name=row["schema"],
        columns=row["columns"],
        output=str(folder / file),
        format="binary",
        timeout=COPY_TIMEOUT_S,
    )
    (folder / file).chmod(0o600)
    return TableBackup(
        schema=row["schema"],
        name=row["name"],
        columns=tuple(row["columns"]),
        file=file,
        rows=int(tag.split()[-1]),
        sha256=_hash(folder / file),
    )


def read_manifest(folder: Path) -> BackupManifest:
    """Read a backup's manifest and check every file against it.

    Raises:
        EngineError: it is no backup, it is damaged, or a newer Hive made it.

    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=BackupManifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise EngineError(
            "This is no backup that can be restored.",
            why=f"{folder / MANIFEST} cannot be read: {error}",
            fix="Name the folder that `hive backup` wrote.",
        ) from error
    if manifest.format != FORMAT:
        raise EngineError(
            "This backup has another format.",
            why=f"It has format {manifest.format}; this Hive reads {FORMAT}.",
            fix="Restore it with the version that wrote it.",
        )
    for table in manifest.tables:
        file = folder / Path(table.file).name
        if not file.is_file() or _hash(file) != table.sha256:
            raise EngineError(
                "The backup is damaged.",
                why=f"{file} is missing or was changed.",
                fix="Restore another backup.",
            )
    return manifest


def steps_of(manifest: BackupManifest, migrations: Sequence[Migration]) -> Sequence[Migration]:
    """Return the migrations that the backup's schema consists of.

    Raises:
        EngineError: this Hive does not have one of them, or has another text of it.

    """
    known = {(migration.name, migration.checksum): migration for migration in migrations}
    for name, checksum in manifest.migrations:
        if (name, checksum) not in known:
            raise EngineError(
                "The backup does not fit this version of Hive.",
                why=f"Its schema has the step {name}, which is missing or different here.",
                fix="Restore it with the version that wrote it.",
            )
    wanted = {name for name, _ in manifest.migrations}
    return [migration for migration in migrations if migration.name in wanted]


async def refill(
    connection: asyncpg.Connection, folder: Path, manifest: BackupManifest
) -> BackupSummary:
    """Fill the tables of a fresh schema, in one transaction.

    Raises:
        EngineError: a table has rows already, or the database refused.

    """
    with translated():
        async with connection.transaction():
            # Triggers and foreign keys judged these rows when they were first written.
            await connection.execute("SET LOCAL session_replication_role = replica")
            for table in manifest.tables:
                await _refill_table(connection, folder, table)
            for sequence in manifest.sequences:
                await connection.execute(
                    "SELECT setval(format('%I.%I', $1::text, $2::text)::regclass, $3, $4)",
                    sequence.schema,
                    sequence.name,
                    1 if sequence.last is None else sequence.last,
                    sequence.last is not None,
                )
    return _summary(manifest)


async def _refill_table(connection: asyncpg.Connection, folder: Path, table: TableBackup) -> None:
    quoted = await connection.fetchval(
        "SELECT format('%I.%I', $1::text, $2::text)", table.schema, table.name
    )
    # A schema step may have put rows there itself; the backup has them too.
    await connection.execute(f"DELETE FROM {quoted}")  # noqa: S608 - quoted by the server
    tag = await connection.copy_to_table(
        table.name,
        schema_name=table.schema,
        columns=list(table.columns),
        source=str(folder / Path(table.file).name),
        format="binary",
        timeout=COPY_TIMEOUT_S,
    )
    if int(tag.split()[-1]) != table.rows:
        raise EngineError(
            "The backup could not be restored; nothing was changed.",
            why=f"{quoted} took {tag.split()[-1]} rows of {table.rows}.",
            fix="Restore another backup.",
        )


def _summary(manifest: BackupManifest) -> BackupSummary:
    return BackupSummary(
        made_at=manifest.made_at,
        tables=len(manifest.tables),
        rows=sum(table.rows for table in manifest.tables),
    )


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@asynccontextmanager
async def owner_connection(arguments: dict[str, object]) -> AsyncIterator[asyncpg.Connection]:
    """Open one connection for a copy."""
    with translated():
        connection = await asyncpg.connect(**arguments)
    try:
        yield connection
    finally:
        connection.terminate()
