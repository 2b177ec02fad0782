"""PostgreSQL: the node's own server, or any other by URL; brought up to date, backed up and restored."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import anyio
from anyio.to_thread import run_sync

from hive.core.clock import Clock
from hive.core.errors import (
    ConfigError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
)
from hive.engines.drivers.postgresql_backup import (
    dump,
    owner_connection,
    read_manifest,
    refill,
    steps_of,
)
from hive.engines.drivers.postgresql_pool import PostgresAddress, PostgresqlDatabase
from hive.engines.embedded.postgres import (
    APP_ROLE,
    OWNER_ROLE,
    PostgresServer,
    kit_for,
    postgres_server,
)
from hive.engines.migrations import Migration, applied_migrations, apply_migrations, missing
from hive.engines.opening import BackupSummary, DatabaseTls, EngineOpening, ServerProof
from hive.engines.ports import EngineReport

READY_WITHIN_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.005


async def _bring_up(
    app: PostgresqlDatabase, owner: PostgresqlDatabase, migrations: Sequence[Migration]
) -> None:
    """Apply what is missing, as the owner; with nothing missing the owner does not even connect."""
    if migrations and missing(migrations, await applied_migrations(app)):
        await _as_owner(owner, migrations)


async def _as_owner(owner: PostgresqlDatabase, migrations: Sequence[Migration]) -> None:
    try:
        await owner.connect()
        await apply_migrations(owner, migrations)
    finally:
        await owner.aclose()


async def _restore(
    address: PostgresAddress, folder: Path, migrations: Sequence[Migration]
) -> BackupSummary:
    manifest = await run_sync(read_manifest, folder)
    steps = steps_of(manifest, migrations)
    owner = PostgresqlDatabase(address, connections_max=1)
    try:
        await owner.connect()
        if await applied_migrations(owner):
            raise EngineError(
                "The backup cannot be restored here.",
                why="The database has been used already.",
                fix="Name a fresh state folder with HIVE_STATE_DIR, or an empty database.",
            )
        await apply_migrations(owner, steps)
    finally:
        await owner.aclose()
    async with owner_connection(address.arguments()) as connection:
        return await refill(connection, folder, manifest)


class EmbeddedPostgresql:
    """The node's own server."""

    def __init__(self, server: PostgresServer, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._app = PostgresqlDatabase(self._address(APP_ROLE), describe=self._report)

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: EngineOpening) -> AsyncIterator[Self]:
        """Spawn the server; make it first if there is none."""
        kit = kit_for(opening.settings, opening.randomness)
        async with postgres_server(kit, opening.clock) as server:
            driver = cls(server, opening.clock)
            try:
                yield driver
            finally:
                await driver._app.aclose()

    async def ready(self, migrations: Sequence[Migration]) -> PostgresqlDatabase:
        """Connect as soon as the server answers, and bring the schema up to date."""
        with anyio.move_on_after(READY_WITHIN_S) as waiting:
            await self._connect()
        if waiting.cancelled_caught:
            raise EngineTimeoutError(
                f"The embedded PostgreSQL did not answer within {READY_WITHIN_S:.0f} s.",
                why=self._server.child.upbringing.log.tail(),
                fix="A long recovery needs another try; `hive doctor` shows the log.",
            )
        await _bring_up(
            self._app, PostgresqlDatabase(self._address(OWNER_ROLE), connections_max=1), migrations
        )
        return self._app

    async def _connect(self) -> None:
        while True:
            try:
                await self._app.connect()
            except EngineUnavailableError:
                await anyio.sleep(_LOOK_AGAIN_S)
            else:
                return

    async def dump(self, folder: Path) -> BackupSummary:
        """Write a backup of everything into an empty folder; works while the database is used."""
        async with owner_connection(self._address(OWNER_ROLE).arguments()) as connection:
            return await dump(connection, folder, self._clock)

    async def restore(self, folder: Path, migrations: Sequence[Migration]) -> BackupSummary:
        """Fill a database that was never used from a backup; all or nothing."""
        await self.ready(())
        return await _restore(self._address(OWNER_ROLE), folder, migrations)

    def _address(self, role: str) -> PostgresAddress:
        return PostgresAddress(
            host=self._server.host, user=role, password=self._server.password(role)
        )

    def _report(self) -> EngineReport:
        binary, child = self._server.binary, self._server.child
        return EngineReport(
            engine="postgresql",
            version=binary.version,
            embedded=True,
            detail=f"{binary.program} ({binary.origin}), started {child.starts} times",
            pids=(child.pid,) if child.pid else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalUrl:
    """A `postgresql://` URL without the parts that are ours."""

    dsn: str
    app_role: str
    proof: ServerProof | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take `app_role` out of the URL (`hive_app` unless it says otherwise), and what TLS by SVID needs.

        Raises:
            ConfigError: the URL cannot be read, the role's name has odd characters, or the server proves nothing.

        """
        try:
            parts = urlsplit(url)
            query = dict(
                parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
            )
        except ValueError as error:
            raise ConfigError(
                "HIVE_DATABASE_URL cannot be read.",
                why="It is not a URL of the form postgresql://user@host/database?key=value.",
                fix="Correct it, or set `embedded:`.",
            ) from error
        role = query.pop("app_role", APP_ROLE)
        if role and not role.replace("_", "").isalnum():
            raise ConfigError(
                "HIVE_DATABASE_URL names an impossible role.",
                why="A role has letters, digits and `_` only.",
                fix="Correct `app_role`.",
            )
        proof = _proof_in(query, host=parts.hostname or "")
        return cls(
            dsn=urlunsplit(parts._replace(query=urlencode(query))), app_role=role, proof=proof
        )

    def address(self, role: str, tls: DatabaseTls | None) -> PostgresAddress:
        """Return where to connect.

        Raises:
            ConfigError: it takes an SVID, and who asks has none.

        """
        proof = self.proof
        if proof is None:
            return PostgresAddress(dsn=self.dsn, role=role)
        if tls is None:
            raise _no_svid("Who asks here has no identity.")
        return PostgresAddress(dsn=self.dsn, role=role, tls=partial(tls, proof))


def _proof_in(query: dict[str, str], *, host: str) -> ServerProof | None:
    """Take out of a URL's query how the server shows who it is, where this node shows its SVID."""
    wanted, server_id = query.pop("svid", ""), query.pop("server", "")
    if not server_id and wanted in ("", "off"):
        return None
    roots = query.pop("sslrootcert", "")
    if wanted not in ("", "on") or query.pop("sslmode", "verify-full") != "verify-full":
        raise _no_svid("It takes svid=on and sslmode=verify-full.")
    if not host or host.startswith("/") or "host" in query:
        raise _no_svid("It needs the name of a host: there is no TLS on a socket in a file.")
    if {"sslcert", "sslkey", "sslpassword"} & query.keys():
        raise _no_svid("It names another certificate.")
    if not roots and not server_id:
        raise _no_svid("Nothing says whom to believe that it is the server.")
    return ServerProof(server_id=server_id, roots=roots)


def _no_svid(why: str) -> ConfigError:
    return ConfigError(
        "HIVE_DATABASE_URL cannot be reached with this node's SVID.",
        why=why,
        fix="postgresql://user@host/db?svid=on&sslmode=verify-full&sslrootcert=/path.pem",
    )


class ExternalPostgresql:
    """A server that somebody else runs.

    The URL's login applies migrations; the node then works as the role `hive_app` (`?app_role=`), which
    the login makes if it is missing and may. With `?app_role=` left empty the node works as the login.
    """

    def __init__(self, url: ExternalUrl, clock: Clock, tls: DatabaseTls | None = None) -> None:
        self._url = url
        self._clock = clock
        self._login = url.address("", tls)
        self._app = PostgresqlDatabase(url.address(url.app_role, tls))

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: EngineOpening) -> AsyncIterator[Self]:
        """Read the URL; nothing is spoken yet."""
        driver = cls(ExternalUrl.parse(opening.url), opening.clock, opening.database_tls)
        try:
            yield driver
        finally:
            await driver._app.aclose()

    async def ready(self, migrations: Sequence[Migration]) -> PostgresqlDatabase:
        """Make the role if it is missing, bring the schema up to date, connect."""
        owner = PostgresqlDatabase(self._login, connections_max=1)
        try:
            await self._reach(owner)
            await _make_roles(owner, self._url.app_role)
            if missing(migrations, await applied_migrations(owner)):
                await apply_migrations(owner, migrations)
        finally:
            await owner.aclose()
        await self._app.connect()
        return self._app

    @staticmethod
    async def _reach(owner: PostgresqlDatabase) -> None:
        try:
            await owner.connect()
        except EngineUnavailableError as error:
            raise EngineUnavailableError(
                "The database of HIVE_DATABASE_URL cannot be reached.",
                why=error.why,
                fix="Check the URL and that the server runs, or set `embedded:`.",
            ) from error

    async def dump(self, folder: Path) -> BackupSummary:
        """Write a backup of everything into an empty folder; works while the database is used."""
        async with owner_connection(self._login.arguments()) as connection:
            return await dump(connection, folder, self._clock)

    async def restore(self, folder: Path, migrations: Sequence[Migration]) -> BackupSummary:
        """Fill a database that was never used from a backup; the login must be a superuser."""
        owner = PostgresqlDatabase(self._login, connections_max=1)
        try:
            await owner.connect()
            await _make_roles(owner, self._url.app_role)
        finally:
            await owner.aclose()
        return await _restore(self._login, folder, migrations)


async def _make_roles(owner: PostgresqlDatabase, app_role: str) -> None:
    """Make sure that `hive_app` exists (the schema grants to it) and that the login may work as it."""
    for role in filter(None, dict.fromkeys((APP_ROLE, app_role))):
        if not await owner.fetch("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            await owner.execute(f"CREATE ROLE {role} NOLOGIN")
        rows = await owner.fetch("SELECT pg_has_role(current_user, $1, 'MEMBER') AS may", role)
        if not rows[0]["may"]:
            await owner.execute(f"GRANT {role} TO CURRENT_USER")
