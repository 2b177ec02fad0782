"""An exported record is checked by a plain Python without Hive, and a forged one is found."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from hive.core.json import encode
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger import verify_export
from hive.ledger.audit import verify
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.drivers.file import FileWitness
from hive.ledger.export import export
from hive.ledger.notes import NoteSigner
from hive.testing.ledger import line, open_ledger, submitted

pytestmark = pytest.mark.anyio
SIGNER = NoteSigner("node-1", b"s" * 32)


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return load_migrations("hive.ledger")


@pytest.fixture
async def record(database: Database, tmp_path: Path) -> Path:
    async with FileWitness.open(f"file:{tmp_path}/witness") as witness:
        checkpointer = Checkpointer(database, signer=SIGNER, witness=witness, every_entries=5)
        for _ in range(2):
            async with open_ledger(database, observer=checkpointer.observe) as writer:
                await writer.append(line("a.thing", body={"text": "ä\u2028\x7f\0\x1f/<>"}))
                await writer.append(line(moves=(submitted(f"t-{writer.chain}"),)))
                await checkpointer.write()
                await writer.append(line())
        path = tmp_path / "record.jsonl"
        count = await export(database, path, key=SIGNER.key, witness_key=witness.key)
    assert count == 8
    return path


async def _check(path: Path, *keys: str) -> "subprocess.CompletedProcess[bytes]":
    # A copy, and -I: no path of ours, no environment. Of what is installed it asks for `cryptography` alone.
    alone = path.with_name("alone.py")
    alone.write_text(Path(verify_export.__file__).read_text())
    command = [sys.executable, "-I", str(alone), str(path), *keys]
    return await anyio.run_process(command, check=False)


async def test_a_plain_python_accepts_what_was_exported(record: Path) -> None:
    done = await _check(record)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (
        b"ok: 7 entries, 3 signed checkpoints, 0 proofs, "
        b"1 newer entries that nobody has signed yet\n"
    )
    assert (await _check(record, SIGNER.key.text)).returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a.thing", "b.thing", b"its hash is another one"),
        ("hive/ledger/node-1.1\\n3", "hive/ledger/node-1.1\\n4", b"a signature is false"),
        ('{"entry"', '{"other"', b"FAILED"),
    ],
)
async def test_a_changed_record_is_refused(record: Path, old: str, new: str, said: bytes) -> None:
    text = record.read_text()
    assert old in text
    record.write_text(text.replace(old, new, 1))
    done = await _check(record)
    assert done.returncode == 1
    assert said in done.stderr


async def test_a_removed_line_is_refused(record: Path) -> None:
    lines = record.read_bytes().split(b"\n")
    record.write_bytes(b"\n".join(lines[:5] + lines[6:]))
    assert b"entry 2 is missing" in (await _check(record)).stderr


async def test_a_record_without_its_signatures_is_no_longer_that_of_the_key(record: Path) -> None:
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(one for one in lines if b'"checkpoint"' not in one))
    done = await _check(record)
    assert done.returncode == 0, "it is consistent in itself"
    assert done.stdout.startswith(b"ok: 0 entries, 0 signed checkpoints, 0 proofs, 8 newer entries")
    done = await _check(record, SIGNER.key.text)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"nothing in it is signed" in done.stderr


async def test_a_record_that_ends_early_contradicts_its_checkpoint(record: Path) -> None:
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(lines[:-2]))
    assert b"ends at 2, but 3 were signed" in (await _check(record)).stderr


async def test_a_forked_record_is_refused(record: Path) -> None:
    head, *rest = record.read_bytes().splitlines(keepends=True)
    note = SIGNER.checkpoint("node-1.1", 3, b"r" * 32)
    record.write_bytes(b"".join((head, encode({"checkpoint": note}) + b"\n", *rest)))
    assert b"forked" in (await _check(record)).stderr


async def test_a_witness_that_did_not_sign_is_missed(record: Path) -> None:
    stranger = NoteSigner("file-witness", b"w" * 32)
    assert (await _check(record, SIGNER.key.text)).returncode == 0
    done = await _check(record, SIGNER.key.text, stranger.key.text)
    assert b"did not sign" in done.stderr


async def test_a_record_signed_by_another_key_is_refused(record: Path) -> None:
    other = NoteSigner("node-1", b"x" * 32)
    done = await _check(record, other.key.text)
    assert b"signed by no known key" in done.stderr


def test_the_verifier_is_short_enough_to_be_read_and_needs_one_package() -> None:
    text = Path(verify_export.__file__).read_text()
    assert len(text.splitlines()) <= 150
    imported = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
    assert set(imported) - {"cryptography"} <= sys.stdlib_module_names


async def test_checkpoints_are_signed_while_the_ledger_grows_and_at_the_end(
    database: Database,
) -> None:
    checkpointer = Checkpointer(database, signer=SIGNER, every_entries=10, every_s=600)
    with anyio.fail_after(20):
        async with (
            open_ledger(database, observer=checkpointer.observe) as writer,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(checkpointer.run)
            while not await database.fetch("SELECT 1 FROM checkpoint"):
                await writer.append(line())
            tasks.cancel_scope.cancel()
    last = await writer_head(database)
    assert await checkpointer.write() in (0, 1)
    rows = await database.fetch("SELECT max(size) AS size FROM checkpoint")
    assert rows[0]["size"] == last
    report = await verify(database, key=SIGNER.key)
    assert report.ok
    assert report.checkpoints >= 1


async def test_lines_that_the_observer_never_saw_are_in_the_next_root(database: Database) -> None:
    checkpointer = Checkpointer(database, signer=SIGNER)
    async with open_ledger(database) as writer:
        await writer.append(line())
        await writer.append(line())
        checkpointer.observe([await writer.append(line())])
    assert await checkpointer.write() == 1
    report = await verify(database, key=SIGNER.key)
    assert (report.ok, report.checkpoints) == (True, 1)


async def writer_head(database: Database) -> int:
    rows = await database.fetch("SELECT max(sequence) AS n FROM entry")
    return int(str(rows[0]["n"]))
