"""`hive tool`: servers of tools, what they offer, and who may use it."""

from typing import Final

import click

from hive.cli.client import segment
from hive.cli.commands.tool_add import add
from hive.cli.commands.tool_call import call
from hive.cli.commands.tool_import import import_servers
from hive.cli.commands.tool_sign import sign
from hive.cli.completion import server_names, tool_names
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import one_line, state
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
)
from hive.cli.tool_text import difference, server_lines, server_rows, tool_lines, tool_rows
from hive.core.errors import StateError
from hive.web.tools import (
    ToolApproval,
    ToolFound,
    ToolLogin,
    ToolLogLine,
    ToolReport,
    ToolServerLine,
    ToolServerReport,
    ToolsOverview,
)

REFRESH_TIMEOUT_S: Final = 120.0
LOGS_MAX: Final = 100_000


@click.group(help="Add, list, call and approve tools of MCP servers.")
def tool() -> None:
    """Hold the verbs about tools."""


for _verb in (add, call, import_servers, sign):
    tool.add_command(_verb)


@tool.command("list", help="List servers; with --tools or a word to look for, tools as well.")
@click.argument("search", default="", shell_complete=server_names)
@click.option("--tools", "with_tools", is_flag=True, help="List the tools of all servers.")
@click.option("--blocked", is_flag=True, help="Only tools that wait for an approval.")
@shared_options
def list_tools(*, options: Options, search: str, with_tools: bool, blocked: bool) -> int:
    """List servers and tools."""
    wanted = bool(search or with_tools or blocked)
    found = options.client().get("tools", ToolsOverview, search=search, tools=wanted)
    tools = [one for one in found.tools if not blocked or not one.usable]
    servers = [one for one in found.servers if search in one.name] if search else found.servers
    if options.json:
        for one in (*servers, *tools):
            show_json(one)
        return 0
    if not found.servers:
        show("No server yet.")
        say(options, "Next:  hive tool add filesystem --allow-path .")
        return 0
    for line in server_rows(servers) if servers and not blocked else ():
        show(line)
    if tools:
        if servers and not blocked:
            show()
        for line in tool_rows(tools):
            show(line)
    elif wanted:
        show("No tool waits." if blocked else f"No tool is called or described like {search!r}.")
    if found.more:
        say(options, f"and {found.more} more; name a word to look for")
    return 0


@tool.command("show", help="Describe a server or a tool: its fields, its pin, who used it.")
@click.argument("name", shell_complete=tool_names)
@shared_options
def show_one(*, options: Options, name: str) -> int:
    """Describe one."""
    found = options.client().get(f"tools/{segment(name)}", ToolFound)
    if options.json:
        show_json(found.server or found.tool)
        return 0
    if found.server is not None:
        for line in server_lines(found.server):
            show(line)
        say(options, f"Next:  hive run AGENT --tool {found.server.line.name}")
    if found.tool is not None:
        for line in tool_lines(found.tool):
            show(line)
        for line in _change_lines(found.tool):
            show(line)
        step = "call" if found.tool.line.usable else "approve"
        say(options, f"Next:  hive tool {step} {found.tool.line.name}")
    return 0


@tool.command("approve", help="Look at a new or changed definition, and allow it.")
@click.argument("name", shell_complete=tool_names)
@click.option("--digest", help="Approve this very definition without being asked.")
@shared_options
def approve(*, options: Options, name: str, digest: str | None) -> int:
    """Approve a definition."""
    return _approve(options, name, digest)


@tool.command("pin", help="The same as approve.")
@click.argument("name", shell_complete=tool_names)
@click.option("--digest", help="Approve this very definition without being asked.")
@shared_options
def pin(*, options: Options, name: str, digest: str | None) -> int:
    """Approve a definition."""
    return _approve(options, name, digest)


@tool.command("login", help="Log in at a server that wants it, with a browser.")
@click.argument("name", shell_complete=server_names)
@shared_options
def login(*, options: Options, name: str) -> int:
    """Log in."""
    found = options.client().post(f"tools/{segment(name)}/login", ToolLogin)
    if options.json:
        show_json(found)
        return 0
    if found.note:
        show(one_line(found.note))
    if found.url:
        show(one_line(found.url, 4000))
        say(options, "Open this address; it tells this node when you are done.")
        say(options, f"Next:  hive tool show {name}")
    return 0


@tool.command("rm", help="Take a server away, its approvals and its own secrets as well.")
@click.argument("name", shell_complete=server_names)
@shared_options
def remove(*, options: Options, name: str) -> int:
    """Take a server away."""
    options.client().delete(f"tools/{segment(name)}")
    if options.json:
        show_json({"removed": name})
    else:
        show(f"{name} is gone.")
    return 0


@tool.command("enable", help="Switch a server on.")
@click.argument("name", shell_complete=server_names)
@shared_options
def enable(*, options: Options, name: str) -> int:
    """Switch a server on."""
    return _switch(options, name, "enable")


@tool.command("disable", help="Switch a server off; its approvals stay.")
@click.argument("name", shell_complete=server_names)
@shared_options
def disable(*, options: Options, name: str) -> int:
    """Switch a server off."""
    return _switch(options, name, "disable")


@tool.command("refresh", help="Connect to a server anew and list its tools anew.")
@click.argument("name", shell_complete=server_names)
@shared_options
def refresh(*, options: Options, name: str) -> int:
    """Connect and list anew."""
    with moving(options, f"asking {name}"):
        found = options.client().post(
            f"tools/{segment(name)}/refresh", ToolServerReport, timeout_s=REFRESH_TIMEOUT_S
        )
    if options.json:
        show_json(found)
        return 0
    for line in server_lines(found):
        show(line)
    return 0


@tool.command("logs", help="Print what a server wrote beside its protocol.")
@click.argument("name", shell_complete=server_names)
@click.option("-n", "--last", type=click.IntRange(1, LOGS_MAX), default=100, help="How many lines.")
@shared_options
def logs(*, options: Options, name: str, last: int) -> int:
    """Print lines."""
    told = False
    for line in options.client().lines("GET", f"tool-logs/{segment(name)}", ToolLogLine, last=last):
        told = True
        if options.json:
            show_json(line)
        else:
            show(f"{line.at.astimezone():%H:%M:%S}  {one_line(line.text, 2000)}")
    if not told:
        say(options, f"{name} has written nothing.")
    return 0


def _switch(options: Options, name: str, verb: str) -> int:
    found = options.client().post(f"tools/{segment(name)}/{verb}", ToolServerLine)
    if options.json:
        show_json(found)
    else:
        show(f"{found.name}   {state(found.state)}")
    return 0


def _approve(options: Options, name: str, digest: str | None) -> int:
    client = options.client()
    found = client.get(f"tools/{segment(name)}", ToolFound)
    if found.tool is None:
        raise StateError(
            f"{name!r} is a server.",
            why="Approved are single tools, each by its definition.",
            fix=f"hive tool list {name}",
        )
    if digest is None:
        digest = _asked(options, found.tool)
    if digest is None:
        return EXIT_FAILED
    done = client.post(f"tools/{segment(name)}/approve", ToolReport, ToolApproval(digest=digest))
    if options.json:
        show_json(done)
    else:
        show(f"{done.line.name} is pinned to {done.digest}.")
    return 0


def _asked(options: Options, found: ToolReport) -> str | None:
    """Show what would be approved and ask; None for a no."""
    name = found.line.name
    if found.line.usable:
        say(options, f"{name} is pinned already; nothing changed since.")
        return found.digest
    for line in (*tool_lines(found), *_change_lines(found)):
        say(options, line)
    if not on_terminal():
        raise StateError(
            f"{name} was not approved.",
            why="Nobody is here to look at its definition.",
            fix=f"hive tool approve {name} --digest {found.digest}",
        )
    if not agrees("Allow this definition"):
        say(options, "It stays blocked.")
        return None
    return found.digest


def _change_lines(found: ToolReport) -> list[str]:
    if found.approved is None:
        return []
    return [
        "",
        fact("changed", "since it was approved:"),
        *difference(found.approved, found.definition),
    ]
