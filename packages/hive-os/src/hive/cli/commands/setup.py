"""`hive init`, `hive explain`, `hive completion`: what needs no node."""

import inspect
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import HiveError, NotFoundError, all_errors

_AGENT: Final = '''"""A small agent: a function from a message to an answer. Any framework's object works as well."""


def agent(message: str) -> str:
    """Answer with the words of the message, counted."""
    words = message.split()
    return f"You sent {len(words)} words; the longest is {max(words, key=len, default='')!r}."
'''
_SPEC: Final = """# What the agent is and what it asks for. A need is a request: you confirm it once.
name = "{name}"
entry = "agent.py:agent"
description = "Counts words."
"""


@click.command(help="Write a small example agent into a folder.")
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@shared_options
def init(*, options: Options, folder: Path) -> int:
    """Write an example."""
    name = _name_of(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file, text in (("agent.py", _AGENT), ("hive-agent.toml", _SPEC.format(name=name))):
        path = folder / file
        try:
            with path.open("x") as output:
                output.write(text)
        except FileExistsError as error:
            raise HiveError(
                f"{path} exists.", why="Nothing is overwritten.", fix="Name another folder."
            ) from error
        written.append(str(path))
    if options.json:
        show_json({"name": name, "files": written})
        return 0
    for line in written:
        show(line)
    say(options, f"Next:  hive run {folder}     then:  hive call {name} 'count these words'")
    return 0


def _name_of(folder: Path) -> str:
    letters = "".join(
        c if c.isascii() and c.isalnum() else "-" for c in folder.resolve().name.lower()
    )
    return letters.strip("-")[:40] or "my-agent"


@click.command(help="Tell more of an error code, offline.")
@click.argument("code")
@shared_options
def explain(*, options: Options, code: str) -> int:
    """Print an error's page."""
    wanted = code.upper().removeprefix("HIVE-")
    kind = next((kind for kind in all_errors() if kind.code == wanted), None)
    if kind is None:
        known = ", ".join(sorted({kind.code for kind in all_errors()}))
        raise NotFoundError(f"There is no error {code}.", why=f"Known: {known}.")
    page = inspect.getdoc(kind) or ""
    if options.json:
        show_json({"code": f"HIVE-{kind.code}", "name": kind.__name__, "page": page})
        return 0
    show(f"HIVE-{kind.code}   {kind.__name__}")
    show()
    show(page)
    return 0


@click.command(help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@shared_options
def completion(*, options: Options, shell: str) -> int:
    """Print a completion script."""
    from hive.cli.entry import root

    found = get_completion_class(shell)
    if found is None:
        raise NotFoundError(f"There is no completion for {shell}.")
    show(found(root, {}, "hive", "_HIVE_COMPLETE").source())
    say(options, f'Next:  add  eval "$(hive completion {shell})"  to your shell\'s start file')
    return 0
