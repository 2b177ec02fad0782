"""The first files of a guest, as the archive that Linux unpacks at its start (cpio, form "newc")."""

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_FILE_BYTES: Final = (1 << 32) - 1
_MAGIC: Final = "070701"
_TRAILER: Final = "TRAILER!!!"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveEntry:
    """One file, folder, link or device; `mode` holds its kind too, as `stat` writes it."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def newc_archive(entries: Sequence[ArchiveEntry]) -> bytes:
    """Return the archive; the same entries give the same bytes, whoever makes it and when.

    Raises:
        ValueError: a path that leaves the root or is named twice, or a file that the form cannot hold.

    """
    seen: set[str] = set()
    parts: list[bytes] = []
    for inode, entry in enumerate(entries, start=1):
        _check(entry, seen)
        seen.add(entry.path)
        parts.append(_record(entry, inode))
    parts.append(_record(ArchiveEntry(path=_TRAILER, mode=0), 0))
    return b"".join(parts)


def _check(entry: ArchiveEntry, seen: set[str]) -> None:
    names = entry.path.split("/")
    if "\0" in entry.path or any(name in {"", ".", ".."} for name in names):
        raise ValueError(f"not a path below the root: {entry.path!r}")
    if entry.path in seen or entry.path == _TRAILER:
        raise ValueError(f"named twice or reserved: {entry.path!r}")
    if not stat.S_IFMT(entry.mode):
        raise ValueError(f"neither file nor folder, link or device: {entry.path!r}")
    if len(entry.content) > MAX_FILE_BYTES:
        raise ValueError(f"too large for this form: {entry.path!r}")


def _record(entry: ArchiveEntry, inode: int) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    numbers = (
        inode,
        entry.mode,
        0,
        0,
        links,
        0,
        len(entry.content),
        0,
        0,
        *entry.device,
        len(name),
        0,
    )
    head = (_MAGIC + "".join(f"{number:08X}" for number in numbers)).encode() + name
    return _padded(head) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
