"""PostgreSQL as a child: made in one step, reachable through its socket only, never trusting anybody.

The data folder appears whole or not at all: it is made beside its place and moved there at the end, so a
node killed in the middle begins again. Two roles with random passwords: `hive_owner` applies migrations,
`hive_app` is what the node works as. The socket lies in the data folder (0700). There is no TCP.
"""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from hive.core.clock import Clock
from hive.core.errors import EngineError
from hive.core.randomness import Randomness
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.engines.binaries import EngineBinary, find_postgres
from hive.engines.children import Command, SupervisedChild, Upbringing, run_to_end, supervised
from hive.engines.embedded.demotion import (
    LINUX,
    Demotion,
    Visibility,
    demotion_here,
    give,
    own_path,
    visibility,
)
from hive.engines.embedded.leftovers import only_one
from hive.engines.embedded.logs import EngineLog
from hive.engines.embedded.private_files import write_private

OWNER_ROLE: Final = "hive_owner"
APP_ROLE: Final = "hive_app"
DATABASE_NAME: Final = "hive"
PORT: Final = 5432
MAKE_WITHIN_S: Final = 120.0
PASSWORD_BYTES: Final = 32
WAL_SEGMENT_MB: Final = 4
# The first statement that fails ends it, and no statement (there are passwords in them) reaches the log.
_QUIET: Final = (
    "-c",
    "exit_on_error=on",
    "-c",
    "log_min_error_statement=panic",
    "-c",
    "log_checkpoints=off",
)
_SCRAM_SETTING_SINCE: Final = 16
_SYNCFS_SINCE: Final = 17
_IO_METHOD_SINCE: Final = 18

# Small, durable, silent about contents. What a statement holds must not reach the log.
TUNING: Final[tuple[tuple[str, str], ...]] = (
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("port", str(PORT)),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "64MB"),
    ("max_connections", "24"),
    ("superuser_reserved_connections", "2"),
    ("work_mem", "4MB"),
    ("maintenance_work_mem", "64MB"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "1GB"),
    ("checkpoint_timeout", "30min"),
    ("min_wal_size", "32MB"),
    ("max_worker_processes", "2"),
    ("max_parallel_workers", "2"),
    ("max_logical_replication_workers", "0"),
    ("autovacuum_max_workers", "1"),
    ("huge_pages", "off"),
    ("password_encryption", "scram-sha-256"),
    ("log_min_messages", "warning"),
    ("log_min_error_statement", "panic"),
    ("log_parameter_max_length_on_error", "0"),
    ("log_statement", "none"),
    ("log_line_prefix", "%m [%p] "),
    ("log_timezone", "UTC"),
    ("timezone", "UTC"),
    ("idle_in_transaction_session_timeout", "60s"),
)


class Passwords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The passwords of the two roles, as they lie in the state folder (0600)."""

    owner: str
    app: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresPlace:
    """Where an embedded PostgreSQL keeps what it needs."""

    home: Path
    data: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.home / "data")

    @property
    def passwords(self) -> Path:
        """Return the file of the passwords."""
        return self.home / "passwords.json"

    @property
    def record(self) -> Path:
        """Return the file that names the running server."""
        return self.home / "child.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running server and how to reach it: `host` is a folder with its socket."""

    child: SupervisedChild
    binary: EngineBinary
    host: str
    passwords: Passwords

    def password(self, role: str) -> Secret:
        """Return the password of one of the two roles."""
        return Secret(self.passwords.owner if role == OWNER_ROLE else self.passwords.app)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresKit:
    """All that is needed to make and start one server."""

    place: PostgresPlace
    binary: EngineBinary
    demotion: Demotion
    log: EngineLog
    randomness: Randomness
    tuning: tuple[tuple[str, str], ...] = TUNING

    def sees(self, name: str) -> Visibility:
        """Tell how the child names the program `name` of the same build."""
        program = Path(self.binary.program).with_name(name)
        return visibility(program, Path(self.binary.root), self.demotion)


def kit_for(settings: Settings, randomness: Randomness) -> PostgresKit:
    """Collect what the settings say; finds the binary.

    Raises:
        ConfigError: no usable binary.

    """
    engines = settings.state / "engines"
    place = PostgresPlace(home=engines / "postgres")
    binary = find_postgres(
        settings, remembered_in=engines / "binaries.json", major=_major_of(place.data)
    )
    return PostgresKit(
        place=place,
        binary=binary,
        demotion=demotion_here(),
        log=EngineLog(engines / "postgres.log"),
        randomness=randomness,
    )


def _major_of(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text().strip())
    except (OSError, ValueError):
        return None


@asynccontextmanager
async def postgres_server(kit: PostgresKit, clock: Clock) -> AsyncIterator[PostgresServer]:
    """Run the server; it may still be starting when the context is entered.

    Raises:
        ConfigError: another node uses the folder.
        EngineError: it cannot be made or started.

    """
    place = kit.place
    with only_one(place.home, "PostgreSQL"):
        await make_data(kit)

        async def prepare() -> Command:
            return _server_command(kit)

        upbringing = Upbringing(
            name="PostgreSQL",
            record=place.record,
            log=kit.log,
            demotion=kit.demotion,
            death_signal=signal.SIGQUIT,
            stop_signals=(signal.SIGINT, signal.SIGQUIT),
            prepare=prepare,
        )
        async with supervised(upbringing, clock) as child:
            with _short_path(place.data) as host:
                yield PostgresServer(
                    child=child, binary=kit.binary, host=host, passwords=_read_passwords(place)
                )


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """Name a folder by a descriptor: the path of a UNIX socket may have about 100 bytes only."""
    if not LINUX:
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _server_command(kit: PostgresKit) -> Command:
    data = kit.place.data
    _clear_locks(data)
    own = own_path(data)
    tuning = [*kit.tuning, ("unix_socket_directories", own)]
    if kit.binary.major >= _IO_METHOD_SINCE:
        tuning.append(("io_method", "sync"))
    seen = kit.sees("postgres")
    options = [part for name, value in tuning for part in ("-c", f"{name}={value}")]
    argv = (seen.program, "-D", own, *options)
    return Command(argv=argv, directory=data, shown=seen.shown)


def _clear_locks(data: Path) -> None:
    """Remove the locks of a server that is gone.

    PostgreSQL believes a lock as long as *any* process has its pid. We hold the folder's own lock and
    have ended the recorded child, so whoever has that pid now is a stranger.
    """
    for name in ("postmaster.pid", f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (data / name).unlink(missing_ok=True)


async def make_data(kit: PostgresKit) -> None:
    """Make the data folder if it is not there yet.

    Raises:
        EngineError: `initdb` failed, or the passwords of existing data are lost.

    """
    place = kit.place
    if place.data.exists():
        _read_passwords(place)
        return
    for half in place.home.glob("data.fresh-*"):
        # A program of the node that died may write for a moment yet: what resists goes the next time.
        shutil.rmtree(half, ignore_errors=True)
    fresh = place.home / f"data.fresh-{kit.randomness.token(4).hex()}"
    fresh.mkdir(mode=0o700)
    give(fresh, kit.demotion)
    passwords = Passwords(
        owner=kit.randomness.token(PASSWORD_BYTES).hex(),
        app=kit.randomness.token(PASSWORD_BYTES).hex(),
    )
    await _initdb(kit, fresh, passwords)
    await _first_statements(kit, fresh, passwords)
    _write_passwords(place, passwords)
    fresh.rename(place.data)
    _sync_folder(place.home)


async def _initdb(kit: PostgresKit, fresh: Path, passwords: Passwords) -> None:
    reading, writing = os.pipe()
    os.write(writing, passwords.owner.encode() + b"\n")
    os.close(writing)
    if kit.demotion.uid is not None:
        os.fchown(reading, kit.demotion.uid, kit.demotion.uid)
    seen = kit.sees("initdb")
    sync = ("--sync-method=syncfs",) if LINUX and kit.binary.major >= _SYNCFS_SINCE else ()
    argv = (
        seen.program,
        *("-D", own_path(fresh), "-U", OWNER_ROLE),
        *("--auth=scram-sha-256", f"--pwfile=/dev/fd/{reading}"),
        *("--locale=C", "-E", "UTF8", "--no-instructions"),
        *(f"--wal-segsize={WAL_SEGMENT_MB}", *sync),
    )
    command = Command(argv=argv, directory=fresh, shown=seen.shown, passed=(reading,))
    try:
        status = await run_to_end(command, kit.demotion, kit.log, timeout_s=MAKE_WITHIN_S)
    finally:
        os.close(reading)
    _check_status(kit, "initdb", status)


async def _first_statements(kit: PostgresKit, fresh: Path, passwords: Passwords) -> None:
    """Make the roles and the database without a server, so that nobody can connect meanwhile."""
    statements = [
        "CREATE EXTENSION vector",
        f"CREATE ROLE {APP_ROLE} LOGIN PASSWORD '{passwords.app}'",
        f"CREATE DATABASE {DATABASE_NAME} OWNER {OWNER_ROLE}",
        f"REVOKE ALL ON DATABASE {DATABASE_NAME} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {DATABASE_NAME} TO {APP_ROLE}",
    ]
    if kit.binary.major >= _SCRAM_SETTING_SINCE:
        # Iterations slow down guessing; nobody guesses 256 random bits, and each connection pays for them.
        statements.insert(0, "SET scram_iterations = 1")
        statements.append(f"ALTER ROLE {OWNER_ROLE} PASSWORD '{passwords.owner}'")
    seen = kit.sees("postgres")
    argv = (seen.program, "--single", "-D", own_path(fresh), *_QUIET, "template1")
    command = Command(argv=argv, directory=fresh, shown=seen.shown)
    text = "".join(f"{statement}\n" for statement in statements)
    status = await run_to_end(
        command, kit.demotion, kit.log, stdin=text.encode(), timeout_s=MAKE_WITHIN_S
    )
    _check_status(kit, "postgres --single", status)


def _check_status(kit: PostgresKit, program: str, status: int) -> None:
    if status != 0:
        raise EngineError(
            f"The embedded PostgreSQL cannot be made: `{program}` ended with status {status}.",
            why=kit.log.tail(),
            fix=f"Look at {kit.log.path}, at the free disk and at the rights of {kit.place.home}.",
        )


def _write_passwords(place: PostgresPlace, passwords: Passwords) -> None:
    write_private(place.passwords, msgspec.json.encode(passwords))


def _read_passwords(place: PostgresPlace) -> Passwords:
    try:
        return msgspec.json.decode(place.passwords.read_bytes(), type=Passwords)
    except (OSError, msgspec.MsgspecError) as error:
        raise EngineError(
            "The embedded PostgreSQL cannot be opened: its passwords are lost.",
            why=f"{place.passwords} cannot be read: {error}",
            fix="Put the file back, or restore a backup into a fresh state folder.",
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
