"""How the command speaks: results to standard output, as text or as JSON; everything else to standard error.

Text of others is shown without what could drive a terminal. An error says what failed, why, and what to do; a
traceback comes with `--debug` only.
"""

import functools
import json
import re
import sys
import traceback
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

import click

from hive_a2a.errors import A2AError

Given = ParamSpec("Given")
Result = TypeVar("Result")
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
LINE_MAX_CHARS: Final = 400
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_NOT_TYPED: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """The options that stand on every verb."""

    json: bool = False
    quiet: bool = False
    debug: bool = False


def common_options(verb: Callable[Given, Result]) -> Callable[..., Result]:
    """Give a verb its shared options, as its argument `options`; tell its errors well."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option("-q", "--quiet", is_flag=True, help="Print results only.")
    @click.option("--debug", is_flag=True, envvar="HIVE_A2A_DEBUG", help="Show tracebacks.")
    @functools.wraps(verb)
    def with_options(*, as_json: bool, quiet: bool, debug: bool, **rest: object) -> Result:
        options = CommandOptions(json=as_json, quiet=quiet, debug=debug)
        try:
            return verb(options=options, **rest)  # type: ignore[arg-type,call-arg]
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                traceback.print_exc()
            print_error(error, as_json=as_json)
            raise click.exceptions.Exit(EXIT_FAILED) from error

    return with_options


def show(text: str = "") -> None:
    """Write one line of result."""
    click.echo(text)


def show_json(value: object) -> None:
    """Write one object as a line; what could drive a terminal stands there by its number."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    plain = line.encode("utf-8", "backslashreplace").decode()
    click.echo(_NOT_TYPED.sub(lambda one: f"\\u{ord(one[0]):04x}", plain))


def say(options: CommandOptions, text: str) -> None:
    """Write one line for the person, unless quiet."""
    if not options.quiet and not options.json:
        click.echo(text, err=True)


def plain(text: object, *, keep: str = "") -> str:
    """Return foreign text without what could drive a terminal or turn its direction."""
    return "".join(
        one if one in keep or unicodedata.category(one) not in _HIDDEN else "\ufffd"
        for one in str(text)
    )


def one_line(text: object, limit_chars: int = LINE_MAX_CHARS) -> str:
    """Return foreign text as one harmless line."""
    flat = " ".join(plain(text, keep="\n\t\r").split())
    return flat if len(flat) <= limit_chars else flat[: limit_chars - 1] + "…"


def fact(label: str, text: object) -> str:
    """Return one indented fact."""
    return f"  {label:<12} {one_line(text)}".rstrip()


def told_of(error: BaseException) -> tuple[str, str, str]:
    """Return what failed, why, and what to do."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, A2AError):
        return error.what, error.why, error.fix
    if type(error).__module__.startswith(("a2a.", "httpx", "grpc")):
        message = getattr(error, "message", "") or str(error)
        return "The agent did not do it.", f"{type(error).__name__}: {message}", ""
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}.", "", ""
    return (
        "The command met an error that it did not expect.",
        f"{type(error).__name__}: {error}",
        "Run the same again with --debug and report what it prints.",
    )


def print_error(error: Exception, *, as_json: bool = False) -> None:
    """Write what failed, why and the fix to standard error."""
    what, why, fix = told_of(error)
    if as_json:
        click.echo(json.dumps({"error": {"what": what, "why": why, "fix": fix}}), err=True)
        return
    mark = click.style("✗", fg="red") if sys.stderr.isatty() else "✗"
    click.echo(f"{mark} {one_line(what)}", err=True)
    if why:
        click.echo(f"  {one_line(why)}", err=True)
    if fix:
        click.echo(f"  Fix:  {one_line(fix)}", err=True)


def run_async(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the verb's own coroutine returns
    """Run a verb's coroutine."""
    import anyio

    return anyio.run(work)
