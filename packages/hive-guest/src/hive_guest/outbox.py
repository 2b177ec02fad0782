"""Hands out the files that an agent leaves in its outbox: each becomes an artifact of the task.

Any program of any language can make one that way. A file is handed out once and then removed; what is too
large stays behind and is told in the log.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from hive_guest.api import GuestTurn

VARIABLE: Final = "HIVE_OUTBOX"
FILES_MAX: Final = 64
FILE_MAX_BYTES: Final = 5 << 20
TURN_MAX_BYTES: Final = 32 << 20
DEPTH_MAX: Final = 8
TOO_MUCH: Final = (
    f"a turn hands out {FILES_MAX} files of {FILE_MAX_BYTES} bytes each, {TURN_MAX_BYTES} together"
)


def hand_out(turn: GuestTurn) -> None:
    """Send the files of the outbox as artifacts, in the order of their names."""
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        return
    left_bytes = TURN_MAX_BYTES
    for count, path in enumerate(sorted(_files(folder, "", 0))):
        file = os.path.join(folder, path)
        size_bytes = os.lstat(file).st_size if os.path.lexists(file) else 0
        if count >= FILES_MAX or size_bytes > min(FILE_MAX_BYTES, left_bytes):
            _leave(turn, path, size_bytes)
            continue
        left_bytes -= size_bytes
        try:
            _send(turn, path, file)
            os.unlink(file)
        except OSError as error:  # a file that the agent itself took away or closed to us
            _leave(turn, path, size_bytes, str(error))


def _files(folder: str, below: str, depth: int) -> Iterator[str]:
    """Yield the plain files by their path from the outbox; links lead elsewhere and are no files."""
    if depth > DEPTH_MAX:
        return
    try:
        entries = list(os.scandir(os.path.join(folder, below)))
    except OSError:
        return
    for entry in entries:
        path = os.path.join(below, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder, path, depth + 1)
        elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            yield path


def _send(turn: GuestTurn, path: str, file: str) -> None:
    from mimetypes import guess_type

    from hive_guest.parts import part

    with open(file, "rb") as opened:
        content = opened.read(FILE_MAX_BYTES)
    name = path.encode("utf-8", "replace").decode()
    media_type = guess_type(name)[0] or "application/octet-stream"
    made = part(raw=content, media_type=media_type, filename=os.path.basename(name))
    artifact = {"artifactId": f"outbox:{name}", "name": name, "parts": [made]}
    turn.send_artifact(artifact, append=False, last=True)


def _leave(turn: GuestTurn, path: str, size_bytes: int, why: str = TOO_MUCH) -> None:
    said = f"outbox: {path!r} ({size_bytes} bytes) was not handed out: {why}"
    if turn.channel.pace.take():
        turn.send({"type": "log", "text": said, "level": "warning"})
