"""A database is copied out while it is used, and comes back whole in another place."""

import pytest

from hive.core.errors import EngineError
from hive.engines import Migration, open_database, open_engines, restore_database
from hive.testing.engines import copy_template, settings_in

pytestmark = pytest.mark.anyio
STEPS = [
    Migration(
        "example/0001_owners",
        "CREATE TABLE owners (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);"
        "CREATE TABLE things (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),"
        " owner bigint REFERENCES owners, data bytea, v halfvec(3), at timestamptz DEFAULT now(),"
        " twice int GENERATED ALWAYS AS (2 * 21) STORED);"
        "GRANT SELECT, INSERT ON owners, things TO hive_app;",
    )
]
LATER = Migration("example/0002_more", "ALTER TABLE owners ADD COLUMN note text DEFAULT 'later';")
CONTENT = "SELECT o.id, name, t.id AS thing, data, v::text, at FROM owners o JOIN things t ON owner = o.id"


async def filled(tmp_path):
    settings = settings_in(tmp_path / "a")
    await copy_template(tmp_path / "a")
    async with open_engines(settings, migrations=STEPS) as engines:
        for number in range(20):
            await engines.database.execute("INSERT INTO owners (name) VALUES ($1)", f"n{number}")
        await engines.database.execute(
            "INSERT INTO things (owner, data, v) SELECT id, '\\x00ff', '[1,2,3]' FROM owners"
        )
        before = await engines.database.fetch(CONTENT)
        summary = await engines.dump(tmp_path / "backup")
    assert (summary.tables, summary.rows) == (2, 40)
    return before


async def test_what_was_dumped_is_there_after_the_restore(tmp_path):
    before = await filled(tmp_path)
    settings = settings_in(tmp_path / "b")
    await copy_template(tmp_path / "b")
    summary = await restore_database(settings, tmp_path / "backup", migrations=[*STEPS, LATER])
    assert summary.rows == 40
    async with open_database(settings, migrations=[*STEPS, LATER]) as database:
        assert await database.fetch(CONTENT) == before
        rows = await database.fetch("INSERT INTO owners (name) VALUES ('new') RETURNING id, note")
        assert dict(rows[0]) == {"id": 21, "note": "later"}


async def test_a_damaged_backup_is_refused(tmp_path):
    await filled(tmp_path)
    file = tmp_path / "backup" / "public.owners.copy"
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    await copy_template(tmp_path / "b")
    with pytest.raises(EngineError, match="damaged"):
        await restore_database(settings_in(tmp_path / "b"), tmp_path / "backup", migrations=STEPS)


async def test_a_database_that_was_used_is_never_overwritten(tmp_path):
    await filled(tmp_path)
    with pytest.raises(EngineError, match="cannot be restored here"):
        await restore_database(settings_in(tmp_path / "a"), tmp_path / "backup", migrations=STEPS)


async def test_a_backup_of_a_newer_hive_is_refused(tmp_path):
    await filled(tmp_path)
    await copy_template(tmp_path / "b")
    with pytest.raises(EngineError, match="does not fit"):
        await restore_database(settings_in(tmp_path / "b"), tmp_path / "backup", migrations=[LATER])
