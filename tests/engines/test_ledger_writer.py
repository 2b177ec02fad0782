"""The writer on a real PostgreSQL: order, durability, refusals, and what happens when the server dies."""

from collections.abc import Sequence
from functools import partial

import anyio
import pytest

from hive.core.errors import (
    BadInputError,
    DiskFloorError,
    EpochLostError,
    LedgerError,
)
from hive.core.task import StatusChanged, TaskState
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger.audit import verify
from hive.ledger.entry import EntryKind, hash_of, line_of
from hive.ledger.rows import tail
from hive.testing.ledger import line, open_ledger, submitted

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return load_migrations("hive.ledger")


async def test_a_line_is_chained_and_hashed_when_append_returns(database: Database) -> None:
    async with open_ledger(database) as writer:
        first = await writer.append(line(body={"b": 2, "a": "ä\u0000"}))
        second = await writer.append(line(content=b"secret"))
    assert (first.sequence, second.sequence) == (2, 3)
    assert first.body == '{"a":"ä\\u0000","b":2}'
    assert second.previous_hash == first.hash == hash_of(line_of(first))
    stored = await tail(database)
    assert stored[0].name == "epoch.opened"
    assert stored[1:] == [first, second]
    assert (await verify(database)).ok


async def test_many_callers_share_commits_and_each_gets_its_own_line(database: Database) -> None:
    entries = {}

    async def call(number: int) -> None:
        entries[number] = await writer.append(line(body={"number": number}))

    async with open_ledger(database) as writer, anyio.create_task_group() as tasks:
        for number in range(500):
            tasks.start_soon(call, number)
    assert all(f'"number":{number}}}' in entry.body for number, entry in entries.items())
    assert sorted(entry.sequence for entry in entries.values()) == list(range(2, 502))
    assert (await verify(database)).entries == 501
    rows = await database.fetch("SELECT count(DISTINCT xmin::text) AS commits FROM entry")
    assert int(str(rows[0]["commits"])) < 100


async def test_the_lines_of_one_caller_keep_their_order(database: Database) -> None:
    async def caller(name: str) -> None:
        for number in range(20):
            await writer.append(line(name, body={"number": number}))

    async with open_ledger(database) as writer, anyio.create_task_group() as tasks:
        for name in ("a.said", "b.said", "c.said"):
            tasks.start_soon(caller, name)
    for name in ("a.said", "b.said", "c.said"):
        rows = await database.fetch(
            "SELECT body::jsonb->>'number' AS n FROM entry WHERE name = $1 ORDER BY sequence", name
        )
        assert [int(str(row["n"])) for row in rows] == list(range(20))


async def test_a_second_start_takes_the_place_of_the_first(database: Database) -> None:
    async with open_ledger(database) as older:
        await older.append(line())
        async with open_ledger(database) as newer:
            await newer.append(line())
            with pytest.raises(EpochLostError):
                await older.append(line("too.late"))
            with anyio.fail_after(30):
                await older.wait_lost()
            with pytest.raises(EpochLostError):
                await older.append(line("too.late"))
            assert newer.chain == "node-1.2"
    assert "too.late" not in {entry.name for entry in await tail(database)}
    assert (await verify(database)).ok


async def test_an_epoch_whose_lease_ran_out_is_renewed_unless_a_newer_one_exists(
    database: Database,
) -> None:
    async with open_ledger(database) as writer:
        await database.execute(
            "UPDATE epoch SET lease_until = clock_timestamp() - interval '1 day'"
        )
        assert (await writer.append(line())).sequence == 2
        rows = await database.fetch("SELECT lease_until > clock_timestamp() AS live FROM epoch")
        assert rows[0]["live"] is True


async def test_one_bad_line_does_not_take_others_with_it(database: Database) -> None:
    outcomes: dict[str, object] = {}
    unknown = StatusChanged(
        task_id=submitted().id,
        context_id=submitted().context_id,
        state=TaskState.WORKING,
        at=submitted().created_at,
    )

    async def call(name: str, *, bad: bool) -> None:
        try:
            outcomes[name] = await writer.append(line(name, moves=(unknown,) if bad else ()))
        except LedgerError as error:
            outcomes[name] = error

    async with open_ledger(database) as writer, anyio.create_task_group() as tasks:
        for number in range(9):
            tasks.start_soon(partial(call, f"line.{number}", bad=number == 4))
    assert isinstance(outcomes.pop("line.4"), LedgerError)
    assert not [one for one in outcomes.values() if isinstance(one, Exception)]
    report = await verify(database)
    assert report.ok
    assert report.entries == 9


async def test_below_the_disk_floor_intents_are_refused_and_results_pass(
    database: Database,
) -> None:
    async with open_ledger(database, disk_floor_bytes=1 << 62) as writer:
        with pytest.raises(DiskFloorError):
            await writer.append(line("invoke x", kind=EntryKind.INTENT))
        assert await writer.append(line("invoke x", kind=EntryKind.RESULT))


@pytest.mark.parametrize("bad", ["a\0b", "\ud800"])
async def test_text_that_the_table_cannot_hold_is_refused_before_it_is_queued(
    database: Database, bad: str
) -> None:
    async with open_ledger(database) as writer:
        with pytest.raises(BadInputError):
            await writer.append(line(bad))
        assert await writer.append(line())


async def test_a_caller_who_gives_up_before_the_commit_leaves_the_chain_whole(
    database: Database,
) -> None:
    async def impatient() -> None:
        with anyio.move_on_after(0):
            await writer.append(line("given.up"))

    async with open_ledger(database) as writer:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(impatient)
        await writer.append(line())
    assert (await verify(database)).ok


async def test_a_stopped_writer_says_so(database: Database) -> None:
    async with open_ledger(database) as writer:
        pass
    with pytest.raises(LedgerError, match="closed"):
        await writer.append(line())
