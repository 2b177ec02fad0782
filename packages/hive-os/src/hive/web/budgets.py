"""Budgets on the operator's wire: `/api/budgets`. Amounts are whole numbers; money is in billionths of a dollar."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class BudgetOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ceiling to be set, or taken away where `limit` is None. `name` may be `*`: each on its own."""

    scope: Literal["node", "owner", "agent", "task"]
    name: str
    unit: Literal["calls", "tokens", "nano_usd", "milliseconds"]
    period: Literal["day", "month", "forever"] = "day"
    limit: int | None = None


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
    """One ceiling with one sum below it; `who` is `*` where nobody spent yet."""

    scope: str
    name: str
    who: str
    unit: str
    period: str
    limit: int
    spent: int
    reserved: int
    percent: int
    sum_name: str
    closed: str = ""


class ReopenOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which closed sum is to be opened."""

    sum_name: str


class BudgetDesk(Protocol):
    """Who keeps the budgets."""

    def lines(self) -> Sequence[BudgetLine]:
        """Tell every ceiling and what is spent of it."""
        ...

    async def set(self, order: BudgetOrder) -> None:
        """Set a ceiling, or take it away. Raises BadInputError, NotFoundError."""
        ...

    async def reopen(self, sum_name: str) -> None:
        """Open a budget that an overrun closed. Raises NotFoundError."""
        ...


class BudgetsChapter(Chapter):
    """The paths of budgets."""

    def __init__(self, desk: BudgetDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "budgets", 0): self._list,
            ("POST", "budgets", 0): self._set,
            ("POST", "budgets", 1): self._reopen,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _list(self, _question: ApiQuestion) -> object:
        return list(self._desk.lines())

    async def _set(self, question: ApiQuestion) -> object:
        order = question.read(BudgetOrder)
        await self._desk.set(order)
        return list(self._desk.lines())

    async def _reopen(self, question: ApiQuestion) -> object:
        order = question.read(ReopenOrder)
        await self._desk.reopen(order.sum_name)
        return list(self._desk.lines())
