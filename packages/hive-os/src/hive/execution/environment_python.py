"""Which interpreter an agent runs on: the node's own, or another of this machine that its source demands.

Only interpreters that are installed outside any source are considered: a folder's own `.venv` is a
stranger's program, and the node runs none.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.core.errors import ConfigError, SpecError
from hive.core.ids import printable

GUEST_MINIMUM: Final = (3, 10)
CANDIDATES_MAX: Final = 40
_QUERY_TIMEOUT_S: Final = 10.0
_QUERY: Final = (
    "import json,sys,os;print(json.dumps([list(sys.version_info[:3]),sys.base_prefix,"
    "sys.prefix,sys.implementation.name,os.path.realpath(sys.executable)]))"
)
_CLAUSE: Final = re.compile(r"(===|==|~=|!=|<=|>=|<|>)?\s*(\d+(?:\.\d+){0,2})(\.\*)?")
_SYSTEM_FOLDERS: Final = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")
_SYSTEM_PREFIXES: Final = ("/usr", "/bin", "/lib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python of this machine: its real path, version and prefix."""

    path: str
    version: tuple[int, int, int]
    prefix: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Return what a sandbox must be able to read; nothing for the system's own."""
        own = self.prefix in _SYSTEM_PREFIXES or self.prefix.startswith("/usr/")
        return () if own else (self.prefix,)

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.version))} at {self.path}"


@functools.cache
def own_interpreter() -> Interpreter:
    """Return the interpreter below the node's own environment."""
    major, minor, micro = sys.version_info[:3]
    prefix = os.path.realpath(sys.base_prefix)
    path = Path(prefix, "bin", f"python{major}.{minor}")
    real = str(path) if path.exists() else os.path.realpath(sys.executable)
    return Interpreter(path=real, version=(major, minor, micro), prefix=prefix)


def find_interpreter(demand: str, *, home: Path) -> Interpreter:
    """Return an interpreter of this machine that satisfies `demand` ("": the node's own).

    Raises:
        SpecError: the demand is none, or nothing here satisfies it.

    """
    own = own_interpreter()
    if satisfies(own.version, demand):
        return own
    seen = [str(own)]
    for path in _candidates(own, home):
        found = _query(str(path))
        if found is None or found.version < GUEST_MINIMUM:
            continue
        if satisfies(found.version, demand):
            return found
        seen.append(str(found))
    raise SpecError(
        f"No Python here satisfies {printable(demand)}.",
        why=f"Found: {'; '.join(seen[:10])}.",
        fix="Install one (for example `uv python install 3.13`), or change `python` in the spec.",
    )


def satisfies(version: tuple[int, int, int], demand: str) -> bool:
    """Tell whether a version fits a demand such as `>=3.11,<3.14`, `3.12` or `==3.11.*`.

    Raises:
        SpecError: it is no such demand.

    """
    for clause in filter(None, (part.strip() for part in demand.split(","))):
        found = _CLAUSE.fullmatch(clause)
        if not found:
            raise SpecError(
                f"python = {printable(demand)} is no version.",
                why="It is a list of versions such as `>=3.11,<3.14`, or one such as `3.12`.",
                fix="Correct it.",
            )
        if not _fits(version, found[1] or "==", found[2], wild=bool(found[3]) or not found[1]):
            return False
    return True


def _fits(version: tuple[int, int, int], operator: str, text: str, *, wild: bool) -> bool:
    wanted = tuple(int(part) for part in text.split("."))
    head = version[: len(wanted)]
    full = (*wanted, 0, 0)[:3]
    exact = head == wanted if wild else version == full
    answers = {
        "==": exact,
        "===": exact,
        "!=": not exact,
        "~=": version >= full and version[: max(1, len(wanted) - 1)] == wanted[:-1],
        ">=": version >= full,
        "<=": version <= full,
        ">": version > full,
        "<": version < full,
    }
    return answers[operator]


def _candidates(own: Interpreter, home: Path) -> Iterator[Path]:
    """Yield programs that look like interpreters: siblings of the own one, managed ones, the system's."""
    places = [
        Path(own.prefix).parent,
        home / ".local" / "share" / "uv" / "python",
        home / ".pyenv" / "versions",
    ]
    folders = [folder / "bin" for place in places if place.is_dir() for folder in place.iterdir()]
    count, known = 0, {os.path.realpath(own.path)}
    for folder in (*sorted(folders, reverse=True), *map(Path, _SYSTEM_FOLDERS)):
        for path in sorted(folder.glob("python3.*")):
            real = os.path.realpath(path)
            if not re.fullmatch(r"python3\.\d+", path.name) or real in known:
                continue
            known.add(real)
            count += 1
            if count > CANDIDATES_MAX:
                return
            if _is_program(path):
                yield path


def _is_program(path: Path) -> bool:
    """Tell a real program from a shim, which is a script that chooses another one by the folder."""
    try:
        with path.open("rb") as stream:
            return os.access(path, os.X_OK) and stream.read(2) != b"#!"
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class UvProgram:
    """The `uv` that builds environments."""

    path: str
    version: str


@functools.cache
def find_uv(named: str) -> UvProgram:
    """Return uv: the one that a setting names, else the one beside the node, else the one on PATH.

    Raises:
        ConfigError: there is none, or it does not run.

    """
    path = named or _installed_uv() or shutil.which("uv") or ""
    try:
        told = subprocess.run(  # noqa: S603 - the node's own uv
            [path, "--version"],
            env={"LC_ALL": "C"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_QUERY_TIMEOUT_S,
            check=True,
        ).stdout.split()
        return UvProgram(path=os.path.realpath(path), version=told[1])
    except (OSError, subprocess.SubprocessError, IndexError):
        raise ConfigError(
            "uv does not run, so no environment can be built.",
            why=f"Tried {path or 'the installed package and PATH'}.",
            fix="Install it (`pip install uv`), or set HIVE_UV_BIN.",
        ) from None


def _installed_uv() -> str:
    try:
        from uv import find_uv_bin

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return ""


@functools.lru_cache(maxsize=CANDIDATES_MAX)
def _query(path: str) -> Interpreter | None:
    try:
        answer = subprocess.run(  # noqa: S603 - an installed interpreter, isolated, with a fixed program
            [path, "-I", "-S", "-c", _QUERY],
            cwd="/",
            env={"LC_ALL": "C"},
            capture_output=True,
            timeout=_QUERY_TIMEOUT_S,
            check=True,
        )
        version, prefix, own_prefix, name, real = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if name != "cpython" or prefix != own_prefix:
        return None
    major, minor, micro = version
    return Interpreter(path=real, version=(major, minor, micro), prefix=os.path.realpath(prefix))
