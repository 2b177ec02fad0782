"""Proofs about single entries and about growth hold for what was written, and for nothing else."""

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import pytest

from hive.core.errors import LedgerError, NotFoundError
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger import verify_export
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.merkle import Frontier, consistency_proof, verify_consistency
from hive.ledger.notes import NoteSigner, parse_checkpoint
from hive.ledger.proving import prove_entry, prove_growth
from hive.testing.engines import DatabaseServer
from hive.testing.ledger import line, open_as_owner, open_ledger

pytestmark = pytest.mark.anyio
SIGNER = NoteSigner("node-1", b"s" * 32)


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return load_migrations("hive.ledger")


@pytest.fixture
async def written(database: Database) -> AsyncIterator[Database]:
    checkpointer = Checkpointer(database, signer=SIGNER)
    async with open_ledger(database, observer=checkpointer.observe) as writer:
        for size in (3, 11):
            while writer.head.sequence < size:
                await writer.append(line(body={"n": writer.head.sequence}))
            await checkpointer.write()
        await writer.append(line("not.signed.yet"))
        yield database


async def _check(folder: Path, proof: bytes, *keys: str) -> "subprocess.CompletedProcess[bytes]":
    path = folder / "proof.jsonl"
    path.write_bytes(proof)
    command = [sys.executable, "-I", verify_export.__file__, str(path), *keys]
    return await anyio.run_process(command, check=False)


async def test_every_signed_entry_is_proved_to_a_machine_without_hive(written, tmp_path):
    for sequence in (1, 4, 11):
        proof = await prove_entry(written, f"node-1.1:{sequence}", key=SIGNER.key)
        done = await _check(tmp_path, proof.lines(), SIGNER.key.text)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == b"ok: 0 entries, 1 signed checkpoints, 1 proofs\n"
    by_hash = await prove_entry(written, str(proof.entry["hash"]))
    assert by_hash.path == proof.path


async def test_an_entry_that_is_not_signed_yet_or_not_there_is_told(written):
    for place in (
        "node-1.1:12",
        "node-1.1:99",
        "node-2.1:1",
        "f" * 64,
        "",
        ":",
        "node-1.1:" + "9" * 30,
    ):
        with pytest.raises(NotFoundError):
            await prove_entry(written, place)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"n\\":10', b'"n\\":99'), (b'"sequence":11', b'"sequence":10'), (b'"size":11', b'"size":3')],
)
async def test_a_proof_is_worth_nothing_for_another_entry_or_tree(written, tmp_path, old, new):
    proof = (await prove_entry(written, "node-1.1:11", key=SIGNER.key)).lines()
    assert old in proof
    done = await _check(tmp_path, proof.replace(old, new), SIGNER.key.text)
    assert done.returncode == 1


async def test_the_path_of_another_entry_is_refused(written, tmp_path):
    ours = await prove_entry(written, "node-1.1:5", key=SIGNER.key)
    other = await prove_entry(written, "node-1.1:7", key=SIGNER.key)
    mixed = ours.lines().replace(ours.path[0].encode(), other.path[0].encode())
    done = await _check(tmp_path, mixed, SIGNER.key.text)
    assert b"does not stand in the tree" in done.stderr


async def test_a_chain_is_proved_to_have_grown_only(written):
    proof = await prove_growth(written)
    old, new = parse_checkpoint(proof.old), parse_checkpoint(proof.new)
    assert (proof.chain, old.size, new.size) == ("node-1.1", 3, 11)
    import base64

    path = [base64.b64decode(step) for step in proof.path]
    assert verify_consistency(3, 11, old.root, new.root, path)
    with pytest.raises(NotFoundError):
        await prove_growth(written, "node-9.1")


async def test_nothing_is_proved_of_a_rewritten_chain(written, database_server: DatabaseServer):
    async with open_as_owner(written, database_server) as owner:
        await owner.execute("ALTER TABLE entry DISABLE TRIGGER USER")
        await owner.execute("UPDATE entry SET hash = repeat('a', 64) WHERE sequence = 2")
    for deed in (prove_entry(written, "node-1.1:5"), prove_growth(written)):
        with pytest.raises(LedgerError, match="Nothing can be proved"):
            await deed


def test_a_proof_from_the_right_edge_is_the_one_from_all_leaves():
    leaves = [bytes([number]) * 32 for number in range(40)]
    for old in range(41):
        frontier = Frontier()
        for leaf in leaves[:old]:
            frontier.push(leaf)
        for new in range(old, 41):
            later = leaves[old:new]
            assert frontier.copy().growth(later) == consistency_proof(old, leaves[:new])


async def test_nothing_is_proved_by_checkpoints_that_another_key_signed(
    written, database_server: DatabaseServer
):
    stranger = NoteSigner("node-1", b"x" * 32)
    async with open_as_owner(written, database_server) as owner:
        await owner.execute("ALTER TABLE checkpoint DISABLE TRIGGER USER")
        for row in await written.fetch("SELECT size, note FROM checkpoint"):
            real = parse_checkpoint(str(row["note"]))
            forged = stranger.checkpoint(real.chain, real.size, real.root)
            await owner.execute(
                "UPDATE checkpoint SET note = $1 WHERE size = $2", forged, row["size"]
            )
    assert await prove_growth(written), "entries and notes fit together"
    for deed in (
        prove_entry(written, "node-1.1:5", key=SIGNER.key),
        prove_growth(written, key=SIGNER.key),
    ):
        with pytest.raises(LedgerError, match="not signed by the node's key"):
            await deed
