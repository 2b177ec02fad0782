"""`hive-a2a audit`: is the record of a server whole, and what does it say?"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hive_a2a.command.tell import (
    EXIT_FAILED,
    CommandOptions,
    common_options,
    fact,
    one_line,
    say,
    show,
    show_json,
)
from hive_a2a.errors import A2AError

if TYPE_CHECKING:
    from hive_a2a.stages.audit_chain import AuditLine

SHOWN_MAX: Final = 100_000


@click.group(help="Verify and show the record that a server keeps of its calls.")
def audit() -> None:
    """Hold the verbs of the audit."""


@audit.command(
    help="Verify a record: every entry, every signature, nothing missing.",
    epilog="Example:  hive-a2a audit verify ./audit --key 3b6a27bcceb6a42d... --head last-head.json",
)
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--key", metavar="HEX", help="The record's public key, from elsewhere.")
@click.option(
    "--head",
    "head_file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="A signed head that was kept elsewhere: the record must go on from it.",
)
@common_options
def verify(
    *, options: CommandOptions, folder: Path, key: str | None, head_file: Path | None
) -> int:
    """Verify a record."""
    import msgspec

    from hive_a2a.stages.audit_chain import SignedHead
    from hive_a2a.stages.audit_verify import verify as verify_record

    known: SignedHead | None = None
    if head_file is not None:
        try:
            known = msgspec.json.decode(head_file.read_bytes(), type=SignedHead)
        except msgspec.DecodeError as error:
            raise A2AError(
                f"{head_file} is no head.", fix="Keep one with `audit verify --json`."
            ) from error
    public = _read_key(key) if key else _own_key(folder)
    verdict = verify_record(folder, public, known=known)
    if options.json:
        show_json(
            {
                "whole": verdict.whole,
                "entries": verdict.entries,
                "chain": verdict.chain,
                "heads": verdict.heads,
                "unsigned": verdict.unsigned,
                "head": msgspec.to_builtins(verdict.head),
                "problem": verdict.problem,
                "at_entry": verdict.at_entry,
                "key": public.hex(),
                "key_from": "caller" if key else "record",
            }
        )
        return 0 if verdict.whole else EXIT_FAILED
    if not verdict.whole:
        show(f"audit       FAILED   entry {verdict.at_entry}: {one_line(verdict.problem)}")
        return EXIT_FAILED
    show(f"audit       ok   {verdict.entries} entries, chain {verdict.chain[:16]}")
    show(
        fact("signed", f"{verdict.heads} heads, {verdict.unsigned} entries after the last of them")
    )
    if verdict.head is not None:
        show(fact("head", f"{verdict.head.n}  {verdict.head.head}"))
    if not key:
        say(options, f"  The key {public.hex()} was read from the record itself: whoever wrote")
        say(options, "  the record anew had one too. Pass the key from elsewhere with --key.")
    return 0


@audit.command(
    name="show",
    help="Show the last entries. Nothing is verified; see `audit verify`.",
    epilog="Example:  hive-a2a audit show ./audit --last 20",
)
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--last", "last", type=click.IntRange(1, SHOWN_MAX), default=50, show_default=True)
@click.option("--call", "call_id", help="Only the entries of one call.")
@common_options
def show_entries(*, options: CommandOptions, folder: Path, last: int, call_id: str | None) -> int:
    """Show entries."""
    import msgspec

    kept: deque[AuditLine] = deque(maxlen=last)
    for entry in _entries(folder):
        if call_id is None or entry.record.call == call_id:
            kept.append(entry)
    for entry in kept:
        if options.json:
            show_json(msgspec.to_builtins(entry))
        else:
            show(_line(entry))
    return 0


def _line(entry: "AuditLine") -> str:
    record = entry.record
    words = [record.ending, record.stage, record.error, record.note]
    words += [f"{name}={count}" for name, count in record.counts.items()]
    at = entry.at.strftime("%Y-%m-%d %H:%M:%S")
    told = " ".join(filter(None, words))
    sealed = "sealed" if record.sealed else "-"
    return one_line(
        f"{entry.n:>7}  {at}  {record.kind:<8}  {record.method or '-':<22}  "
        f"{record.caller or '-'}  {sealed}  {record.call}  {told}"
    )


def _entries(folder: Path) -> "Iterator[AuditLine]":
    from hive_a2a.stages.audit_chain import files_of, lines_of, read_line

    found = files_of(folder)
    if not found:
        raise A2AError(f"There is no record in {folder}.")
    for path in found:
        for _, line, whole in lines_of(path):
            if whole:
                yield read_line(line).entry


def _own_key(folder: Path) -> bytes:
    """Return the key that the record itself names."""
    from hive_a2a.stages.audit_chain import opened_of

    return opened_of(next(_entries(folder)).record)[1]


def _read_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise A2AError("The key is not one.", why="It has 64 hexadecimal digits.")
    return key
