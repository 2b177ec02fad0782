"""`hive journal`, `replay`, `fork` and `diff`: what a run did, and running it again."""

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from hive.cli.client import segment
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import one_line, state, table
from hive.cli.session import Options, say, shared_options, show, show_json, took
from hive.core.errors import BadInputError
from hive.core.ids import plain_text
from hive.web.runs import (
    CassetteLine,
    Forked,
    ForkOrder,
    JournalStep,
    ReplayLine,
    ReplayOrder,
    RunJournal,
    RunsCompared,
    StepShown,
    WhereItDiffers,
)

ID_CHARS = 13
RUN_HELP = "the id of a task, the beginning of it, or `last`"


@click.command(help=f"List what a run did, in order. RUN is {RUN_HELP}.")
@click.argument("run", default="last")
@click.option("--show", "number", type=click.IntRange(1), help="Print what step N asked and got.")
@click.option("--cassette", "file", metavar="FILE", help="Write its model calls for `replay:FILE`.")
@shared_options
def journal(*, options: Options, run: str, number: int | None, file: str | None) -> int:
    """List the effects of a run."""
    client = options.client()
    if file:
        return _write_cassette(options, run, Path(file))
    if number is not None:
        shown = client.get(f"runs/{segment(run)}/{number}", StepShown)
        if options.json:
            show_json(shown)
        else:
            _show_step(shown)
        return 0
    found = client.get(f"runs/{segment(run)}", RunJournal)
    if options.json:
        show_json(found)
        return 0
    show(f"{found.run}  {found.agent}  {state(found.state)}")
    if found.forked_from:
        show(f"forked from {found.forked_from} at step {found.forked_at}")
    show(f"asked: {one_line(found.asked)}")
    for line in table(("STEP", "CALL", "CLASS", "RESULT", "TOKENS", "TIME", ""), _rows(found)):
        show(line)
    if found.answer:
        show(f"answer: {one_line(found.answer)}")
    return 0


@click.command(help=f"Run it again from its record, touching nothing. RUN is {RUN_HELP}.")
@click.argument("run", default="last")
@click.option(
    "--recorded-source", is_flag=True, help="Run the copy of the source that the run had."
)
@shared_options
def replay(*, options: Options, run: str, recorded_source: bool) -> int:
    """Replay a run; exit 1 where it does not come out as it was."""
    order = ReplayOrder(recorded_source=recorded_source)
    identical = False
    lines = options.client().lines("POST", f"replays/{segment(run)}", ReplayLine, body=order)
    for line in lines:
        identical = line.identical if line.kind == "end" else identical
        if options.json:
            show_json(line)
        else:
            _tell(options, line)
    return 0 if identical else EXIT_FAILED


@click.command(help=f"Run it again, live from step N on. RUN is {RUN_HELP}.")
@click.argument("run", default="last")
@click.option("--at", "at", type=click.IntRange(1), required=True, help="The first live step.")
@click.option("--message", help="Ask something else than the run was asked.")
@shared_options
def fork(*, options: Options, run: str, at: int, message: str | None) -> int:
    """Fork a run."""
    order = ForkOrder(at=at, message=message)
    found = options.client().post(f"runs/{segment(run)}/fork", Forked, order)
    if options.json:
        show_json(found)
    else:
        show(f"{found.run}  {found.agent}, from {found.forked_from} at step {found.at}")
        say(options, f"Next:  hive journal {found.run[:ID_CHARS]}")
    return 0


@click.command(help="Compare two runs step by step; exit 1 where they differ.")
@click.argument("one")
@click.argument("other")
@click.option(
    "--all", "everything", is_flag=True, help="Print every difference, not only the first."
)
@shared_options
def diff(*, options: Options, one: str, other: str, everything: bool) -> int:
    """Compare two runs."""
    found = options.client().get(f"runs/{segment(one)}/diff/{segment(other)}", RunsCompared)
    if options.json:
        show_json(found)
    elif found.equal:
        show(f"equal: {len(found.durations_ms)} steps, and how they ended")
    else:
        count = len(found.differences)
        for where in found.differences if everything else found.differences[:1]:
            for line in _where_lines(where, one=found.one[:ID_CHARS], other=found.other[:ID_CHARS]):
                show(line)
        if count > 1 and not everything:
            show(f"{count - 1} more: --all")
    return 0 if found.equal else EXIT_FAILED


def _write_cassette(options: Options, run: str, file: Path) -> int:
    """Write the answers that a run had; exit 1 where it has none."""
    from hive.protocols.models.cassette import RecordedExchange, write_cassette

    lines = list(options.client().lines("GET", f"cassettes/{segment(run)}", CassetteLine))
    for line in lines:
        if line.skipped:
            say(options, f"step {line.step} is not in it: {plain_text(line.skipped)}")
    kept = [
        msgspec.json.decode(line.exchange, type=RecordedExchange)
        for line in lines
        if not line.skipped
    ]
    if not kept:
        say(options, "This run has no answer of a model that a cassette could hold.")
        return EXIT_FAILED
    try:
        write_cassette(str(file), kept)
    except OSError as error:
        raise BadInputError(
            "The cassette cannot be written.", why=str(error), fix="Name another FILE."
        ) from error
    if options.json:
        show_json({"file": str(file), "exchanges": len(kept)})
    else:
        show(f"{file}: {len(kept)} answers     HIVE_MODELS=replay:{file.absolute()}")
    return 0


def _rows(found: RunJournal) -> Iterator[tuple[str, ...]]:
    for step in found.steps:
        yield (
            str(step.number),
            one_line(f"{step.verb} {step.target}", 60),
            step.effect,
            step.outcome,
            _tokens(step),
            took(step.duration_ms) if step.duration_ms is not None else "",
            f"from {step.origin}" if step.origin else one_line(step.note, 80),
        )


def _tokens(step: JournalStep) -> str:
    if not step.tokens:
        return ""
    return f"{step.tokens.get('input_tokens', 0)}+{step.tokens.get('output_tokens', 0)}"


def _show_step(shown: StepShown) -> None:
    step = shown.step
    show(f"step {step.number}  {step.verb} {step.target}  {step.outcome}")
    kept = " (redacted)" if step.redacted else ""
    show(f"asked{kept}:")
    show("  (not kept)" if shown.asked is None else plain_text(shown.asked, keep="\n\t"))
    show("answered:")
    show("  (nothing is kept)" if shown.answer is None else plain_text(shown.answer, keep="\n\t"))


def _tell(options: Options, line: ReplayLine) -> None:
    if line.kind == "note":
        say(options, f"note: {line.text}")
    elif line.kind == "step":
        how = "" if line.how == "exact" else f"  ({line.how}: {', '.join(line.masks)})"
        say(options, f"step {line.step}  {one_line(line.text)}{how}")
    else:
        if line.masks:
            show("masked: " + ", ".join(f"{n} {name}" for name, n in line.masks.items()))
        if line.divergence is None:
            show(f"identical: {line.step} of {line.steps} steps served, {line.state}")
            return
        for text in _where_lines(line.divergence, one="recorded", other="now"):
            show(text)


def _where_lines(where: WhereItDiffers, *, one: str, other: str) -> Iterator[str]:
    place = f"step {where.step}" if where.step else "the end"
    at = f" at {one_line(where.path)}" if where.path else ""
    yield f"differs at {place}: {one_line(where.what)}{at}"
    width = max(len(one), len(other))
    yield f"  {one.ljust(width)}  {one_line(where.expected)}"
    yield f"  {other.ljust(width)}  {one_line(where.actual)}"
