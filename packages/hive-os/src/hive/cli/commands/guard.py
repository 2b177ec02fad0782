"""`hive guard scan`: what the gate's scanner sees in a text, without a node."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hive.cli.errors import EXIT_FAILED
from hive.cli.session import Options, fact, say, shared_options, show, show_json
from hive.core.errors import BadInputError

if TYPE_CHECKING:
    from hive.core.settings import Settings
    from hive.security.guardrails import ScanReport

TEXT_MAX_BYTES = 4 << 20
SHOWN_MAX = 40
KINDS = ("secret", "email", "phone", "iban", "card", "national-id")


@click.group(help="Look at a text as the gate's scanner does, offline.")
def guard() -> None:
    """Hold the verbs about the guard."""


@guard.command("scan", help="Say what stands out in FILE, or in what comes in by `-`.")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path), default=Path("-"))
@click.option(
    "--direction",
    type=click.Choice(("in", "out", "both")),
    default="both",
    help="As a text that an agent reads, that it sends, or both.",
)
@click.option(
    "--redact", "kinds", multiple=True, type=click.Choice(KINDS), help="Print it without these."
)
@click.option(
    "--fail-above",
    type=click.FloatRange(0, 1),
    default=None,
    help="Exit with 1 from this score on, for scripts.",
)
@shared_options
def scan(
    *,
    options: Options,
    file: Path,
    direction: str,
    kinds: tuple[str, ...],
    fail_above: float | None,
) -> int:
    """Scan a text."""
    import anyio

    text = _read(file)
    if kinds:
        return _redacted(options, text, kinds)
    reports = anyio.run(_scanned, options.settings(), text, direction)
    worst = max((one.score() for one in reports.values()), default=0.0)
    if options.json:
        show_json({"score": worst, "reports": reports})
    else:
        for name, report in reports.items():
            _tell(name, text, report)
        say(
            options,
            "A score is a hint, not a judgement: labels and warrants decide what a call may do.",
        )
    return EXIT_FAILED if fail_above is not None and worst >= fail_above else 0


def _redacted(options: Options, text: str, kinds: tuple[str, ...]) -> int:
    from hive.security.guardrails import redact

    shown, counts = redact(text, kinds)
    if options.json:
        show_json({"text": shown, "redacted": counts})
        return 0
    show(str(shown))
    say(options, ", ".join(f"{kind} {count}" for kind, count in counts.items()) or "nothing found")
    return 0


def _read(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read(TEXT_MAX_BYTES + 1) if str(file) == "-" else _bytes(file)
    except OSError as error:
        raise BadInputError(f"{file} cannot be read.", why=error.strerror or "") from error
    if len(data) > TEXT_MAX_BYTES:
        raise BadInputError("The text is too long.", why=f"It is over {TEXT_MAX_BYTES} bytes.")
    return data.decode("utf-8", "replace")


def _bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(TEXT_MAX_BYTES + 1)


async def _scanned(settings: "Settings", text: str, direction: str) -> "dict[str, ScanReport]":
    from hive.core.clock import SystemClock
    from hive.node.guard import opened_scanner
    from hive.security.guardrails import Direction

    named = {"in": (Direction.INWARD,), "out": (Direction.OUTWARD,)}
    async with opened_scanner(settings, SystemClock()) as scanner:
        return {
            one.value: await scanner.scan(text, one, "command line")
            for one in named.get(direction, tuple(Direction))
        }


def _tell(name: str, text: str, report: "ScanReport") -> None:
    scores = ", ".join(f"{kind} {score:.2f}" for kind, score in report.kinds.items())
    show(f"{name}: {scores or 'nothing stands out'}")
    for one in report.findings[:SHOWN_MAX]:
        line = text.count("\n", 0, one.start) + 1
        show(fact(one.kind, f"{one.rule or one.kind}, line {line}", f"{one.score:.2f}"))
    if report.missing:
        show(fact("missing", report.missing))
