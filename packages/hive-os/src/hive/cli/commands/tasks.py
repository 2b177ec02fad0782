"""`hive task`: what agents were asked, how it ended, and the way to end it early."""

from typing import Final

import click

from hive.cli.client import segment
from hive.cli.completion import agent_names, task_ids
from hive.cli.render import one_line, table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.ids import plain_text
from hive.core.json import encode
from hive.core.task import TaskState
from hive.web.values import Piece, TaskReport, TaskSummaries, TaskSummary

STATES: Final = tuple(str(state) for state in TaskState)
ASKED_MAX: Final = 48


@click.group("task", help="List, show and cancel tasks.", invoke_without_command=True)
@shared_options
@click.pass_context
def task_verbs(context: click.Context, *, options: Options) -> int:
    """List the newest tasks unless a verb follows."""
    return _list(options) if context.invoked_subcommand is None else 0


@task_verbs.command("list", help="List tasks, those that changed last first.")
@click.option("--agent", default="", shell_complete=agent_names, help="Of this agent only.")
@click.option("--status", default=None, type=click.Choice(STATES), help="In this state only.")
@click.option("-n", "--last", type=click.IntRange(1, 500), default=20, help="How many.")
@shared_options
def list_tasks(*, options: Options, agent: str, status: str | None, last: int) -> int:
    """List tasks."""
    return _list(options, agent=agent, state=status or "", last=last)


@task_verbs.command("show", help="Show one task: the conversation and what came of it.")
@click.argument("task", shell_complete=task_ids)
@shared_options
def show_task(*, options: Options, task: str) -> int:
    """Show one task."""
    found = options.client().get(f"tasks/{segment(task)}", TaskReport)
    if options.json:
        show_json(found)
        return 0
    show(f"{found.summary.id}  {found.summary.agent}  {found.summary.state}")
    for message in found.history:
        show(f"  {message.role:<6} {_readable(message.pieces)}")
    for product in found.artifacts:
        show(f"  {product.name or 'answer':<6} {_readable(product.pieces)}")
    say(options, f"Next:  hive trace {found.summary.id}")
    return 0


@task_verbs.command("cancel", help="End a task that is not over yet.")
@click.argument("task", shell_complete=task_ids)
@shared_options
def cancel(*, options: Options, task: str) -> int:
    """Cancel one task."""
    made = options.client().post(f"tasks/{segment(task)}/cancel", TaskSummary)
    if options.json:
        show_json(made)
    else:
        show(f"{made.id} is {made.state}.")
    return 0


def _list(options: Options, *, agent: str = "", state: str = "", last: int = 20) -> int:
    found = options.client().get("tasks", TaskSummaries, agent=agent, state=state, limit=str(last))
    if options.json:
        for one in found.tasks:
            show_json(one)
        return 0
    rows = (
        (
            one.id,
            one.agent,
            one.state,
            f"{one.updated_at.astimezone():%m-%d %H:%M:%S}",
            one_line(one.asked, ASKED_MAX),
        )
        for one in found.tasks
    )
    for line in table(("TASK", "AGENT", "STATE", "CHANGED", "ASKED"), rows):
        show(line)
    if not found.tasks:
        show("There are no such tasks.")
    elif found.total > len(found.tasks):
        say(
            options,
            f"{found.total - len(found.tasks)} more:  hive task list -n {min(500, found.total)}",
        )
    else:
        say(options, f"Next:  hive task show {found.tasks[0].id}")
    return 0


def _readable(pieces: list[Piece]) -> str:
    found = []
    for piece in pieces:
        if piece.text is not None:
            found.append(plain_text(piece.text, keep="\n\t"))
        elif piece.data is not None:
            found.append(encode(piece.data).decode())
        else:
            found.append(f"[{plain_text(piece.filename) or piece.media_type or 'a file'}]")
    return " ".join(found)
