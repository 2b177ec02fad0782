"""Somebody puts an old copy of the database back: what was revoked, shut in or replaced since would count again."""

import shutil
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, SupplyError, WitnessAwayError
from hive.engines import Migration, load_migrations
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.drivers.file import FileWitness
from hive.ledger.notes import NoteSigner
from hive.node.build import SCHEMAS
from hive.node.rollback import refuse_rollback
from hive.security.supply_chain.book import PackageBook
from hive.testing.ledger import NODE, line, open_as_owner, open_ledger
from hive.testing.node_process import NodeProcess, node_process
from tests.supply_rig import AT, SignedSource

pytestmark = pytest.mark.anyio
SIGNER = NoteSigner("hive-node-1", b"s" * 32)


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


async def write_lines(database, witness, count: int) -> None:
    checkpointer = Checkpointer(database, signer=SIGNER, witness=witness)
    async with open_ledger(database, observer=checkpointer.observe) as writer:
        for _ in range(count):
            await writer.append(line())
        await checkpointer.write()


async def test_a_rolled_back_database_brings_a_revoked_package_back(
    database, database_server, tmp_path
):
    source, book = SignedSource(tmp_path / "there"), PackageBook(database, clock=SystemClock())
    async with FileWitness.open(f"file:{tmp_path}/witness") as witness:
        old = source.sign()
        await source.provenance(book=book).note(await source.admit(book=book))
        await write_lines(database, witness, 3)
        assert await refuse_rollback(database, witness, NODE, "") == ""
        before = await database.fetch("SELECT * FROM signed_package")
        # A newer package takes its place, so the old one with its good signature is refused.
        good = (source.folder / "agent.py").read_text()
        (source.folder / "agent.py").write_text(good + "# mended\n")
        source.sign(issued=AT + timedelta(days=1))
        await source.provenance(book=book).note(await source.admit(book=book))
        await write_lines(database, witness, 3)
        (source.folder / "agent.py").write_text(good)
        (source.folder / "mailer.hive-bundle.json").write_bytes(old)
        with pytest.raises(SupplyError, match="has run here"):
            await source.admit(book=book)
        # The copy of before comes back: nothing in it tells that it is old, and the package passes again.
        async with open_as_owner(database, database_server) as owner:
            for table in ("entry", "checkpoint"):
                await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
                await owner.execute(f"DELETE FROM {table} WHERE chain <> '{NODE}.1'")
            await owner.execute("DELETE FROM epoch WHERE epoch > 1")
            await owner.execute("UPDATE signed_package SET issued = $1", before[0]["issued"])
        assert (await source.admit(book=book)).signed is not None
        # The witness knows, and so no node starts on it.
        with pytest.raises(ConfigError, match="older than what this node has done") as caught:
            await refuse_rollback(database, witness, NODE, "")
        assert f"HIVE_ACCEPT_ROLLBACK={NODE}.2:4" in caught.value.fix
        for wrong in (f"{NODE}.1:4", f"{NODE}.2:3", f"{NODE}.2:5"):
            with pytest.raises(ConfigError):
                await refuse_rollback(database, witness, NODE, wrong)
        accepted = await refuse_rollback(database, witness, NODE, f"{NODE}.2:4")
        assert accepted == f"{NODE}.2:4"
        # What is written from then on is a chain that the witness signs, and the next loss is another one.
        await write_lines(database, witness, 2)
        assert max(one.chain for one in await witness.latest()) == f"{NODE}.3"
        assert await refuse_rollback(database, witness, NODE, accepted) == accepted


async def test_a_chain_that_was_cut_short_is_found_too(database, database_server, tmp_path):
    async with FileWitness.open(f"file:{tmp_path}/witness") as witness:
        await write_lines(database, witness, 9)
        async with open_as_owner(database, database_server) as owner:
            await owner.execute("ALTER TABLE entry DISABLE TRIGGER USER")
            await owner.execute("DELETE FROM entry WHERE sequence > 9")
        with pytest.raises(ConfigError, match="has signed 10 lines"):
            await refuse_rollback(database, witness, NODE, "")


async def test_another_nodes_lines_and_a_witness_that_is_away_hold_nothing_up(database, tmp_path):
    class Away:
        async def latest(self):
            raise WitnessAwayError("The witness does not answer.")

    async with FileWitness.open(f"file:{tmp_path}/witness") as witness:
        await write_lines(database, witness, 1)
        assert await refuse_rollback(database, witness, "other", "") == ""
    assert await refuse_rollback(database, Away(), NODE, "") == ""


QUIET = """
def agent(text):
    return "heard " + text
"""


def copy_whole(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True, timeout=60)  # owners as well


def test_a_node_does_not_start_on_an_old_copy(tmp_path):
    (tmp_path / "quiet.py").write_text(QUIET)
    state = tmp_path / "state"
    with node_process(state) as node:
        node.hive("run", f"{tmp_path / 'quiet.py'}:agent", "--yes", "--name", "quiet")
        node.stop()
        copy_whole(state / "engines", tmp_path / "old")
        node.start()
        node.hive("quarantine", "quiet", "--reason", "it stole")
        node.hive("audit", "verify")  # signs, and has it witnessed
        node.stop()
        shutil.rmtree(state / "engines")
        copy_whole(tmp_path / "old", state / "engines")
        with pytest.raises(RuntimeError, match="older than what this node has done") as caught:
            node.start()
    wanted = str(caught.value).rpartition("HIVE_ACCEPT_ROLLBACK=")[2].split()[0]
    again = NodeProcess(state, {"HIVE_ACCEPT_ROLLBACK": wanted})
    try:
        again.start()
        # Without the guard, who was shut in is at large; that somebody chose this is on record.
        assert again.hive("call", "quiet", "hello").strip() == "heard hello"
        assert "ledger.rollback_accepted" in again.hive("audit", "tail", "-n", "200", "--json")
    finally:
        again.stop()
