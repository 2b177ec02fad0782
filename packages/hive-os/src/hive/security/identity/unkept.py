"""Denials that the database does not hold yet, in a file of the state folder: they outlive a node that dies meanwhile.

The file is written whole, beside itself, and put in place: a reader finds all of it or what was there before.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from hive.core.errors import IdentityError
from hive.security.identity.ports import Denial

UNKEPT_MAX: Final = 10_000
FILE_MAX_BYTES: Final = 16 << 20


class UnkeptFile:
    """The file; without a path nothing outlives the process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> Sequence[Denial]:
        """Return what was not kept in the database when the node ended.

        Raises:
            IdentityError: the file is there, and cannot be read: what it revokes would count again.

        """
        if self._path is None or not self._path.exists():
            return ()
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(FILE_MAX_BYTES), type=list[Denial])
        except (OSError, msgspec.MsgspecError) as error:
            raise IdentityError(
                "Revocations that wait for the database cannot be read.",
                why=f"{self._path}: {error}",
                fix="Look into it, revoke again what stands there, then remove it and start again.",
            ) from error

    def write(self, denials: Sequence[Denial]) -> None:
        """Put these in place of what the file holds, durably. Raises OSError."""
        if self._path is None:
            return
        if not denials:
            self._path.unlink(missing_ok=True)
            return
        coming = self._path.with_name(self._path.name + ".part")
        descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(list(denials)[-UNKEPT_MAX:]))
            file.flush()
            os.fsync(file.fileno())
        coming.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
