"""The `hive` command: answer first, one line a fact, the next command last.

Each verb is a module of `hive.cli.commands`, imported when it is asked for. A verb talks to the node over
its control socket (`client.py`); results go to standard output, everything else to standard error.
"""


def main() -> None:
    """Run the command and leave with its exit code."""
    from hive.cli.entry import run_command

    raise SystemExit(run_command())
