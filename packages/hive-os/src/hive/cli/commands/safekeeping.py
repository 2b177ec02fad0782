"""`hive backup` and `hive restore`: database, vault key and specs in one file, the chain verified after."""

from pathlib import Path
from typing import Final

import click

from hive.cli.errors import EXIT_FAILED
from hive.cli.session import Options, moving, say, shared_options, show, show_json, took
from hive.core.errors import HiveError, StateError
from hive.web.values import BackupDone

BACKUP_TIMEOUT_S: Final = 600.0


@click.command(help="Write everything to one file (mode 0600).")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@shared_options
def backup(*, options: Options, file: Path) -> int:
    """Back up the node."""
    target = file.expanduser().absolute()
    if target.exists():
        raise HiveError(
            f"{file} exists.", why="A backup never overwrites a file.", fix="Name a new file."
        )
    client = options.client()
    with moving(options, "writing the backup"):
        if client.alive():
            done = client.post(
                "backup", BackupDone, {"path": str(target)}, timeout_s=BACKUP_TIMEOUT_S
            )
        else:
            from hive.cli.node_entry import offline

            done = offline(options.settings(), lambda console: console.backup(str(target)))
    return _tell(options, done, f"Next:  hive restore {file} --state DIR")


@click.command(help="Read a backup into an empty state folder; the node must not run.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@shared_options
def restore(*, options: Options, file: Path) -> int:
    """Restore a backup."""
    if options.client().alive():
        raise StateError(
            "A node runs on this state folder.",
            why="A backup is only read into a folder that nobody uses.",
            fix="hive down     or name another folder:  --state DIR",
        )
    from hive.cli import node_entry

    with moving(options, "reading the backup"):
        done = node_entry.restore(options.settings(), str(file.absolute()))
    return _tell(options, done, "Next:  hive up")


def _tell(options: Options, done: BackupDone, following: str) -> int:
    if options.json:
        show_json(done)
        return 0 if done.verified else EXIT_FAILED
    verdict = "chain verified" if done.verified else "THE CHAIN DOES NOT VERIFY"
    show(
        f"{done.path}   {done.size_bytes / (1 << 20):.1f} MiB, {done.entries} entries, "
        f"{verdict}   {took(done.took_ms)}"
    )
    show(f"sha256 {done.sha256}")
    if done.verified:
        say(options, following)
    return 0 if done.verified else EXIT_FAILED
