"""Who has spoken Noise before. A peer who did and suddenly does not is being impersonated, or was changed.

The file implementation keeps one JSON object, replaced as a whole and flushed to the disk before
anything is sent to a new peer, so that a crash forgets nobody. It never drops a peer to make room: that would
be a way to make it forget.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

import anyio
import msgspec

from hive_a2a.cards.errors import CardError
from hive_a2a.cards.files import only_writer, read_private, write_private
from hive_a2a.errors import SealError

PEERS_MAX: Final = 10_000


class SpokenNoise(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What is remembered of a peer who has spoken Noise: its key, and that key's epoch."""

    static_key: bytes
    epoch: int


class PeerMemory(Protocol):
    """Remembers, by address, who has spoken Noise."""

    async def recall(self, address: str) -> SpokenNoise | None:
        """Return what is remembered of an address."""
        ...

    async def remember(self, address: str, spoken: SpokenNoise) -> None:
        """Remember it before anything else is sent there.

        Raises:
            SealError: there is no room, or it cannot be written.

        """
        ...


class PeersInMemory:
    """Remembers as long as the process lives."""

    def __init__(self, *, peers_max: int = PEERS_MAX) -> None:
        self._peers: dict[str, SpokenNoise] = {}
        self._peers_max = peers_max

    async def recall(self, address: str) -> SpokenNoise | None:
        """Return what is remembered of an address."""
        return self._peers.get(address)

    async def remember(self, address: str, spoken: SpokenNoise) -> None:
        """Remember it.

        Raises:
            SealError: there is no room.

        """
        _admit(self._peers, address, self._peers_max)
        self._peers[address] = spoken


class PeersInFile:
    """Remembers in a file that several processes may share."""

    def __init__(self, path: Path, *, peers_max: int = PEERS_MAX) -> None:
        self._path = path
        self._peers_max = peers_max

    async def recall(self, address: str) -> SpokenNoise | None:
        """Return what is remembered of an address.

        Raises:
            SealError: the file cannot be read. Then nobody is taken for new.

        """
        return (await anyio.to_thread.run_sync(self._read)).get(address)

    async def remember(self, address: str, spoken: SpokenNoise) -> None:
        """Remember it; on the disk when this returns.

        Raises:
            SealError: there is no room, or the file cannot be read or written.

        """
        await anyio.to_thread.run_sync(self._write, address, spoken)

    async def forget(self, addresses: Iterable[str]) -> int:
        """Forget these addresses, so that a peer there is new; return how many were known.

        Raises:
            SealError: the file cannot be read or written.

        """
        return await anyio.to_thread.run_sync(self._drop, frozenset(addresses))

    def _drop(self, addresses: frozenset[str]) -> int:
        try:
            with only_writer(self._path):
                peers = self._read()
                left = {name: one for name, one in peers.items() if name not in addresses}
                if len(left) < len(peers):
                    write_private(self._path, msgspec.json.encode(left))
                return len(peers) - len(left)
        except CardError:
            raise self._unusable() from None

    def _read(self) -> dict[str, SpokenNoise]:
        try:
            data = read_private(self._path)
            return {} if data is None else msgspec.json.decode(data, type=dict[str, SpokenNoise])
        except (CardError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._unusable() from None

    def _write(self, address: str, spoken: SpokenNoise) -> None:
        try:
            with only_writer(self._path):
                peers = self._read()
                if peers.get(address) == spoken:
                    return
                _admit(peers, address, self._peers_max)
                peers[address] = spoken
                write_private(self._path, msgspec.json.encode(peers))
        except CardError:
            raise self._unusable() from None

    def _unusable(self) -> SealError:
        return SealError(
            "The memory of peers cannot be used.",
            why=f"{self._path.name} cannot be read or written, others may use it, or it is not what was written.",
            fix="Mend it, or move it away knowing that all peers are new then.",
        )


def _admit(peers: Mapping[str, SpokenNoise], address: str, peers_max: int) -> None:
    if address not in peers and len(peers) >= peers_max:
        raise SealError(
            "No room to remember another peer.",
            why=f"{peers_max} are remembered, and none is dropped for another.",
            fix="Raise `peers_max`, or start with a fresh memory.",
        )
