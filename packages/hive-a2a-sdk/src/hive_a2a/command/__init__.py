"""The command `hive-a2a`: cards, keys, calls, a server, the audit, and a probe for foreign servers.

    entry      the table of verbs, the exit codes
    tell       how results and errors are written
    card, keys, call, serve, audit, probe, completion    one verb or group each
    probing    what `probe` does

Only `main` is here; `click` and all else is imported when it runs.
"""


def main() -> int:
    """Run the command; return its exit code."""
    try:
        from hive_a2a.command.entry import run_command
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        import sys

        sys.stderr.write(
            "The command needs the package click.\n"
            "  Fix:  install hive-a2a-sdk with the extra [command]\n"
        )
        return 1
    return run_command()
