"""PostgreSQL is killed in the middle of appends: what was acknowledged stays, and the chain fits."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import EngineUnavailableError
from hive.core.ids import new_id
from hive.core.randomness import SystemRandomness
from hive.engines import load_migrations
from hive.engines.ports import Database, Row, SqlValue, Transaction
from hive.ledger.audit import verify
from hive.ledger.entry import Entry
from hive.testing.engines import open_database
from hive.testing.ledger import line, open_ledger

pytestmark = pytest.mark.anyio


class _CutDatabase:
    """A database whose connection breaks once, before or after the commit of an append."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.cut = ""
        self.away = False

    async def execute(self, sql: str, *values: SqlValue) -> str:
        return await self._database.execute(sql, *values)

    async def fetch(self, sql: str, *values: SqlValue) -> "list[Row]":
        appends = "ledger_append" in sql
        if self.away or (appends and self.cut == "before"):
            self.cut = ""
            raise EngineUnavailableError("The connection broke.")
        rows = list(await self._database.fetch(sql, *values))
        if appends and self.cut == "after":
            self.cut = ""
            raise EngineUnavailableError("The connection broke.")
        return rows

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        if self.away:
            raise EngineUnavailableError("The database is away.")
        async with self._database.transaction() as transaction:
            yield transaction


@pytest.fixture
async def own_database(anyio_backend: object, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path, load_migrations("hive.ledger")) as database:
        yield database


async def test_a_commit_whose_answer_was_lost_is_recognized_and_not_repeated(
    own_database: Database,
) -> None:
    cut = _CutDatabase(own_database)
    async with open_ledger(cut) as writer:  # type: ignore[arg-type]
        cut.cut = "after"
        entry = await writer.append(line("once.only"))
        after = await writer.append(line())
    assert (entry.chain, entry.sequence, after.sequence) == ("node-1.1", 2, 3)
    rows = await own_database.fetch("SELECT count(*) AS n FROM entry WHERE name = 'once.only'")
    assert rows[0]["n"] == 1
    assert (await verify(own_database)).ok


async def test_a_batch_that_was_not_committed_is_written_in_a_fresh_epoch(
    own_database: Database,
) -> None:
    cut = _CutDatabase(own_database)
    async with open_ledger(cut) as writer:  # type: ignore[arg-type]
        cut.cut = "before"
        entry = await writer.append(line("once.only"))
    assert (entry.chain, entry.sequence) == ("node-1.2", 2)
    report = await verify(own_database)
    assert report.ok
    assert report.entries == 3


async def test_a_late_statement_of_a_lost_connection_is_refused(own_database: Database) -> None:
    late: list[tuple[str, tuple[SqlValue, ...]]] = []

    class Late(_CutDatabase):
        async def fetch(self, sql: str, *values: SqlValue) -> "list[Row]":
            if "ledger_append" in sql and self.cut == "before":
                late.append((sql, values))
            return await super().fetch(sql, *values)

    cut = Late(own_database)
    async with open_ledger(cut) as writer:  # type: ignore[arg-type]
        cut.cut = "before"
        await writer.append(line("once.only"))
        # The server reads what the broken connection had still in its buffer.
        rows = await own_database.fetch(late[0][0], *late[0][1])
    assert rows[0]["outcome"] == "lost"
    rows = await own_database.fetch("SELECT count(*) AS n FROM entry WHERE name = 'once.only'")
    assert rows[0]["n"] == 1


async def test_while_the_database_is_away_an_append_raises_and_leaves_nothing(
    own_database: Database,
) -> None:
    cut = _CutDatabase(own_database)
    async with open_ledger(cut, patience_s=0.2) as writer:  # type: ignore[arg-type]
        await writer.append(line())
        cut.away = True
        with pytest.raises(EngineUnavailableError):
            await writer.append(line("not.written"))
        with pytest.raises(EngineUnavailableError):
            await writer.append(line("not.written"))
        cut.away = False
        assert await writer.append(line("written"))
    rows = await own_database.fetch("SELECT count(*) AS n FROM entry WHERE name = 'not.written'")
    assert rows[0]["n"] == 0
    assert (await verify(own_database)).ok


async def test_killing_postgres_in_the_middle_loses_no_acknowledged_line(
    own_database: Database,
) -> None:
    clock, randomness = SystemClock(), SystemRandomness()
    kept: list[Entry] = []
    stop = anyio.Event()
    enough = anyio.Event()

    async def caller() -> None:
        while not stop.is_set():
            kept.append(
                await writer.append(line(call=new_id(clock, randomness), content=b"x" * 99))
            )
            if len(kept) % 300 == 0:
                enough.set()

    async def killer() -> None:
        nonlocal enough
        for _ in range(3):
            await enough.wait()
            enough = anyio.Event()
            os.kill((await own_database.report()).pids[0], signal.SIGKILL)
        await enough.wait()
        stop.set()

    with anyio.fail_after(60):
        async with (
            open_ledger(own_database, patience_s=30) as writer,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(16):
                tasks.start_soon(caller)
            tasks.start_soon(killer)
    report = await verify(own_database)
    assert report.problem is None
    rows = await own_database.fetch("SELECT hash, call FROM entry")
    hashes = {row["hash"] for row in rows}
    assert {entry.hash for entry in kept} <= hashes
    calls = [row["call"] for row in rows if row["call"]]
    assert len(calls) == len(set(calls)), "a line was written twice"
