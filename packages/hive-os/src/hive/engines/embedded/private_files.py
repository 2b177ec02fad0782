"""Files and folders of the state that nobody else may read, written whole or not at all."""

import os
from pathlib import Path
from typing import Final

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file for this user alone; it is on disk and whole, or as it was before."""
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(fresh, flags, _FILE_MODE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
