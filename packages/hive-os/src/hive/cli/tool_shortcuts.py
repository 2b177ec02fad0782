"""Well-known reference servers by their short names: `hive tool add filesystem --allow-path .`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final


def _nothing(_paths: Sequence[str]) -> Sequence[str]:
    return ()


def _as_they_are(paths: Sequence[str]) -> Sequence[str]:
    return paths


def _repositories(paths: Sequence[str]) -> Sequence[str]:
    return [word for path in paths[:1] for word in ("--repository", path)]


def _database(paths: Sequence[str]) -> Sequence[str]:
    files = [path if is_database(path) else f"{path}/database.db" for path in paths[:1]]
    return [word for path in files for word in ("--db-path", path)]


def is_database(path: str) -> bool:
    """Tell whether a path names a database file, which need not be there yet."""
    return path.endswith((".db", ".sqlite", ".sqlite3"))


def _universal_time(_paths: Sequence[str]) -> Sequence[str]:
    return ("--local-timezone", "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownServer:
    """A server that is known by name. `arguments` makes its arguments of the allowed paths.

    `beside_file` says that it writes beside the file that it is given, and so needs the folder.
    """

    package: str
    about: str
    arguments: Callable[[Sequence[str]], Sequence[str]] = _nothing
    needs_path: str = ""
    beside_file: bool = False
    memory_variable: str = ""
    advice: str = ""


_SCOPE: Final = "npm:@modelcontextprotocol"
KNOWN_SERVERS: Final = {
    "filesystem": KnownServer(
        package=f"{_SCOPE}/server-filesystem",
        about="reads and writes files of the folders that it is given",
        arguments=_as_they_are,
        needs_path="--allow-path FOLDER, or FOLDER:rw to let it write",
    ),
    "memory": KnownServer(
        package=f"{_SCOPE}/server-memory",
        about="keeps a graph of facts",
        memory_variable="MEMORY_FILE_PATH",
        advice="It forgets at its end unless it has a folder: --allow-path FOLDER:rw",
    ),
    "everything": KnownServer(
        package=f"{_SCOPE}/server-everything", about="shows each feature of the protocol"
    ),
    "sequential-thinking": KnownServer(
        package=f"{_SCOPE}/server-sequential-thinking", about="lets a model think step by step"
    ),
    "git": KnownServer(
        package="pypi:mcp-server-git",
        about="reads and changes a git repository",
        arguments=_repositories,
        needs_path="--allow-path REPOSITORY, or REPOSITORY:rw to let it commit",
    ),
    "fetch": KnownServer(
        package="pypi:mcp-server-fetch",
        about="reads pages of the web",
        advice="It reaches what you allow: --host-allow example.org, or --host-allow '*'",
    ),
    "time": KnownServer(
        package="pypi:mcp-server-time",
        about="tells the time and converts time zones",
        arguments=_universal_time,
    ),
    "sqlite": KnownServer(
        package="pypi:mcp-server-sqlite mcp<2",
        about="asks and changes one SQLite database",
        arguments=_database,
        needs_path="--allow-path FOLDER/FILE.db:rw; it is given the folder, for SQLite writes beside the file",
        beside_file=True,
    ),
}
