"""An agent's own keys: those that sign its card, and the one that it speaks Noise with.

They lie in one file that only its owner can read, replaced whole at each change. A rotation makes new keys
and keeps the ones before: the old signing keys sign the card beside the new ones, so that whoever pinned
them follows, and the old Noise key still answers those who hold the old card. `retire` ends that time.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from hive_a2a.call import Proto
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.files import only_writer, read_private, write_private
from hive_a2a.cards.jwk import CardAlgorithm, CardKey, key_set
from hive_a2a.cards.sign import SigningKey, sign_with
from hive_a2a.crypto import KeyPair, exchange_pair, new_exchange_pair
from hive_a2a.errors import CryptoError
from hive_a2a.faults import Json

FILE_NAME: Final = "agent-keys.json"
_VERSION: Final = 1


class _KeysFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    epoch: int
    signing: tuple[str, ...]
    signing_before: tuple[str, ...]
    noise: bytes
    noise_before: bytes | None


_READER: Final = msgspec.json.Decoder(_KeysFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKeys:
    """The keys of one agent; they never print. `epoch` grows with every rotation."""

    signing: tuple[SigningKey, ...] = field(repr=False)
    noise: KeyPair
    epoch: int = 1
    signing_before: tuple[SigningKey, ...] = field(default=(), repr=False)
    noise_before: KeyPair | None = None
    folder: Path | None = None

    @classmethod
    def ephemeral(cls, algorithms: Sequence[CardAlgorithm] = (CardAlgorithm.EDDSA,)) -> "AgentKeys":
        """Make keys that end with the process."""
        return cls(signing=_made(algorithms), noise=new_exchange_pair())

    @classmethod
    def load_or_make(
        cls,
        folder: Path | str,
        algorithms: Sequence[CardAlgorithm] = (CardAlgorithm.EDDSA,),
    ) -> "AgentKeys":
        """Return the keys in a folder; the first time, make them. Two processes get the same ones.

        Raises:
            CardError: the file is damaged, not this user's, or others may use it.

        """
        path = Path(folder) / FILE_NAME
        with only_writer(path):
            keys = _read(path)
            if keys is None:
                keys = replace(cls.ephemeral(algorithms), folder=Path(folder))
                _write(path, keys)
        return keys

    @property
    def public(self) -> tuple[CardKey, ...]:
        """Return the public halves of all keys that sign at present, the newest first."""
        return tuple(key.public for key in (*self.signing, *self.signing_before))

    def sign(self, card: Proto, *, jku: str | None = None) -> Proto:
        """Return the card with the signatures of all keys that sign at present.

        Raises:
            CardError: a required member is missing or empty.

        """
        keys = (*self.signing, *self.signing_before)
        return sign_with(card, keys, jku=jku, epoch=self.epoch)

    def key_set(self) -> dict[str, Json]:
        """Return the JSON Web Key Set to serve at `/.well-known/jwks.json`."""
        return key_set(self.public)

    def rotate(self) -> "AgentKeys":
        """Make new keys and keep these ones beside them; on disk too, where they came from there.

        Where another process rotated them meanwhile, its keys are returned.

        Raises:
            CardError: the file cannot be read or written.

        """
        return self._change(
            lambda keys: replace(
                keys,
                signing=_made(key.public.algorithm for key in keys.signing),
                signing_before=keys.signing,
                noise=new_exchange_pair(),
                noise_before=keys.noise,
                epoch=keys.epoch + 1,
            )
        )

    def retire(self) -> "AgentKeys":
        """Drop the keys before the last rotation: from now on they sign and open nothing.

        Raises:
            CardError: the file cannot be read or written.

        """
        return self._change(lambda keys: replace(keys, signing_before=(), noise_before=None))

    def _change(self, change: Callable[["AgentKeys"], "AgentKeys"]) -> "AgentKeys":
        if self.folder is None:
            return change(self)
        path = self.folder / FILE_NAME
        with only_writer(path):
            on_disk = _read(path)
            if on_disk is not None and on_disk.epoch > self.epoch:
                return on_disk
            changed = change(self)
            _write(path, changed)
        return changed


def _made(algorithms: Iterable[CardAlgorithm]) -> tuple[SigningKey, ...]:
    return tuple(SigningKey.make(algorithm) for algorithm in algorithms)


def _read(path: Path) -> AgentKeys | None:
    data = read_private(path)
    if data is None:
        return None
    try:
        file = _READER.decode(data)
        if file.version != _VERSION or not file.signing:
            raise _damaged(path)
        return AgentKeys(
            signing=tuple(SigningKey.from_pem(pem.encode()) for pem in file.signing),
            signing_before=tuple(SigningKey.from_pem(pem.encode()) for pem in file.signing_before),
            noise=exchange_pair(file.noise),
            noise_before=None if file.noise_before is None else exchange_pair(file.noise_before),
            epoch=file.epoch,
            folder=path.parent,
        )
    except (msgspec.DecodeError, ValueError, RecursionError, CryptoError, CardError):
        raise _damaged(path) from None


def _write(path: Path, keys: AgentKeys) -> None:
    file = _KeysFile(
        version=_VERSION,
        epoch=keys.epoch,
        signing=tuple(key.pem().decode() for key in keys.signing),
        signing_before=tuple(key.pem().decode() for key in keys.signing_before),
        noise=keys.noise.private,
        noise_before=None if keys.noise_before is None else keys.noise_before.private,
    )
    write_private(path, msgspec.json.encode(file))


def _damaged(path: Path) -> CardError:
    return CardError(
        CardFault.KEYS,
        "The agent's keys cannot be read.",
        why=f"{path.name!r} is damaged, or of another version. New keys would make it another agent.",
        fix=f"Put back a copy of {path}, or remove it to begin as a new agent.",
    )
