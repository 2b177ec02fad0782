"""The fixture `database` gives each test an empty database."""

import pytest

from hive.engines import Migration

pytestmark = pytest.mark.anyio
STEP = Migration(
    "example/0001_things",
    "CREATE TABLE things (id int PRIMARY KEY); GRANT SELECT, INSERT ON things TO hive_app;",
)


@pytest.fixture
def migrations():
    return [STEP]


@pytest.mark.parametrize("round_", range(4))
async def test_what_one_test_wrote_no_other_test_sees(database, round_):
    assert await database.fetch("SELECT * FROM things") == []
    await database.execute("INSERT INTO things VALUES ($1)", round_)
    assert [dict(row) for row in await database.fetch("SELECT * FROM things")] == [{"id": round_}]
