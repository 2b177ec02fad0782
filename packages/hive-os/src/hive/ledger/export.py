"""The whole record as a file of JSON lines that anybody can check without Hive.

    {"format": "hive.ledger.export.v1", "key": ..., "witness_key": ...}     the first line
    {"entry": {...every hashed field..., "hash": ...}}                      chain by chain, in order
    {"checkpoint": "..."}                                                   signed notes

Contents are not in it: the lines name them by hash. `python -m hive.ledger.verify_export FILE`, or that one
file on any Python, checks it.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, cast

import anyio

from hive.core.json import Json, encode
from hive.engines.ports import Database, Transaction
from hive.ledger.audit import chains_of, rows_of_chain
from hive.ledger.entry import line_of
from hive.ledger.notes import NoteKey
from hive.ledger.rows import entry_of

FORMAT: Final = "hive.ledger.export.v1"


async def export(
    database: Database,
    path: Path,
    *,
    key: NoteKey | None = None,
    witness_key: NoteKey | None = None,
) -> int:
    """Write the record to `path`, from one snapshot; return how many entries it holds.

    Raises:
        EngineUnavailableError: the database is away.

    """
    head: dict[str, Json] = {"format": FORMAT}
    head["key"] = None if key is None else key.text
    head["witness_key"] = None if witness_key is None else witness_key.text
    count = 0
    async with database.transaction() as snapshot, await anyio.open_file(path, "wb") as file:
        await snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await file.write(encode(head) + b"\n")
        async for batch in _entry_lines(snapshot):
            await file.write(b"".join(batch))
            count += len(batch)
        rows = await snapshot.fetch("SELECT note FROM checkpoint ORDER BY chain, size")
        for row in rows:
            await file.write(encode({"checkpoint": row["note"]}) + b"\n")
    return count


async def _entry_lines(snapshot: Transaction) -> AsyncIterator[list[bytes]]:
    for chain in await chains_of(snapshot):
        async for rows in rows_of_chain(snapshot, chain):
            yield [_line(cast("dict[str, object]", row)) for row in rows]


def _line(row: dict[str, object]) -> bytes:
    entry = entry_of(row)
    fields = line_of(entry)
    fields["hash"] = entry.hash
    return encode({"entry": fields}) + b"\n"
