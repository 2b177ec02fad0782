"""The copy of a source that an agent runs from, kept by digest and never changed.

What was shown and confirmed is what runs: the copy is made of exactly the digested files, it is compared
before each start, and editing the folder afterwards changes nothing until the agent is deployed again.
"""

import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from hive.core.errors import SpecError
from hive.execution.source_files import SourceFile, Visible, content_digest, opened_below

COPIES_MAX: Final = 100
CHUNK_BYTES: Final = 1 << 20


def staged_path(state: Path, digest: str) -> Path:
    """Return where the copy of a source with this digest lies."""
    return state / "sources" / digest


def stage(visible: Visible, state: Path) -> Path:
    """Copy the visible files to their place by digest; return it. Does nothing when it is there.

    Raises:
        SpecError: a file changed since it was read.

    """
    place = staged_path(state, visible.digest)
    if place.is_dir() and staged_digest(place) == visible.digest:
        os.utime(place)
        return place
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    coming = place.parent / f".coming-{secrets.token_hex(8)}"
    try:
        coming.mkdir(mode=0o755)
        for file in visible.files:
            _copy(visible.folder, file, coming)
        if staged_digest(coming) != visible.digest:
            raise SpecError(
                f"The source in {visible.folder} changed while it was read.",
                why="Its files no longer have the digest that was shown.",
                fix="Run the command again.",
            )
        _seal(coming)
        discard(place)
        coming.rename(place)
    finally:
        discard(coming)
    return place


def staged_digest(place: Path) -> str:
    """Return the digest of a copy as it lies on disk."""
    files = []
    for root, _, names in os.walk(place):
        for name in names:
            path = Path(root, name)
            with path.open("rb") as stream:
                sha256, size = content_digest(stream.fileno(), str(path))
            files.append(
                SourceFile(
                    path=path.relative_to(place).as_posix(),
                    sha256=sha256,
                    size_bytes=size,
                    executable=bool(path.stat().st_mode & 0o100),
                )
            )
    return Visible(folder=str(place), files=tuple(sorted(files))).digest


def _copy(folder: str, file: SourceFile, coming: Path) -> None:
    target = coming / file.path
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    source = os.path.realpath(Path(folder, file.path))
    inside = Path(source).relative_to(folder).as_posix() if _below(source, folder) else file.path
    with opened_below(folder, inside) as descriptor, target.open("xb") as out:
        while chunk := os.read(descriptor, CHUNK_BYTES):
            out.write(chunk)
            if out.tell() > file.size_bytes:
                break
        os.fchmod(out.fileno(), 0o755 if file.executable else 0o644)


def _below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _seal(place: Path) -> None:
    for root, _, names in os.walk(place, topdown=False):
        for name in names:
            path = Path(root, name)
            path.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)
        Path(root).chmod(0o555)
    place.chmod(0o755)  # a folder that is moved must be writable for an unprivileged user


def discard(place: Path) -> None:
    """Remove a folder and everything in it, sealed or not."""
    if not place.is_dir():
        return
    for root, _, _ in os.walk(place):
        Path(root).chmod(0o755)
    shutil.rmtree(place)


def trim_sources(state: Path, keep: frozenset[str], *, copies_max: int = COPIES_MAX) -> int:
    """Remove the copies used longest ago that no agent has, beyond `copies_max`; return how many."""
    folder = state / "sources"
    if not folder.is_dir():
        return 0
    places = [place for place in folder.iterdir() if place.name not in keep]
    places.sort(key=lambda place: place.stat().st_mtime, reverse=True)
    for place in places[copies_max:]:
        discard(place)
    return max(0, len(places) - copies_max)
