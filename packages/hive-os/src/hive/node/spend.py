"""What this node spends: from memory while it lives, from the records where sums over time are asked."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import anyio

from hive import __version__
from hive.core.errors import HiveError
from hive.core.settings import Settings
from hive.kernel.budget_keeper import BudgetState
from hive.ledger.cost import CostBook, CostReport
from hive.ledger.meter import AgentTally, SpendMeter, Tally
from hive.node.build import Node
from hive.web.spend import (
    AgentSpend,
    BudgetBar,
    CostQuestion,
    LiveSpend,
    Minute,
    NodeFigures,
    SpendSource,
    Spent,
    UpstreamHealth,
)

log: Final = logging.getLogger(__name__)
PAST_WAIT_MAX_S: Final = 0.25
PAST_TRIES_MAX: Final = 3
PAST_AGAIN_S: Final = 600.0
AGENTS_TOLD_MAX: Final = 100
BUDGETS_TOLD_MAX: Final = 200


class NodeSpend(SpendSource):
    """The spending of one running node. One per node: it asks the records of the past once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._meter = node.ledger.meter
        self._costs = CostBook(node.engines.database)
        self._try_at = float("-inf")
        self._summed = anyio.Event()

    async def live(self) -> LiveSpend:
        """Tell what is spent now; the first question begins to sum the past, and waits a moment."""
        if not self._meter.complete:
            now = self._node.clock.monotonic()
            if now >= self._try_at:
                self._try_at = now + PAST_AGAIN_S
                self._summed = anyio.Event()
                self._node.tasks.start_soon(self._sum_past)
            with anyio.move_on_after(PAST_WAIT_MAX_S):
                await self._summed.wait()
        meter = self._meter
        p50, p95, p99 = meter.durations_ms(0.5, 0.95, 0.99)
        first50, first95 = meter.first_tokens_ms(0.5, 0.95)
        return LiveSpend(
            today=_spent(meter.today),
            total=_spent(meter.total),
            complete=meter.complete,
            tokens_per_s=round(meter.tokens_per_s(), 3),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            first_token_p50_ms=first50,
            first_token_p95_ms=first95,
            minutes=[Minute(tokens=tokens, nano_usd=nano) for tokens, nano in meter.minutes()],
            agents=_agents_of(meter),
            budgets=list(self.budgets()),
            upstreams=list(self.upstreams()),
        )

    async def report(self, question: CostQuestion) -> CostReport:
        """Sum the records."""
        return await report_of(self._costs, question)

    def figures(self) -> NodeFigures:
        """Copy what is measured."""
        views = self._node.kernel.supervisor.all()
        return NodeFigures(
            version=__version__,
            node_id=self._node.state.node_id,
            meter=self._meter.figures(),
            agents=Counter(view.state.value for view in views),
            tasks={state.value: count for state, count in self._node.kernel.feed.states().items()},
            turns_running=sum(view.turns_running for view in views),
            turns_waiting=sum(view.turns_waiting for view in views),
            budgets=self.budgets(),
            upstreams=self.upstreams(),
        )

    def budgets(self) -> Sequence[BudgetBar]:
        """Tell how far each ceiling is used, those nearest to their end."""
        states = sorted(self._node.kernel.budgets.states(), key=_nearness, reverse=True)
        return [
            BudgetBar(
                scope=state.budget.scope.value,
                name=state.who,
                unit=state.budget.unit.value,
                limit=state.budget.limit,
                spent=state.spent,
                reserved=state.reserved,
                period=state.budget.period.value,
                closed=bool(state.closed),
            )
            for state in states[:BUDGETS_TOLD_MAX]
        ]

    def upstreams(self) -> Sequence[UpstreamHealth]:
        """Tell how each way to models stands."""
        return () if self._node.models is None else self._node.models.health()

    async def _sum_past(self) -> None:
        try:
            await sum_past(self._meter, self._costs, self._node)
        except HiveError as error:
            # The page goes on without, and a question after a while tries again.
            log.warning("spend.past_not_summed", extra={"reason": str(error)})
        finally:
            self._summed.set()


async def sum_past(meter: SpendMeter, costs: CostBook, node: Node) -> None:
    """Add what earlier starts left in the ledger to a meter that has counted since this one."""
    for _ in range(PAST_TRIES_MAX):
        chains = meter.chains
        past = await costs.past(without=chains, now=node.clock.now())
        # A chain that opened meanwhile may be in the sums, and it is counted here already.
        if meter.chains == chains:
            meter.add_past(past)
            return


async def report_of(costs: CostBook, question: CostQuestion) -> CostReport:
    """Answer a question from the records."""
    return await costs.report(
        question.by,
        since=question.since,
        until=question.until,
        task=question.task,
        groups_max=question.groups_max,
    )


async def offline_cost(settings: Settings, question: CostQuestion) -> CostReport:
    """Open the records of a node that does not run, and sum them.

    Raises:
        ConfigError: a node holds the state folder.
        EngineError: the database does not start.

    """
    from hive.node.alone import open_records

    async with open_records(settings) as records:
        return await report_of(CostBook(records.database), question)


def _agents_of(meter: SpendMeter) -> list[AgentSpend]:
    def dearest(item: tuple[str, AgentTally]) -> tuple[int, int, str]:
        name, spent = item
        return (-spent.today.nano_usd, -spent.today.tokens, name)

    ordered = sorted(meter.agents.kept.items(), key=dearest)[:AGENTS_TOLD_MAX]
    return [
        AgentSpend(agent=name, today=_spent(one.today), total=_spent(one.total))
        for name, one in ordered
    ]


def _nearness(state: BudgetState) -> tuple[bool, int]:
    return (bool(state.closed), state.percent)


def _spent(tally: Tally) -> Spent:
    return Spent(
        calls=tally.calls,
        failed=tally.failed,
        unpriced=tally.unpriced,
        tokens=tally.tokens,
        nano_usd=tally.nano_usd,
    )
