"""The pool of connections: one stays at hand for the next statement, and nobody has to wait because of it."""

import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import pytest

from hive.core.errors import EngineError
from hive.engines import Migration
from hive.engines.ports import Database

pytestmark = pytest.mark.anyio
PID = "SELECT pg_backend_pid() AS pid"


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return (Migration("pool/0001", "CREATE TABLE kept (n int); GRANT ALL ON kept TO hive_app;"),)


async def test_one_statement_after_the_other_uses_the_connection_at_hand(
    database: Database,
) -> None:
    pids = {(await database.fetch(PID))[0]["pid"] for _ in range(10)}
    assert len(pids) == 1


async def test_many_more_callers_than_connections_all_get_one(database: Database) -> None:
    answered: list[int] = []

    async def ask(number: int) -> None:
        for _ in range(5):
            await database.fetch("SELECT pg_sleep(0.001)")
            async with database.transaction() as transaction:
                await transaction.fetch(PID)
        answered.append(number)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(partial(ask, number))
    assert sorted(answered) == list(range(40))


async def test_a_connection_that_broke_in_use_is_not_kept(database: Database) -> None:
    pids: list[int] = []

    async def broken() -> None:
        async with database.transaction() as transaction:
            pids.append(int(str((await transaction.fetch(PID))[0]["pid"])))
            os.kill(pids[0], signal.SIGTERM)
            await transaction.fetch("SELECT pg_sleep(60)")

    with pytest.raises(EngineError):
        await broken()
    assert (await database.fetch(PID))[0]["pid"] != pids[0]


async def test_a_connection_that_broke_while_at_hand_is_replaced(database: Database) -> None:
    pid = int(str((await database.fetch(PID))[0]["pid"]))
    os.kill(pid, signal.SIGTERM)
    with anyio.fail_after(30):
        while Path("/proc", str(pid)).exists():
            await anyio.wait_all_tasks_blocked()
        await anyio.wait_all_tasks_blocked()
    assert (await database.fetch(PID))[0]["pid"] != pid


async def test_a_transaction_that_failed_leaves_nothing_behind(database: Database) -> None:
    async def broken() -> None:
        async with database.transaction() as transaction:
            await transaction.execute("INSERT INTO kept VALUES (1)")
            raise RuntimeError

    for _ in range(3):
        with pytest.raises(RuntimeError):
            await broken()
        assert (await database.fetch("SELECT count(*) AS n FROM kept"))[0]["n"] == 0
