"""The state folder: what a node keeps between starts, and the lock that makes it one node's own."""

import base64
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Final

from hive.core.clock import Clock
from hive.core.errors import ConfigError
from hive.core.ids import NodeId, new_id
from hive.core.randomness import Randomness
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.node.master_key import (
    KEY_BYTES,
    is_keyring,
    kept_in_keyring,
    master_key_of,
    put_in_keyring,
)

MASTER_KEY: Final = "master.key"
RUN_PREFIX: Final = "hive-"


def make_state_folder(path: Path) -> None:
    """Make the state folder if it is missing; only its owner may look into it.

    Raises:
        ConfigError: it cannot be made, or cannot be written.

    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK | os.X_OK)
        problem = "" if writable else "this user may not write there"
    except OSError as error:
        problem = error.strerror or type(error).__name__
    if problem:
        raise ConfigError(
            "The state folder cannot be used.",
            why=f"{path}: {problem}.",
            fix="Name another:  --state DIR     or  HIVE_STATE_DIR=DIR",
        )


class StateFolder:
    """Paths and small secrets of one node. Everything in it is readable by its owner only."""

    def __init__(self, settings: Settings, clock: Clock, randomness: Randomness) -> None:
        self._settings = settings
        self._clock = clock
        self._randomness = randomness
        self.path = settings.state
        make_state_folder(self.path)
        self.logs = self.path / "logs"
        self.control = self.path / "control.sock"
        self._master_key: bytes | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            ConfigError: another node holds it.

        """
        lock = (self.path / "node.lock").open("a+")
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.seek(0)
                raise ConfigError(
                    "Another node runs on this state folder.",
                    why=f"{self.path} is held by pid {lock.read().strip() or 'unknown'}.",
                    fix="Use it (`hive status`), stop it (`hive down`), or name another --state.",
                ) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield
        finally:
            lock.close()

    @contextmanager
    def run_directory(self) -> Iterator[Path]:
        """Make the folder of this start's sockets; short, because a socket's path is.

        What a node that was killed left of its own is removed first.
        """
        note = self.path / "run.path"
        self._remove_left_run(note)
        path = Path(tempfile.mkdtemp(prefix=RUN_PREFIX))
        note.write_text(str(path))
        try:
            yield path
        finally:
            rmtree(path, ignore_errors=True)
            note.unlink(missing_ok=True)

    @staticmethod
    def _remove_left_run(note: Path) -> None:
        if not note.is_file():
            return
        left = Path(note.read_text().strip())
        ours = left.name.startswith(RUN_PREFIX) and left.is_dir() and not left.is_symlink()
        if ours and left.stat().st_uid == os.geteuid():
            rmtree(left, ignore_errors=True)

    @property
    def node_id(self) -> NodeId:
        """Return the node's id, made at its first start."""
        return NodeId(self._kept("node.id", lambda: new_id(self._clock, self._randomness)))

    @property
    def master_key(self) -> bytes:
        """Return the key that wraps all content keys and the vault's.

        It is the setting, a key of the system's keyring (`keyring:`), else one of this folder's own.

        Raises:
            ConfigError: the setting is not 32 bytes in base64, or the keyring cannot be used.

        """
        if self._master_key is None:
            given = self._settings.master_key.reveal()
            if is_keyring(given):
                given = kept_in_keyring(given, self._fresh_key)
            self._master_key = master_key_of(given or self._kept(MASTER_KEY, self._fresh_key))
        return self._master_key

    def replace_master_key(self, key: bytes) -> bool:
        """Keep another master key where the present one is kept; False where a setting holds it."""
        given, text = self._settings.master_key.reveal(), base64.b64encode(key).decode()
        if is_keyring(given):
            put_in_keyring(given, text)
        elif given:
            return False
        else:
            self._write(self.path / MASTER_KEY, text)
        self._master_key = key
        return True

    @property
    def signing_seed(self) -> bytes:
        """Return the 32 secret bytes of the node's own signing key."""
        return base64.b64decode(self._kept("node.key", self._fresh_key))

    @property
    def sealing_seed(self) -> bytes:
        """Return the 32 secret bytes of the key to which other nodes seal."""
        return base64.b64decode(self._kept("node-sealing.key", self._fresh_key))

    @property
    def signer_name(self) -> str:
        """Return the name under which this node signs checkpoints."""
        return f"hive-{self.node_id[-12:]}"

    @property
    def checkpoint_seed(self) -> bytes:
        """Return the 32 secret bytes of the key that signs checkpoints and nothing else."""
        return base64.b64decode(self._kept("checkpoint.key", self._fresh_key))

    @property
    def warrant_seed(self) -> bytes:
        """Return the 32 secret bytes of the key that mints warrants and nothing else."""
        return base64.b64decode(self._kept("warrants.key", self._fresh_key))

    @property
    def operator_token(self) -> Secret:
        """Return the operator's token: the setting, else one of this folder's own."""
        if self._settings.operator_token:
            return self._settings.operator_token
        return Secret(
            self._kept("operator.token", lambda: "hive-op-" + self._randomness.token(24).hex())
        )

    def _fresh_key(self) -> str:
        return base64.b64encode(self._randomness.token(KEY_BYTES)).decode()

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        path = self.path / name
        if path.is_file():
            return path.read_text().strip()
        fresh = make()
        self._write(path, fresh)
        return fresh

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """Write a small secret, whole or not at all, for its owner's eyes only."""
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
