"""What a built package of a tool server consists of, as a digest that another machine finds as well.

It is taken of the files that will run, not of what a registry said of them: a package and everything that it depends on.
Left out is what only tells how this machine installed it, and what was compiled here of the files that are in.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from hive.core.call import sha256_hex
from hive.core.errors import SupplyError
from hive.core.ids import printable
from hive.core.json import Json, encode
from hive.execution.packages import PackageKind

FILES_MAX: Final = 200_000
_COMPILED: Final = "__pycache__"
_OF_THE_INSTALLER: Final = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
)
_OF_THE_VENV: Final = frozenset({"_virtualenv.py", "_virtualenv.pth"})
_HERE: Final = b"@"
_UNCHECKED: Final = 0b01


def package_digest(place: Path, kind: PackageKind) -> str:
    """Return the SHA-256 over the paths, contents and executable bits of a built package.

    Raises:
        SupplyError: it brought files that are not looked at, or too many.

    """
    found = sorted(_npm_files(place) if kind is PackageKind.NPM else _python_files(place))
    if len(found) > FILES_MAX or not found:
        raise SupplyError(
            "The package cannot be looked at.", why=f"It has {len(found)} files, of {FILES_MAX}."
        )
    listed: list[Json] = [[path, digest, runs] for path, digest, runs in found]
    return sha256_hex(encode(listed))


def _npm_files(place: Path) -> Iterator[tuple[str, str, bool]]:
    top = place / "node_modules"
    for path in _walk(top):
        name = path.relative_to(top).as_posix()
        if name != ".package-lock.json":
            yield name, _digest(path), _runs(path)


def _python_files(place: Path) -> Iterator[tuple[str, str, bool]]:
    for top in sorted(place.glob("lib/python3*/site-packages")):
        for path in _walk(top):
            inside = path.relative_to(top)
            about = inside.parts[0].endswith(".dist-info") and len(inside.parts) == 2
            if _COMPILED in inside.parts:
                _refuse_foreign(path, inside)
                continue
            if inside.as_posix() in _OF_THE_VENV:
                continue
            if about and path.name == "RECORD":
                yield from _recorded_programs(place, path)
            if not (about and path.name in _OF_THE_INSTALLER):
                yield inside.as_posix(), _digest(path), _runs(path)


def _recorded_programs(place: Path, record: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield the programs that a wheel brought; where they name their own place, any place is the same."""
    for line in record.read_text("utf-8", "replace").splitlines():
        name = line.partition(",")[0].strip('"')
        if _COMPILED in name.split("/"):
            raise _foreign(name)
        if name.startswith("../../../bin/"):
            path = place / "bin" / name.removeprefix("../../../bin/")
            data = path.read_bytes() if path.is_file() else b""
            own = data.replace(str(place).encode(), _HERE)
            yield f"bin/{path.name}", sha256(own).hexdigest(), _runs(path)


def _refuse_foreign(path: Path, inside: Path) -> None:
    """Refuse a compiled file that was not made here: ours say that their source is not looked at again (PEP 552)."""
    with path.open("rb") as file:
        head = file.read(8)
    if path.suffix != ".pyc" or int.from_bytes(head[4:], "little") != _UNCHECKED:
        raise _foreign(inside.as_posix())


def _foreign(name: str) -> SupplyError:
    return SupplyError(
        "The package brings compiled files.",
        why=f"{printable(name)} would run in place of a file that can be read.",
        fix="Choose another version of the server.",
    )


def _walk(top: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(top):
        links = (name for name in folders if Path(root, name).is_symlink())
        for name in (*names, *links):
            yield Path(root, name)


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link {path.readlink()}"
    with path.open("rb") as file:
        digest = sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _runs(path: Path) -> bool:
    return not path.is_symlink() and path.is_file() and bool(path.stat().st_mode & 0o100)
