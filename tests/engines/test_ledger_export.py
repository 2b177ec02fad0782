"""An exported record is checked by a plain Python without Hive, and a forged one is found."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger import verify_export
from hive.ledger.audit import verify
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.drivers.file import FileWitness
from hive.ledger.export import export
from hive.ledger.notes import NoteSigner
from hive.ledger.verify_export import ed25519_verify
from hive.testing.ledger import line, open_ledger, submitted
from hive_a2a.crypto import sign_note, signing_pair

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
    # -I: no path of ours, no environment; -S: no site packages. So nothing of Hive can be imported.
    command = [sys.executable, "-I", "-S", verify_export.__file__, str(path), *keys]
    return await anyio.run_process(command, check=False)


async def test_a_plain_python_accepts_what_was_exported(record: Path) -> None:
    done = await _check(record)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"ok: 8 entries in 2 chains, 3 signed checkpoints\n"
    assert (await _check(record, SIGNER.key.text)).returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a.thing", "b.thing", b"its hash is another one"),
        ("hive/ledger/node-1.1\\n3", "hive/ledger/node-1.1\\n4", b"of another history"),
        ('{"entry"', '{"other"', b"neither an entry nor a checkpoint"),
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
    record.write_bytes(b"\n".join(lines[:2] + lines[3:]))
    assert b"entry 2 is missing" in (await _check(record)).stderr


async def test_a_record_signed_by_another_key_is_refused(record: Path) -> None:
    other = NoteSigner("node-1", b"x" * 32)
    done = await _check(record, other.key.text)
    assert b"signed by no known key" in done.stderr


def test_the_plain_signature_check_agrees_with_the_library() -> None:
    pair = signing_pair(b"k" * 32)
    for message in (b"", b"a", b"m" * 300):
        signature = sign_note(pair.private, message)
        assert ed25519_verify(pair.public, signature, message)
        assert not ed25519_verify(pair.public, signature, message + b"x")
        assert not ed25519_verify(pair.public, signature[:-1] + bytes([signature[-1] ^ 1]), message)
        assert not ed25519_verify(pair.public, signature[:40], message)
        assert not ed25519_verify(bytes([pair.public[0] ^ 1]) + pair.public[1:], signature, message)


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
