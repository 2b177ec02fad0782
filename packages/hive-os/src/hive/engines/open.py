"""Open the engines that the settings name; both start side by side."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio import create_task_group

from hive.core.clock import Clock, SystemClock
from hive.core.randomness import Randomness, SystemRandomness
from hive.core.settings import Settings
from hive.engines.children import unwrapped
from hive.engines.drivers import DATABASES, MESSAGINGS
from hive.engines.migrations import Migration
from hive.engines.opening import (
    BackupSummary,
    ClientTls,
    DatabaseTls,
    EngineOpening,
    StartingDatabase,
)
from hive.engines.ports import Database, Messaging


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Both engines, ready."""

    database: Database
    messaging: Messaging
    _starting: StartingDatabase

    async def dump(self, folder: Path) -> BackupSummary:
        """Write a backup of the database into an empty folder, while everything goes on.

        Raises:
            EngineError: the folder is not empty, or the database refused.

        """
        return await self._starting.dump(folder)


def _opening(
    url: str,
    settings: Settings,
    clock: Clock | None,
    randomness: Randomness | None,
    client_tls: ClientTls | None = None,
    database_tls: DatabaseTls | None = None,
) -> EngineOpening:
    return EngineOpening(
        url=url,
        settings=settings,
        clock=clock or SystemClock(),
        randomness=randomness or SystemRandomness(),
        client_tls=client_tls,
        database_tls=database_tls,
    )


@asynccontextmanager
async def open_database(
    settings: Settings,
    *,
    migrations: Sequence[Migration] = (),
    clock: Clock | None = None,
    randomness: Randomness | None = None,
    database_tls: DatabaseTls | None = None,
) -> AsyncIterator[Database]:
    """Open the database of `HIVE_DATABASE_URL` with its schema up to date; `database_tls` shows this node's SVID.

    Raises:
        ConfigError: no usable binary, another node uses the state folder, or the URL is wrong.
        EngineError: it does not start, or the schema does not fit.

    """
    opening = _opening(
        settings.database_url, settings, clock, randomness, database_tls=database_tls
    )
    async with DATABASES.load(opening.url).open(opening) as starting:
        yield await starting.ready(migrations)


@asynccontextmanager
async def open_messaging(
    settings: Settings,
    *,
    clock: Clock | None = None,
    randomness: Randomness | None = None,
    client_tls: ClientTls | None = None,
) -> AsyncIterator[Messaging]:
    """Open the messaging engine of `HIVE_MESH_URL`; `client_tls` shows this node's SVID where the URL asks.

    Raises:
        ConfigError: no usable binary, another node uses the state folder, or the URL is wrong.
        EngineError: it does not start.

    """
    opening = _opening(settings.mesh_url, settings, clock, randomness, client_tls)
    async with MESSAGINGS.load(opening.url).open(opening) as starting:
        yield await starting.ready()


@asynccontextmanager
async def open_engines(
    settings: Settings,
    *,
    migrations: Sequence[Migration] = (),
    meanwhile: Callable[[], None] | None = None,
    on_database: Callable[[Database], Awaitable[None]] | None = None,
    client_tls: ClientTls | None = None,
    database_tls: DatabaseTls | None = None,
    clock: Clock | None = None,
    randomness: Randomness | None = None,
) -> AsyncIterator[Engines]:
    """Open both: spawn both servers first, then wait for both at the same time.

    `meanwhile` is called between the two steps: the place for work that needs no engine. `on_database` is called as
    soon as the database is there, and may give `client_tls` what the bus is waiting for.

    Raises:
        ConfigError: no usable binary, another node uses the state folder, or a URL is wrong.
        EngineError: one of them does not start, or the schema does not fit.

    """
    first = _opening(settings.database_url, settings, clock, randomness, database_tls=database_tls)
    second = _opening(settings.mesh_url, settings, clock, randomness, client_tls)
    async with (
        DATABASES.load(first.url).open(first) as database,
        MESSAGINGS.load(second.url).open(second) as messaging,
    ):
        ready: list[Database] = []
        heard: list[Messaging] = []
        if meanwhile is not None:
            meanwhile()

        async def database_ready() -> None:
            ready.append(await database.ready(migrations))
            if on_database is not None:
                await on_database(ready[0])

        async def messaging_ready() -> None:
            heard.append(await messaging.ready())

        with unwrapped():
            async with create_task_group() as tasks:
                tasks.start_soon(database_ready)
                tasks.start_soon(messaging_ready)
        yield Engines(database=ready[0], messaging=heard[0], _starting=database)


async def restore_database(
    settings: Settings,
    folder: Path,
    *,
    migrations: Sequence[Migration],
    clock: Clock | None = None,
    randomness: Randomness | None = None,
    database_tls: DatabaseTls | None = None,
) -> BackupSummary:
    """Fill the database of `HIVE_DATABASE_URL`, which must be unused, from a backup; no node may run.

    Raises:
        ConfigError: another node uses the state folder.
        EngineError: the backup is damaged or does not fit, or the database is in use.

    """
    opening = _opening(
        settings.database_url, settings, clock, randomness, database_tls=database_tls
    )
    async with DATABASES.load(opening.url).open(opening) as starting:
        return await starting.restore(folder, migrations)
