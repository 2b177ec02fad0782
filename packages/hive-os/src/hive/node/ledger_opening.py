"""The ledger of a node as it starts: its next epoch, who signs and witnesses it, and who reads along."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeAlias

from hive.core.clock import Clock
from hive.core.errors import ConfigError
from hive.core.ids import NodeId
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.engines import Engines
from hive.engines.ports import Database
from hive.kernel.record import event
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.contents import Contents
from hive.ledger.entry import Entry
from hive.ledger.meter import SpendMeter
from hive.ledger.notes import NoteSigner
from hive.ledger.ports import Witness
from hive.ledger.writer import LedgerWriter
from hive.node.opening import witness_of
from hive.node.rollback import refuse_rollback
from hive.node.state import StateFolder

Follower: TypeAlias = Callable[[Sequence[Entry]], None]
"""Told of every durable batch of lines; never blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLedger:
    """The ledger of a running node, and the keys that vouch for it."""

    contents: Contents
    writer: LedgerWriter
    checkpointer: Checkpointer
    signer: NoteSigner
    witness: Witness
    meter: SpendMeter
    followers: list[Follower]


async def open_ledger(
    stack: AsyncExitStack,
    settings: Settings,
    state: StateFolder,
    engines: Engines,
    clock: Clock,
    randomness: Randomness,
) -> OpenLedger:
    """Open the next epoch of this node's chain.

    Raises:
        ConfigError: another node works on this database, or it is older than what its witness has signed.

    """
    await _refuse_company(engines.database, state.node_id)
    contents = Contents(engines.database, master_key=state.master_key, randomness=randomness)
    signer = NoteSigner(state.signer_name, state.checkpoint_seed)
    witness = await stack.enter_async_context(witness_of(settings, state, clock, randomness))
    lost = await refuse_rollback(engines.database, witness, state.node_id, settings.accept_rollback)
    checkpointer = Checkpointer(engines.database, signer=signer, witness=witness, clock=clock)
    meter = SpendMeter(clock)

    followers: list[Follower] = [checkpointer.observe, meter.observe]

    def observe(entries: Sequence[Entry]) -> None:
        for follow in followers:
            follow(entries)

    writer = await stack.enter_async_context(
        LedgerWriter.open(
            engines.database,
            contents,
            node=state.node_id,
            state_dir=state.path,
            clock=clock,
            randomness=randomness,
            disk_floor_bytes=settings.disk_floor_bytes,
            observer=observe,
        )
    )
    await _note_lost(writer, lost, clock)
    return OpenLedger(
        contents=contents,
        writer=writer,
        checkpointer=checkpointer,
        signer=signer,
        witness=witness,
        meter=meter,
        followers=followers,
    )


async def _note_lost(writer: LedgerWriter, lost: str, clock: Clock) -> None:
    """Write down, at each start, which lines the operator does without."""
    if lost:
        await writer.append(event("ledger.rollback_accepted", {"lost": lost}, clock=clock))


async def _refuse_company(database: Database, node: NodeId) -> None:
    """Let one node at a time host agents from a database: two would run the same turns.

    Raises:
        ConfigError: another node holds a lease.

    """
    others = await database.fetch(
        "SELECT node, max(lease_until) AS until FROM epoch WHERE node <> $1"
        " GROUP BY node HAVING max(lease_until) > clock_timestamp()",
        node,
    )
    if others:
        raise ConfigError(
            "Another node works on this database.",
            why=f"{others[0]['node']} holds it until {others[0]['until']:%H:%M:%S} UTC, or longer.",
            fix="Stop it and wait until then, or give this node another HIVE_DATABASE_URL.",
        )
