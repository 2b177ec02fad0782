"""The tree against the published roots of Certificate Transparency, and every proof of small trees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.core.errors import LedgerError
from hive.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from hive.ledger.notes import NoteKey, NoteSigner, parse_checkpoint

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_published_roots_come_out() -> None:
    frontier = Frontier()
    assert frontier.root() == EMPTY_ROOT
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        frontier.push(leaf)
        assert frontier.root().hex() == root


def _root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, word by word."""
    if len(leaves) < 2:
        return leaf_hash(leaves[0]) if leaves else EMPTY_ROOT
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(_root(leaves[:split]), _root(leaves[split:]))


def test_the_growing_tree_has_the_root_of_the_definition() -> None:
    leaves = [bytes([number]) for number in range(70)]
    for size in range(71):
        assert root_of(leaves[:size]) == _root(leaves[:size])


def test_every_inclusion_proof_of_small_trees_holds_and_no_other() -> None:
    for size in range(1, 33):
        leaves = [bytes([number]) for number in range(size)]
        root = root_of(leaves)
        for index in range(size):
            proof = inclusion_proof(index, leaves)
            assert verify_inclusion(index, size, leaves[index], proof, root)
            assert not verify_inclusion(index, size, b"other", proof, root)
            assert not verify_inclusion(index, size, leaves[index], [*proof, root], root)
            assert not proof or not verify_inclusion(index, size, leaves[index], proof[:-1], root)
            assert not verify_inclusion((index + 1) % (size + 1), size, leaves[index], proof, root)


def test_every_consistency_proof_of_small_trees_holds_and_no_other() -> None:
    for size in range(1, 33):
        leaves = [bytes([number]) for number in range(size)]
        root = root_of(leaves)
        for old in range(size + 1):
            old_root = root_of(leaves[:old])
            proof = consistency_proof(old, leaves)
            assert verify_consistency(old, size, old_root, root, proof)
            assert not verify_consistency(old, size, b"\1" * 32, root, proof)
            assert not verify_consistency(old, size, old_root, root, [*proof, root])
            if proof:
                assert not verify_consistency(old, size, old_root, root, proof[:-1])
                flipped = [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]
                assert not verify_consistency(old, size, old_root, root, flipped)


def test_a_checkpoint_is_signed_and_witnessed_by_the_right_key_only() -> None:
    node, witness = NoteSigner("node-1", b"a" * 32), NoteSigner("witness", b"b" * 32)
    note = node.checkpoint("node-1.3", 12, b"r" * 32)
    note += witness.cosign(parse_checkpoint(note), 1_700_000_000)
    checkpoint = parse_checkpoint(note)
    assert (checkpoint.chain, checkpoint.size, checkpoint.root) == ("node-1.3", 12, b"r" * 32)
    assert checkpoint.signed_by(node.key)
    assert checkpoint.witnessed_by(witness.key)
    assert not checkpoint.signed_by(witness.key)
    assert not checkpoint.witnessed_by(node.key)
    assert not checkpoint.signed_by(NoteKey("other", node.key.public))
    altered = parse_checkpoint(note.replace("\n12\n", "\n13\n"))
    assert not altered.signed_by(node.key)
    assert not altered.witnessed_by(witness.key)


@given(st.text(max_size=200))
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        parse_checkpoint(text)
