"""How an error looks to a person, and which exit code it gives.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 it runs but is degraded, 78 configuration.
"""

import errno
import sys
from typing import Final

import click

from hive.core.errors import ConfigError, HiveError, all_errors

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_DEGRADED: Final = 3
EXIT_CONFIG: Final = 78
EXIT_INTERRUPTED: Final = 130
_CODE_COLUMN: Final = 80


def told_error(code: str, what: str, *, why: str = "", fix: str = "") -> HiveError:
    """Return an error that the node told, as the class that has its code."""
    kind = next((kind for kind in all_errors() if kind.code == code), HiveError)
    return kind(what, why=why, fix=fix)


def code_of(error: Exception) -> str:
    """Return the stable code of an error."""
    return error.code if isinstance(error, HiveError) else HiveError.code


def exit_code_of(error: Exception) -> int:
    """Return the exit code that an error ends the command with."""
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return exit_code_of(error.exceptions[0])
    return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED


def print_error(error: Exception, *, as_json: bool = False) -> None:
    """Write what failed, why, the fix and the code to standard error."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, HiveError):
        what, why, fix = error.what, error.why, error.fix
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        what, why = f"No space is left to write {error.filename or 'the output'}.", ""
        fix = "Free some space, or write to another place."
    else:
        what = "Hive met an error that it did not expect."
        why = f"{type(error).__name__}: {error}"
        fix = "Run the same again with --debug and report what it prints."
    code = f"HIVE-{code_of(error)}"
    if as_json:
        import json

        told = {"error": {"code": code, "what": what, "why": why, "fix": fix}}
        click.echo(json.dumps(told), err=True)
        return
    mark = click.style("✗", fg="red") if sys.stderr.isatty() else "✗"
    click.echo(f"{mark} {what.ljust(_CODE_COLUMN - 2)} {code}", err=True)
    if why:
        click.echo(_indent(why), err=True)
    if fix:
        click.echo(f"  Fix:  {fix}", err=True)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line.strip() else "" for line in text.strip("\n").splitlines())
