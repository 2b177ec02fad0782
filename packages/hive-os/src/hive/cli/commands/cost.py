"""`hive cost`: what model calls cost, from the records; `--watch` shows what is spent now."""

import csv
import io
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import click

from hive.cli.render import one_line, table
from hive.cli.session import Options, moving, say, shared_options, show, show_json
from hive.core.clock import SystemClock
from hive.ledger.cost import CostKey, CostReport, CostSum
from hive.web.page_spend import amount, milliseconds, money
from hive.web.spend import CostQuestion, LiveSpend, Spent, read_keys

SUM_TIMEOUT_S: Final = 300.0
WATCH_EVERY_S: Final = 1.0
NAME_MAX_CHARS: Final = 60
AGENTS_SHOWN: Final = 20
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO: Final = re.compile(r"(\d{1,6})([mhdw])")
_SUMS: Final = (
    "calls",
    "failed",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "nano_usd",
    "ms",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "first_token_p50_ms",
    "first_token_p95_ms",
)


@click.command(help="Sum what model calls cost.")
@click.option(
    "--by", default="agent,model", show_default=True, help=f"Any of {', '.join(CostKey)}."
)
@click.option("--since", default="", help="From then on: 90m, 24h, 7d, or 2026-01-31[T12:00].")
@click.option("--until", default="", help="Until before then, written likewise.")
@click.option("--task", default="", help="Only the calls of this task.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--watch", is_flag=True, help="Show what is spent now, until Ctrl-C.")
@shared_options
def cost(
    *, options: Options, by: str, since: str, until: str, task: str, as_csv: bool, watch: bool
) -> int:
    """Print sums."""
    if watch:
        return _watch(options)
    now = SystemClock().now()
    question = CostQuestion(
        by=read_keys(by), since=moment(since, now), until=moment(until, now), task=task
    )
    report = read_cost(options, question)
    if options.json:
        show_json(report)
    elif as_csv:
        click.echo(csv_text(report), nl=False)
    else:
        for line in report_lines(report):
            show(line)
        if report.truncated:
            say(options, f"Only the dearest {len(report.groups)} are shown; the total is of all.")
    return 0


def read_cost(options: Options, question: CostQuestion) -> CostReport:
    """Sum by the running node, or open the records of one that does not run."""
    client = options.client()
    if not client.alive():
        from hive.cli.node_entry import summed_cost

        with moving(options, "opening the records"):
            return summed_cost(options.settings(), question)
    return client.get(
        "cost",
        CostReport,
        timeout_s=SUM_TIMEOUT_S,
        # An empty field is not sent, and without one the node takes its own choice.
        by=",".join(question.by) or ",",
        since=question.since.isoformat() if question.since else "",
        until=question.until.isoformat() if question.until else "",
        task=question.task,
    )


def moment(text: str, now: datetime) -> datetime | None:
    """Read a time: so long ago, or a date with or without a time of day (UTC where no zone stands).

    Raises:
        UsageError: it is neither.

    """
    if not text:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise click.UsageError(
            f"{text!r} is no time; write 24h, 7d or 2026-01-31T12:00."
        ) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def report_lines(report: CostReport) -> Iterator[str]:
    """Yield the table, with its total as the last line."""
    if not report.total.calls:
        yield "No model call is on record for that."
        return
    keys = [key.value for key in report.by]
    heads = [key.upper() for key in keys] or [""]
    rows = [[*(_named(one, key) for key in keys), *_cells(one)] for one in report.groups]
    if not keys:
        rows = []
    total = ["total", *("" for _ in heads[1:]), *_cells(report.total)]
    yield from table(
        (*heads, "CALLS", "FAILED", "INPUT", "CACHED", "OUTPUT", "COST", "P50", "P95", "FIRST"),
        [*rows, total],
    )


def csv_text(report: CostReport) -> str:
    """Return the groups as comma-separated values, the total among them not."""
    keys = [key.value for key in report.by]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*keys, *_SUMS, "usd"])
    for one in report.groups or (report.total,):
        names = (_inert(one_line(one.key.get(key, ""))) for key in keys)
        lines.writerow([*names, *(_plain(getattr(one, name)) for name in _SUMS), _exact(one)])
    return text.getvalue()


def live_lines(spend: LiveSpend) -> Iterator[str]:
    """Yield what `--watch` shows: the node's sums, its agents, its ceilings."""
    in_all = money(spend.total) if spend.complete else "being summed"
    yield f"today       {money(spend.today)}   {spend.today.calls} calls, {spend.today.failed} failed"
    yield f"in all      {in_all}"
    yield f"now         {spend.tokens_per_s:.1f} tokens a second, mean of the last minute"
    yield (
        f"answered    {milliseconds(spend.p50_ms)}, 95 % in {milliseconds(spend.p95_ms)}, "
        f"first token in {milliseconds(spend.first_token_p50_ms)}"
    )
    yield ""
    rows = [
        (one_line(one.agent, NAME_MAX_CHARS), *_live_cells(one.today), money(one.total))
        for one in spend.agents[:AGENTS_SHOWN]
    ]
    if rows:
        yield from table(("AGENT", "CALLS", "FAILED", "TOKENS", "TODAY", "IN ALL"), rows)
    ceilings = [
        (
            one_line(f"{bar.scope} {bar.name}", NAME_MAX_CHARS),
            amount(bar.unit, bar.spent + bar.reserved),
            amount(bar.unit, bar.limit),
            bar.period,
            "closed" if bar.closed else "open",
        )
        for bar in spend.budgets[:AGENTS_SHOWN]
    ]
    if ceilings:
        yield ""
        yield from table(("BUDGET", "USED", "CEILING", "PERIOD", "STATE"), ceilings)


def _watch(options: Options) -> int:
    client = options.client()
    clear = _clearing(options)
    try:
        while True:
            spend = client.get("spend", LiveSpend)
            if options.json:
                show_json(spend)
            else:
                clear()
                for line in live_lines(spend):
                    show(line)
            time.sleep(WATCH_EVERY_S)
    except KeyboardInterrupt:
        return 0


def _clearing(options: Options) -> Callable[[], None]:
    """Return what wipes a terminal before each table; elsewhere tables follow each other."""
    if sys.stdout.isatty() and not options.plain:
        return click.clear
    return lambda: None


def _named(one: CostSum, key: str) -> str:
    return one_line(one.key.get(key, ""), NAME_MAX_CHARS) or "-"


def _cells(one: CostSum) -> tuple[str, ...]:
    spent = Spent(calls=one.calls, failed=one.failed, unpriced=one.unpriced, nano_usd=one.nano_usd)
    return (
        f"{one.calls:,}",
        f"{one.failed:,}",
        f"{one.input_tokens:,}",
        f"{one.cached_tokens:,}",
        f"{one.output_tokens:,}",
        money(spent),
        milliseconds(one.p50_ms),
        milliseconds(one.p95_ms),
        milliseconds(one.first_token_p50_ms),
    )


def _live_cells(spent: Spent) -> Sequence[str]:
    return (f"{spent.calls:,}", f"{spent.failed:,}", f"{spent.tokens:,}", money(spent))


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _exact(one: CostSum) -> str:
    if one.unpriced and not one.nano_usd:
        return ""
    return f"{Decimal(one.nano_usd).scaleb(-9):.9f}"


def _inert(text: str) -> str:
    """Return a name that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
