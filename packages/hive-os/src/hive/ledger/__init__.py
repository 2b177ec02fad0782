"""What happened, in order, provably: one append-only table of chained entries, and the views of it.

    LedgerWriter     appends; one per node, used by the kernel alone
    Contents         seals and opens what entries name; forgets an owner
    TaskStore        tasks as the entries made them
    Journal          one run in order: what recovery and replay read
    audit, export    `audit.verify` and `export.export`: hashes, links, checkpoints, witness
    Checkpointer     signs Merkle roots while the ledger grows
    RefusalMeter     keeps floods of refusals from filling it

The database is trusted to keep what it acknowledged, not to keep it unchanged: whoever owns it can rewrite
it, which signed checkpoints and a witness show.
"""

from hive.ledger.contents import Contents
from hive.ledger.entry import Draft, Entry, EntryKind
from hive.ledger.journal import Journal, Step
from hive.ledger.refusals import RefusalMeter
from hive.ledger.tasks import StoredTasks, TaskStore
from hive.ledger.writer import LedgerWriter

__all__ = [
    "Contents",
    "Draft",
    "Entry",
    "EntryKind",
    "Journal",
    "LedgerWriter",
    "RefusalMeter",
    "Step",
    "StoredTasks",
    "TaskStore",
]
