"""Entries as rows of the table: one place that knows the columns."""

from collections.abc import Sequence
from typing import Final, cast

from hive.core.errors import LedgerError
from hive.core.ids import CallId, OwnerId, TaskId
from hive.engines.ports import Database, Row
from hive.ledger.entry import Entry, EntryKind

COLUMNS: Final = (
    "chain, sequence, kind, name, at, call, task, agent, owner, trace_id, span_id, body, "
    "content_id, previous_hash, hash"
)


def entry_of(row: Row) -> Entry:
    """Turn a row into an entry.

    Raises:
        LedgerError: its kind is none that the ledger knows, so somebody else wrote it.

    """
    values = {name: row[name] for name in Entry.__slots__}
    try:
        values["kind"] = EntryKind(cast("str", row["kind"]))
    except ValueError as error:
        raise LedgerError(
            f"Entry {row['sequence']} of chain {row['chain']} has an unknown kind.",
            why="The ledger never writes it.",
            fix="Run `hive audit verify`.",
        ) from error
    return Entry(**values)  # type: ignore[arg-type]


async def entries_of_task(database: Database, task: TaskId) -> Sequence[Entry]:
    """Return all entries of a task, in the order in which they were written."""
    rows = await database.fetch(
        f"SELECT {COLUMNS} FROM entry WHERE task = $1 ORDER BY {WRITTEN_ORDER}",  # noqa: S608
        task,
    )
    return [entry_of(row) for row in rows]


async def entries_of_call(database: Database, call: CallId) -> Sequence[Entry]:
    """Return all entries of a call, in the order in which they were written."""
    rows = await database.fetch(
        f"SELECT {COLUMNS} FROM entry WHERE call = $1 ORDER BY {WRITTEN_ORDER}",  # noqa: S608
        call,
    )
    return [entry_of(row) for row in rows]


async def tail(
    database: Database, *, limit: int = 50, owner: OwnerId | None = None
) -> Sequence[Entry]:
    """Return the newest entries of the newest epochs, oldest first."""
    rows = await database.fetch(
        f"SELECT l.* FROM (SELECT * FROM epoch ORDER BY opened_at DESC LIMIT {EPOCHS_MAX}) e "  # noqa: S608
        f"CROSS JOIN LATERAL (SELECT {COLUMNS} FROM entry WHERE chain = e.node || '.' || e.epoch "
        "AND ($1::text IS NULL OR owner = $1) ORDER BY sequence DESC LIMIT $2) l "
        "ORDER BY e.opened_at DESC, l.sequence DESC LIMIT $2",
        owner,
        limit,
    )
    return [entry_of(row) for row in reversed(rows)]


EPOCHS_MAX: Final = 64
"""How many epochs `tail` looks back."""
WRITTEN_ORDER: Final = "split_part(chain, '.', 2)::bigint, sequence"
"""Epochs of one node follow each other by number, entries of an epoch by sequence."""
