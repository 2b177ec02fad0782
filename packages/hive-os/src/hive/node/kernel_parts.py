"""The kernel of one node, put together: every part once, in the order in which they need each other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hive.core.call import Call, Principal
from hive.core.clock import Clock
from hive.core.ids import AgentId
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.engines.ports import Database
from hive.kernel.admission import Admission
from hive.kernel.approval_book import ApprovalBook
from hive.kernel.budget_keeper import BudgetKeeper
from hive.kernel.budgets import Budgets
from hive.kernel.checks import Inquiry
from hive.kernel.claims import ClaimBook
from hive.kernel.desk import TaskDesk
from hive.kernel.dispatch import Dispatcher
from hive.kernel.entrance import Entrance
from hive.kernel.feed import TaskFeed
from hive.kernel.flows import Flows
from hive.kernel.logbook import LogBook
from hive.kernel.outcomes import OutcomeDesk
from hive.kernel.places import Placement
from hive.kernel.policies import Policies, PolicyOfNode
from hive.kernel.ports import Arguments, CallFacts, GateListener
from hive.kernel.recovery import Recovery
from hive.kernel.registry import AgentRegistry
from hive.kernel.run_record import RunReader
from hive.kernel.runs import RunBook, Runs
from hive.kernel.scans import Scans
from hive.kernel.sending import MessageSender
from hive.kernel.supervisor import Supervisor
from hive.kernel.turns import TurnBook
from hive.kernel.wardens import Wardens
from hive.kernel.warrants import TaskWarrants
from hive.ledger.asked import AskedKeeper
from hive.ledger.contents import Contents
from hive.ledger.journal import Journal
from hive.ledger.refusals import RefusalMeter
from hive.ledger.tasks import TaskStore
from hive.ledger.writer import LedgerWriter
from hive.node.conditions import ceiling_of
from hive.observability.spans import Tracer
from hive.security.guardrails import RedactionWish, Scanner
from hive.security.labels import FlowBook


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
    policy: PolicyOfNode
    scanner: Scanner | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The layers that judge a call between the kernel's own checks, in the order in which they are asked."""

    wardens: Wardens
    warrants: TaskWarrants
    policies: Policies
    flows: Flows
    scans: Scans

    @property
    def inquiries(self) -> tuple[Inquiry, ...]:
        """Return them as the kernel asks them."""
        return (self.wardens, self.warrants, self.policies, self.flows, self.scans)


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
    runs: Runs
    budgets: BudgetKeeper
    approvals: ApprovalBook
    guards: Guards


def build_kernel(ground: Ground, placement: Placement, gates: GateListener) -> Kernel:
    """Put the kernel together."""
    clock = ground.clock
    feed = TaskFeed(clock)
    claims = ClaimBook(clock)
    budgets = Budgets()
    store = TaskStore(ground.database, ground.contents)
    journal = Journal(ground.database, ground.contents)
    desk = TaskDesk(store, feed)
    keeper = _keeper(ground.settings)
    book = RunBook(store=store, reader=RunReader(journal), desk=desk, keeper=keeper)
    recovery = _recovery(ground, store, journal, claims, book)
    guards = _guards(ground)
    supervisor = _supervisor(
        ground,
        placement,
        gates,
        feed=feed,
        flows=guards.flows,
        claims=claims,
        recovery=recovery,
        desk=desk,
    )
    guards.policies.tier_of = tiers_of(supervisor)
    refusals, approvals = RefusalMeter(clock=clock), _approvals(ground, keeper)
    facts = facts_of(ground.turns, supervisor, feed, guards.warrants)
    admission = _admission(ground, claims, budgets, facts, guards)
    entrance = _entrance(ground, admission, refusals, keeper, approvals, guards)
    sender = _sender(ground, entrance, supervisor, feed, desk, guards, recovery)
    dispatcher = _dispatcher(ground, admission, entrance, sender, supervisor, feed, desk, guards)
    return Kernel(
        dispatcher=dispatcher,
        supervisor=supervisor,
        feed=feed,
        turns=ground.turns,
        registry=AgentRegistry(ground.database),
        store=store,
        journal=journal,
        budgets=_budget_keeper(ground, store, budgets, claims),
        refusals=refusals,
        recovery=recovery,
        writer=ground.writer,
        runs=_runs(ground, book, supervisor, sender),
        approvals=approvals,
        guards=guards,
    )


def _admission(
    ground: Ground,
    claims: ClaimBook,
    budgets: Budgets,
    facts: Callable[[Call, bytes], CallFacts],
    guards: Guards,
) -> Admission:
    return Admission(
        settings=ground.settings,
        clock=ground.clock,
        claims=claims,
        budgets=budgets,
        facts=facts,
        inquiries=guards.inquiries,
        tries=guards.wardens.take_try,
    )


def _dispatcher(
    ground: Ground,
    admission: Admission,
    entrance: Entrance,
    sender: MessageSender,
    supervisor: Supervisor,
    feed: TaskFeed,
    desk: TaskDesk,
    guards: Guards,
) -> Dispatcher:
    return Dispatcher(
        admission=admission,
        entrance=entrance,
        sender=sender,
        writer=ground.writer,
        supervisor=supervisor,
        turns=ground.turns,
        feed=feed,
        desk=desk,
        flows=guards.flows,
        scans=guards.scans,
        clock=ground.clock,
    )


def _guards(ground: Ground) -> Guards:
    return Guards(
        wardens=Wardens(ground.clock),
        warrants=_warrants(ground),
        policies=Policies(ground.policy),
        flows=Flows(
            FlowBook(lambda: ground.settings.labels_allow),
            enforced=ground.settings.labels == "enforce",
        ),
        scans=_scans(ground),
    )


def _scans(ground: Ground) -> Scans:
    return Scans(
        scanner=ground.scanner,
        wish=RedactionWish.read(ground.settings.guard_redact),
        approve_above=ground.settings.guard_approve_above,
        handle_of=ground.turns.handle_in,
    )


def _warrants(ground: Ground) -> TaskWarrants:
    return TaskWarrants(
        clock=ground.clock,
        randomness=ground.randomness,
        ceiling=ceiling_of(ground.settings),
        ttl_s=ground.settings.warrant_ttl_s,
    )


def _recovery(
    ground: Ground, store: TaskStore, journal: Journal, claims: ClaimBook, book: RunBook
) -> Recovery:
    return Recovery(
        store=store,
        journal=journal,
        writer=ground.writer,
        claims=claims,
        clock=ground.clock,
        database=ground.database,
        of_fork=book.of_fork,
    )


def _runs(ground: Ground, book: RunBook, supervisor: Supervisor, sender: MessageSender) -> Runs:
    return Runs(
        book=book,
        supervisor=supervisor,
        sender=sender,
        writer=ground.writer,
        clock=ground.clock,
        randomness=ground.randomness,
    )


def _budget_keeper(
    ground: Ground, store: TaskStore, budgets: Budgets, claims: ClaimBook
) -> BudgetKeeper:
    return BudgetKeeper(
        database=ground.database,
        writer=ground.writer,
        store=store,
        budgets=budgets,
        claims=claims,
        clock=ground.clock,
    )


def _sender(
    ground: Ground,
    entrance: Entrance,
    supervisor: Supervisor,
    feed: TaskFeed,
    desk: TaskDesk,
    guards: Guards,
    recovery: Recovery,
) -> MessageSender:
    return MessageSender(
        entrance=entrance,
        supervisor=supervisor,
        feed=feed,
        desk=desk,
        clock=ground.clock,
        randomness=ground.randomness,
        warrants=guards.warrants,
        flows=guards.flows,
        before=recovery.warrant,
    )


def _keeper(settings: Settings) -> AskedKeeper:
    return AskedKeeper(kept=settings.journal == "full", redactions=settings.journal_redactions)


def _approvals(ground: Ground, keeper: AskedKeeper) -> ApprovalBook:
    return ApprovalBook(
        database=ground.database,
        writer=ground.writer,
        contents=ground.contents,
        keeper=keeper,
        clock=ground.clock,
        randomness=ground.randomness,
        hold_s=ground.settings.approval_hold_s,
    )


def _entrance(
    ground: Ground,
    admission: Admission,
    refusals: RefusalMeter,
    keeper: AskedKeeper,
    approvals: ApprovalBook,
    guards: Guards,
) -> Entrance:
    return Entrance(
        admission=admission,
        writer=ground.writer,
        refusals=refusals,
        clock=ground.clock,
        randomness=ground.randomness,
        tracer=ground.tracer,
        commit=lambda arguments: ground.contents.commitment(arguments.hex()),
        keeper=keeper,
        approvals=approvals,
        label=guards.flows.label,
        said=guards.policies.said,
    )


def _supervisor(
    ground: Ground,
    placement: Placement,
    gates: GateListener,
    *,
    feed: TaskFeed,
    flows: Flows,
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
        flows=flows,
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


def tiers_of(supervisor: Supervisor) -> Callable[[Principal], str]:
    """Return what tells behind which walls a caller runs; empty for one from outside."""

    def tier(principal: Principal) -> str:
        view = None if principal.agent is None else supervisor.get(principal.agent)
        return "" if view is None else view.tier.name.lower()

    return tier


def facts_of(
    turns: TurnBook, supervisor: Supervisor, feed: TaskFeed, warrants: TaskWarrants
) -> Callable[[Call, bytes], CallFacts]:
    """Return what fetches the facts of a call: all of them are in memory."""

    def facts(call: Call, arguments: bytes) -> CallFacts:
        turn = turns.running(call.principal.turn)
        return CallFacts(
            grant=turns.grant_of(call.principal),
            agent=supervisor.get(AgentId(call.target)),
            lineage=turns.lineage(call),
            payers=None if turn is None else turn.payers,
            tasks_in_flight=len(feed),
            parked="" if turn is None else turn.parked,
            turn_over=turn is None and call.principal.turn is not None,
            arguments=Arguments(arguments),
            warrant=warrants.of(call, turn),
        )

    return facts
