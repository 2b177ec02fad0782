"""`hive tool add`: from a package, an address, an agent's card or a command to a server that answers."""

import re
from pathlib import Path
from typing import Final

import click

from hive.cli.client import OperatorClient, segment
from hive.cli.commands.run import CommandAfterDashes
from hive.cli.commands.tool_sign import signature_in
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import one_line
from hive.cli.session import (
    Options,
    agrees,
    fact,
    moving,
    on_terminal,
    say,
    shared_options,
    show,
    show_json,
    took,
)
from hive.cli.tool_secrets import REFERENCE, looks_secret, secret_name_of
from hive.cli.tool_shortcuts import KNOWN_SERVERS, KnownServer, is_database
from hive.cli.tool_text import tool_rows
from hive.core.errors import ConfigError, StateError
from hive.web.tools import (
    ToolLogLine,
    ToolServerOrder,
    ToolServerPlan,
    ToolServerReport,
    ToolServerStep,
)

_EFFECT: Final = re.compile(r"([^\s=]{1,200})=(pure|idempotent|once)")
PLAN_TIMEOUT_S: Final = 60.0
LINES_OF_A_STOPPED: Final = 3
_ARGV: Final = "hive.cli.argv"
_FLAGGED: Final = "flagged"
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,127})=(.*)", re.DOTALL)
_HEADER: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,100})\s*[:=]\s*(.*)", re.DOTALL)


@click.command(
    "add",
    cls=CommandAfterDashes,
    help="Add a server: a package, an address, or `-- COMMAND ARGUMENTS`. Known by name alone: "
    + ", ".join(KNOWN_SERVERS)
    + ".",
)
@click.argument("name")
@click.option("--npm", metavar="PACKAGE", help="A package of npm; arguments after `--`.")
@click.option("--pypi", metavar="PACKAGE", help="A package of PyPI; arguments after `--`.")
@click.option("--url", metavar="URL", help="A server that runs elsewhere.")
@click.option("--sse", is_flag=True, help="It speaks the older HTTP+SSE transport.")
@click.option("--agent", metavar="CARD_URL", help="An A2A agent, whose skills become tools.")
@click.option("--allow-path", "paths", multiple=True, metavar="PATH[:rw]", help="Files it may see.")
@click.option(
    "--host-allow", "hosts", multiple=True, metavar="HOST[:PORT]", help="A host to reach."
)
@click.option("--env", "variables", multiple=True, metavar="K=V", help="V may be secret:NAME.")
@click.option("--header", "headers", multiple=True, metavar="K=V", help="V may be secret:NAME.")
@click.option("--oauth", is_flag=True, help="It wants a login: see `hive tool login`.")
@click.option(
    "--share",
    type=click.Choice(["node", "owner", "sandbox"]),
    default="owner",
    help="Who shares one running server (default: the agents of one owner).",
)
@click.option(
    "--effect",
    "effects",
    multiple=True,
    metavar="TOOL=pure|idempotent|once",
    help="What a call of it does, over the server's own word; `*` for all.",
)
@click.option(
    "--trusted", is_flag=True, help="No stranger writes into what it answers: it may steer agents."
)
@click.option("--timeout", type=click.FloatRange(0.1, 3600), default=60.0, help="Seconds a call.")
@click.option(
    "--allow-build", is_flag=True, help="Run build scripts of its packages, inside the walls."
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The signature over its package: hive tool sign NAME.",
)
@click.option("--yes", is_flag=True, help="Confirm what it will be able to do.")
@shared_options
def add(
    *,
    options: Options,
    name: str,
    npm: str | None,
    pypi: str | None,
    url: str | None,
    sse: bool,
    agent: str | None,
    paths: tuple[str, ...],
    hosts: tuple[str, ...],
    variables: tuple[str, ...],
    headers: tuple[str, ...],
    oauth: bool,
    share: str,
    effects: tuple[str, ...],
    timeout: float,
    allow_build: bool,
    trusted: bool,
    bundle: Path | None,
    yes: bool,
) -> int:
    """Add a server."""
    argv = click.get_current_context().meta.get(_ARGV, [])
    order = _started(
        name, npm=npm, pypi=pypi, url=url, sse=sse, agent=agent, argv=argv, paths=paths
    )
    order = _replaced(
        order,
        folder=str(Path.cwd()),
        paths=order.paths or list(paths),
        hosts=list(hosts),
        environment=order.environment | _assigned(variables, _ASSIGNMENT, "--env"),
        headers=_assigned(headers, _HEADER, "--header"),
        oauth=oauth,
        sharing=share,
        effects=_assigned(effects, _EFFECT, "--effect", "TOOL=pure, =idempotent or =once"),
        timeout_s=timeout,
        allow_build=allow_build,
        trusted=trusted,
        bundle=signature_in(bundle),
    )
    order = with_secrets_moved(options, order, yes=yes)
    known = KNOWN_SERVERS.get(name)
    if known and known.advice and order.package == known.package and not (paths or hosts):
        say(options, known.advice)
    client = options.client()
    order = confirmed(options, client, order, yes=yes)
    return EXIT_FAILED if added(options, client, order) is None else 0


def with_secrets_moved(options: Options, order: ToolServerOrder, *, yes: bool) -> ToolServerOrder:
    """Return the order with values that look like keys on their way into the vault.

    Raises:
        ConfigError: there are some, and nobody is here to say that they may.

    """
    moved: dict[str, str] = {}
    parts: dict[str, dict[str, str]] = {}
    for part in ("environment", "headers"):
        values = dict(getattr(order, part))
        for key, value in values.items():
            if looks_secret(key, value):
                kept = secret_name_of(order.name, key)
                moved[kept] = value
                values[key] = REFERENCE + kept
        parts[part] = values
    if not moved:
        return order
    names = ", ".join(moved)
    if not yes:
        if not on_terminal():
            raise ConfigError(
                f"A value of {order.name} looks like a key.",
                why=f"It would stand in lists and in the record. In the vault it is {names}.",
                fix=f"Add --yes to move it there, or keep it first: hive secret set {names}",
            )
        if not agrees(f"This looks like a key. Keep it in the vault, as {names}"):
            say(options, "Nothing was added.")
            raise click.exceptions.Exit(EXIT_FAILED)
    return _replaced(order, secrets=order.secrets | moved, **parts)


def confirmed(
    options: Options, client: OperatorClient, order: ToolServerOrder, *, yes: bool
) -> ToolServerOrder:
    """Show what a server will be able to do, and ask; return the order with the yes.

    Raises:
        StateError: nobody is here to say yes.

    """
    plan = client.post("tools/plan", ToolServerPlan, order, timeout_s=PLAN_TIMEOUT_S)
    order = _with_missing(options, order, plan)
    if not options.json:
        for line in plan_lines(plan):
            say(options, line)
    if not yes:
        if not on_terminal():
            raise StateError(
                f"{plan.name} was not added.",
                why="Nobody is here to confirm what it will be able to do.",
                fix="Add --yes to confirm it.",
            )
        if not agrees("Add it"):
            say(options, "Nothing was added.")
            raise click.exceptions.Exit(EXIT_FAILED)
    return _replaced(order, confirmed=plan.digest)


def plan_lines(plan: ToolServerPlan) -> list[str]:
    """Say what a server is and will be able to do."""
    lines = [f"{plan.name} ({one_line(plan.starts, 100)})"]
    return lines + [fact("", one_line(line)) for line in plan.lines]


def added(
    options: Options, client: OperatorClient, order: ToolServerOrder
) -> ToolServerReport | None:
    """Carry it out, telling each step; return the server, None where it does not answer."""
    report: ToolServerReport | None = None
    stopped = ""
    with moving(options, "building and starting") as line:
        for step in client.lines("POST", "tools", ToolServerStep, body=order):
            report = step.server or report
            if step.stage == "progress":
                line.update(one_line(step.text, 70))
                continue
            line.clear()
            if step.stage == "stopped":
                stopped = step.text or "it ended"
            if options.json:
                show_json(step)
            elif step.stage != "stopped":
                say(options, fact(step.stage, one_line(step.text), took(step.took_ms)))
    if stopped or report is None:
        if not options.json:
            _tell_stopped(options, client, order.name, stopped)
        return None
    if not options.json:
        _tell(options, order.name, report)
    return report


def _tell_stopped(options: Options, client: OperatorClient, name: str, why: str) -> None:
    show(f"{name} is kept, but does not answer: {one_line(why)}")
    path = f"tool-logs/{segment(name)}"
    for line in client.lines("GET", path, ToolLogLine, last=LINES_OF_A_STOPPED):
        show(fact("it wrote", one_line(line.text)))
    say(options, f"Next:  hive tool logs {name}     and then  hive tool refresh {name}")


def _tell(options: Options, name: str, report: ToolServerReport) -> None:
    for line in tool_rows(report.tools) if report.tools else ["It has no tools."]:
        show(line)
    blocked = [one for one in report.tools if not one.usable]
    if blocked:
        show(f"{len(blocked)} of these wait for a look: hive tool approve {blocked[0].name}")
    say(options, f"Next:  hive run AGENT --tool {name}     or try one:  hive tool call {name}.TOOL")


def _started(
    name: str,
    *,
    npm: str | None,
    pypi: str | None,
    url: str | None,
    sse: bool,
    agent: str | None,
    argv: list[str],
    paths: tuple[str, ...],
) -> ToolServerOrder:
    """Return how a server is started or reached."""
    ways = [way for way in (npm, pypi, url, agent) if way]
    if len(ways) > 1:
        raise click.UsageError("Choose one of --npm, --pypi, --url and --agent.")
    if sse and not url:
        raise click.UsageError("--sse goes with --url.")
    if (url or agent) and argv:
        raise click.UsageError("A server elsewhere takes no command.")
    if url:
        return ToolServerOrder(name=name, transport="sse" if sse else "http", url=url)
    if agent:
        return ToolServerOrder(name=name, transport="a2a", url=agent)
    if npm or pypi:
        package = f"npm:{npm}" if npm else f"pypi:{pypi}"
        return ToolServerOrder(name=name, package=package, argv=argv)
    if argv:
        return ToolServerOrder(name=name, argv=argv)
    known = KNOWN_SERVERS.get(name)
    if known is None:
        raise click.UsageError(
            "Say what it is: --npm, --pypi, --url, --agent or `-- COMMAND`. "
            f"Known by name alone: {', '.join(KNOWN_SERVERS)}."
        )
    return _known(name, known, paths)


def _known(name: str, known: KnownServer, paths: tuple[str, ...]) -> ToolServerOrder:
    if known.needs_path and not paths:
        raise click.UsageError(f"{name} {known.about}. Add {known.needs_path}.")
    inside = [_seen_at(path) for path in paths]
    environment = {}
    if known.memory_variable:
        folder = inside[0] if inside else "/tmp"  # noqa: S108  the sandbox's own
        environment[known.memory_variable] = f"{folder}/memory.json"
    return ToolServerOrder(
        name=name,
        package=known.package,
        argv=list(known.arguments(inside)),
        environment=environment,
        paths=[_folder_of(path) for path in paths] if known.beside_file else [],
    )


def _folder_of(text: str) -> str:
    """Return an allowed path with the folder in place of a database file."""
    pieces = text.split(":")
    access = [pieces.pop()] if pieces[-1] in ("ro", "rw") else []
    folders = [str(Path(one).parent) if is_database(one) else one for one in pieces]
    return ":".join(folders + access)


def _seen_at(text: str) -> str:
    """Return where a server sees an allowed path: where it is, unless another place was named."""
    pieces = text.split(":")
    if pieces[-1] in ("ro", "rw"):
        pieces.pop()
    return pieces[1] if len(pieces) == 2 else str(Path(pieces[0]).expanduser().resolve())


def _assigned(
    words: tuple[str, ...], form: re.Pattern[str], option: str, shape: str = "NAME=VALUE"
) -> dict[str, str]:
    found = {}
    for word in words:
        match = form.fullmatch(word)
        if match is None:
            raise click.UsageError(f"{option} takes {shape}.")
        found[match[1]] = match[2]
    return found


def _with_missing(
    options: Options, order: ToolServerOrder, plan: ToolServerPlan
) -> ToolServerOrder:
    """Ask for secrets that the vault does not have yet.

    Raises:
        ConfigError: some are missing, and nobody is here to give them.

    """
    missing = [name for name in plan.missing_secrets if name not in order.secrets]
    if not missing:
        return order
    if not on_terminal() or options.json:
        raise ConfigError(
            f"{order.name} needs secrets that the vault does not have.",
            why=f"Missing: {', '.join(missing)}.",
            fix=f"hive secret set {missing[0]}",
        )
    given = {name: click.prompt(name, hide_input=True, err=True) for name in missing}
    return _replaced(order, secrets=order.secrets | given)


def _replaced(order: ToolServerOrder, **changes: object) -> ToolServerOrder:
    import msgspec

    return msgspec.structs.replace(order, **changes)
