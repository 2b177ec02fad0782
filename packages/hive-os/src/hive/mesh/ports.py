"""What the mesh needs of others: the public keys of the nodes that may speak to this one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from hive.core.ids import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerKeys:
    """A node's public halves: Ed25519 to verify what it signs, X25519 to seal for it (32 bytes each)."""

    node: NodeId
    signing: bytes
    sealing: bytes


class Peers(Protocol):
    """The nodes that are known. Nobody becomes known by speaking on the bus."""

    def get(self, node: NodeId) -> PeerKeys | None:
        """Return a node's keys, or None for a stranger."""
        ...


class StaticPeers:
    """A fixed list of nodes."""

    def __init__(self, peers: Iterable[PeerKeys]) -> None:
        self._peers = {peer.node: peer for peer in peers}

    def get(self, node: NodeId) -> PeerKeys | None:
        """Return a node's keys, or None for a stranger."""
        return self._peers.get(node)
