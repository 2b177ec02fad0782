"""`hive call` and `hive chat`: an operator speaks with an agent."""

import contextlib
import mimetypes
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from hive.cli.client import OperatorClient, segment
from hive.cli.completion import agent_names, task_ids
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import one_line
from hive.cli.session import Moving, Options, moving, paint, say, shared_options, show, show_json
from hive.cli.waiting import waiting_calls_told
from hive.core.errors import BadInputError, HiveError, NotFoundError, TooLargeError
from hive.core.ids import plain_text
from hive.core.json import encode
from hive.web.values import CallEvent, CallOrder, Piece, TaskReport, TaskSummary

FILE_MAX_BYTES: Final = 16 << 20
_BAD_ENDS: Final = ("failed", "rejected", "canceled")
_FIXES: Final = {
    "quarantine": "hive quarantine     hive release {name}",
    "readiness": "hive start {name}     hive agent show {name}",
    "policy": "hive policy show     hive audit tail",
    "warrant": "hive warrant --help     hive audit tail",
    "guard": "hive guard scan     hive audit tail",
}
"""What to do about a refusal, by the check that refused."""


@dataclass(slots=True)
class _Conversation:
    """What is known of the call so far."""

    task_id: str = ""
    context_id: str = ""
    state: str = ""
    said: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)
    files: list[Piece] = field(default_factory=list)
    refused: CallEvent | None = None

    def take(self, event: CallEvent) -> None:
        self.task_id = event.task_id or self.task_id
        self.context_id = event.context_id or self.context_id
        self.state = event.state or self.state
        if event.kind == "refused":
            self.refused = event
        elif event.kind == "artifact" and event.product is not None:
            name = event.product.id
            before = self.artifacts.get(name, "") if event.append else ""
            self.artifacts[name] = before + event.text
            self.files += [piece for piece in event.product.pieces if piece.raw is not None]
        elif event.text:
            self.said = event.text

    def settle(self, report: TaskReport) -> None:
        """Take the whole answer from the task itself: a part may lie before the first event."""
        for product in report.artifacts:
            self.artifacts[product.id] = _shown(product.pieces)
        found = [piece for product in report.artifacts for piece in product.pieces]
        self.files = [piece for piece in found if piece.raw is not None] or self.files

    @property
    def answer(self) -> str:
        whole = "\n".join(text for text in self.artifacts.values() if text)
        if self.said and (not whole or self.state == "input_required"):
            return self.said
        return whole


def _shown(pieces: Sequence[Piece]) -> str:
    """Return what a person reads of an artifact: its text, or its data as JSON where there is no text."""
    texts = [piece.text for piece in pieces if piece.text is not None]
    if texts:
        return "".join(texts)
    return "".join(encode(piece.data).decode() for piece in pieces if piece.data is not None)


@click.command(help="Send a message to an agent and print its answer ('-' reads standard input).")
@click.argument("name", shell_complete=agent_names)
@click.argument("text")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send a file along (may be repeated).",
)
@click.option("--stream", is_flag=True, help="Print the answer as it comes.")
@click.option(
    "--task",
    default="",
    metavar="TASK",
    shell_complete=task_ids,
    help="Go on with a task that asked something.",
)
@click.option("--context", default="", metavar="CONTEXT", help="Go on with a conversation.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Save files here.")
@shared_options
def call(
    *,
    options: Options,
    name: str,
    text: str,
    files: tuple[Path, ...],
    stream: bool,
    task: str,
    context: str,
    out: Path | None,
) -> int:
    """Call an agent once."""
    spoken = sys.stdin.read() if text == "-" else text
    pieces = [Piece(text=spoken), *(_piece(path) for path in files)]
    order = CallOrder(pieces=pieces, task_id=task, context_id=context)
    client = options.client()
    talk = _Conversation()
    try:
        with moving(options, f"{name} is working") as line:
            for event in _events(options, client, name, order, talk, line):
                _show_event(options, event, line, stream=stream)
    except KeyboardInterrupt:
        _cancel(client, talk)
        raise
    _settle(client, talk)
    return _ending(options, name, talk, stream=stream, out=out)


@click.command(help="Talk with an agent, line by line; Ctrl-D ends.")
@click.argument("name", shell_complete=agent_names)
@shared_options
def chat(*, options: Options, name: str) -> int:
    """Chat with an agent."""
    client = options.client()
    talk = _Conversation()
    for text in _spoken_lines(name):
        order = CallOrder(
            pieces=[Piece(text=text)],
            task_id=talk.task_id if talk.state == "input_required" else "",
            context_id=talk.context_id,
        )
        talk = _Conversation(context_id=talk.context_id)
        try:
            with moving(options, f"{name} is working") as line:
                for _ in _events(options, client, name, order, talk, line):
                    pass
        except KeyboardInterrupt:
            _cancel(client, talk)
            continue
        _settle(client, talk)
        if options.json:
            show_json({"task": talk.task_id, "state": talk.state, "answer": talk.answer})
        else:
            show(
                f"{paint(name, 'cyan')}  {_problem(talk) or plain_text(talk.answer, keep=chr(10))}"
            )
    return 0


def _events(
    options: Options,
    client: OperatorClient,
    name: str,
    order: CallOrder,
    talk: _Conversation,
    line: Moving,
) -> Iterator[CallEvent]:
    """Yield what happens to the task; what waits for a person meanwhile is told."""
    with waiting_calls_told(options, client, line) as waiting:
        for event in client.lines("POST", f"agents/{segment(name)}/call", CallEvent, body=order):
            talk.take(event)
            waiting.task_id = talk.task_id
            yield event


def _spoken_lines(name: str) -> Iterator[str]:
    while True:
        try:
            if sys.stdin.isatty():
                text = click.prompt("you", prompt_suffix="  ", err=True)
            else:
                text = sys.stdin.readline()
                if not text:
                    return
        except (click.Abort, KeyboardInterrupt):
            click.echo(f"\nEnded the conversation with {name}.", err=True)
            return
        if text.strip():
            yield text.strip()


def _show_event(options: Options, event: CallEvent, line: Moving, *, stream: bool) -> None:
    if options.json:
        show_json(event)
    elif stream and event.kind in ("task", "artifact") and event.text:
        line.end()
        line.clear()
        click.echo(plain_text(event.text, keep="\n\t"), nl=False)


def _ending(
    options: Options, name: str, talk: _Conversation, *, stream: bool, out: Path | None
) -> int:
    failed = talk.refused is not None or talk.state in _BAD_ENDS
    if options.json:
        return EXIT_FAILED if failed else 0
    problem = _problem(talk)
    if problem:
        click.echo(f"{paint('✗', 'red')} {problem}", err=True)
        fix = _fix(name, talk)
        if fix:
            click.echo(f"  Fix:  {fix}", err=True)
        return EXIT_FAILED
    if stream and talk.artifacts and talk.state != "input_required":
        show()
    else:
        show(plain_text(talk.answer, keep="\n\t"))
    _save(options, talk.files, out)
    if talk.state == "input_required":
        say(options, f'Next:  hive call {name} --task {talk.task_id} "your answer"')
    return 0


def _problem(talk: _Conversation) -> str:
    if talk.refused is not None:
        return f"Refused by the check {talk.refused.check!r}: {one_line(talk.refused.text)}"
    if talk.state in _BAD_ENDS:
        said = one_line(talk.said)
        return f"The task is {talk.state}" + (f": {said}" if said else ".")
    return ""


def _fix(name: str, talk: _Conversation) -> str:
    if talk.refused is not None:
        return _FIXES.get(talk.refused.check, "").format(name=name)
    return f"hive logs {name}     hive trace {talk.task_id}" if talk.task_id else ""


def _settle(client: OperatorClient, talk: _Conversation) -> None:
    if talk.task_id:
        with contextlib.suppress(NotFoundError):
            talk.settle(client.get(f"tasks/{segment(talk.task_id)}", TaskReport))


def _cancel(client: OperatorClient, talk: _Conversation) -> None:
    if talk.task_id:
        with contextlib.suppress(HiveError):
            client.post(f"tasks/{segment(talk.task_id)}/cancel", TaskSummary)


def _piece(path: Path) -> Piece:
    if path.stat().st_size > FILE_MAX_BYTES:
        raise TooLargeError(
            f"{path} is too large to send.",
            why=f"The limit is {FILE_MAX_BYTES >> 20} MiB.",
            fix="Mount it instead:  hive run SOURCE --mount HOST",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read.", why=str(error.strerror)) from error
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Piece(raw=data, filename=path.name, media_type=kind)


def _save(options: Options, files: list[Piece], out: Path | None) -> None:
    for index, piece in enumerate(files):
        # The agent chose this name: only its last part, and never over a file that is there.
        name = Path(plain_text(piece.filename)).name or f"file-{index + 1}"
        if out is None:
            say(options, f"  file       {name}, {len(piece.raw or b'')} bytes (--out DIR saves it)")
            continue
        out.mkdir(parents=True, exist_ok=True)
        try:
            with (out / name).open("xb") as output:
                output.write(piece.raw or b"")
        except FileExistsError as error:
            raise HiveError(
                f"{out / name} exists.", why="Nothing is overwritten.", fix="Name another folder."
            ) from error
        say(options, f"  file       {out / name}")
