"""Budgets as their operator uses them: values of the wire to ceilings of the kernel, and back."""

from collections.abc import Sequence
from typing import Final

from hive.core.budget import EACH, Budget, BudgetScope, Period, Unit
from hive.core.errors import BadInputError
from hive.core.ids import agent_id, foreign_id
from hive.kernel.budget_keeper import BudgetKeeper, BudgetState
from hive.kernel.budgets import NODE_NAME
from hive.security.roles import acting_operator
from hive.web.budgets import BudgetDesk, BudgetLine, BudgetOrder

LIMIT_MAX: Final = 10**18


class NodeBudgets(BudgetDesk):
    """The budgets of one node."""

    def __init__(self, keeper: BudgetKeeper) -> None:
        self._keeper = keeper

    def lines(self) -> Sequence[BudgetLine]:
        """Tell every ceiling and what is spent of it."""
        return [_line(state) for state in self._keeper.states()]

    async def set(self, order: BudgetOrder) -> None:
        """Set a ceiling, or take it away.

        Raises:
            BadInputError: the name or the limit cannot be used.
            NotFoundError: there is no such ceiling to take away.

        """
        budget = Budget(
            scope=BudgetScope(order.scope),
            name=_name(order),
            unit=Unit(order.unit),
            period=Period(order.period),
            limit=order.limit or 0,
        )
        if order.limit is None:
            await self._keeper.remove(budget, by=str(acting_operator()))
            return
        if not 0 <= order.limit <= LIMIT_MAX:
            raise BadInputError("A ceiling is a whole number from 0 to 10^18.")
        await self._keeper.put(budget, by=str(acting_operator()))

    async def reopen(self, sum_name: str) -> None:
        """Open a budget that an overrun closed. Raises NotFoundError."""
        await self._keeper.reopen(sum_name, by=str(acting_operator()))


def _name(order: BudgetOrder) -> str:
    if order.scope == "node":
        return NODE_NAME
    if order.name == EACH:
        return EACH
    if order.scope == "agent":
        return agent_id(order.name)
    return foreign_id(order.name, what=f"name of {order.scope}")


def _line(state: BudgetState) -> BudgetLine:
    budget = state.budget
    return BudgetLine(
        scope=budget.scope.value,
        name=budget.name,
        who=state.who,
        unit=budget.unit.value,
        period=budget.period.value,
        limit=budget.limit,
        spent=state.spent,
        reserved=state.reserved,
        percent=state.percent,
        sum_name=state.sum_name,
        closed=state.closed,
    )
