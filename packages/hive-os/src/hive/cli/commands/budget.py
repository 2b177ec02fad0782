"""`hive budget`: ceilings on what agents spend, and how far each is used."""

import math
from typing import Final

import click

from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.budget import EACH
from hive.core.errors import BadInputError
from hive.web.budgets import BudgetLine, BudgetOrder, ReopenOrder
from hive.web.values import AgentStatus

BAR_CHARS: Final = 20
SCOPES: Final = ("node", "owner", "agent", "task")
UNITS: Final = {"usd": "nano_usd", "tokens": "tokens", "calls": "calls", "seconds": "milliseconds"}


@click.group(help="Ceilings on what agents spend.", invoke_without_command=True)
@shared_options
@click.pass_context
def budget(context: click.Context, *, options: Options) -> int:
    """List budgets unless a verb follows."""
    return _list(options) if context.invoked_subcommand is None else 0


@budget.command("list", help="List ceilings and what is spent of them.")
@shared_options
def list_budgets(*, options: Options) -> int:
    """List budgets."""
    return _list(options)


@budget.command(
    "set", help="Set a ceiling. WHOSE: node, agent:NAME, owner:NAME, task:ID; `*` for each."
)
@click.argument("whose")
@click.option("--usd", type=float, help="Dollars.")
@click.option("--tokens", type=int, help="Tokens, in and out.")
@click.option("--calls", type=int, help="Model calls.")
@click.option("--seconds", type=float, help="Seconds of model calls.")
@click.option(
    "--per", type=click.Choice(("day", "month", "forever")), default="day", show_default=True
)
@shared_options
def set_budget(
    *,
    options: Options,
    whose: str,
    usd: float | None,
    tokens: int | None,
    calls: int | None,
    seconds: float | None,
    per: str,
) -> int:
    """Set one ceiling or several."""
    amounts = {
        "nano_usd": _whole(usd, 1_000_000_000),
        "tokens": tokens,
        "calls": calls,
        "milliseconds": _whole(seconds, 1000),
    }
    chosen = {unit: amount for unit, amount in amounts.items() if amount is not None}
    if not chosen:
        raise BadInputError("No amount is given.", fix="Add --usd, --tokens, --calls or --seconds.")
    found: list[BudgetLine] = []
    for unit, limit in chosen.items():
        found = options.client().post("budgets", list[BudgetLine], _order(whose, unit, per, limit))
    _warn_of_nobody(options, whose)
    return _show(options, found)


@budget.command("rm", help="Take a ceiling away.")
@click.argument("whose")
@click.argument("unit", type=click.Choice(tuple(UNITS)))
@click.option(
    "--per", type=click.Choice(("day", "month", "forever")), default="day", show_default=True
)
@shared_options
def remove(*, options: Options, whose: str, unit: str, per: str) -> int:
    """Take a ceiling away."""
    order = _order(whose, UNITS[unit], per, None)
    return _show(options, options.client().post("budgets", list[BudgetLine], order))


@budget.command("open", help="Open a budget that an overrun closed.")
@click.argument("whose")
@shared_options
def reopen(*, options: Options, whose: str) -> int:
    """Open what is closed under a name."""
    scope, name = _whose(whose)
    found = options.client().get("budgets", list[BudgetLine])
    closed = [
        one for one in found if one.closed and one.scope == scope and name in (one.who, one.name)
    ]
    if not closed:
        raise BadInputError(f"No budget of {whose} is closed.", fix="See `hive budget`.")
    for one in closed:
        order = ReopenOrder(sum_name=one.sum_name)
        found = options.client().post("budgets/reopen", list[BudgetLine], order)
    return _show(options, found)


def _whole(amount: float | None, factor: int) -> int | None:
    if amount is None:
        return None
    if not math.isfinite(amount):
        raise BadInputError("A ceiling is a number.", fix="Write it so: --usd 2.50")
    return round(amount * factor)


def _warn_of_nobody(options: Options, whose: str) -> None:
    # A name that is written wrong would be a ceiling that holds nobody.
    scope, name = _whose(whose)
    if scope != "agent" or name == EACH:
        return
    if name not in {one.name for one in options.client().get("agents", list[AgentStatus])}:
        say(options, f"note: there is no agent {name!r}; the ceiling waits for it")


def _order(whose: str, unit: str, per: str, limit: int | None) -> BudgetOrder:
    scope, name = _whose(whose)
    return BudgetOrder(scope=scope, name=name, unit=unit, period=per, limit=limit)  # type: ignore[arg-type]


def _whose(text: str) -> tuple[str, str]:
    scope, _, name = text.partition(":")
    if scope not in SCOPES or bool(name) == (scope == "node"):
        raise BadInputError(
            f"{text!r} names nobody's budget.",
            fix="Write node, agent:NAME, owner:NAME or task:ID; `agent:*` is each agent on its own.",
        )
    return scope, name or "all"


def _list(options: Options) -> int:
    return _show(options, options.client().get("budgets", list[BudgetLine]))


def _show(options: Options, found: list[BudgetLine]) -> int:
    if options.json:
        for one in found:
            show_json(one)
        return 0
    if not found:
        show("No ceiling is set.")
        say(options, "Next:  hive budget set agent:NAME --usd 5 --per day")
        return 0
    rows = (
        (
            one.scope if one.scope == "node" else f"{one.scope}:{one.who}",
            one.period,
            amount(one.spent, one.unit),
            amount(one.reserved, one.unit) if one.reserved else "-",
            amount(one.limit, one.unit),
            f"{_bar(one.percent)} {one.percent:>3} %{'  CLOSED' if one.closed else ''}",
        )
        for one in found
    )
    for line in table(("WHOSE", "PER", "SPENT", "RESERVED", "CEILING", "USED"), rows):
        show(line)
    for one in found:
        if one.closed:
            show(f"{one.scope}:{one.who} is closed: {one.closed}.")
            say(options, f"Next:  hive budget open {one.scope}:{one.who}")
    return 0


def amount(value: int, unit: str) -> str:
    """Return an amount in the words of people."""
    match unit:
        case "nano_usd":
            return f"${value / 1_000_000_000:,.4f}"
        case "milliseconds":
            return f"{value / 1000:,.1f} s"
        case _:
            return f"{value:,} {unit.removesuffix('s') if value == 1 else unit}"


def _bar(percent: int) -> str:
    filled = min(BAR_CHARS, percent * BAR_CHARS // 100)
    return "█" * filled + "·" * (BAR_CHARS - filled)
