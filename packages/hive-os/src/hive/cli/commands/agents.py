"""`hive ps`, `start`, `stop`, and `hive agent list|show|explain|rm`; sign and verify have a module of their own."""

import click

from hive.cli.client import segment
from hive.cli.commands import packages
from hive.cli.completion import agent_names
from hive.cli.render import agent_lines, agent_rows, explain_lines
from hive.cli.session import Options, moving, on_terminal, say, shared_options, show, show_json
from hive.web.values import AgentStatus


@click.command(help="List agents and what they do now.")
@shared_options
def ps(*, options: Options) -> int:
    """List agents."""
    return _list(options)


@click.command(help="Start a stopped agent.")
@click.argument("name", shell_complete=agent_names)
@shared_options
def start(*, options: Options, name: str) -> int:
    """Start an agent."""
    with moving(options, f"starting {name}"):
        found = options.client().post(f"agents/{segment(name)}/start", AgentStatus, timeout_s=120)
    _told(options, found, f"{name} is {found.state}.")
    return 0


@click.command(help="Stop an agent (its queue stays), or the node with --node.")
@click.argument("name", required=False, shell_complete=agent_names)
@click.option("--node", "whole_node", is_flag=True, help="Stop the node.")
@click.option("--drain", type=float, default=0.0, metavar="SECONDS", help="Let turns end first.")
@shared_options
def stop(*, options: Options, name: str | None, whole_node: bool, drain: float) -> int:
    """Stop an agent or the node."""
    if whole_node == bool(name):
        raise click.UsageError("Name an agent, or give --node to stop the node.")
    if whole_node:
        from hive.cli.commands.node import stop_node

        stop_node(options)
        return 0
    path = f"agents/{segment(name or '')}/stop"
    told = options.client().post(path, dict[str, str], timeout_s=30 + drain, drain_s=drain)
    _told(options, told, f"{name} is stopped.")
    return 0


@click.group(help="List, show, sign, verify or remove agents.")
def agent() -> None:
    """Hold the verbs about one agent."""


for _verb in (packages.sign, packages.verify, packages.sbom):
    agent.add_command(_verb)


@agent.command("list", help="List agents.")
@shared_options
def list_agents(*, options: Options) -> int:
    """List agents."""
    return _list(options)


@agent.command("show", help="Show one agent.")
@click.argument("name", shell_complete=agent_names)
@shared_options
def show_agent(*, options: Options, name: str) -> int:
    """Show one agent."""
    return _show(options, name, explain=False)


@agent.command("explain", help="Tell what an agent asked for, what it was given, and which tier.")
@click.argument("name", shell_complete=agent_names)
@shared_options
def explain_agent(*, options: Options, name: str) -> int:
    """Explain the grant and the tier of one agent."""
    return _show(options, name, explain=True)


@agent.command("rm", help="Stop an agent and forget it; its record stays.")
@click.argument("name", shell_complete=agent_names)
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
def remove_agent(*, options: Options, name: str, yes: bool) -> int:
    """Remove one agent."""
    if not yes and on_terminal():
        click.confirm(f"Remove {name}? Its record stays in the ledger.", abort=True, err=True)
    options.client().delete(f"agents/{segment(name)}")
    _told(options, {"removed": name}, f"{name} is removed.")
    return 0


def _list(options: Options) -> int:
    found = options.client().get("agents", list[AgentStatus])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    if not found:
        say(options, "No agent yet.")
        say(options, "Next:  hive run ./my_agent.py:agent")
        return 0
    for line in agent_rows(found):
        show(line)
    return 0


def _show(options: Options, name: str, *, explain: bool) -> int:
    found = options.client().get(f"agents/{segment(name)}", AgentStatus)
    if options.json:
        show_json(found)
        return 0
    for line in explain_lines(found) if explain else agent_lines(found):
        show(line)
    return 0


def _told(options: Options, value: object, sentence: str) -> None:
    if options.json:
        show_json(value)
    else:
        show(sentence)
