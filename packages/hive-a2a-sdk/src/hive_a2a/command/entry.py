"""The table of verbs and the way out. Exit codes: 0 ok, 1 failed, 2 wrong usage, 130 interrupted.

Bare `hive-a2a --help` is answered from the table: no verb's module is imported for it.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple

import click

from hive_a2a.command.tell import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, print_error


class VerbLine(NamedTuple):
    """Where a verb lives, and its line of help."""

    target: str
    help: str


VERBS: Final = {
    "call": VerbLine("call:call", "Send a message to an agent and print its answer."),
    "serve": VerbLine("serve:serve", "Serve an executor, secure by default."),
    "probe": VerbLine("probe:probe", "Grade a foreign server: which attacks it withstands."),
    "card": VerbLine("card:card", "Show, sign and verify cards."),
    "keys": VerbLine("keys:keys", "Make, show and rotate an agent's keys."),
    "audit": VerbLine("audit:audit", "Verify and show the record of a server."),
    "completion": VerbLine("completion:completion", "Print the completion script of a shell."),
}


class VerbTable(click.Group):
    """A group whose verbs are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        line = VERBS.get(cmd_name)
        if line is None:
            return None
        module_name, _, attribute = line.target.partition(":")
        module = import_module(f"hive_a2a.command.{module_name}")
        command: click.Command = getattr(module, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; of a wrong one, name what was probably meant."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1)
            meant = f" Did you mean:  hive-a2a {near[0]}" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name.ljust(10), line.help) for name, line in VERBS.items()])


def own_version() -> str:
    """Return the version of the installed package."""
    try:
        return version("hive-a2a-sdk")
    except PackageNotFoundError:
        return "unknown"


@click.group(
    cls=VerbTable,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="A2A agents, secure on the wire: call them, serve them, and test those of others.",
    epilog="Begin with:  hive-a2a probe https://agent.example.com",
)
@click.version_option(own_version(), prog_name="hive-a2a", message="%(prog)s %(version)s")
def root() -> None:
    """Hold the verbs."""


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    code = _run(arguments)
    return code if _output_written() else code or EXIT_FAILED


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = root.main(args=arguments, prog_name="hive-a2a", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`hive-a2a audit show | head`): what is buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  the last place where an error can be told well
        print_error(error)
        return EXIT_FAILED
    return code if isinstance(code, int) else 0


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
