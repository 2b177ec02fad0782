"""The Merkle tree of RFC 6962, section 2.1: roots, inclusion proofs, consistency proofs.

A chain shows that lines follow each other; whoever may write all of them may also write all of them anew.
A root that somebody else has signed shows that this did not happen.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The right edge of a growing tree: all that is needed to add leaves and to know the root."""

    size: int = 0
    _edges: list[bytes] = field(default_factory=list)

    def push(self, data: bytes) -> None:
        """Add one leaf."""
        node, size = leaf_hash(data), self.size
        while size & 1:
            node = node_hash(self._edges.pop(), node)
            size >>= 1
        self._edges.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        if not self._edges:
            return EMPTY_ROOT
        node = self._edges[-1]
        for edge in reversed(self._edges[:-1]):
            node = node_hash(edge, node)
        return node

    def copy(self) -> "Frontier":
        """Return the tree as it stands, to be grown apart."""
        return Frontier(self.size, list(self._edges))

    def growth(self, later: Sequence[bytes]) -> list[bytes]:
        """Return the consistency proof from here to the tree that has `later` as well.

        Of the earlier tree only its right edge takes part, so no earlier leaf is needed.
        """
        if not self.size or not later:
            return []
        return self._subproof(0, self.size + len(later), later, whole=True)

    def _subproof(
        self, begin: int, end: int, later: Sequence[bytes], *, whole: bool
    ) -> list[bytes]:
        if self.size >= end:
            return [] if whole else [self._edge(begin)]
        split = begin + _split(end - begin)
        if self.size <= split:
            right = root_of(later[split - self.size : end - self.size])
            return [*self._subproof(begin, split, later, whole=whole), right]
        return [*self._subproof(split, end, later, whole=False), self._edge(begin)]

    def _edge(self, begin: int) -> bytes:
        """Return the hash of the complete subtree that begins at a leaf."""
        start, size = 0, self.size
        for edge in self._edges:
            width = 1 << (size.bit_length() - 1)
            if start == begin:
                return edge
            start, size = start + width, size - width
        message = "no subtree begins there"
        raise LookupError(message)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over all leaves."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.push(leaf)
    return frontier.root()


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the audit path of one leaf (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(index, leaves[:split]), root_of(leaves[split:])]
    return [*inclusion_proof(index - split, leaves[split:]), root_of(leaves[:split])]


def consistency_proof(old_size: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the proof that the first `old_size` leaves are still the first (RFC 6962, 2.1.2)."""
    if old_size in (0, len(leaves)):
        return []
    return _subproof(old_size, leaves, whole=True)


def verify_inclusion(
    index: int, size: int, data: bytes, proof: Sequence[bytes], root: bytes
) -> bool:
    """Tell whether a leaf stands at `index` of the tree with this root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, position = leaf_hash(data), size - 1, index
    for step in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(step, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, step)
        position, last = position >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(
    old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether a tree only grew from one root to the other (RFC 9162, 2.1.4.2)."""
    if old_size in (0, size):
        return not proof and old_root == (root if old_size else EMPTY_ROOT)
    if not 0 < old_size < size:
        return False
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    return _climb(path, old_size, size) == (old_root, root)


def _climb(path: Sequence[bytes], old_size: int, size: int) -> tuple[bytes, bytes] | None:
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_node = new_node = path[0]
    for step in path[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            old_node, new_node = node_hash(step, old_node), node_hash(step, new_node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_node = node_hash(new_node, step)
        position, last = position >> 1, last >> 1
    return None if last else (old_node, new_node)


def _subproof(old_size: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if whole else [root_of(leaves)]
    split = _split(len(leaves))
    if old_size <= split:
        return [*_subproof(old_size, leaves[:split], whole=whole), root_of(leaves[split:])]
    return [
        *_subproof(old_size - split, leaves[split:], whole=False),
        root_of(leaves[:split]),
    ]


def _split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)
