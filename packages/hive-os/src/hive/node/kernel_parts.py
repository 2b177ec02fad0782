"""The kernel of one node, put together: every part once, in the order in which they need each other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hive.core.call import Call
from hive.core.clock import Clock
from hive.core.ids import AgentId
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.engines.ports import Database
from hive.kernel.admission import Admission
from hive.kernel.claims import ClaimBook
from hive.kernel.desk import TaskDesk
from hive.kernel.dispatch import Dispatcher
from hive.kernel.feed import TaskFeed
from hive.kernel.logbook import LogBook
from hive.kernel.outcomes import OutcomeDesk
from hive.kernel.places import Placement
from hive.kernel.ports import CallFacts, GateListener
from hive.kernel.recovery import Recovery
from hive.kernel.registry import AgentRegistry
from hive.kernel.supervisor import Supervisor
from hive.kernel.turns import TurnBook
from hive.ledger.contents import Contents
from hive.ledger.journal import Journal
from hive.ledger.refusals import RefusalMeter
from hive.ledger.tasks import TaskStore
from hive.ledger.writer import LedgerWriter
from hive.observability.spans import Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the kernel stands on."""

    settings: Settings
    clock: Clock
    randomness: Randomness
    database: Database
    contents: Contents
    writer: LedgerWriter
    turns: TurnBook
    logs: LogBook
    tracer: Tracer
    run_directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The kernel's parts, for the node to hand to doors and console."""

    dispatcher: Dispatcher
    supervisor: Supervisor
    feed: TaskFeed
    turns: TurnBook
    registry: AgentRegistry
    store: TaskStore
    journal: Journal
    refusals: RefusalMeter
    recovery: Recovery
    writer: LedgerWriter


def build_kernel(ground: Ground, placement: Placement, gates: GateListener) -> Kernel:
    """Put the kernel together."""
    clock, randomness = ground.clock, ground.randomness
    feed = TaskFeed(clock)
    claims = ClaimBook(clock)
    store = TaskStore(ground.database, ground.contents)
    journal = Journal(ground.database, ground.contents)
    recovery = Recovery(
        store=store,
        journal=journal,
        writer=ground.writer,
        claims=claims,
        clock=clock,
        database=ground.database,
    )
    desk = TaskDesk(store, feed)
    supervisor = _supervisor(
        ground, placement, gates, feed=feed, claims=claims, recovery=recovery, desk=desk
    )
    refusals = RefusalMeter(clock=clock)
    dispatcher = Dispatcher(
        admission=Admission(
            settings=ground.settings,
            clock=clock,
            claims=claims,
            facts=facts_of(ground.turns, supervisor, feed),
        ),
        writer=ground.writer,
        refusals=refusals,
        supervisor=supervisor,
        turns=ground.turns,
        feed=feed,
        desk=desk,
        clock=clock,
        randomness=randomness,
        tracer=ground.tracer,
        commit=lambda arguments: ground.contents.commitment(arguments.hex()),
    )
    return Kernel(
        dispatcher=dispatcher,
        supervisor=supervisor,
        feed=feed,
        turns=ground.turns,
        registry=AgentRegistry(ground.database),
        store=store,
        journal=journal,
        refusals=refusals,
        recovery=recovery,
        writer=ground.writer,
    )


def _supervisor(
    ground: Ground,
    placement: Placement,
    gates: GateListener,
    *,
    feed: TaskFeed,
    claims: ClaimBook,
    recovery: Recovery,
    desk: TaskDesk,
) -> Supervisor:
    clock, randomness = ground.clock, ground.randomness
    return Supervisor(
        placement=placement,
        gates=gates,
        turns=ground.turns,
        feed=feed,
        outcomes=OutcomeDesk(
            writer=ground.writer, feed=feed, claims=claims, clock=clock, randomness=randomness
        ),
        logs=ground.logs,
        tracer=ground.tracer,
        registry=AgentRegistry(ground.database),
        recovery=recovery,
        writer=ground.writer,
        clock=clock,
        randomness=randomness,
        run_directory=ground.run_directory,
        history=desk.history,
    )


def facts_of(
    turns: TurnBook, supervisor: Supervisor, feed: TaskFeed
) -> Callable[[Call], CallFacts]:
    """Return what fetches the facts of a call: all of them are in memory."""

    def facts(call: Call) -> CallFacts:
        turn = turns.running(call.principal.turn)
        return CallFacts(
            grant=turns.grant_of(call.principal),
            agent=supervisor.get(AgentId(call.target)),
            lineage=turns.lineage(call),
            tasks_in_flight=len(feed),
            parked="" if turn is None else turn.parked,
            turn_over=turn is None and call.principal.turn is not None,
        )

    return facts
