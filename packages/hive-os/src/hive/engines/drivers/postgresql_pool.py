"""A pool of asyncpg connections to one PostgreSQL, as one role.

A connection that broke is replaced at the next use, so a server that was killed is reached again as soon as
it is back; what was asked in between fails with `EngineUnavailableError`. A statement that certainly never
left (its connection had been given notice before) is sent on another one; any other is never sent twice.

Session state (`SET`, temporary tables, `LISTEN`) does not belong in `execute`: a connection goes back to
the pool without being reset, which saves a round trip. Use `SET LOCAL` in a transaction, and `listen`.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar, TypeVarTuple

import anyio
import asyncpg  # type: ignore[import-untyped]

from hive.core.errors import EngineUnavailableError
from hive.core.secret import Secret
from hive.engines.drivers.postgresql_errors import never_sent, translated
from hive.engines.drivers.postgresql_notices import SharedNotices
from hive.engines.embedded.postgres import DATABASE_NAME, PORT
from hive.engines.ports import EngineReport, Row, SqlValue, Transaction

CONNECTIONS_MAX: Final = 6
CONNECT_TIMEOUT_S: Final = 10.0
ACQUIRE_TIMEOUT_S: Final = 15.0
STATEMENT_TIMEOUT_S: Final = 120.0
# A connection is a process of the server: what a burst opened is given up soon after it.
IDLE_MAX_S: Final = 30.0
CLOSE_WITHIN_S: Final = 1.0
KEPT_USES_MAX: Final = 1000
AnswerT = TypeVar("AnswerT")
ArgumentsT = TypeVarTuple("ArgumentsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAddress:
    """Where to connect, as whom, and the role to work as (empty: the one that logs in).

    `tls` gives the context of one new connection, which a certificate that was renewed is in.
    """

    dsn: str = ""
    host: str = ""
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    role: str = ""
    tls: Callable[[], ssl.SSLContext] | None = None

    def arguments(self) -> dict[str, object]:
        """Return what asyncpg's `connect` takes."""
        session = {"application_name": "hive", "hnsw.iterative_scan": "strict_order"}
        if self.role:
            session["role"] = self.role
        shared: dict[str, object] = {"server_settings": session, "timeout": CONNECT_TIMEOUT_S}
        if self.tls is not None:
            shared["ssl"] = self.tls()
        if self.dsn:
            return {"dsn": self.dsn, **shared}
        return {
            "host": self.host,
            "port": PORT,
            "user": self.user,
            "password": self.password.reveal(),
            "database": DATABASE_NAME,
            "ssl": False,
            **shared,
        }


class LeanConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that is not reset between uses; see the module's page."""

    def get_reset_query(self) -> str:
        """Return nothing to run: an open transaction is rolled back all the same."""
        return ""


class PooledTransaction:
    """Statements on one connection, inside one transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, *values: SqlValue) -> str:
        """Run one statement; return PostgreSQL's command tag."""
        with translated():
            tag: str = await self._connection.execute(sql, *values)
            return tag

    async def fetch(self, sql: str, *values: SqlValue) -> Sequence[Row]:
        """Run one query; return all rows."""
        with translated():
            rows: Sequence[Row] = await self._connection.fetch(sql, *values)
            return rows


class PostgresqlDatabase:
    """A pool of connections to one server as one role."""

    def __init__(
        self,
        address: PostgresAddress,
        *,
        connections_max: int = CONNECTIONS_MAX,
        describe: Callable[[], EngineReport] | None = None,
    ) -> None:
        self._address = address
        self._connections_max = connections_max
        self._describe = describe
        self._pool: asyncpg.Pool | None = None
        self._kept: asyncpg.Connection | None = None
        self._kept_uses = 0
        self._waiting = 0
        self._notices = SharedNotices(self._listening)

    async def connect(self) -> None:
        """Open the pool.

        Raises:
            EngineUnavailableError: the server does not answer.

        """
        with translated():
            pool = await asyncpg.create_pool(
                # A floor would be restored by a task of asyncpg's own, which logs every refusal.
                min_size=0,
                max_size=self._connections_max,
                max_inactive_connection_lifetime=IDLE_MAX_S,
                connection_class=LeanConnection,
                command_timeout=STATEMENT_TIMEOUT_S,
                connect=self._connected,
            )
            try:
                async with pool.acquire():
                    self._pool = pool
            finally:
                if self._pool is not pool:
                    pool.terminate()

    async def _connected(self, *_given: object, **more: object) -> asyncpg.Connection:
        return await asyncpg.connect(**more, **self._address.arguments())

    async def aclose(self) -> None:
        """Close all connections; those in use are given a moment."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        kept, self._kept = self._kept, None
        with anyio.CancelScope(shield=True):
            with (
                anyio.move_on_after(CLOSE_WITHIN_S),
                suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError),
            ):
                if kept is not None:
                    await _given_back(pool, kept)
                await pool.close()
            pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        pool = self._pool
        if pool is None:
            raise EngineUnavailableError(
                "The database is closed.", why="The node is stopping.", fix="Start it again."
            )
        connection = await self._taken(pool)
        well = False
        try:
            yield connection
            well = True
        except EngineUnavailableError as error:
            if never_sent(error):
                # Its socket is still open: the pool would hand it out again.
                connection.terminate()
            raise
        finally:
            if well and self._may_keep(connection):
                self._kept = connection
            else:
                await _given_back(pool, connection)

    async def _taken(self, pool: asyncpg.Pool) -> asyncpg.Connection:
        """Return the connection that is kept at hand, else one of the pool."""
        kept, self._kept = self._kept, None
        if kept is not None:
            if not _is_gone(kept):
                return kept
            await _given_back(pool, kept)
        self._waiting += 1
        try:
            with translated():
                return await pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        finally:
            self._waiting -= 1

    def _may_keep(self, connection: asyncpg.Connection) -> bool:
        """Tell whether a connection stays at hand: the pool's own way costs more than a short statement.

        It goes back where somebody waits for one, and now and then in any case, to be renewed when it is due.
        """
        self._kept_uses += 1
        if self._kept_uses > KEPT_USES_MAX:
            self._kept_uses = 0
            return False
        free = self._pool is not None and self._kept is None and not self._waiting
        return free and not _is_gone(connection) and not connection.is_in_transaction()

    async def execute(self, sql: str, *values: SqlValue) -> str:
        """Run one statement in a transaction of its own; return PostgreSQL's command tag."""
        return await _sent_once(self._execute, sql, values)

    async def fetch(self, sql: str, *values: SqlValue) -> Sequence[Row]:
        """Run one query; return all rows."""
        return await _sent_once(self._fetch, sql, values)

    async def _execute(self, sql: str, values: Sequence[SqlValue]) -> str:
        async with self._connection() as connection:
            return await PooledTransaction(connection).execute(sql, *values)

    async def _fetch(self, sql: str, values: Sequence[SqlValue]) -> Sequence[Row]:
        async with self._connection() as connection:
            return await PooledTransaction(connection).fetch(sql, *values)

    async def _begin(
        self, held: AsyncExitStack
    ) -> tuple[asyncpg.Connection, asyncpg.transaction.Transaction]:
        async with AsyncExitStack() as taken:
            connection = await taken.enter_async_context(self._connection())
            transaction = connection.transaction()
            with translated():
                await transaction.start()
            held.push_async_exit(taken.pop_all())
            return connection, transaction

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a transaction on one connection; an exception inside rolls it back."""
        async with AsyncExitStack() as held:
            connection, transaction = await _sent_once(self._begin, held)
            try:
                yield PooledTransaction(connection)
            except BaseException:
                # If the rollback fails, the connection is gone, and the transaction with it.
                with (
                    anyio.CancelScope(shield=True),
                    anyio.move_on_after(CLOSE_WITHIN_S),
                    suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError),
                ):
                    await transaction.rollback()
                raise
            with translated():
                await transaction.commit()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncIterator[str]]:
        """Receive the payloads of `NOTIFY channel` from now on, on the one connection that all channels share.

        Iterating raises `EngineUnavailableError` when the connection breaks: listen again then, and
        look at the tables first, for what was said meanwhile is lost.
        """
        async with self._notices.listen(channel) as notices:
            yield notices

    async def _listening(self) -> asyncpg.Connection:
        return await asyncpg.connect(**self._address.arguments())

    async def report(self) -> EngineReport:
        """Ask the server what it is."""
        rows = await self.fetch("SELECT current_setting('server_version') AS version")
        version = str(rows[0]["version"])
        if self._describe is not None:
            known = self._describe()
            return EngineReport(
                engine=known.engine,
                version=version,
                embedded=known.embedded,
                detail=known.detail,
                pids=known.pids,
            )
        return EngineReport(engine="postgresql", version=version, embedded=False, detail="by URL")


async def _sent_once(
    run: Callable[[*ArgumentsT], Awaitable[AnswerT]], *arguments: *ArgumentsT
) -> AnswerT:
    """Run it, and once more on another connection where its first word was never sent."""
    try:
        return await run(*arguments)
    except EngineUnavailableError as error:
        if not never_sent(error):
            raise
    return await run(*arguments)


def _is_gone(connection: asyncpg.Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # it broke, and the pool has taken it back
        return True


async def _given_back(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    # A connection that broke is of no more use; why it broke was raised already. One that broke at rest is out of the
    # pool's hands before anybody gives it back, which asyncpg calls an internal error.
    with suppress(
        asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError
    ):
        await pool.release(connection)
