"""The log of an engine: a file of bounded size that the child appends to and the node may read."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.engines.embedded.private_files import private_folder, write_private

SIZE_MAX_BYTES: Final = 4 << 20
TAIL_MAX_BYTES: Final = 1200


@dataclass(frozen=True, slots=True)
class EngineLog:
    """One log file; a full one is kept once, as `.1`."""

    path: Path
    size_max_bytes: int = SIZE_MAX_BYTES

    def open(self) -> int:
        """Return a descriptor that a child may append to."""
        private_folder(self.path.parent)
        self.bound()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self.path, flags, 0o600)

    def size_bytes(self) -> int:
        """Return how long the log is now."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, offset: int) -> bytes:
        """Return what was written after `offset`, at most the size of a full log."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(self.size_max_bytes)
        except FileNotFoundError:
            return b""

    def tail(self) -> str:
        """Return the last lines, for an error message."""
        start = max(0, self.size_bytes() - TAIL_MAX_BYTES)
        return self.read(start).decode("utf-8", "replace").strip()

    def bound(self) -> None:
        """Keep a full log aside and begin again; the child goes on appending to the same file."""
        if self.size_bytes() <= self.size_max_bytes:
            return
        kept = self.path.with_suffix(self.path.suffix + ".1")
        start = self.size_bytes() - self.size_max_bytes
        write_private(kept, self.read(start))
        os.truncate(self.path, 0)
