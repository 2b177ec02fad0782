"""What a driver is given to open an engine, and the two steps of opening: spawned, then ready.

Two steps, because both engines start side by side: each is spawned first, then both are waited for.
"""

import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from hive.core.clock import Clock
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.engines.migrations import Migration
from hive.engines.ports import Database, Messaging

ClientTls: TypeAlias = Callable[[str], ssl.SSLContext]
"""Give the TLS context of one new connection to the server with this SPIFFE id; it shows this node's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProof:
    """How a database server shows who it is: by a SPIFFE id, by its name under roots in a file (PEM), or by both."""

    server_id: str = ""
    roots: str = ""


DatabaseTls: TypeAlias = Callable[[ServerProof], ssl.SSLContext]
"""Give the TLS context of one new connection to the database; it shows this node's own SVID, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOpening:
    """The URL that chose the driver, and what else it may need."""

    url: str
    settings: Settings
    clock: Clock
    randomness: Randomness
    client_tls: ClientTls | None = None
    database_tls: DatabaseTls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSummary:
    """What a backup holds, for people."""

    made_at: str
    tables: int
    rows: int


class StartingDatabase(Protocol):
    """A database whose server was spawned or named, but not spoken to yet."""

    async def ready(self, migrations: Sequence[Migration]) -> Database:
        """Connect, bring the schema up to date, and return the database.

        Raises:
            EngineUnavailableError: it does not answer in time.
            EngineError: the schema is newer than the code, or a migration failed.

        """
        ...

    async def dump(self, folder: Path) -> BackupSummary:
        """Write a backup of everything into an empty folder; works while the database is used.

        Raises:
            EngineError: the folder is not empty, or the database refused.

        """
        ...

    async def restore(self, folder: Path, migrations: Sequence[Migration]) -> BackupSummary:
        """Fill a database that was never used from a backup; all or nothing.

        Raises:
            EngineError: the backup is damaged or does not fit, or the database is in use.

        """
        ...


class StartingMessaging(Protocol):
    """A messaging engine whose server was spawned or named, but not spoken to yet."""

    async def ready(self) -> Messaging:
        """Connect and return it.

        Raises:
            EngineUnavailableError: it does not answer in time.

        """
        ...


class DatabaseDriver(Protocol):
    """What a row of the table `DATABASES` names."""

    @classmethod
    def open(cls, opening: EngineOpening) -> AbstractAsyncContextManager[StartingDatabase]:
        """Spawn or name the server; leaving the context closes all connections and ends the child."""
        ...


class MessagingDriver(Protocol):
    """What a row of the table `MESSAGINGS` names."""

    @classmethod
    def open(cls, opening: EngineOpening) -> AbstractAsyncContextManager[StartingMessaging]:
        """Spawn or name the server; leaving the context closes the connection and ends the child."""
        ...
