"""Tell a person at the terminal that a call of the task he waits for waits for a person.

Trusts the node's answers; a node that does not answer is asked again, and says nothing here.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from hive.cli.client import OperatorClient
from hive.cli.render import one_line
from hive.cli.session import Moving, Options
from hive.core.errors import HiveError
from hive.web.approvals import ApprovalLine

FIRST_LOOK_S: Final = 1.5
LOOK_EVERY_S: Final = 2.0
TIMEOUT_S: Final = 5.0


class WaitingCalls:
    """What waits for a yes in one task, told once each."""

    def __init__(self, client: OperatorClient, line: Moving) -> None:
        self._client = client
        self._line = line
        self._told: set[str] = set()
        self._over = threading.Event()
        self.task_id = ""

    def run(self) -> None:
        """Look until it is over; the body of a thread."""
        pause_s = FIRST_LOOK_S
        while not self._over.wait(pause_s):
            pause_s = LOOK_EVERY_S
            if self.task_id:
                self.look()

    def look(self) -> None:
        """Ask the node once and tell what is new."""
        try:
            found = self._client.get("approvals", list[ApprovalLine], timeout_s=TIMEOUT_S)
        except (HiveError, OSError):
            return
        for one in found:
            if one.state == "waiting" and one.task == self.task_id and one.id not in self._told:
                self._told.add(one.id)
                self._line.clear()
                what = one_line(f"{one.verb} {one.target}")
                click.echo(f"  waits      for a person's yes: {what}", err=True)
                shown, said = f"hive approve show {one.id}", f"hive approve yes {one.id}"
                click.echo(f"  Answer:  {shown}     {said}", err=True)

    def end(self) -> None:
        """Stop looking."""
        self._over.set()


@contextmanager
def waiting_calls_told(
    options: Options, client: OperatorClient, line: Moving
) -> Iterator[WaitingCalls]:
    """Tell on standard error what waits for a yes while the body runs; nothing with --json or --quiet."""
    found = WaitingCalls(client, line)
    if options.json or options.quiet:
        yield found
        return
    thread = threading.Thread(target=found.run, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.end()
        thread.join(TIMEOUT_S)
