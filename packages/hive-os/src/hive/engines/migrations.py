"""Bring the schema up to date: plain SQL files, each applied once, in one transaction, as the owner.

Every layer keeps its files as `schema/NNNN_name.sql` and hands them over as `Migration`s. What was applied
is kept with its checksum: a file that was changed afterwards, or a schema that is newer than the code,
stops the start with a clear error. When all are applied, that costs one query.

A file ends with the GRANTs that `hive_app` needs; the role's name is fixed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from hive.core.errors import EngineError
from hive.engines.ports import Database, Transaction

_LOCK: Final = 0x48495645
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS hive_migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON hive_migrations FROM PUBLIC;
GRANT SELECT ON hive_migrations TO hive_app;
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; `name` is `package/NNNN_what` and is unique."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the statements."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def package(self) -> str:
        """Return whose schema it belongs to."""
        return self.name.rpartition("/")[0]


def load_migrations(package: str) -> tuple[Migration, ...]:
    """Read `schema/*.sql` of a package, in the order of their numbers.

    Raises:
        EngineError: the package has none.

    """
    folder = resources.files(package) / "schema"
    files = (
        sorted(
            (file for file in folder.iterdir() if file.name.endswith(".sql")),
            key=lambda file: file.name,
        )
        if folder.is_dir()
        else []
    )
    if not files:
        raise EngineError(
            f"{package} has no schema.",
            why="It holds no file `schema/NNNN_name.sql`.",
            fix="Reinstall hive-os; the package is incomplete.",
        )
    return tuple(
        Migration(f"{package}/{file.name.removesuffix('.sql')}", file.read_text("utf-8"))
        for file in files
    )


async def applied_migrations(database: Database | Transaction) -> Mapping[str, str]:
    """Return name and checksum of what was applied; nothing in a database that never saw one."""
    if not await database.fetch("SELECT 1 WHERE to_regclass('public.hive_migrations') IS NOT NULL"):
        return {}
    rows = await database.fetch("SELECT name, checksum FROM public.hive_migrations")
    return {str(row["name"]): str(row["checksum"]) for row in rows}


def missing(migrations: Sequence[Migration], applied: Mapping[str, str]) -> Sequence[Migration]:
    """Return what is still to be applied.

    Raises:
        EngineError: an applied file was changed, or the schema has steps that this code does not know.

    """
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise EngineError(
                f"The schema step {migration.name} was changed after it had been applied.",
                why="Its checksum differs from the one in the database.",
                fix="Put the file back and write a new step; or restore a backup.",
            )
    known = {migration.name for migration in migrations}
    packages = {migration.package for migration in migrations}
    newer = sorted(
        name for name in applied if name not in known and name.rpartition("/")[0] in packages
    )
    if newer:
        raise EngineError(
            "The database was written by a newer Hive.",
            why=f"It has the schema step {newer[0]}, which this version does not know.",
            fix="Start the newer version, or restore a backup made before the upgrade.",
        )
    return [migration for migration in migrations if migration.name not in applied]


async def apply_migrations(owner: Database, migrations: Sequence[Migration]) -> int:
    """Apply what is missing, as the owner; return how many. Two nodes may do it at the same time.

    Raises:
        EngineError: a step failed (nothing of it remains), or the history does not fit.

    """
    async with owner.transaction() as transaction:
        await _lock(transaction)
        await transaction.execute(_TABLE)
    count = 0
    for migration in missing(migrations, await applied_migrations(owner)):
        async with owner.transaction() as transaction:
            await _lock(transaction)
            if migration.name in await applied_migrations(transaction):
                continue
            try:
                await transaction.execute(migration.sql)
            except EngineError as error:
                raise EngineError(
                    f"The schema step {migration.name} failed; nothing of it remains.",
                    why=error.why,
                    fix="Report it with the line above; the database is as it was before.",
                ) from error
            await transaction.execute(
                "INSERT INTO hive_migrations (name, checksum) VALUES ($1, $2)",
                migration.name,
                migration.checksum,
            )
            count += 1
    return count


async def _lock(transaction: Transaction) -> None:
    await transaction.fetch("SELECT pg_advisory_xact_lock($1)", _LOCK)
