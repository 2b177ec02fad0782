"""What a built environment would do before the agent's first line, and how it is made unchangeable.

Python runs code from `.pth` files, `sitecustomize` and the like at every start, unasked: a known way in for
malicious packages. An environment that has such a file is refused and the package is named, unless the
operator allowed builds; the few harmless ones are known by their exact content.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.core.errors import BuildError
from hive.core.ids import printable

ENTRIES_MAX: Final = 500_000
_PTH_MAX_BYTES: Final = 64 << 10
_RECORD_MAX_BYTES: Final = 16 << 20
_STARTUP_MODULES: Final = ("sitecustomize", "usercustomize")
_CODE_LINE: Final = re.compile(rb"(?m)^import[ \t]")
_KNOWN_HARMLESS: Final = frozenset(
    {
        # setuptools: distutils-precedence.pth, which lets its own distutils win.
        "2638ce9e2500e572a5e0de7faed6661eb569d1b696fcba07b0dd223da5f5d224",
        "7ea7ffef3fe2a117ee12c68ed6553617f0d7fd2f0590257c25c484959a3b7373",
    }
)
_NAMESPACE: Final = re.compile(rb"\*\((?P<names>(?:'[A-Za-z_]\w*',? ?)+)\)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupFile:
    """A file that Python would run at its start, and the package that brought it."""

    path: str
    package: str


def startup_files(environment: Path) -> list[StartupFile]:
    """Return what would run before the agent, apart from what is known to be harmless."""
    return [
        StartupFile(path=path.name, package=_package_of(site, path.name))
        for site in sorted(environment.glob("lib/python3*/site-packages"))
        for path in sorted(site.iterdir())
        if _runs_at_start(path)
    ]


def check_startup(environment: Path, *, allow_build: bool) -> list[StartupFile]:
    """Refuse code that runs at the start of every process, unless builds are allowed.

    Raises:
        BuildError: a package brought such a file; the message names both.

    """
    found = startup_files(environment)
    if found and not allow_build:
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise BuildError(
            f"The package {printable(first.package)} would run code at every start of Python.",
            why=f"It brings {printable(first.path)}{more}, which Python runs before the agent.",
            fix="Remove the package, or allow it with `--allow-build` if you know it.",
        )
    return found


def _runs_at_start(path: Path) -> bool:
    stem, _, ending = path.name.partition(".")
    if stem in _STARTUP_MODULES and (not ending or ending.startswith(("py", "so", "cpython"))):
        return True
    if path.name.endswith(".start"):
        return True
    if not path.name.endswith(".pth"):
        return False
    data = _read(path, _PTH_MAX_BYTES)
    if data is None:
        return True
    if not _CODE_LINE.search(data.replace(b"\r", b"\n")):
        return False
    return hashlib.sha256(data).hexdigest() not in _KNOWN_HARMLESS and not _is_namespace(data)


def _is_namespace(data: bytes) -> bool:
    """Tell whether every line is the one that old packages declare a shared folder with."""
    return all(_is_namespace_line(line) for line in data.strip().splitlines())


def _is_namespace_line(line: bytes) -> bool:
    found = _NAMESPACE.search(line)
    if not found:
        return False
    names = re.findall(r"'(\w+)'", found["names"].decode())
    quoted = ", ".join(f"'{name}'" for name in names) + ("," if len(names) == 1 else "")
    package = ".".join(names)
    head = (
        "import sys, types, os;has_mfs = sys.version_info > (3, 5);"
        f"p = os.path.join(sys._getframe(1).f_locals['sitedir'], *({quoted}));"
        "importlib = has_mfs and __import__('importlib.util');"
        "has_mfs and __import__('importlib.machinery');"
        f"m = has_mfs and sys.modules.setdefault('{package}', "
        "importlib.util.module_from_spec(importlib.machinery.PathFinder.find_spec("
        f"'{package}', [os.path.dirname(p)])));"
        f"m = m or sys.modules.setdefault('{package}', types.ModuleType('{package}'));"
        "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)"
    )
    tails: tuple[str, ...] = ("",)
    if len(names) > 1:
        parent, last = ".".join(names[:-1]), names[-1]
        tails = ("", f";m and setattr(sys.modules['{parent}'], '{last}', m)")
    return line.decode("utf-8", "replace").strip() in {head + tail for tail in tails}


def _package_of(site: Path, name: str) -> str:
    for record in sorted(site.glob("*.dist-info/RECORD")):
        data = _read(record, _RECORD_MAX_BYTES) or b""
        paths = (line.split(b",")[0].strip(b'"') for line in data.splitlines())
        if any(path == name.encode() or path.startswith(name.encode() + b"/") for path in paths):
            return record.parent.name.partition("-")[0].replace("_", "-")
    return "that no record names"


def installed(environment: Path) -> dict[str, str]:
    """Return the packages of an environment with their versions."""
    found = {}
    for folder in sorted(environment.glob("lib/python3*/site-packages/*.dist-info")):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        found[name.replace("_", "-").lower()] = version
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """What an empty environment consists of; no package may change it."""

    settings: bytes
    programs: tuple[tuple[str, str], ...]


def skeleton(environment: Path) -> Skeleton:
    """Remember the interpreter's settings and links of an environment."""
    links = [path for path in (environment / "bin").iterdir() if path.name.startswith("python")]
    return Skeleton(
        settings=_read(environment / "pyvenv.cfg", _PTH_MAX_BYTES) or b"",
        programs=tuple(sorted((path.name, _link(path)) for path in links)),
    )


def check_skeleton(environment: Path, before: Skeleton) -> None:
    """Refuse an environment whose own interpreter or settings a package replaced.

    Raises:
        BuildError: they are not what they were.

    """
    now = skeleton(environment)
    if now.settings != before.settings or not set(before.programs) <= set(now.programs):
        raise BuildError(
            "A package replaced the interpreter of its environment.",
            why="`pyvenv.cfg` or `bin/python` is not what it was before the packages came.",
            fix="Find the package (`hive logs`), and remove it.",
        )


def _link(path: Path) -> str:
    return str(path.readlink()) if path.is_symlink() else "a file"


def seal(environment: Path) -> int:
    """Make everything read-only and owned by the node; return the size in bytes.

    Raises:
        BuildError: it holds a device, a socket or a pipe, or too many files.

    """
    size, owner = 0, (os.geteuid(), os.getegid())
    as_root = owner[0] == 0
    for count, (path, status) in enumerate(_everything(environment), start=1):
        kind = stat.S_IFMT(status.st_mode)
        if count > ENTRIES_MAX or kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise BuildError(
                "The environment holds what no environment holds.",
                why=f"{printable(str(path))}: a special file, or more than {ENTRIES_MAX} files.",
                fix="Remove the package that makes it.",
            )
        if as_root and (status.st_uid, status.st_gid) != owner:
            os.chown(path, *owner, follow_symlinks=False)
        if kind == stat.S_IFREG:
            size += status.st_blocks * 512
            path.chmod(0o555 if status.st_mode & 0o111 else 0o444)
        elif kind == stat.S_IFDIR:
            path.chmod(0o555)
    environment.chmod(0o755)
    return size


def _everything(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for root, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            path = Path(root, name)
            try:
                yield path, path.lstat()
            except FileNotFoundError:  # a running build moves its files
                continue


def folder_bytes(folder: Path, *, since: float = 0.0) -> int:
    """Return what a folder takes on disk; with `since`, only what changed after that moment."""
    total = 0
    for _, status in _everything(folder):
        if status.st_ctime >= since:
            total += status.st_blocks * 512
    return total


def _read(path: Path, limit_bytes: int) -> bytes | None:
    """Read a plain file that a stranger's package made; None when it is none, or too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        data = stream.read(limit_bytes + 1)
    return data if len(data) <= limit_bytes else None
