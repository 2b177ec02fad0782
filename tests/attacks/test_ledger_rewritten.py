"""Somebody who holds the database tries to change what happened; each is found, at the exact entry."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from hive.core.errors import EngineError, LedgerError
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger.audit import AuditReport, verify
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.drivers import WITNESSES
from hive.ledger.entry import hash_of, line_of
from hive.ledger.notes import NoteSigner
from hive.ledger.ports import Witness
from hive.ledger.rows import tail
from hive.testing.engines import DatabaseServer
from hive.testing.ledger import line, open_as_owner, open_ledger, submitted

pytestmark = pytest.mark.anyio
SIGNER = NoteSigner("node-1", b"s" * 32)


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return load_migrations("hive.ledger")


@pytest.fixture
async def owner(database: Database, database_server: DatabaseServer) -> AsyncIterator[Database]:
    async with open_ledger(database) as writer:
        for number in range(10):
            await writer.append(line("payment.made", body={"n": number}, content=b"%d" % number))
        await writer.append(line("task.made", moves=(submitted(),)))
    async with open_ledger(database) as writer:
        await writer.append(line("second.epoch"))
    assert (await verify(database)).ok
    async with open_as_owner(database, database_server) as owner:
        yield owner


async def _without_guards(owner: Database, *statements: str) -> None:
    tables = ("entry", "content", "task", "task_content", "checkpoint")
    for table in tables:
        await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for statement in statements:
        await owner.execute(statement)
    for table in tables:
        await owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def _first_bad(report: AuditReport) -> tuple[str, int]:
    assert report.problem is not None
    return (report.problem.chain, report.problem.sequence)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET body = '{}' WHERE sequence = 3",
        "DELETE FROM entry WHERE sequence = 3",
        "TRUNCATE entry",
        "DELETE FROM content",
        "DROP TABLE entry",
        "ALTER TABLE entry DISABLE TRIGGER USER",
        "DELETE FROM checkpoint",
        "UPDATE task SET owner = 'mallory'",
        "UPDATE epoch SET epoch = 99",
    ],
)
async def test_the_application_role_can_change_nothing(
    owner: Database, database: Database, statement: str
) -> None:
    with pytest.raises(EngineError):
        await database.execute(statement)
    assert (await verify(database)).ok


@pytest.mark.parametrize(
    "statement", ["UPDATE entry SET body = '{}'", "DELETE FROM entry", "TRUNCATE entry"]
)
async def test_even_the_owner_is_stopped_until_the_guards_are_taken_away(
    owner: Database, database: Database, statement: str
) -> None:
    with pytest.raises(EngineError, match="append-only"):
        await owner.execute(statement)
    assert (await verify(database)).ok


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", "'{\"n\":99}'"),
        ("name", "'nothing.happened'"),
        ("at", "at + interval '1 microsecond'"),
        ("owner", "'mallory'"),
        ("kind", "'result'"),
        ("call", "'c-9'"),
        ("task", "'t-9'"),
        ("agent", "'other'"),
        ("trace_id", "repeat('a', 32)"),
        ("span_id", "repeat('a', 16)"),
        ("content_id", "''"),
        ("hash", "repeat('a', 64)"),
        ("parent", "'c-9'"),
    ],
)
async def test_a_changed_line_is_named(
    owner: Database, database: Database, column: str, value: str
) -> None:
    await _without_guards(
        owner, f"UPDATE entry SET {column} = {value} WHERE chain = 'node-1.1' AND sequence = 5"
    )
    assert _first_bad(await verify(database)) == ("node-1.1", 5)


async def test_a_removed_line_is_named(owner: Database, database: Database) -> None:
    await _without_guards(owner, "DELETE FROM entry WHERE chain = 'node-1.1' AND sequence = 7")
    assert _first_bad(await verify(database)) == ("node-1.1", 7)


async def test_lines_that_changed_places_are_found(owner: Database, database: Database) -> None:
    await _without_guards(
        owner,
        "UPDATE entry SET sequence = 100 WHERE chain = 'node-1.1' AND sequence = 4",
        "UPDATE entry SET sequence = 4 WHERE chain = 'node-1.1' AND sequence = 5",
        "UPDATE entry SET sequence = 5 WHERE chain = 'node-1.1' AND sequence = 100",
    )
    assert _first_bad(await verify(database)) == ("node-1.1", 4)


async def test_a_chain_that_was_cut_short_contradicts_the_next_epoch(
    owner: Database, database: Database
) -> None:
    await _without_guards(owner, "DELETE FROM entry WHERE chain = 'node-1.1' AND sequence > 8")
    assert _first_bad(await verify(database)) == ("node-1.1", 9)


async def test_a_whole_epoch_that_was_removed_is_missed(
    owner: Database, database: Database
) -> None:
    await _without_guards(owner, "DELETE FROM entry WHERE chain = 'node-1.1'")
    assert _first_bad(await verify(database)) == ("node-1.2", 1)


async def test_content_that_was_changed_or_removed_is_found_at_its_line(
    owner: Database, database: Database
) -> None:
    picked = "(SELECT content_id FROM entry WHERE chain = 'node-1.1' AND sequence = 6)"
    await _without_guards(owner, f"UPDATE content SET sealed = sealed || 'x' WHERE id = {picked}")
    changed = await verify(database)
    assert _first_bad(changed) == ("node-1.1", 6)
    await _without_guards(owner, f"DELETE FROM content WHERE id = {picked}")
    assert _first_bad(await verify(database)) == ("node-1.1", 6)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE task SET state = 'completed'",
        "UPDATE task SET owner = 'mallory'",
        "DELETE FROM task_content",
        "DELETE FROM task",
        "INSERT INTO task_content (task, kind, content_id) SELECT task, kind, content_id "
        "FROM task_content",
    ],
)
async def test_a_task_that_was_changed_behind_the_ledger_is_found(
    owner: Database, database: Database, statement: str
) -> None:
    await _without_guards(owner, statement)
    problem = (await verify(database)).problem
    assert problem is not None
    assert "task" in problem.what


async def test_a_line_that_does_not_follow_is_refused_by_the_table(
    owner: Database, database: Database
) -> None:
    insert = (
        "INSERT INTO entry SELECT chain, sequence + {gap}, kind, name, at, call, task, agent, owner, "
        "trace_id, span_id, body, content_id, {previous}, repeat('b', 64), NULL FROM entry "
        "WHERE chain = 'node-1.2' ORDER BY sequence DESC LIMIT 1"
    )
    for values in ({"gap": 2, "previous": "hash"}, {"gap": 1, "previous": "repeat('c', 64)"}):
        with pytest.raises(EngineError, match="refused"):
            await database.execute(insert.format(**values))
    with pytest.raises(EngineError):
        await database.execute(insert.format(gap=0, previous="hash"))


async def _rewrite_from(owner: Database, sequence: int) -> None:
    """Change one line, and make every later hash of its chain fit: a perfect forgery."""
    rows = [one for one in await tail(owner, limit=1000) if one.chain == "node-1.2"]
    previous = ""
    statements = []
    for entry in sorted(rows, key=lambda one: one.sequence):
        fields = line_of(entry)
        if entry.sequence == sequence:
            fields["body"] = '{"forged":true}'
        if entry.sequence > sequence:
            fields["previous_hash"] = previous
        if entry.sequence >= sequence:
            previous = hash_of(fields)
            statements.append(
                f"UPDATE entry SET body = '{fields['body']}', hash = '{previous}', "
                f"previous_hash = '{fields['previous_hash']}' "
                f"WHERE chain = 'node-1.2' AND sequence = {entry.sequence}"
            )
    await _without_guards(owner, *statements)


async def _sign_all(database: Database, witness: Witness | None) -> None:
    checkpointer = Checkpointer(database, signer=SIGNER, witness=witness)
    for chain in ("node-1.1", "node-1.2"):
        entries = [one for one in await tail(database, limit=1000) if one.chain == chain]
        checkpointer.observe(entries)
    assert await checkpointer.write() == 2


async def test_a_full_rewrite_passes_without_checkpoints_and_fails_with_them(
    owner: Database, database: Database
) -> None:
    await _rewrite_from(owner, 2)
    assert (await verify(database)).ok, (
        "a chain alone cannot show this; that is why there are roots"
    )


async def test_a_full_rewrite_contradicts_the_signed_checkpoint(
    owner: Database, database: Database
) -> None:
    await _sign_all(database, None)
    assert (await verify(database, key=SIGNER.key)).checkpoints == 2
    await _rewrite_from(owner, 2)
    report = await verify(database, key=SIGNER.key)
    assert _first_bad(report) == ("node-1.2", 2)
    assert report.problem is not None
    assert "rewritten" in report.problem.what


async def test_checkpoints_forged_with_another_key_are_refused(
    owner: Database, database: Database
) -> None:
    await _sign_all(database, None)
    await _rewrite_from(owner, 2)
    forged = NoteSigner("node-1", b"f" * 32)
    entries = [one for one in await tail(owner, limit=1000) if one.chain == "node-1.2"]
    checkpointer = Checkpointer(owner, signer=forged)
    checkpointer.observe(entries)
    await _without_guards(owner, "DELETE FROM checkpoint WHERE chain = 'node-1.2'")
    await checkpointer.write()
    report = await verify(database, key=SIGNER.key)
    assert report.problem is not None
    assert "not signed" in report.problem.what


async def test_the_witness_remembers_what_the_database_was_made_to_forget(
    owner: Database, database: Database, tmp_path: Path
) -> None:
    url = f"file:{tmp_path}/witness"
    async with WITNESSES.load(url).open(url) as witness:  # type: ignore[attr-defined]
        await _sign_all(database, witness)
        report = await verify(database, key=SIGNER.key, witness=witness)
        assert (report.problem, report.witness) == (None, "self-witnessed")
    await _without_guards(
        owner,
        "DELETE FROM checkpoint",
        "DELETE FROM entry WHERE chain = 'node-1.2' AND sequence > 1",
    )
    assert (await verify(database, key=SIGNER.key)).ok, "without a witness the cut is not seen"
    async with WITNESSES.load(url).open(url) as witness:  # type: ignore[attr-defined]
        report = await verify(database, key=SIGNER.key, witness=witness)
        assert _first_bad(report) == ("node-1.2", 2)
        checkpointer = Checkpointer(database, signer=SIGNER, witness=witness)
        checkpointer.observe([one for one in await tail(database) if one.chain == "node-1.2"])
        with pytest.raises(LedgerError, match="refuses"):
            await checkpointer.write()
