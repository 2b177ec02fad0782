"""`hive tool call`: one call of a tool, as the operator, through the same gate as an agent's."""

from pathlib import Path
from typing import Final

import click

from hive.cli.client import segment
from hive.cli.completion import tool_names
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import one_line
from hive.cli.session import Options, moving, say, shared_options, show, show_json, took
from hive.cli.tool_results import arguments_of, question_lines, result_lines
from hive.core.errors import HiveError, StateError
from hive.web.tools import ToolCallEvent, ToolCallOrder, ToolFound

WAIT_MAX_S: Final = 3700.0


@click.command(
    "call", help="""Call a tool: '{"path": "notes.txt"}', or path=notes.txt and count:=3."""
)
@click.argument("name", shell_complete=tool_names)
@click.argument("arguments", nargs=-1)
@click.option(
    "--save",
    "folder",
    default=".",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Where pictures and sounds are written.",
)
@shared_options
def call(*, options: Options, name: str, arguments: tuple[str, ...], folder: Path) -> int:
    """Call a tool."""
    client = options.client()
    found = client.get(f"tools/{segment(name)}", ToolFound).tool
    if found is None:
        raise StateError(
            f"{name!r} is a server.", why="Its tools are called.", fix=f"hive tool list {name}"
        )
    order = ToolCallOrder(arguments=arguments_of(arguments, found.definition.get("inputSchema")))
    last: ToolCallEvent | None = None
    with moving(options, f"calling {one_line(name, 50)}") as line:
        path = f"tool-calls/{segment(found.line.name)}"
        for event in client.lines("POST", path, ToolCallEvent, body=order, timeout_s=WAIT_MAX_S):
            if options.json:
                show_json(event)
            if event.kind == "progress":
                line.update(_progress(event))
            elif event.kind == "log":
                line.clear()
                say(options, one_line(event.text))
            else:
                last = event
    if last is None:
        raise HiveError("The call ended without an answer.", fix="hive status")
    return _ended(options, found.line.name, last, folder)


def _ended(options: Options, name: str, event: ToolCallEvent, folder: Path) -> int:
    if event.kind == "error":
        if not options.json:
            click.echo(f"✗ {one_line(event.text)}", err=True)
        return EXIT_FAILED
    result = event.result or {}
    failed = result.get("isError") is True
    if options.json:
        return EXIT_FAILED if failed else 0
    questions = list(question_lines(result))
    for line in questions or result_lines(result, folder=folder, name=name):
        show(line)
    say(options, f"  {'the tool failed, ' * failed}{took(event.took_ms)}")
    return EXIT_FAILED if failed or questions else 0


def _progress(event: ToolCallEvent) -> str:
    done = "" if event.progress is None else f"{event.progress:g}"
    if event.progress is not None and event.total:
        done += f" of {event.total:g}"
    return one_line(" ".join(filter(None, (done, event.text))), 70)
