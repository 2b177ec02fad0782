"""What a source's `uv.lock` pins: it is installed in just these versions, from files with just these hashes.

The lock binds where it speaks of what is installed: it lies beside the `pyproject.toml` whose dependencies are the agent's
requirements. `uv` itself turns it into requirements with hashes, behind the walls and without a network; a lock that
names other packages than the requirements do, or takes one from elsewhere than the index, builds nothing.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from hive.core.errors import BuildError, SpecError
from hive.core.ids import printable
from hive.execution.spec_project import parse_pyproject
from hive.execution.spec_requirements import checked_requirement, logical_lines, package_name

LOCK: Final = "uv.lock"
PROJECT: Final = "pyproject.toml"
LOCK_MAX_BYTES: Final = 16 << 20
EXPORT: Final = (
    "export",
    "--frozen",
    "--offline",
    "--no-cache",
    "--quiet",
    "--no-default-groups",
    "--no-emit-project",
    "--no-header",
    "--no-annotate",
    "--format",
    "requirements.txt",
)
"""How `uv` is asked for what a lock pins: as it stands, resolved by nobody anew."""
FITS: Final = ("pip", "install", "--dry-run", "--offline", "--no-cache", "--no-deps", "--quiet")
"""How `uv` is asked whether what was installed satisfies the requirements: then it has nothing to look for."""
_EXTRAS: Final = re.compile(r"^[A-Za-z0-9._-]+\s*\[([^\]]*)\]")
_HASH: Final = re.compile(r"\s--hash=\S+")
_HERE: Final = ("virtual", "editable", "directory")


def lock_digest(source: Path, requirements: Sequence[str]) -> str:
    """Return what names the lock of these requirements, "" where none binds them.

    Raises:
        BuildError: there is one, and it does not fit them.

    """
    lock, project = _read(source / LOCK), _read(source / PROJECT)
    if lock is None or project is None or not _from_project(project, requirements):
        return ""
    _check_fit(lock, requirements)
    return sha256(lock + b"\n" + project).hexdigest()


def locked_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the requirements that an export of a lock consists of.

    Raises:
        BuildError: one comes from elsewhere than the index, or has no hash.

    """
    found = []
    for line in logical_lines("\n".join(lines)):
        try:
            one = checked_requirement(line, where=LOCK, visible={})
        except SpecError as error:
            raise _unfit(f"{error.what} {error.why}".strip()) from error
        if "==" not in one or " --hash=" not in one:
            raise _unfit(f"It has no version and hash for {printable(one)}.")
        found.append(one)
    return tuple(found)


def demands_hashes(requirements: Iterable[str]) -> bool:
    """Tell whether one names its file's hash: then all have to, as for pip."""
    return any(_HASH.search(one) for one in requirements)


def _read(path: Path) -> bytes | None:
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        data = file.read(LOCK_MAX_BYTES + 1)
    if len(data) > LOCK_MAX_BYTES:
        raise _unfit(f"It has more than {LOCK_MAX_BYTES >> 20} MiB.")
    return data


def _from_project(project: bytes, requirements: Sequence[str]) -> bool:
    """Tell whether the requirements are those of the project; elsewhere written ones are not what it locks."""
    try:
        named = parse_pyproject(project.decode("utf-8")).requirements or ()
        own = [checked_requirement(one, where=PROJECT, visible={}) for one in named]
    except (SpecError, UnicodeDecodeError):
        return False
    return sorted(own) == sorted(requirements)


def _check_fit(lock: bytes, requirements: Sequence[str]) -> None:
    try:
        packages = tomllib.loads(lock.decode("utf-8")).get("package")
    except (ValueError, RecursionError) as error:
        raise _unfit(f"It cannot be read: {printable(str(error)[:200])}.") from error
    roots = [one for one in packages or () if isinstance(one, Mapping) and _is_root(one)]
    if len(roots) != 1:
        raise _unfit("It does not lock one project.")
    metadata = roots[0].get("metadata")
    # The dependencies of the root leave out what no machine of the project needs.
    told = metadata.get("requires-dist") if isinstance(metadata, Mapping) else None
    locked = _names(roots[0].get("dependencies") if told is None else told)
    wanted: dict[str, set[str]] = {}
    for one in requirements:
        wanted.setdefault(package_name(one), set()).update(_extras(one))
    for name in sorted(wanted.keys() | locked.keys()):
        if wanted.get(name) != locked.get(name):
            raise _unfit(f"They name {printable(name)} differently.")


def _is_root(package: Mapping[str, object]) -> bool:
    source = package.get("source")
    return isinstance(source, Mapping) and any(source.get(kind) == "." for kind in _HERE)


def _names(rows: object) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows if isinstance(rows, list) else ():
        match row:
            case {"marker": str(marker)} if "extra ==" in marker:
                continue  # of an extra of the project itself, which nobody asks for
            case {"name": str(name)}:
                extras = row.get("extras") or row.get("extra")
                listed = extras if isinstance(extras, list) else []
                found.setdefault(name, set()).update(str(one) for one in listed)
    return found


def _extras(requirement: str) -> set[str]:
    found = _EXTRAS.match(requirement)
    parts = found[1].split(",") if found else ()
    return {re.sub(r"[-_.]+", "-", one.strip()).lower() for one in parts if one.strip()}


def _unfit(why: str) -> BuildError:
    return BuildError(
        f"{LOCK} does not fit the agent's requirements, so nothing is installed.",
        why=why,
        fix="Run `uv lock` in the agent's folder, look at what changed, then deploy it again.",
    )
