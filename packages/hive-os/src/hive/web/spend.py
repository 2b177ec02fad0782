"""What is spent, as it crosses the operator's wire: `/api/cost` sums the records, `/api/spend` tells of now."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from hive.core.errors import BadInputError
from hive.ledger.cost import GROUPS_MAX, CostKey, CostReport
from hive.ledger.meter import MeterFigures
from hive.web.chapters import Answer, ApiQuestion, Lines, RouteKey


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Some calls' sums; `unpriced` of them cost what nobody could say."""

    calls: int = 0
    failed: int = 0
    unpriced: int = 0
    tokens: int = 0
    nano_usd: int = 0


class AgentSpend(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's spending."""

    agent: str
    today: Spent
    total: Spent


class BudgetBar(msgspec.Struct, frozen=True, kw_only=True):
    """One ceiling and how far it is used; `closed` when nothing more may be spent."""

    scope: str
    name: str
    unit: str
    limit: int
    spent: int = 0
    reserved: int = 0
    period: str = ""
    closed: bool = False


class UpstreamHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One way to models and how it stands."""

    name: str
    state: str
    detail: str = ""
    healthy: bool = True


class Minute(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One minute of the last hour."""

    tokens: int
    nano_usd: int


class LiveSpend(msgspec.Struct, frozen=True, kw_only=True):
    """What is spent now. With `complete` false, the records of earlier starts are still being summed.

    Percentiles are of the newest answered calls of this start; None while there are none.
    """

    today: Spent = Spent()
    total: Spent = Spent()
    complete: bool = True
    tokens_per_s: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    first_token_p50_ms: float | None = None
    first_token_p95_ms: float | None = None
    minutes: list[Minute] = []
    agents: list[AgentSpend] = []
    budgets: list[BudgetBar] = []
    upstreams: list[UpstreamHealth] = []


class NodeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is measured of a node, copied in one moment: another thread may read it."""

    version: str
    node_id: str
    meter: MeterFigures
    agents: Mapping[str, int] = {}
    tasks: Mapping[str, int] = {}
    turns_running: int = 0
    turns_waiting: int = 0
    budgets: Sequence[BudgetBar] = ()
    upstreams: Sequence[UpstreamHealth] = ()


class CostQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls to sum, and by what."""

    by: tuple[CostKey, ...] = (CostKey.AGENT, CostKey.MODEL)
    since: datetime | None = None
    until: datetime | None = None
    task: str = ""
    groups_max: int = GROUPS_MAX


class SpendSource(Protocol):
    """Who knows what a node spends."""

    async def live(self) -> LiveSpend:
        """Tell what is spent now, from memory."""
        ...

    async def report(self, question: CostQuestion) -> CostReport:
        """Sum the records."""
        ...

    def figures(self) -> NodeFigures:
        """Copy what is measured."""
        ...


class SpendChapter:
    """The paths of cost."""

    def __init__(self, source: SpendSource) -> None:
        self._source = source
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "cost", 0): self._cost,
            ("GET", "spend", 0): self._live,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _cost(self, question: ApiQuestion) -> object:
        return await self._source.report(read_question(question.query))

    async def _live(self, _question: ApiQuestion) -> object:
        return await self._source.live()


def read_question(query: Mapping[str, str]) -> CostQuestion:
    """Read what a path's query asks.

    Raises:
        BadInputError: it names what sums cannot be grouped by, or a time that is none.

    """
    return CostQuestion(
        by=read_keys(query.get("by", _BY)),
        since=_moment("since", query.get("since", "")),
        until=_moment("until", query.get("until", "")),
        task=query.get("task", ""),
    )


def read_keys(text: str) -> tuple[CostKey, ...]:
    """Read `agent,model,day`.

    Raises:
        BadInputError: one of them is nothing that sums are grouped by.

    """
    keys = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [key for key in keys if key not in set(CostKey)]
    if unknown:
        raise BadInputError(
            f"The cost is not summed by {unknown[0]!r}.", why=f"Known: {', '.join(CostKey)}."
        )
    return tuple(CostKey(key) for key in keys)


def _moment(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInputError(
            f"{name!r} is not a time.", why=text, fix="Write it as 2026-01-31T12:00:00+00:00."
        ) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


_BY: Final = "agent,model"
