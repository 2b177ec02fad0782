"""Every driver of the engines' ports keeps every promise of its suite, on the real engine."""

from contextlib import AsyncExitStack

import pytest

from hive.core.settings import Settings
from hive.engines import Migration, open_messaging
from hive.testing.database_suite import DatabaseSuite
from hive.testing.engines import nats_url_in, open_database
from hive.testing.messaging_suites import BusSuite, EventLogSuite, KeyValueSuite
from hive.testing.promises import promises

pytestmark = pytest.mark.anyio

TABLE = Migration(
    "conformance/0001_table",
    "CREATE TABLE conformance (id int PRIMARY KEY, note text);"
    "GRANT SELECT, INSERT ON conformance TO hive_app;",
)


@pytest.fixture
def migrations():
    return [TABLE]


@pytest.fixture(params=["embedded:", "nats:", "memory:"])
async def two_connections(request, tmp_path):
    async with AsyncExitStack() as stack:

        async def connect(url):
            settings = Settings(state_dir=str(tmp_path), mesh_url=url)
            return await stack.enter_async_context(open_messaging(settings))

        if request.param == "nats:":
            url = await stack.enter_async_context(nats_url_in(tmp_path))
            yield await connect(url), await connect(url)
        else:
            only = await connect(request.param)
            yield only, only


@pytest.fixture
def any_messaging(two_connections):
    return two_connections[0]


@pytest.mark.parametrize("promise", promises(DatabaseSuite))
async def test_postgresql_by_url(database, promise):
    await getattr(DatabaseSuite(database), promise)()


async def test_embedded_postgresql(tmp_path):
    async with open_database(tmp_path, [TABLE]) as database:
        for promise in promises(DatabaseSuite):
            await getattr(DatabaseSuite(database), promise)()


@pytest.mark.parametrize("promise", promises(BusSuite))
async def test_bus(two_connections, promise):
    first, second = two_connections
    await getattr(BusSuite(first.bus, other=second.bus), promise)()


@pytest.mark.parametrize("promise", promises(KeyValueSuite))
async def test_key_value(any_messaging, promise):
    await getattr(KeyValueSuite(await any_messaging.key_value("suite")), promise)()


@pytest.mark.parametrize("promise", promises(EventLogSuite))
async def test_event_log(any_messaging, promise):
    await getattr(EventLogSuite(any_messaging.events), promise)()
