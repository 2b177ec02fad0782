"""`hive-a2a probe`: grade a foreign server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hive_a2a.command.tell import (
    EXIT_FAILED,
    CommandOptions,
    common_options,
    one_line,
    run_async,
    say,
    show,
    show_json,
)
from hive_a2a.errors import A2AError

if TYPE_CHECKING:
    from hive_a2a.command.probing.findings import ProbeFinding, ProbeReport

_MARKS: Final = {"fails": "✗", "withstands": "✓", "not applicable": "-", "unclear": "?"}
_COLORS: Final = {"fails": "red", "withstands": "green", "unclear": "yellow"}


@click.command(
    help="Grade an A2A server: which known attacks does it withstand?\n\n"
    "URL is the agent's, or its card's. Only tasks that the probe itself begins are touched, nothing is "
    "destroyed, and a webhook that the server wrongly accepts is removed at once. The probe sends one or two "
    "short test messages, some large and slow requests, and no more than a few dozen in all. Probe servers of "
    "yours, or with their owner's consent.\n\n"
    "Grades: A nothing got through, B low, C medium, D one high, E several high, F critical, ? too little "
    "could be seen. Exit code 1 where anything got through.",
    epilog="Example:  hive-a2a probe https://agent.example.com --token $TOKEN --sarif probe.sarif",
)
@click.argument("url", required=False)
@click.option("--token", envvar="HIVE_A2A_TOKEN", default="", help="Bearer token of the probe.")
@click.option(
    "--other-token",
    envvar="HIVE_A2A_OTHER_TOKEN",
    default="",
    help="Bearer token of another caller, who must not see the probe's task.",
)
@click.option("--only", multiple=True, metavar="ID", help="Only these; `wire` stands for wire-*.")
@click.option("--skip", multiple=True, metavar="ID", help="Not these.")
@click.option("--endpoint", default="", metavar="URL", help="Probe this interface of it.")
@click.option(
    "--binding", type=click.Choice(["JSONRPC", "HTTP+JSON"]), default=None, help="Of this binding."
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(0.1, 600),
    default=40.0,
    show_default=True,
    help="Seconds after which a held connection counts as held.",
)
@click.option(
    "--ca", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="Roots, in PEM."
)
@click.option(
    "--sarif",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write SARIF 2.1.0 to a file; - for standard output.",
    allow_from_autoenv=False,
)
@click.option("--list", "list_only", is_flag=True, help="Say what would be sent, and send nothing.")
@common_options
def probe(
    *,
    options: CommandOptions,
    url: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    sarif: Path | None,
    list_only: bool,
    **given: Any,  # noqa: ANN401 - what `_probe` takes
) -> int:
    """Probe a server."""
    from hive_a2a.command.probing.order import chosen_probes

    probes = chosen_probes(only, skip)
    if list_only:
        for one in probes:
            told = {"id": one.id, "severity": str(one.severity), "clause": one.clause}
            if options.json:
                show_json({**told, "title": one.title, "sends": one.sends})
            else:
                show(f"{one.id:<26} {one.severity:<9} {one.title}: sends {one.sends}")
        return 0
    if not url:
        raise click.UsageError("Name the URL of an agent, or --list.")

    def watch(finding: "ProbeFinding") -> None:
        say(options, f"  {finding.probe.id}: {finding.verdict}")

    say(options, f"Probing {url} with {len(probes)} probes; see `hive-a2a probe --list`.")
    report: ProbeReport = run_async(lambda: _probe(url, probes, watch, **given))
    if sarif is not None:
        _write_sarif(sarif, report)
    if options.json:
        show_json(report.told())
    elif str(sarif) != "-":
        for line in report_lines(report):
            show(line)
    return EXIT_FAILED if report.failed else 0


async def _probe(
    url: str,
    probes: Any,  # noqa: ANN401
    watch: Any,  # noqa: ANN401
    *,
    ca: Path | None,
    **given: Any,  # noqa: ANN401
) -> "ProbeReport":
    import ssl

    import httpx

    from hive_a2a.command.probing.order import find_agent, run_probes

    roots: ssl.SSLContext | bool = True
    if ca is not None:
        roots = ssl.create_default_context(cafile=str(ca))
    async with httpx.AsyncClient(
        trust_env=False, follow_redirects=False, timeout=30.0, verify=roots
    ) as http:
        agent = await find_agent(http, url, **given)
        return await run_probes(agent, probes, watch)


def report_lines(report: "ProbeReport") -> Iterator[str]:
    """Yield a report as a person reads it: the grade, what got through, what did not."""
    from hive_a2a.command.probing.findings import ProbeVerdict

    counts = ", ".join(
        f"{len(report.of(verdict))} {verdict}" for verdict in ProbeVerdict if report.of(verdict)
    )
    yield f"grade {report.grade}   {one_line(report.name, 60)}   {report.endpoint}"
    yield f"  {counts}"
    for verdict in (
        ProbeVerdict.FAILS,
        ProbeVerdict.UNCLEAR,
        ProbeVerdict.WITHSTANDS,
        ProbeVerdict.NOT_APPLICABLE,
    ):
        for finding in report.of(verdict):
            mark = click.style(_MARKS[verdict], fg=_COLORS.get(verdict))
            probe = finding.probe
            word = str(probe.severity if verdict is ProbeVerdict.FAILS else verdict)
            yield f"{mark} {word:<14} {probe.id:<26} {one_line(finding.saw, 200)}"
            if verdict is ProbeVerdict.FAILS:
                yield f"                 {probe.title} ({probe.clause}). Fix: {probe.fix}"


def _write_sarif(path: Path, report: "ProbeReport") -> None:
    from hive_a2a.command.entry import own_version
    from hive_a2a.command.probing.sarif import sarif_of

    text = json.dumps(sarif_of(report, own_version()), indent=1)
    if str(path) == "-":
        show(text)
        return
    try:
        path.write_text(text + "\n")
    except OSError as error:
        raise A2AError(f"{path} cannot be written.", why=str(error.strerror)) from error
