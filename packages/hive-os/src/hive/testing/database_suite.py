"""The conformance suite of `Database`: what every driver must do, on the real engine."""

from typing import Final

import anyio

from hive.core.errors import ConflictError, EngineError
from hive.engines.ports import Database
from hive.testing.promises import must_raise

WAIT_S: Final = 10.0


def _give_up() -> None:
    raise LookupError


class DatabaseSuite:
    """Needs a table `conformance (id int PRIMARY KEY, note text)` that `hive_app` may read and write."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def a_row_that_was_written_is_read_again(self) -> None:
        """Write and read."""
        tag = await self._database.execute("INSERT INTO conformance VALUES ($1, $2)", 1, "one")
        rows = await self._database.fetch("SELECT id, note FROM conformance WHERE id = $1", 1)
        assert tag == "INSERT 0 1"
        assert [dict(row) for row in rows] == [{"id": 1, "note": "one"}]

    async def an_exception_rolls_a_transaction_back(self) -> None:
        """Leave a transaction by an exception."""
        try:
            async with self._database.transaction() as transaction:
                await transaction.execute("INSERT INTO conformance VALUES (2, 'two')")
                _give_up()
        except LookupError:
            pass
        assert not await self._database.fetch("SELECT 1 FROM conformance WHERE id = 2")

    async def a_transaction_is_not_seen_before_it_commits(self) -> None:
        """Look from another connection."""
        async with self._database.transaction() as transaction:
            await transaction.execute("INSERT INTO conformance VALUES (3, 'three')")
            assert not await self._database.fetch("SELECT 1 FROM conformance WHERE id = 3")
        assert await self._database.fetch("SELECT 1 FROM conformance WHERE id = 3")

    async def a_unique_violation_is_a_conflict(self) -> None:
        """Insert one key twice."""
        await self._database.execute("INSERT INTO conformance VALUES (4, 'four')")
        await must_raise(
            ConflictError, self._database.execute("INSERT INTO conformance VALUES (4, 'again')")
        )

    async def an_error_never_repeats_what_stood_in_a_statement(self) -> None:
        """Provoke an error whose text would hold a value."""
        try:
            await self._database.fetch("SELECT $1::text::int AS number", "hunter2-is-secret")
        except EngineError as error:
            assert "hunter2" not in f"{error} {error.what} {error.why} {error.fix}"
            return
        message = "EngineError was expected"
        raise AssertionError(message)

    async def a_connection_is_usable_after_an_error(self) -> None:
        """Fail more often than there are connections."""
        for _ in range(20):
            await must_raise(EngineError, self._database.fetch("SELECT no_such_column"))
        assert await self._database.fetch("SELECT 1")

    async def the_application_role_may_not_change_the_schema(self) -> None:
        """Try to create and to drop."""
        await must_raise(EngineError, self._database.execute("CREATE TABLE intruder (id int)"))
        await must_raise(EngineError, self._database.execute("DROP TABLE conformance"))

    async def the_application_role_may_not_read_files_of_the_server(self) -> None:
        """Try the ways in which a superuser reads files and runs programs."""
        await must_raise(EngineError, self._database.fetch("SELECT pg_read_file('PG_VERSION')"))
        await must_raise(
            EngineError,
            self._database.execute("COPY conformance (note) FROM PROGRAM 'id'"),
        )

    async def a_notice_reaches_whoever_listens(self) -> None:
        """Listen, notify, receive."""
        async with self._database.listen("conformance_news") as notices:
            await self._database.execute("SELECT pg_notify('conformance_news', 'hello')")
            with anyio.fail_after(WAIT_S):
                assert await anext(aiter(notices)) == "hello"

    async def many_at_once_are_served(self) -> None:
        """Ask more at once than there are connections."""
        answers: list[object] = []

        async def ask(number: int) -> None:
            rows = await self._database.fetch("SELECT $1::int AS n, pg_sleep(0.01)", number)
            answers.append(rows[0]["n"])

        with anyio.fail_after(WAIT_S):
            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(ask, number)
        assert sorted(map(str, answers)) == sorted(map(str, range(40)))

    async def vectors_are_known(self) -> None:
        """Measure a distance with pgvector."""
        rows = await self._database.fetch("SELECT '[1,2]'::halfvec <-> '[1,4]'::halfvec AS far")
        assert rows[0]["far"] == 2.0

    async def it_reports_its_version(self) -> None:
        """Ask what it is."""
        report = await self._database.report()
        assert report.engine == "postgresql"
        assert int(report.version.partition(".")[0]) >= 15
