"""`hive parked`: effects that a crash left open, and a person's decision about each."""

import click

from hive.cli.client import segment
from hive.cli.render import one_line
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.web.values import ParkedDecision, ParkedTask, TaskSummary


@click.group(help="Decide about effects that a crash left open.", invoke_without_command=True)
@shared_options
@click.pass_context
def parked(context: click.Context, *, options: Options) -> int:
    """List parked tasks unless a verb follows."""
    return _list(options) if context.invoked_subcommand is None else 0


@parked.command("list", help="List parked tasks.")
@shared_options
def list_parked(*, options: Options) -> int:
    """List parked tasks."""
    return _list(options)


@parked.command("repeat", help="Let a task go on: its open effect is done again.")
@click.argument("task")
@shared_options
def repeat(*, options: Options, task: str) -> int:
    """Repeat the open effect."""
    return _decide(options, task, repeat=True)


@parked.command("end", help="End a task without repeating its effect.")
@click.argument("task")
@shared_options
def end(*, options: Options, task: str) -> int:
    """End the task."""
    return _decide(options, task, repeat=False)


def _list(options: Options) -> int:
    found = options.client().get("parked", list[ParkedTask])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    for one in found:
        show(f"{one.task_id}  {one.agent}  since {one.since:%H:%M:%S}")
        show(f"    {one_line(one.reason)}")
    if not found:
        show("Nothing is parked.")
    else:
        say(options, "Next:  hive parked repeat TASK     or  hive parked end TASK")
    return 0


def _decide(options: Options, task: str, *, repeat: bool) -> int:
    made = options.client().post(
        f"parked/{segment(task)}", TaskSummary, ParkedDecision(repeat=repeat)
    )
    if options.json:
        show_json(made)
    else:
        show(f"{made.id} {'goes on' if repeat else 'has ended'}.")
    return 0
