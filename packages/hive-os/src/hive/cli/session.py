"""What every verb shares: the options that stand on each of them, and how it speaks.

Results go to standard output, as text or as one JSON object a line; everything else to standard error.
Colour and moving lines appear on a terminal only, and never carry a meaning of their own.
"""

import functools
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import click

from hive.cli.errors import exit_code_of, print_error

if TYPE_CHECKING:
    from hive.cli.client import OperatorClient
    from hive.core.settings import Settings

Given = ParamSpec("Given")
Result = TypeVar("Result")
NOTE_COLUMN: Final = 72
_QUIET_S: Final = 0.5
_TICK_S: Final = 0.2
_ANSWER_MAX_BYTES: Final = 1024
_DRIVES_A_TERMINAL: Final = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # JSON itself escapes the rest
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that stand on every verb."""

    json: bool = False
    state: str | None = None
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    plain: bool = False

    def settings(
        self, *, port: int | None = None, host: str | None = None, mode: str | None = None
    ) -> "Settings":
        """Read all settings; options win."""
        from hive.core.settings import load_settings

        return load_settings(state_dir=self.state, port=port, host=host, mode=mode)

    def client(self) -> "OperatorClient":
        """Return a client of the node's control socket; connects with its first request."""
        from hive.cli.client import OperatorClient

        return OperatorClient(self.settings().state)

    def over(self, outer: "Options") -> "Options":
        """Return these options where given, else those before the verb."""
        return replace(
            self,
            json=self.json or outer.json,
            state=self.state or outer.state,
            quiet=self.quiet or outer.quiet,
            verbose=self.verbose or outer.verbose,
            debug=self.debug or outer.debug,
            plain=self.plain or outer.plain,
        )


def shared_options(verb: Callable[Given, Result]) -> Callable[..., Result]:
    """Give a verb the shared options, as its argument `options`; tell its errors well."""

    @click.option("--json", "as_json", is_flag=True, help="Print objects, one a line.")
    @click.option("--state", metavar="DIR", help="The node's state folder.")
    @click.option("-q", "--quiet", is_flag=True, help="Print results only.")
    @click.option("-v", "--verbose", is_flag=True, help="Print more.")
    @click.option("--debug", is_flag=True, envvar="HIVE_DEBUG", help="Show tracebacks.")
    # An option with a value, since NO_COLOR counts when it is set to anything at all.
    @click.option("--no-color", envvar="NO_COLOR", is_flag=False, flag_value="1", hidden=True)
    @functools.wraps(verb)
    def with_options(
        *,
        as_json: bool,
        state: str | None,
        quiet: bool,
        verbose: bool,
        debug: bool,
        no_color: str | None,
        **rest: object,
    ) -> Result:
        given = Options(
            json=as_json,
            state=state,
            quiet=quiet,
            verbose=verbose,
            debug=debug,
            plain=bool(no_color),
        )
        context = click.get_current_context()
        outer = context.parent.obj if context.parent else None
        options = given.over(outer) if isinstance(outer, Options) else given
        context.obj = options
        if options.plain:
            context.color = False
        return _guarded(options, lambda: verb(options=options, **rest))  # type: ignore[arg-type,call-arg]

    return with_options


def _guarded(options: Options, verb: Callable[[], Result]) -> Result:
    try:
        return verb()
    except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
        raise
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        print_error(error, as_json=options.json)
        raise click.exceptions.Exit(exit_code_of(error)) from error


def show(text: str = "") -> None:
    """Write one line of result."""
    click.echo(text)


def show_json(value: object) -> None:
    """Write one object as a line; what could drive a terminal stands there by its number."""
    import msgspec

    line = msgspec.json.encode(value).decode()
    click.echo(_DRIVES_A_TERMINAL.sub(lambda one: f"\\u{ord(one[0]):04x}", line))


def say(options: Options, text: str = "") -> None:
    """Write one line for the person, unless quiet."""
    if not options.quiet and not options.json:
        click.echo(text, err=True)


def paint(text: str, color: str) -> str:
    """Return text in a colour; click strips it where the output is not a terminal."""
    return click.style(text, fg=color)


def fact(label: str, text: str, note: str = "", *, width: int = NOTE_COLUMN) -> str:
    """Return one indented fact: a label, a text, and a note at the right."""
    line = f"  {label:<10} {text}"
    return f"{line.ljust(width)}  {note}" if note else line


def took(milliseconds: float | None) -> str:
    """Return a duration as people read it."""
    if milliseconds is None:
        return ""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def on_terminal() -> bool:
    """Tell whether a person is there to answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def agrees(question: str) -> bool:
    """Ask a person at the terminal; anything but a yes is a no.

    Reads the descriptor itself: this may run on a thread that is left behind at Ctrl-C, and one that
    waits inside Python's own buffered input would hold the whole process at its end.
    """
    sys.stderr.write(f"{question} [y/N]: ")
    sys.stderr.flush()
    return os.read(sys.stdin.fileno(), _ANSWER_MAX_BYTES).strip().lower() in (b"y", b"yes")


class Moving:
    """One line that moves while something takes long; silent where nobody watches."""

    def __init__(self) -> None:
        self._text = ""
        self._since = time.monotonic()
        self._done = threading.Event()
        self._drawn = False

    def update(self, text: str) -> None:
        """Say what is being done now."""
        self._text = text

    def clear(self) -> None:
        """Wipe the line, so that a lasting one can be written."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False

    def run(self) -> None:
        """Draw until done; the body of the drawing thread."""
        while not self._done.wait(_TICK_S):
            elapsed = time.monotonic() - self._since
            if elapsed > _QUIET_S and self._text:
                sys.stderr.write(f"\r\x1b[K  {self._text[:70]}  {elapsed:.0f} s")
                sys.stderr.flush()
                self._drawn = True

    def end(self) -> None:
        """Stop drawing."""
        self._done.set()


@contextmanager
def moving(options: Options, text: str) -> Iterator[Moving]:
    """Show a moving line while the body runs, on a terminal, once it takes over half a second."""
    line = Moving()
    line.update(text)
    if options.quiet or options.json or not sys.stderr.isatty():
        yield line
        return
    thread = threading.Thread(target=line.run, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.end()
        thread.join()
        line.clear()
