"""`/metrics`: the node's figures for Prometheus, as its text format 0.0.4 or as OpenMetrics by `Accept`.

Opened by the operator's token or by the scraper's own (`metrics_token`), which opens nothing else. The
figures are copied on the node's loop, from memory; the text is made on another thread.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from hive.core.errors import IdentityError
from hive.core.ids import plain_text
from hive.core.secret import Secret
from hive.ledger.meter import BOUNDS_S, Histogram
from hive.web.spend import NodeFigures, SpendSource
from hive.web.wire import Scope, Send, header, send_bytes

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PATH: Final = "/metrics"
TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_OPENMETRICS_NAME: Final = "application/openmetrics-text"
_TEXTS_AT_ONCE_MAX: Final = 1
_DOLLAR: Final = 1e9
_MODEL: Final = ("agent", "model", "upstream")
_BUDGET: Final = ("scope", "name", "unit", "period")


class MetricsPage:
    """Answers a scraper."""

    def __init__(
        self,
        source: SpendSource,
        *,
        is_operator: Callable[[str], Awaitable[bool]],
        token: Secret,
    ) -> None:
        self._source = source
        self._is_operator = is_operator
        self._token = token
        self._places = anyio.CapacityLimiter(_TEXTS_AT_ONCE_MAX)

    async def answer(self, scope: Scope, send: Send) -> None:
        """Answer one scrape.

        Raises:
            IdentityError: it shows neither token.

        """
        if not await self._may_read(header(scope, b"authorization")):
            raise IdentityError(
                "The metrics need a token.",
                why="The request shows none, or not the right one.",
                fix="Send `Authorization: Bearer TOKEN`, the operator's or HIVE_METRICS_TOKEN.",
            )
        openly = wants_openmetrics(header(scope, b"accept"))
        figures = self._source.figures()
        body = await anyio.to_thread.run_sync(metrics_text, figures, openly, limiter=self._places)
        await send_bytes(send, 200, body, OPENMETRICS if openly else TEXT)

    async def _may_read(self, shown: str) -> bool:
        scheme, _, token = shown.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return False
        if self._token and self._token.matches(token):
            return True
        return await self._is_operator(token)


def wants_openmetrics(accept: str) -> bool:
    """Tell whether a scraper takes OpenMetrics 1.0.0; anything else gets the older text."""
    for part in accept.split(","):
        kind, *rest = (piece.strip().lower() for piece in part.split(";"))
        words = dict(piece.partition("=")[::2] for piece in rest)
        if kind == _OPENMETRICS_NAME:
            return words.get("version", "1.0.0") == "1.0.0" and words.get("q") not in ("0", "0.0")
    return False


def metrics_text(figures: NodeFigures, openly: bool) -> bytes:  # noqa: FBT001  called by position
    """Write figures as a scraper reads them."""
    # Imported with the first scrape, on its thread: no start waits for it.
    from prometheus_client import ProcessCollector
    from prometheus_client.exposition import generate_latest
    from prometheus_client.openmetrics import exposition as openmetrics
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(figures))
    ProcessCollector(registry=registry)
    if openly:
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return text
    return generate_latest(registry)


class _Figures:
    """What the registry asks for metrics."""

    def __init__(self, figures: NodeFigures) -> None:
        self._figures = figures

    def collect(self) -> "Iterable[Metric]":
        """Yield every metric."""
        yield from _of_models(self._figures)
        yield from _of_ways(self._figures)
        yield from _of_budgets(self._figures)
        yield from _of_calls(self._figures)
        yield from _of_node(self._figures)


def _of_models(figures: NodeFigures) -> "Iterable[Metric]":
    from prometheus_client.core import CounterMetricFamily

    calls = CounterMetricFamily(
        "hive_model_calls", "Model calls that ended.", labels=(*_MODEL, "outcome")
    )
    for name, outcomes in figures.meter.outcomes:
        for outcome, times in outcomes.items():
            calls.add_metric((*name, outcome), times)
    tokens = CounterMetricFamily(
        "hive_model_tokens",
        "Tokens of model calls; cached are part of input, reasoning of output.",
        labels=(*_MODEL, "kind"),
    )
    cost = CounterMetricFamily("hive_model_cost_usd", "Dollars spent on models.", labels=_MODEL)
    unpriced = CounterMetricFamily(
        "hive_model_calls_unpriced", "Model calls whose price is unknown.", labels=_MODEL
    )
    for name, sums in figures.meter.sums:
        tokens.add_metric((*name, "input"), sums.input_tokens)
        tokens.add_metric((*name, "output"), sums.output_tokens)
        tokens.add_metric((*name, "cached"), sums.cached_tokens)
        tokens.add_metric((*name, "reasoning"), sums.reasoning_tokens)
        cost.add_metric(name, sums.nano_usd / _DOLLAR)
        unpriced.add_metric(name, sums.unpriced)
    return (calls, tokens, cost, unpriced)


def _of_ways(figures: NodeFigures) -> "Iterable[Metric]":
    return (
        _histogram(
            "hive_model_duration_seconds",
            "How long answered model calls took.",
            figures.meter.durations,
        ),
        _histogram(
            "hive_model_first_token_seconds",
            "How soon the first token of a streamed answer came.",
            figures.meter.first_tokens,
        ),
    )


def _histogram(
    name: str, help_text: str, series: Sequence[tuple[tuple[str, str], Histogram]]
) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, help_text, labels=("model", "upstream"))
    for labels, one in series:
        sums, below = [], 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), one.counts, strict=True):
            below += count
            sums.append((bound, below))
        family.add_metric(labels, sums, one.sum_s)
    return family


def _of_budgets(figures: NodeFigures) -> "Iterable[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    limit = GaugeMetricFamily("hive_budget_limit", "Ceilings, in their units.", labels=_BUDGET)
    spent = GaugeMetricFamily("hive_budget_spent", "What is spent of them.", labels=_BUDGET)
    reserved = GaugeMetricFamily(
        "hive_budget_reserved", "What calls under way may still spend.", labels=_BUDGET
    )
    closed = GaugeMetricFamily(
        "hive_budget_closed", "1 where nothing more may be spent.", labels=_BUDGET
    )
    for bar in figures.budgets:
        labels = (bar.scope, plain_text(bar.name), bar.unit, bar.period)
        limit.add_metric(labels, bar.limit)
        spent.add_metric(labels, bar.spent)
        reserved.add_metric(labels, bar.reserved)
        closed.add_metric(labels, int(bar.closed))
    return (limit, spent, reserved, closed)


def _of_calls(figures: NodeFigures) -> "Iterable[Metric]":
    from prometheus_client.core import CounterMetricFamily

    calls = CounterMetricFamily(
        "hive_calls", "Calls that ended, of every kind.", labels=("verb", "outcome")
    )
    for (verb, outcome), times in figures.meter.calls.items():
        calls.add_metric((verb, outcome), times)
    refusals = CounterMetricFamily("hive_refusals", "Calls that were refused.", labels=("check",))
    for check, times in figures.meter.refusals.items():
        refusals.add_metric((check,), times)
    entries = CounterMetricFamily("hive_ledger_entries", "Lines written since the start.")
    entries.add_metric((), figures.meter.entries)
    return (calls, refusals, entries)


def _of_node(figures: NodeFigures) -> "Iterable[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    node = GaugeMetricFamily("hive_node_info", "The node; always 1.", labels=("version", "node"))
    node.add_metric((figures.version, figures.node_id), 1)
    upstreams = GaugeMetricFamily(
        "hive_upstream_up", "1 where a way to models is healthy.", labels=("upstream",)
    )
    for one in figures.upstreams:
        upstreams.add_metric((plain_text(one.name),), int(one.healthy))
    return (
        node,
        upstreams,
        _by_state("hive_agents", "Hosted agents.", figures.agents),
        _by_state("hive_tasks", "Tasks that are under way.", figures.tasks),
        GaugeMetricFamily("hive_turns_running", "Turns that run now.", figures.turns_running),
        GaugeMetricFamily("hive_turns_waiting", "Turns that wait.", figures.turns_waiting),
    )


def _by_state(name: str, help_text: str, states: Mapping[str, int]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, help_text, labels=("state",))
    for state, count in sorted(states.items()):
        family.add_metric((state,), count)
    return family
