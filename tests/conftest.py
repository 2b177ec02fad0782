"""What every test may ask for.

`database` is an empty PostgreSQL database (pgvector included) with the steps of the fixture `migrations`
applied, opened as `hive_app`; override `migrations` in a module to get a layer's schema. `messaging` is a
nats-server of the test's own. `database_server` gives several databases to one test.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from hive.engines import Migration
from hive.engines.ports import Database, Messaging
from hive.testing.engines import DatabaseServer, open_messaging
from hive.testing.engines import database_server as running_database_server


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    # The server lives in an event loop of its own: those of the tests come and go.
    with (
        tempfile.TemporaryDirectory(prefix="hive-") as folder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_database_server(Path(folder))) as server,
    ):
        yield server


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return ()


@pytest.fixture
async def database(
    anyio_backend: object, database_server: DatabaseServer, migrations: Sequence[Migration]
) -> AsyncIterator[Database]:
    async with database_server.open(migrations) as database:
        yield database


@pytest.fixture
async def messaging(anyio_backend: object, tmp_path: Path) -> AsyncIterator[Messaging]:
    async with open_messaging(tmp_path) as messaging:
        yield messaging
