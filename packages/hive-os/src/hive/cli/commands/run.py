"""`hive run`: from a source to a running agent, on the node that runs or on one of its own."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from hive.cli.client import OperatorClient
from hive.cli.completion import tool_names
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
    show_json,
    took,
)
from hive.core.errors import HiveError
from hive.web.values import DeployOrder, DeployPlan, DeployStep

PLAN_TIMEOUT_S: Final = 120.0
WATCH_INTERVAL_S: Final = 0.5
WATCHED_FILES_MAX: Final = 5000
_ARGV: Final = "hive.cli.argv"
_UNWATCHED: Final = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", ".hive"})


class CommandAfterDashes(click.Command):
    """A verb that takes `-- COMMAND ARGUMENTS`, which click would mix with its own arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what stands after the dashes apart."""
        if "--" in args:
            position = args.index("--")
            ctx.meta[_ARGV] = args[position + 1 :]
            args = args[:position]
        return super().parse_args(ctx, args)


def words_after_dashes(context: click.Context) -> list[str]:
    """Return what stood after the dashes."""
    found: list[str] = context.meta.get(_ARGV, [])
    return found


@click.command(
    cls=CommandAfterDashes,
    help="Run an agent: FILE.py:NAME, a folder, a card's URL, or `-- COMMAND ARGUMENTS`.",
)
@click.argument("source", required=False, default="")
@click.option("--name", default="", help="Its name (default: from the source).")
@click.option(
    "--mount", "mounts", multiple=True, metavar="HOST[:INSIDE][:rw]", help="Files it may see."
)
@click.option(
    "--host-allow", "hosts", multiple=True, metavar="HOST[:PORT]", help="A host it may reach."
)
@click.option(
    "--tool",
    "tools",
    multiple=True,
    metavar="SERVER[.TOOL]",
    help="A tool it may use, or all of a server; '*' for all.",
    shell_complete=tool_names,
)
@click.option(
    "--allow",
    "allow",
    multiple=True,
    metavar="CAPABILITY",
    help="A tool or host under conditions: 'tool fs.write path=under:/work'.",
)
@click.option("--yes", is_flag=True, help="Confirm what it asks for.")
@click.option("--watch", is_flag=True, help="Run it again whenever its source changes.")
@click.option(
    "--allow-build", is_flag=True, help="Build packages without a wheel, inside the walls."
)
@click.option(
    "--serves-a2a",
    is_flag=True,
    help="The command serves A2A on the port that PORT (or {port}) names.",
)
@click.option("--bundle", default="", help="Its signature, where that does not lie beside it.")
@shared_options
def run(
    *,
    options: Options,
    source: str,
    name: str,
    mounts: tuple[str, ...],
    hosts: tuple[str, ...],
    tools: tuple[str, ...],
    allow: tuple[str, ...],
    yes: bool,
    watch: bool,
    allow_build: bool,
    serves_a2a: bool,
    bundle: str,
) -> int:
    """Run an agent."""
    argv = words_after_dashes(click.get_current_context())
    if bool(source) == bool(argv):
        raise click.UsageError("Name a source, or a command after `--`.")
    if serves_a2a and not argv:
        raise click.UsageError("--serves-a2a goes with a command after `--`.")
    order = DeployOrder(
        source=source,
        folder=str(Path.cwd()),
        name=name,
        mounts=list(mounts),
        hosts=list(hosts),
        tools=list(tools),
        allow=list(allow),
        argv=argv,
        bundle=bundle,
        serves_a2a=serves_a2a,
        allow_build=allow_build,
    )
    client = options.client()
    if client.alive():
        _deploy(options, client, order, yes=yes)
        if watch:
            _watch(options, client, order)
        return 0

    return _with_own_node(options, client, order, yes=yes, watch=watch)


def _with_own_node(
    options: Options, client: OperatorClient, order: DeployOrder, *, yes: bool, watch: bool
) -> int:
    """Run an agent on a node inside this very command."""

    def work() -> bool:
        _deploy(options, client, order, yes=yes, stays=on_terminal() and not watch)
        if watch:
            _watch(options, client, order)
        return on_terminal()

    from hive.cli.node_entry import serve

    try:
        interrupted = serve(options.settings(), work)
    except KeyboardInterrupt:
        interrupted = True
    if interrupted:
        say(options, "Stopped.")
    return 0


def _deploy(
    options: Options,
    client: OperatorClient,
    order: DeployOrder,
    *,
    yes: bool,
    stays: bool | None = None,
) -> str:
    with moving(options, "reading the source"):
        plan = client.post("plan", DeployPlan, order, timeout_s=PLAN_TIMEOUT_S)
    for line in plan.warnings:
        say(options, fact("warning", one_line(line)))
    agreed = _agreed(options, plan, yes=yes)
    settled = _replace(order, confirmed=plan.digest if agreed else "", safe=not agreed)
    return deploy(options, client, settled, stays=stays)


def deploy(
    options: Options, client: OperatorClient, order: DeployOrder, *, stays: bool | None = None
) -> str:
    """Deploy as agreed, telling each step; return the agent's name.

    `stays` says of a node inside this very command whether it goes on until Ctrl-C.
    """
    name = ""
    with moving(options, "deploying") as line:
        for step in client.lines("POST", "agents", DeployStep, body=order):
            name = step.agent or name
            if step.stage == "progress":
                line.update(one_line(step.text, 70))
                continue
            line.clear()
            if options.json:
                show_json(step)
            elif step.stage != "card" or stays is not False or on_terminal():
                say(options, _step_line(step))
    if not name:
        raise HiveError(
            "The agent was not deployed.",
            why="The node ended the stream before it was ready.",
            fix="hive logs",
        )
    where = "     in another terminal; Ctrl-C here stops the node" if stays else ""
    say(options, f'Next:  hive call {name} "hello"{where}')
    return name


def _step_line(step: DeployStep) -> str:
    if step.stage == "ready":
        return fact("ready", took(step.took_ms) or step.text, step.note)
    note = "  ".join(filter(None, (took(step.took_ms), f"({step.note})" if step.note else "")))
    return fact(step.stage, step.text, note)


def _agreed(options: Options, plan: DeployPlan, *, yes: bool) -> bool:
    """Tell whether the grant may be given as it was asked for; ask a person where there is one."""
    if plan.agreed or not plan.lines:
        return True
    if yes:
        return True
    if not on_terminal():
        say(options, fact("grant", "the safe one, since nobody is here to confirm more:"))
        for line in plan.safe_lines:
            say(options, fact("", one_line(line)))
        say(options, fact("", "--yes grants what it asks for"))
        return False
    say(options, f"{plan.name} ({one_line(plan.found)}) asks for:")
    for line in plan.lines:
        say(options, fact("", one_line(line)))
    if not agrees("Grant this? It is asked again when it changes"):
        say(options, "Nothing was deployed.")
        raise click.exceptions.Exit(EXIT_FAILED)
    return True


def _watch(options: Options, client: OperatorClient, order: DeployOrder) -> None:
    say(options, "  watching   Ctrl-C ends it")
    seen = dict(_stamps(order))
    try:
        while True:
            time.sleep(WATCH_INTERVAL_S)
            now = dict(_stamps(order))
            if now == seen:
                continue
            seen = now
            try:
                _deploy(options, client, order, yes=False)
            except HiveError as error:
                from hive.cli.errors import print_error

                # A half-written source is the usual case: the next save mends it.
                print_error(error, as_json=options.json)
    except KeyboardInterrupt:
        return


def _stamps(order: DeployOrder) -> Iterator[tuple[str, int]]:
    # A command sees the folder that it was named in; its first word may be a program of the system.
    path = Path(order.folder, "" if order.argv else order.source.partition(":")[0])
    roots = [path if path.is_dir() else path.parent]
    count = 0
    while roots:
        folder = roots.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.name in _UNWATCHED or entry.is_symlink():
                continue
            if entry.is_dir():
                roots.append(entry)
                continue
            count += 1
            if count > WATCHED_FILES_MAX:
                return
            try:
                yield str(entry), entry.stat().st_mtime_ns
            except OSError:  # it was removed meanwhile
                continue


def _replace(order: DeployOrder, *, confirmed: str, safe: bool) -> DeployOrder:
    import msgspec

    return msgspec.structs.replace(order, confirmed=confirmed, safe=safe)
