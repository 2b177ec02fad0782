"""`hive trace` and `hive audit`: what is on record; without a node they open the database themselves."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

import click

from hive.cli.client import segment
from hive.cli.commands import proofs
from hive.cli.completion import task_ids
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import entry_line, trace_lines, verdict_lines
from hive.cli.session import Options, moving, shared_options, show, show_json
from hive.core.errors import NotFoundError
from hive.web.ports import Console
from hive.web.values import AuditRecord, AuditVerdict, TaskFilter, TaskSummaries, TraceTree

VERIFY_TIMEOUT_S: Final = 600.0
DEMO: Final = "demo"
PLANNER: Final = "demo-planner"


@click.command(help="Draw what happened for a task (default: the last one).")
@click.argument("task", required=False, default="", shell_complete=task_ids)
@shared_options
def trace(*, options: Options, task: str) -> int:
    """Draw one trace."""
    tree = read_trace(options, task)
    if options.json:
        show_json(tree)
        return 0
    for line in trace_lines(tree):
        show(line)
    return 0


def read_trace(options: Options, task: str) -> TraceTree:
    """Return a trace from the running node, or from the records of one that does not run.

    `demo` means the last question of the demo.
    """
    client = options.client()
    if not client.alive():
        from hive.cli.node_entry import offline

        with moving(options, "opening the records"):
            return offline(options.settings(), lambda console: _trace_offline(console, task))
    if task == DEMO:
        asked = client.get("tasks", TaskSummaries, agent=PLANNER, limit="1")
        task = _demo_task(asked)
    return client.get(f"trace/{segment(task)}" if task else "trace", TraceTree)


async def _trace_offline(console: Console, task: str) -> TraceTree:
    if task == DEMO:
        task = _demo_task(await console.tasks(TaskFilter(agent=PLANNER, limit=1)))
    return await console.trace(task)


def _demo_task(found: TaskSummaries) -> str:
    if not found.tasks:
        raise NotFoundError("The demo has not run here.", fix="hive demo")
    return found.tasks[0].id


@click.group(help="Verify, follow, prove or export the ledger.")
def audit() -> None:
    """Hold the verbs about the ledger."""


for _verb in (proofs.prove, proofs.consistency, proofs.keys, proofs.export, proofs.verifier):
    audit.add_command(_verb)


@audit.command("verify", help="Recompute every hash and link; exit 1 names the first bad entry.")
@shared_options
def verify(*, options: Options) -> int:
    """Verify the ledger."""
    client = options.client()
    with moving(options, "verifying the ledger"):
        if client.alive():
            found = client.get("audit/verify", AuditVerdict, timeout_s=VERIFY_TIMEOUT_S)
        else:
            from hive.cli.node_entry import offline

            found = offline(options.settings(), lambda console: console.audit_verify())
    if options.json:
        show_json(found)
    else:
        for line in verdict_lines(found):
            show(line)
    return 0 if found.ok else EXIT_FAILED


@audit.command("tail", help="Print the newest entries; -f follows.")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("-n", "--last", type=click.IntRange(1, 100_000), default=20, help="How many entries.")
@shared_options
def tail(*, options: Options, follow: bool, last: int) -> int:
    """Print the newest entries."""
    client = options.client()
    try:
        if client.alive():
            entries = client.lines("GET", "audit/tail", AuditRecord, last=str(last), follow=follow)
        else:
            entries = iter(_entries_offline(options, last))
        _print_entries(options, entries)
    except KeyboardInterrupt:
        return 0
    return 0


def _print_entries(options: Options, entries: Iterator[AuditRecord]) -> None:
    for entry in entries:
        if options.json:
            show_json(entry)
        else:
            show(entry_line(entry))


def _entries_offline(options: Options, last: int) -> list[AuditRecord]:
    from hive.cli.node_entry import offline

    async def read(console: Console) -> list[AuditRecord]:
        async with console.audit_tail(last=last, follow=False) as entries:
            return await _all(entries)

    with moving(options, "opening the records"):
        return offline(options.settings(), read)


async def _all(entries: AsyncIterator[AuditRecord]) -> list[AuditRecord]:
    return [entry async for entry in entries]
