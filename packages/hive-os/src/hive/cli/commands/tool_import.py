"""`hive tool import`: the servers of a desktop client or an editor, behind walls from now on."""

from pathlib import Path

import click

from hive.cli.client import OperatorClient
from hive.cli.commands.tool_add import added, plan_lines
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import one_line
from hive.cli.session import (
    Options,
    agrees,
    fact,
    on_terminal,
    say,
    shared_options,
    show,
    show_json,
)
from hive.cli.tool_configs import (
    CLIENTS,
    ImportedConfig,
    ImportedServer,
    RefusedServer,
    config_files,
    read_config,
)
from hive.core.errors import HiveError, StateError
from hive.web.tools import ToolServerPlan


@click.command(
    "import", help=f"Take over servers from FILE, or from {', '.join(CLIENTS)} where they are."
)
@click.argument("source", type=click.Path())
@click.option("--dry-run", is_flag=True, help="Only show what would be taken, and what not.")
@click.option("--only", multiple=True, metavar="NAME", help="Take only these.")
@click.option("--yes", is_flag=True, help="Take them without being asked.")
@shared_options
def import_servers(
    *, options: Options, source: str, dry_run: bool, only: tuple[str, ...], yes: bool
) -> int:
    """Take servers over."""
    folder, home = Path.cwd(), Path.home()
    configs = [
        read_config(file, home=home, folder=folder)
        for file in config_files(source, folder=folder, home=home)
    ]
    for config in configs:
        _tell(options, config)
    chosen = [
        one for config in configs for one in config.taken if not only or one.order.name in only
    ]
    if dry_run or not chosen:
        if not chosen:
            say(options, "Nothing can be taken.")
        return 0 if chosen else EXIT_FAILED
    if not yes and not on_terminal():
        raise StateError(
            "Nothing was imported.",
            why="Nobody is here to confirm what these servers will be able to do.",
            fix="Add --yes to confirm it, or --dry-run to look only.",
        )
    client = options.client()
    failed = False
    for one in chosen:
        failed = not _take(options, client, one, yes=yes) or failed
    return EXIT_FAILED if failed else 0


def _take(options: Options, client: OperatorClient, one: ImportedServer, *, yes: bool) -> bool:
    """Add one server; tell whether it answers. What fails keeps the others from nothing."""
    import msgspec

    from hive.cli.errors import print_error

    try:
        plan = client.post("tools/plan", ToolServerPlan, one.order)
        missing = [name for name in plan.missing_secrets if name not in one.order.secrets]
        if missing:
            raise StateError(
                f"{one.order.name} was not added.",
                why=f"The vault does not have {', '.join(missing)}.",
                fix=f"hive secret set {missing[0]}     and then import again",
            )
        if not yes:
            for line in plan_lines(plan):
                say(options, line)
            if not agrees(f"Add {plan.name}"):
                return True
        return (
            added(options, client, msgspec.structs.replace(one.order, confirmed=plan.digest))
            is not None
        )
    except HiveError as error:
        print_error(error, as_json=options.json)
        return False


def _tell(options: Options, config: ImportedConfig) -> None:
    if options.json:
        for one in config.taken:
            show_json(_as_json(one))
        for left in config.refused:
            show_json({"refused": left.name, "why": left.why, "fix": left.fix})
        return
    say(options, one_line(str(config.file)))
    for one in config.taken:
        for line in _taken_lines(one):
            show(line)
    for left in config.refused:
        for line in _refused_lines(left):
            show(line)


def _as_json(one: ImportedServer) -> dict[str, object]:
    order = one.order
    return {
        "taken": order.name,
        "transport": order.transport,
        "package": order.package,
        "argv": list(order.argv),
        "url": order.url,
        "paths": list(order.paths),
        "variables": sorted(order.environment),
        "headers": sorted(order.headers),
        "to_vault": sorted(order.secrets),
        "missing_secrets": list(one.missing),
        "notes": list(one.notes),
        "enabled": order.enabled,
    }


def _taken_lines(one: ImportedServer) -> list[str]:
    order = one.order
    what = order.url or " ".join(filter(None, (order.package, *order.argv)))
    lines = [fact("taken", f"{order.name}   {one_line(what, 120)}")]
    lines += [fact("", f"reads {one_line(path)}") for path in order.paths]
    lines += [fact("", f"moves a key into the vault: {name}") for name in order.secrets]
    lines += [fact("", f"needs a secret: hive secret set {name}") for name in one.missing]
    return lines + [fact("", one_line(note)) for note in one.notes]


def _refused_lines(left: RefusedServer) -> list[str]:
    lines = [fact("refused", f"{one_line(left.name, 60)}   {one_line(left.why)}")]
    return [*lines, fact("", f"Fix:  {one_line(left.fix)}")] if left.fix else lines
