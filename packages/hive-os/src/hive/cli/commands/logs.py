"""`hive logs`: what agents printed."""

import click

from hive.cli.client import segment
from hive.cli.completion import agent_names
from hive.cli.render import log_line
from hive.cli.session import Options, shared_options, show, show_json
from hive.web.values import AgentStatus, LogRecord


@click.command(help="Print what agents printed; -f follows.")
@click.argument("name", required=False, default="", shell_complete=agent_names)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("-n", "--last", type=click.IntRange(0, 100_000), default=100, help="How many lines.")
@shared_options
def logs(*, options: Options, name: str, follow: bool, last: int) -> int:
    """Print log lines."""
    client = options.client()
    if name and follow:
        client.get(f"agents/{segment(name)}", AgentStatus)
    printed = False
    lines = client.lines("GET", "logs", LogRecord, agent=name, follow=follow, last=str(last))
    try:
        for record in lines:
            printed = True
            if options.json:
                show_json(record)
            else:
                show(log_line(record, named=not name))
    except KeyboardInterrupt:
        return 0
    if name and not printed:
        # Nothing to show is an answer of an agent that is there; of any other it is a wrong name.
        client.get(f"agents/{segment(name)}", AgentStatus)
    return 0
