"""The whole record as a file of JSON lines that anybody can check without Hive.

    {"format": "hive.ledger.export.v1", "key": ..., "witness_key": ...}     the first line
    {"checkpoint": "..."}                                                   signed notes
    {"entry": {...every hashed field..., "hash": ...}}                      chain by chain, in order
    {"proof": {"entry": {...}, "size": ..., "path": [...]}}                 instead of entries: one, proved

Contents are not in it: the lines name them by hash. Checkpoints stand before all entries; which entries are newer than
any checkpoint is for the reader to find out. The file `verify_export.py`, alone on any Python with `cryptography`,
checks it.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import anyio

from hive.core.json import encode
from hive.engines.ports import Database
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
    count = 0
    async with await anyio.open_file(path, "wb") as file:
        async for line in record_lines(database, key=key, witness_key=witness_key):
            await file.write(encode(line) + b"\n")
            count += "entry" in line
    return count


async def record_lines(
    database: Database, *, key: NoteKey | None = None, witness_key: NoteKey | None = None
) -> AsyncIterator[dict[str, object]]:
    """Yield the record, from one snapshot: its head, its checkpoints, then its entries.

    Raises:
        EngineUnavailableError: the database is away.

    """
    yield {
        "format": FORMAT,
        "key": None if key is None else key.text,
        "witness_key": None if witness_key is None else witness_key.text,
    }
    async with database.transaction() as snapshot:
        await snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for row in await snapshot.fetch("SELECT note FROM checkpoint ORDER BY chain, size"):
            yield {"checkpoint": row["note"]}
        for chain in await chains_of(snapshot):
            async for rows in rows_of_chain(snapshot, chain):
                for row in rows:
                    entry = entry_of(row)
                    yield {"entry": {**line_of(entry), "hash": entry.hash}}
