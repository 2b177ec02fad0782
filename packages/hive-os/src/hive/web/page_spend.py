"""What the live page shows of spending: today and in all, how fast, per agent, ceilings, ways to models.

Names of agents, models and budgets are foreign text: they pass `shown`, as everything else of the page.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from hive.core.budget import WARN_AT_PERCENT, Unit
from hive.ledger.cost import dollars
from hive.web.markup import cell, long_cell, number_cell, section, shown, state_cell
from hive.web.spend import BudgetBar, LiveSpend, Minute, Spent, UpstreamHealth

AGENTS_SHOWN: Final = 50
BUDGETS_SHOWN: Final = 50
_CHART_WIDTH: Final = 360
_CHART_HEIGHT: Final = 48
_EVERYBODY: Final = "node"


def spend_sections(spend: LiveSpend) -> str:
    """Return the sections about spending."""
    return "".join((_summary(spend), _agents(spend), _budgets(spend.budgets), _ways(spend)))


def amount(unit: str, value: int) -> str:
    """Write an amount of a unit as people read it."""
    if unit == Unit.NANO_USD:
        return dollars(value)
    if unit == Unit.MILLISECONDS:
        return f"{value / 1000:,.1f} s"
    return f"{value:,} {unit}"


def money(spent: Spent) -> str:
    """Write money, and for how many calls nobody knew the price."""
    if not spent.unpriced:
        return dollars(spent.nano_usd)
    if spent.unpriced == spent.calls - spent.failed and not spent.nano_usd:
        return "price unknown"
    return f"{dollars(spent.nano_usd)} + {spent.unpriced:,} of unknown price"


def milliseconds(value: float | None) -> str:
    """Write a duration as people read it."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def _summary(spend: LiveSpend) -> str:
    facts = (
        ("Today (UTC)", money(spend.today), f"{spend.today.calls:,} calls"),
        ("In all", money(spend.total) if spend.complete else "being summed …", ""),
        ("Tokens a second", f"{spend.tokens_per_s:,.1f}", "mean of the last minute"),
        (
            "Answered in",
            milliseconds(spend.p50_ms),
            f"95 % {milliseconds(spend.p95_ms)}, 99 % {milliseconds(spend.p99_ms)}",
        ),
        (
            "First token in",
            milliseconds(spend.first_token_p50_ms),
            f"95 % {milliseconds(spend.first_token_p95_ms)}",
        ),
    )
    items = "".join(
        f'<div><dt>{shown(name)}</dt><dd>{shown(value)}</dd><dd class="quiet">{shown(note)}</dd></div>'
        for name, value, note in facts
    )
    return (
        '<section id="spend" aria-labelledby="spend-title"><h2 id="spend-title">Models</h2>'
        f"<dl>{items}</dl>{_chart(spend.minutes)}</section>"
    )


def _chart(minutes: Sequence[Minute]) -> str:
    """Return the tokens of each minute of the last hour, as bars, with the same in words."""
    most = max((minute.tokens for minute in minutes), default=0)
    if most == 0:
        return '<p class="quiet">No tokens in the last hour.</p>'
    width = _CHART_WIDTH / len(minutes)
    bars = "".join(
        f'<rect x="{place * width:.1f}" y="{_CHART_HEIGHT - height:.1f}" '
        f'width="{width * 0.8:.1f}" height="{height:.1f}"></rect>'
        for place, minute in enumerate(minutes)
        for height in (minute.tokens / most * _CHART_HEIGHT,)
        if minute.tokens
    )
    words = (
        f"Tokens a minute in the last hour: {sum(one.tokens for one in minutes):,} in all, "
        f"{most:,} in the busiest minute, {minutes[-1].tokens:,} in this one"
    )
    return (
        f'<figure><svg role="img" aria-label="{shown(words)}" preserveAspectRatio="none" '
        f'viewBox="0 0 {_CHART_WIDTH} {_CHART_HEIGHT}">{bars}</svg>'
        f'<figcaption class="quiet">{shown(words)}</figcaption></figure>'
    )


def _agents(spend: LiveSpend) -> str:
    bars = _bars_of_agents(spend.budgets)
    rows = (
        (
            cell(one.agent),
            number_cell(f"{one.today.calls:,}"),
            number_cell(f"{one.today.failed:,}"),
            number_cell(f"{one.today.tokens:,}"),
            number_cell(money(one.today)),
            number_cell(money(one.total) if spend.complete else "…"),
            _bar_cell(bars.get(one.agent)),
        )
        for one in spend.agents[:AGENTS_SHOWN]
    )
    heads = ("Agent", "Calls today", "Failed", "Tokens", "Spent today", "Spent in all", "Budget")
    return section("spenders", "Spending", heads, rows, "No model was asked yet.")


def _bars_of_agents(budgets: Sequence[BudgetBar]) -> dict[str, BudgetBar]:
    """Return of each agent the ceiling that is nearest."""
    nearest: dict[str, BudgetBar] = {}
    for bar in budgets:
        if bar.scope == "agent" and _used(bar) >= _used(nearest.get(bar.name)):
            nearest[bar.name] = bar
    return nearest


def _budgets(budgets: Sequence[BudgetBar]) -> str:
    ordered = sorted(budgets, key=_used, reverse=True)[:BUDGETS_SHOWN]
    rows = (
        (
            cell(bar.scope if bar.scope == _EVERYBODY else f"{bar.scope} {bar.name}"),
            cell(bar.period),
            _bar_cell(bar),
            number_cell(amount(bar.unit, bar.spent)),
            number_cell(amount(bar.unit, bar.reserved)),
            number_cell(amount(bar.unit, bar.limit)),
            state_cell(_state(bar), good=_state(bar) == "open", bad=bar.closed),
        )
        for bar in ordered
    )
    heads = ("Budget", "Period", "Used", "Spent", "Under way", "Ceiling", "State")
    return section(
        "budgets", "Budgets", heads, rows, "No ceiling is set: hive budget set agent:NAME --usd 5"
    )


def _bar_cell(bar: BudgetBar | None) -> str:
    if bar is None:
        return cell("-")
    used = _used(bar)
    words = (
        f"{amount(bar.unit, bar.spent + bar.reserved)} of {amount(bar.unit, bar.limit)}, {used:.0%}"
    )
    label = shown(f"{bar.scope} {bar.name}: {words}")
    low, high = WARN_AT_PERCENT[1], WARN_AT_PERCENT[2]
    return (
        f'<td class="number"><meter min="0" max="100" low="{low}" high="{high}" optimum="0" '
        f'value="{min(100.0, used * 100):.1f}" aria-label="{label}" title="{label}"></meter> '
        f"{used:.0%}</td>"
    )


def _used(bar: BudgetBar | None) -> float:
    """Return which part of a ceiling is used or may still be by calls under way."""
    if bar is None:
        return -1.0
    return (bar.spent + bar.reserved) / bar.limit if bar.limit > 0 else 1.0


def _state(bar: BudgetBar) -> str:
    if bar.closed:
        return "closed"
    return "nearly used" if _used(bar) * 100 >= WARN_AT_PERCENT[-1] else "open"


def _ways(spend: LiveSpend) -> str:
    rows = [tuple(_way(one)) for one in spend.upstreams]
    if not rows:
        return ""
    return section("upstreams", "Ways to models", ("Way", "State", "Detail"), rows, "")


def _way(one: UpstreamHealth) -> Iterator[str]:
    yield cell(one.name)
    yield state_cell(one.state, good=one.healthy, bad=not one.healthy)
    yield long_cell(one.detail)
