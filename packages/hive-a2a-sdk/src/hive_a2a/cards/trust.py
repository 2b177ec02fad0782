"""What is remembered of a peer: its keys when we first met it, and that it has spoken Noise.

A peer is the URL that its card is fetched from, never the name inside the card: a name is the card's own
word, and whoever alters it would otherwise be somebody new. What a store knows is never dropped to make
room, since a forgotten pin is a first meeting again; a full store refuses.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec
from anyio import to_thread

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.files import only_writer, read_private, write_private
from hive_a2a.cards.jwk import CardKey

PEERS_MAX: Final = 10_000


class PeerPin(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One peer. `noise_key` is its static key in hex; empty where its card has none."""

    name: str
    keys: tuple[CardKey, ...]
    first_seen: str
    card_sha256: str
    epoch: int = 0
    noise_key: str = ""
    noise_offered: bool = False
    noise_required: bool = False

    @property
    def thumbprints(self) -> frozenset[str]:
        """Return the names of its keys that nobody can give to others (RFC 7638)."""
        return frozenset(key.thumbprint for key in self.keys)


Decide: TypeAlias = Callable[[PeerPin | None], PeerPin]


class TrustStore(Protocol):
    """Remembers peers."""

    async def get(self, peer: str) -> PeerPin | None:
        """Return what is known of a peer.

        Raises:
            CardError: the store cannot be read.

        """
        ...

    async def settle(self, peer: str, decide: Decide) -> PeerPin:
        """Remember what `decide` makes of what is known; nobody else changes the peer meanwhile.

        What `decide` raises is raised, and nothing is remembered then.

        Raises:
            CardError: the store cannot be read or written, or is full.

        """
        ...

    async def forget(self, peer: str) -> bool:
        """Forget a peer, so that its next card is the first; tell whether it was known."""
        ...


class MemoryTrust:
    """Remembers peers as long as the process lives."""

    def __init__(self, *, peers_max: int = PEERS_MAX) -> None:
        self._pins: dict[str, PeerPin] = {}
        self._peers_max = peers_max

    async def get(self, peer: str) -> PeerPin | None:
        """Return what is known of a peer."""
        return self._pins.get(peer)

    async def settle(self, peer: str, decide: Decide) -> PeerPin:
        """Remember what `decide` makes of what is known."""
        pin = decide(self._pins.get(peer))
        _check_room(self._pins, peer, self._peers_max)
        self._pins[peer] = pin
        return pin

    async def forget(self, peer: str) -> bool:
        """Forget a peer; tell whether it was known."""
        return self._pins.pop(peer, None) is not None


class _TrustFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    peers: dict[str, PeerPin]


_VERSION: Final = 1
_READER: Final = msgspec.json.Decoder(_TrustFile)


class FileTrust:
    """Remembers peers in a file of its own, which several processes may share."""

    def __init__(self, path: Path | str, *, peers_max: int = PEERS_MAX) -> None:
        self.path = Path(path)
        self._peers_max = peers_max

    async def get(self, peer: str) -> PeerPin | None:
        """Return what is known of a peer."""
        return (await to_thread.run_sync(self._read)).get(peer)

    async def settle(self, peer: str, decide: Decide) -> PeerPin:
        """Remember what `decide` makes of what is known; it is on disk when this returns."""

        def change() -> PeerPin:
            with only_writer(self.path):
                pins = self._read()
                known = pins.get(peer)
                pin = decide(known)
                if pin != known:
                    _check_room(pins, peer, self._peers_max)
                    self._write({**pins, peer: pin})
                return pin

        return await to_thread.run_sync(change)

    async def forget(self, peer: str) -> bool:
        """Forget a peer; tell whether it was known."""

        def change() -> bool:
            with only_writer(self.path):
                pins = self._read()
                if pins.pop(peer, None) is None:
                    return False
                self._write(pins)
                return True

        return await to_thread.run_sync(change)

    def _read(self) -> dict[str, PeerPin]:
        data = read_private(self.path)
        if data is None:
            return {}
        try:
            file = _READER.decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError):
            file = _TrustFile(version=0, peers={})
        if file.version != _VERSION:
            raise CardError(
                CardFault.STORE,
                f"The trust file {self.path.name!r} cannot be understood.",
                why="It is damaged, or of another version. Taking it for empty would forget every pin.",
                fix="Put back a copy, or remove it to meet every peer anew.",
            )
        return file.peers

    def _write(self, pins: dict[str, PeerPin]) -> None:
        file = _TrustFile(version=_VERSION, peers=pins)
        write_private(self.path, msgspec.json.format(msgspec.json.encode(file)))


def _check_room(pins: dict[str, PeerPin], peer: str, peers_max: int) -> None:
    if peer not in pins and len(pins) >= peers_max:
        raise CardError(
            CardFault.STORE,
            "The trust store is full.",
            why=f"It knows {peers_max} peers, and forgets none by itself.",
            fix="Forget peers that are gone, or allow more.",
        )
