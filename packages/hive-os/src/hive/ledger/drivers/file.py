"""A witness in a folder: its own key, and every checkpoint that it signed, one a line.

On the same machine it stops whoever reaches the database alone. On other media, or mounted from
elsewhere, it stops whoever reaches the node's disk as well.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

import anyio
import anyio.to_thread

from hive.core.clock import Clock, SystemClock
from hive.core.drivers import query_of
from hive.core.errors import ConfigError, LedgerError
from hive.core.json import decode, encode
from hive.core.randomness import Randomness, SystemRandomness
from hive.ledger.merkle import verify_consistency
from hive.ledger.notes import Checkpoint, NoteSigner, parse_checkpoint
from hive.ledger.ports import GrowthProver

KEY_BYTES: Final = 32
_NAME: Final = "file-witness"


class FileWitness:
    """Signs and remembers in a folder."""

    independent = False

    def __init__(self, folder: Path, private: bytes, clock: Clock, name: str = _NAME) -> None:
        self._path = folder / "checkpoints.jsonl"
        self._signer = NoteSigner(name, private)
        self.key = self._signer.key
        self._clock = clock
        self._lock = anyio.Lock()
        self._latest = _read(self._path)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, clock: Clock | None = None, randomness: Randomness | None = None
    ) -> AsyncIterator[Self]:
        """Open the folder of `file:/path`; its key is made on the first time.

        Raises:
            ConfigError: the folder cannot be used.

        """
        folder = Path(url.partition(":")[2].partition("?")[0])
        source = randomness or SystemRandomness()
        name = query_of(url).get("name", _NAME)
        try:
            private = await anyio.to_thread.run_sync(_key, folder, source)
            witness = await anyio.to_thread.run_sync(
                lambda: cls(folder, private, clock or SystemClock(), name)
            )
        except OSError as error:
            raise ConfigError(
                f"The witness cannot use {folder}.",
                why=error.strerror or str(error),
                fix="Set HIVE_WITNESS_URL=file:/path to a folder that this user may write.",
            ) from error
        yield witness

    async def countersign(self, checkpoint: Checkpoint, prove: GrowthProver) -> str:
        """Remember a checkpoint durably and return the signature line for its note.

        Raises:
            LedgerError: it contradicts one that was signed before.

        """
        async with self._lock:
            before = self._latest.get(checkpoint.origin)
            if before is not None and not await extends(before, checkpoint, prove):
                raise LedgerError(
                    f"The witness refuses a checkpoint of {checkpoint.chain}.",
                    why=f"It has signed another history of {before.size} entries.",
                    fix="Run `hive audit verify`: the ledger may have been rewritten.",
                )
            line = self._signer.cosign(checkpoint, int(self._clock.now().timestamp()))
            note = checkpoint.text + "\n" + line
            await anyio.to_thread.run_sync(append_line, self._path, encode({"note": note}) + b"\n")
            self._latest[checkpoint.origin] = parse_checkpoint(note)
            return line

    async def remembered(self, origin: str) -> Checkpoint | None:
        """Return the last checkpoint of a log that was signed."""
        return self._latest.get(origin)

    async def latest(self) -> Sequence[Checkpoint]:
        """Return the largest checkpoint of every chain that was ever signed."""
        return list(self._latest.values())


async def extends(before: Checkpoint, after: Checkpoint, prove: GrowthProver) -> bool:
    """Tell whether a checkpoint only adds to an earlier one, by proof."""
    if after.size <= before.size:
        return after.size == before.size and after.root == before.root
    path = await prove(before.size)
    return verify_consistency(before.size, after.size, before.root, after.root, path)


def _key(folder: Path, randomness: Randomness) -> bytes:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "witness.key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        private = path.read_bytes()
    else:
        with os.fdopen(descriptor, "wb") as file:
            private = randomness.token(KEY_BYTES)
            file.write(private)
            file.flush()
            os.fsync(file.fileno())
    if len(private) != KEY_BYTES:
        raise ConfigError(
            f"{path} is not a key.",
            why=f"It has {len(private)} bytes, not {KEY_BYTES}.",
            fix="Restore it; without it earlier checkpoints cannot be checked.",
        )
    return private


def _read(path: Path) -> dict[str, Checkpoint]:
    latest: dict[str, Checkpoint] = {}
    if not path.exists():
        return latest
    with path.open("rb") as lines:
        for line in lines:
            checkpoint = _checkpoint(line)
            if checkpoint is not None:
                latest[checkpoint.origin] = checkpoint
    return latest


def _checkpoint(line: bytes) -> Checkpoint | None:
    if not line.endswith(b"\n"):
        return None  # A crash cut the last line; its signature was never given away.
    match decode(line):
        case {"note": str(note)}:
            return parse_checkpoint(note)
    return None


def append_line(path: Path, line: bytes) -> None:
    """Add a line durably; one that a crash cut before is ended first."""
    with path.open("ab") as file:
        if file.tell() and not _whole(path):
            file.write(b"\n")
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
