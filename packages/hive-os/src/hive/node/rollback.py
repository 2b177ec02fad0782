"""A database that has gone back behind what its witness signed is not started on.

What was decided since is gone from it: revocations, quarantines, the newest version of each signed package. Whoever puts an
old copy back, on purpose or not, would make all of that count again. The witness's memory lies elsewhere and proves it.
What happened after its last signature (a minute or a thousand lines) is not proven by it.
"""

import logging
from typing import Final, cast

import anyio

from hive.core.errors import ConfigError, LedgerError, WitnessAwayError
from hive.core.ids import NodeId
from hive.engines.ports import Database
from hive.ledger.ports import Witness

log: Final = logging.getLogger(__name__)
CHAINS_MAX: Final = 64
ASK_S: Final = 5.0
_HEADS: Final = (
    "SELECT c.chain, coalesce((SELECT e.sequence FROM entry e WHERE e.chain = c.chain"
    " ORDER BY e.sequence DESC LIMIT 1), 0) AS size FROM unnest($1::text[]) AS c(chain)"
)


async def refuse_rollback(database: Database, witness: Witness, node: NodeId, accepted: str) -> str:
    """Return the newest head that is lost and that the operator does without, "" where nothing is lost.

    After such a loss the next epoch is one that the witness has never seen.

    Raises:
        ConfigError: the database lacks what the witness has signed.

    """
    signed = await _signed(witness, node)
    if not signed:
        return ""
    rows = await database.fetch(_HEADS, [f"{node}.{epoch}" for epoch in signed])
    held = {cast("str", row["chain"]): cast("int", row["size"]) for row in rows}
    lost = [epoch for epoch, size in signed.items() if held.get(f"{node}.{epoch}", 0) < size]
    if not lost:
        return ""
    newest = max(lost)
    chain, size = f"{node}.{newest}", signed[newest]
    if accepted != f"{chain}:{size}":
        raise ConfigError(
            "This database is older than what this node has done.",
            why=f"Its witness has signed {size} lines of {chain}; the database has {held.get(chain, 0)}. "
            "What was revoked, shut in or replaced since would count again.",
            fix="Put the newer database back. To do without what is lost, look through revocations, "
            f"quarantine and packages, then start with HIVE_ACCEPT_ROLLBACK={chain}:{size}",
        )
    await database.execute(
        "INSERT INTO epoch (node, epoch, instance, lease_until)"
        " SELECT $1, $2, 'lost', clock_timestamp()"
        " WHERE NOT EXISTS (SELECT FROM epoch WHERE node = $1 AND epoch >= $2)",
        node,
        max(signed),
    )
    return accepted


async def _signed(witness: Witness, node: NodeId) -> dict[int, int]:
    """Return the size of the newest chains of this node that the witness signed, by their epochs."""
    found: dict[int, int] = {}
    try:
        with anyio.fail_after(ASK_S):
            latest = await witness.latest()
    except (WitnessAwayError, LedgerError, TimeoutError) as error:
        # As for checkpoints: a witness that is away holds nothing up, and is told.
        log.warning("ledger.rollback_not_looked_for", extra={"error": str(error)})
        return found
    for one in latest:
        name, _, epoch = one.chain.rpartition(".")
        if name == node and epoch.isdecimal():
            found[int(epoch)] = one.size
    return {epoch: found[epoch] for epoch in sorted(found)[-CHAINS_MAX:]}
