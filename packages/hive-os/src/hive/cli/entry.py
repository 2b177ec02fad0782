"""The table of verbs and the way out: exit codes, errors in three lines, a traceback only on request.

Bare `hive --help` is answered from the table: no verb's module is imported for it.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple

import click

from hive import __version__
from hive.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, exit_code_of, print_error
from hive.cli.session import Options, shared_options


class VerbRow(NamedTuple):
    """Where a verb lives, and its line of help."""

    target: str
    help: str


_SECTIONS: Final[dict[str, dict[str, VerbRow]]] = {
    "Run": {
        "demo": VerbRow("demo:demo", "See it work: three agents, no key, no network."),
        "run": VerbRow("run:run", "Run an agent from its source, any framework."),
        "call": VerbRow("call:call", "Send a message to an agent and print its answer."),
        "chat": VerbRow("call:chat", "Talk with an agent, line by line."),
        "mcp": VerbRow("mcp:mcp", "Join a desktop client or editor to the node by MCP."),
        "build": VerbRow("build:build", "Make a WebAssembly component of an agent."),
        "init": VerbRow("setup:init", "Write a small example agent."),
    },
    "Look": {
        "ps": VerbRow("agents:ps", "List agents and what they do now."),
        "task": VerbRow("tasks:task_verbs", "List, show and cancel tasks."),
        "logs": VerbRow("logs:logs", "Print what agents printed."),
        "trace": VerbRow("records:trace", "Draw what happened for a task."),
        "journal": VerbRow("runs:journal", "List what a run did, step by step."),
        "replay": VerbRow("runs:replay", "Run it again from its record, touching nothing."),
        "fork": VerbRow("runs:fork", "Run it again, live from a step on."),
        "diff": VerbRow("runs:diff", "Compare two runs step by step."),
        "audit": VerbRow("records:audit", "Verify, follow, prove or export the ledger."),
        "cost": VerbRow("cost:cost", "Sum what model calls cost."),
        "status": VerbRow("node:status", "Describe the node."),
        "doctor": VerbRow("doctor:doctor", "Examine engines, walls, ports, disk, models."),
        "explain": VerbRow("setup:explain", "Tell more of an error code, offline."),
    },
    "Govern": {
        "up": VerbRow("node:up", "Start the node."),
        "down": VerbRow("node:down", "Stop the node."),
        "start": VerbRow("agents:start", "Start a stopped agent."),
        "stop": VerbRow("agents:stop", "Stop an agent, or the node with --node."),
        "agent": VerbRow("agents:agent", "List, show, sign, verify or remove agents."),
        "approve": VerbRow("approve:approve", "Say yes or no to calls that wait for it."),
        "identity": VerbRow("identity:identity", "Show, revoke and rotate agents' identities."),
        "policy": VerbRow(
            "policy:policy", "Say which calls may happen: rules, tests, what stands."
        ),
        "relation": VerbRow("relation:relation", "Say who is related to what."),
        "quarantine": VerbRow("quarantine:quarantine", "Shut an agent in; all evidence stays."),
        "release": VerbRow("quarantine:release", "Let an agent out of quarantine."),
        "watchdog": VerbRow("quarantine:watchdog", "Show alarms and the rules that raise them."),
        "enforce": VerbRow("enforce:enforce", "See and say what the kernel refuses agents."),
        "guard": VerbRow("guard:guard", "Look at a text as the gate's scanner does, offline."),
        "parked": VerbRow("parked:parked", "Decide about effects that a crash left open."),
        "warrant": VerbRow("warrant:warrant", "Mint, hand on, verify and revoke warrants."),
        "token": VerbRow("token:token", "Issue, list and revoke tokens of clients."),
        "budget": VerbRow("budget:budget", "Set ceilings on what agents spend."),
        "llm": VerbRow("llm:llm", "Add, list, test and route model providers."),
        "tool": VerbRow("tool:tool", "Add, list, call and approve tools of MCP servers."),
        "confidential": VerbRow(
            "confidential:confidential", "Verify evidence of machines, seal images, render pods."
        ),
        "trust": VerbRow("trust:trust", "Say whose signatures on agents count."),
        "secret": VerbRow("secret:secret", "Keep keys in the vault."),
        "backup": VerbRow("safekeeping:backup", "Write everything to one file."),
        "restore": VerbRow("safekeeping:restore", "Read a backup into an empty state folder."),
        "completion": VerbRow("setup:completion", "Print the completion script of a shell."),
    },
}
VERBS: Final = {name: verb for section in _SECTIONS.values() for name, verb in section.items()}


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        module_name, _, attribute = verb.target.partition(":")
        module = import_module(f"hive.cli.commands.{module_name}")
        command: click.Command = getattr(module, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; of a wrong one, name what was probably meant."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1)
            meant = f" Did you mean:  hive {near[0]}" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, by section."""
        for title, verbs in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(10), verb.help) for name, verb in verbs.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="An operating system for AI agents: isolated, named, allowed, recorded.",
    epilog="Begin with:  hive demo",
)
@click.version_option(__version__, prog_name="hive", message="%(prog)s %(version)s")
@shared_options
def root(options: Options) -> None:
    """Hold the options that stand before the verb."""
    click.get_current_context().obj = options


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    code = _run(arguments)
    return code if _output_written() else code or EXIT_FAILED


def _output_written() -> bool:
    """Write what is still buffered; where it has nowhere to go, drop it instead of a crash at exit."""
    written = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # full, closed by the shell, or none at all
            written = False
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return written


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = root.main(args=arguments, prog_name="hive", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`hive logs | head`): what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  the last place where an error can be told well
        print_error(error)
        return exit_code_of(error)
    return code if isinstance(code, int) else 0
