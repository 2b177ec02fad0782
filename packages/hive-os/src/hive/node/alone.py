"""What can be asked while no node runs: the records, the engines for a moment, the walls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from hive.core.clock import SystemClock
from hive.core.errors import HiveError
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings
from hive.engines import open_database, open_engines, open_messaging
from hive.engines.ports import EngineReport
from hive.execution.ports import Probe
from hive.ledger.contents import Contents
from hive.ledger.notes import NoteSigner
from hive.ledger.tasks import TaskStore
from hive.node.build import all_migrations
from hive.node.database_svid import DatabaseSvid
from hive.node.doctor import engine_failure, engine_finding
from hive.node.doctor_guards import identity_alone
from hive.node.engine_status import engine_status
from hive.node.identity import domain_of_node
from hive.node.opening import span_store, witness_of
from hive.node.proofs import NodeProofs
from hive.node.records import Records
from hive.node.state import StateFolder
from hive.node.tiers import opened_tiers
from hive.web.values import (
    Finding,
)


@asynccontextmanager
async def open_records(settings: Settings) -> AsyncIterator[Records]:
    """Open the database of a node that does not run, and read its ledger.

    Raises:
        ConfigError: a node holds the state folder.
        EngineError: the database does not start.

    """
    clock, randomness = SystemClock(), SystemRandomness()
    state = StateFolder(settings, clock, randomness)
    with state.locked():
        async with (
            open_engines(
                settings,
                migrations=all_migrations(),
                database_tls=DatabaseSvid(state, clock).context,
            ) as engines,
            witness_of(settings, state, clock, randomness) as witness,
        ):
            database = engines.database
            contents = Contents(database, master_key=state.master_key, randomness=randomness)
            yield Records(
                database=database,
                store=TaskStore(database, contents),
                spans=span_store(settings, database),
                state=state,
                dump=engines.dump,
                clock=clock,
                key=NoteSigner(state.signer_name, state.checkpoint_seed).key,
                witness=witness,
                checkpointer=None,
                entries_written=lambda: 0,
                why_tier=lambda view: "",
            )


@asynccontextmanager
async def open_proofs(settings: Settings) -> AsyncIterator[NodeProofs]:
    """Open the ledger of a node that does not run, for proofs about it.

    Raises:
        ConfigError: a node holds the state folder.
        EngineError: the database does not start.

    """
    async with open_records(settings) as records:
        yield NodeProofs(database=records.database, key=records.key, witness=records.witness)


async def engines_alone(settings: Settings) -> AsyncIterator[Finding]:
    """Start each engine for a moment and tell what it is."""
    state = StateFolder(settings, SystemClock(), SystemRandomness())
    with state.locked():
        try:
            tls = DatabaseSvid(state, SystemClock()).context
            async with open_database(
                settings, migrations=all_migrations(), database_tls=tls
            ) as database:
                yield _finding("database", await database.report())
                yield await identity_alone(
                    settings,
                    settings.trust_domain or domain_of_node(state.node_id),
                    database,
                    SystemClock(),
                )
        except HiveError as error:
            yield engine_failure("database", error)
        try:
            async with open_messaging(settings) as messaging:
                yield _finding("bus", await messaging.bus.report())
        except HiveError as error:
            yield engine_failure("bus", error)


async def probes_alone(settings: Settings) -> tuple[Probe, ...]:
    """Try the walls of the tiers that the settings name; what is missing is told, also in production."""
    async with opened_tiers(msgspec.structs.replace(settings, mode="development")) as tiers:
        return tiers.probes


def _finding(port: str, report: EngineReport) -> Finding:
    return engine_finding(engine_status(port, report))
