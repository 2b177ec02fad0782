"""Real engines for tests: a private PostgreSQL in a moment, a nats-server in less.

A PostgreSQL is made once for each process and copied; `DatabaseServer` keeps one running and gives each
test an empty database of its own. Nothing here imports pytest, so any test runner can use it.
"""

import atexit
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import msgspec

from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings
from hive.engines.embedded.nats import nats_server
from hive.engines.migrations import Migration
from hive.engines.open import open_database as open_engine_database
from hive.engines.open import open_messaging as open_engine_messaging
from hive.engines.ports import Database, Messaging

_TEMPLATE: Final[list[Path]] = []


def settings_in(folder: Path, **values: object) -> Settings:
    """Return settings whose state lies in `folder` and whose engines are embedded."""
    return Settings(state_dir=str(folder), **values)  # type: ignore[arg-type]


async def template() -> Path:
    """Return a state folder with a PostgreSQL that was just made; made once for each process."""
    if not _TEMPLATE:
        folder = Path(tempfile.mkdtemp(prefix="hive-template-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        async with open_engine_database(settings_in(folder)):
            pass
        _TEMPLATE.append(folder)
    return _TEMPLATE[0]


async def copy_template(state: Path) -> None:
    """Put a copy of the template into a state folder that has no database yet."""
    source = await template() / "engines" / "postgres"
    target = state / "engines" / "postgres"
    if await anyio.Path(target).exists():
        return
    await anyio.Path(target.parent).mkdir(parents=True, exist_ok=True)
    await anyio.run_process(["cp", "-a", str(source), str(target)])


@asynccontextmanager
async def open_database(
    folder: Path, migrations: Sequence[Migration] = ()
) -> AsyncIterator[Database]:
    """Open a PostgreSQL of its own whose state lies in `folder`; about 0.2 s."""
    await copy_template(folder)
    async with open_engine_database(settings_in(folder), migrations=migrations) as database:
        yield database


@asynccontextmanager
async def open_messaging(folder: Path) -> AsyncIterator[Messaging]:
    """Open a nats-server of its own whose state lies in `folder`; about 0.05 s."""
    async with open_engine_messaging(settings_in(folder)) as messaging:
        yield messaging


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseServer:
    """One running PostgreSQL that gives each test an empty database, at once.

    It may be used from any event loop: it is reached by URL.
    """

    state: Path
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def next_number(self) -> int:
        """Return a number that was not used before, for a name of a database."""
        return next(self._numbers)

    def url(self, name: str = "hive", *, app_role: str = "hive_app") -> str:
        """Return the URL of one of its databases; the login is the owner."""
        home = self.state / "engines" / "postgres"
        password = msgspec.json.decode((home / "passwords.json").read_bytes())["owner"]
        return (
            f"postgresql://hive_owner:{password}@/{name}?host={home / 'data'}&app_role={app_role}"
        )

    @asynccontextmanager
    async def open(self, migrations: Sequence[Migration] = ()) -> AsyncIterator[Database]:
        """Make an empty database, open it as `hive_app`, drop it at the end."""
        name = f"test_{self.next_number()}"
        owner = settings_in(self.state, database_url=self.url(app_role=""))
        async with open_engine_database(owner) as database:
            await database.execute(f"CREATE DATABASE {name} TEMPLATE template1")
        try:
            fresh = settings_in(self.state, database_url=self.url(name))
            async with open_engine_database(fresh, migrations=migrations) as database:
                yield database
        finally:
            with anyio.CancelScope(shield=True):
                async with open_engine_database(owner) as database:
                    await database.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def database_server(folder: Path) -> AsyncIterator[DatabaseServer]:
    """Run a PostgreSQL for many tests; its state lies in `folder`, whose path must be short."""
    async with open_database(folder):
        yield DatabaseServer(state=folder)


@asynccontextmanager
async def nats_url_in(folder: Path) -> AsyncIterator[str]:
    """Run a nats-server and give the URL by which anybody may connect to it."""
    settings = settings_in(folder)
    async with nats_server(settings, clock=SystemClock(), randomness=SystemRandomness()) as server:
        address = await server.address()
        host = address.servers[0].removeprefix("nats://")
        yield f"nats://{address.user}:{address.password.reveal()}@{host}"
