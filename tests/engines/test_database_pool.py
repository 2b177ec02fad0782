"""The pool of connections: one stays at hand for the next statement, and nobody has to wait because of it."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from hive.core.errors import EngineError, EngineUnavailableError
from hive.engines import Migration
from hive.engines.drivers.postgresql_pool import PooledTransaction, PostgresqlDatabase
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
    # Whether a statement reached a server that was dying cannot be known: one may be given up, not two.
    with suppress(EngineUnavailableError):
        assert (await database.fetch(PID))[0]["pid"] != pid
    assert (await database.fetch(PID))[0]["pid"] != pid


def give_notice(database: Database) -> None:
    """Say what a server says that ends a connection, and leave the socket open."""
    fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
    last_word = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields
    assert isinstance(database, PostgresqlDatabase)
    assert database._kept is not None
    database._kept._protocol.data_received(last_word)


async def test_a_connection_that_was_given_notice_is_never_spoken_to_again(
    database: Database,
) -> None:
    pid = (await database.fetch(PID))[0]["pid"]
    for number in range(3):  # more than once: the pool does not hand it out again
        give_notice(database)
        await database.execute("INSERT INTO kept VALUES ($1)", number)
        give_notice(database)
        assert (await database.fetch(PID))[0]["pid"] != pid
    assert (await database.fetch("SELECT count(*) AS n FROM kept"))[0]["n"] == 3


async def test_a_transaction_begins_on_another_connection_than_one_given_notice(
    database: Database,
) -> None:
    pid = (await database.fetch(PID))[0]["pid"]
    give_notice(database)
    async with database.transaction() as transaction:
        assert (await transaction.fetch(PID))[0]["pid"] != pid
        await transaction.execute("INSERT INTO kept VALUES (1)")
    assert (await database.fetch("SELECT count(*) AS n FROM kept"))[0]["n"] == 1


async def test_notice_inside_a_transaction_ends_it_and_nothing_is_tried_again(
    database: Database,
) -> None:
    begun = 0

    async def interrupted() -> None:
        nonlocal begun
        async with database.transaction() as transaction:
            begun += 1
            await transaction.execute("INSERT INTO kept VALUES (1)")
            assert isinstance(transaction, PooledTransaction)
            database._kept = transaction._connection  # type: ignore[attr-defined]
            give_notice(database)
            database._kept = None  # type: ignore[attr-defined]
            await transaction.execute("INSERT INTO kept VALUES (2)")

    with pytest.raises(EngineUnavailableError):
        await interrupted()
    assert begun == 1
    assert (await database.fetch("SELECT count(*) AS n FROM kept"))[0]["n"] == 0


async def test_a_transaction_that_failed_leaves_nothing_behind(database: Database) -> None:
    async def broken() -> None:
        async with database.transaction() as transaction:
            await transaction.execute("INSERT INTO kept VALUES (1)")
            raise RuntimeError

    for _ in range(3):
        with pytest.raises(RuntimeError):
            await broken()
        assert (await database.fetch("SELECT count(*) AS n FROM kept"))[0]["n"] == 0


async def connections(database: Database) -> set[int]:
    rows = await database.fetch("SELECT pid FROM pg_stat_activity WHERE usename IS NOT NULL")
    return {int(str(row["pid"])) for row in rows}


async def test_all_channels_share_one_connection_and_each_hears_its_own(database: Database) -> None:
    with anyio.fail_after(60):
        before = await connections(database)
        async with (
            database.listen("births") as births,
            database.listen("deaths") as deaths,
            database.listen("births") as again,
        ):
            assert len(await connections(database) - before) == 1
            await database.execute("SELECT pg_notify('births', 'b'), pg_notify('deaths', 'd')")
            heard = [await anext(aiter(notices)) for notices in (births, deaths, again)]
    assert heard == ["b", "d", "b"]


async def test_who_leaves_a_channel_ends_it_for_nobody_else(database: Database) -> None:
    with anyio.fail_after(60):
        before = await connections(database)
        async with database.listen("news") as stays:
            async with database.listen("news"), database.listen("other"):
                pass
            await database.execute("SELECT pg_notify('news', 'still here')")
            assert await anext(aiter(stays)) == "still here"
        while await connections(database) - before:
            await anyio.lowlevel.checkpoint()


async def test_when_the_shared_connection_breaks_everybody_is_told_and_can_come_again(
    database: Database,
) -> None:
    with anyio.fail_after(60):
        before = await connections(database)
        async with database.listen("births") as births, database.listen("deaths") as deaths:
            (shared,) = await connections(database) - before
            os.kill(shared, signal.SIGTERM)
            for notices in (births, deaths):
                with pytest.raises(EngineUnavailableError):
                    await anext(aiter(notices))
            async with database.listen("births") as anew:
                await database.execute("SELECT pg_notify('births', 'again')")
                assert await anext(aiter(anew)) == "again"


async def test_who_is_cancelled_while_beginning_to_listen_leaves_the_others_alone(
    database: Database,
) -> None:
    async def come(scope: anyio.CancelScope, channel: str) -> None:
        with scope:
            async with database.listen(channel):
                await anyio.sleep_forever()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks, database.listen("news") as stays:
            for number in range(20):
                scope = anyio.CancelScope()
                tasks.start_soon(come, scope, f"channel_{number}")
                for _ in range(number):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
            await database.execute("SELECT pg_notify('news', 'well')")
            assert await anext(aiter(stays)) == "well"
