"""The schema is brought up to date once, in whole steps, and never behind anybody's back."""

import anyio
import pytest

from hive.core.errors import EngineError
from hive.engines import Migration, load_migrations, open_database
from hive.engines.migrations import applied_migrations
from hive.testing.engines import settings_in

pytestmark = pytest.mark.anyio
ONE = Migration("example/0001_a", "CREATE TABLE a (id int); GRANT SELECT ON a TO hive_app;")
TWO = Migration("example/0002_b", "CREATE TABLE b (id int); GRANT SELECT ON b TO hive_app;")
OTHER = Migration("another/0001_c", "CREATE TABLE c (id int);")


@pytest.fixture
def open_with(database_server):
    """Open one database several times, as several starts of a node would."""

    async def start(url, *steps):
        settings = settings_in(database_server.state, database_url=url)
        async with open_database(settings, migrations=steps) as database:
            return await applied_migrations(database)

    return start


@pytest.fixture
async def url(anyio_backend, database_server):
    owner = settings_in(database_server.state, database_url=database_server.url(app_role=""))
    name = f"history_{database_server.next_number()}"
    async with open_database(owner) as database:
        await database.execute(f"CREATE DATABASE {name} TEMPLATE template1")
    return database_server.url(name)


async def test_steps_are_applied_once_and_new_ones_later(open_with, url):
    assert set(await open_with(url, ONE)) == {ONE.name}
    assert set(await open_with(url, ONE)) == {ONE.name}
    assert set(await open_with(url, ONE, TWO, OTHER)) == {ONE.name, TWO.name, OTHER.name}


async def test_a_step_that_fails_leaves_nothing_of_itself(open_with, url):
    broken = Migration("example/0002_broken", "CREATE TABLE half (id int); SELECT 1/0;")
    with pytest.raises(EngineError, match="0002_broken failed"):
        await open_with(url, ONE, broken)
    assert set(await open_with(url, ONE)) == {ONE.name}
    assert set(
        await open_with(url, ONE, Migration("example/0002_broken", "CREATE TABLE half ()"))
    ) == {
        ONE.name,
        "example/0002_broken",
    }


async def test_a_step_that_was_changed_afterwards_stops_the_start(open_with, url):
    await open_with(url, ONE)
    with pytest.raises(EngineError, match="was changed after"):
        await open_with(url, Migration(ONE.name, ONE.sql + " -- harmless"))


async def test_a_schema_that_is_newer_than_the_code_stops_the_start(open_with, url):
    await open_with(url, ONE, TWO)
    with pytest.raises(EngineError, match="newer Hive"):
        await open_with(url, ONE)


async def test_two_nodes_that_start_together_apply_each_step_once(open_with, url):
    many = [Migration(f"example/{n:04}_t", f"CREATE TABLE t{n} (id int)") for n in range(5)]
    found = []

    async def start():
        found.append(set(await open_with(url, *many)))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(start)
    assert found == [{migration.name for migration in many}] * 3


async def test_the_application_role_cannot_rewrite_the_history(database_server):
    async with database_server.open([ONE]) as database:
        for statement in (
            "DELETE FROM hive_migrations",
            "UPDATE hive_migrations SET checksum = ''",
            "INSERT INTO hive_migrations VALUES ('x', 'y')",
        ):
            with pytest.raises(EngineError, match="refused"):
                await database.execute(statement)


def test_a_package_without_a_schema_says_so():
    with pytest.raises(EngineError, match="no schema"):
        load_migrations("hive.core")
