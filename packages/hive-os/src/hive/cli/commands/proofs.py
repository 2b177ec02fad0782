"""`hive audit prove|consistency|export|verifier`: what others can check without trusting this node."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import msgspec

from hive.cli.session import Options, fact, moving, say, shared_options, show, show_json
from hive.core.errors import HiveError
from hive.web.proofs import EntryProofLine, GrowthProofLine, LedgerKeys, RecordLine

if TYPE_CHECKING:
    from hive.node.proofs import NodeProofs

PROOF_TIMEOUT_S = 600.0


@click.command(
    "prove", help="Prove that an entry (CHAIN:SEQUENCE, or its hash) stands in the signed tree."
)
@click.argument("entry")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@shared_options
def prove(*, options: Options, entry: str, file: Path | None) -> int:
    """Prove one entry; FILE gets what `verify_export.py` checks."""
    client = options.client()
    with moving(options, "proving"):
        if client.alive():
            found = client.get(
                "audit-proof", EntryProofLine, timeout_s=PROOF_TIMEOUT_S, entry=entry
            )
        else:
            from hive.cli.node_entry import proved

            found = proved(options.settings(), lambda proofs: proofs.entry(entry))
    if file is not None:
        with _new_file(file) as output:
            output.writelines(msgspec.json.encode(line) + b"\n" for line in found.lines)
    if options.json:
        show_json(found)
        return 0
    show(
        f"Entry {found.sequence} of {found.chain} is in the tree of {found.size} entries that was signed."
    )
    show(fact("hash", found.hash))
    for step in found.path:
        show(fact("step", step))
    if file is None:
        say(
            options,
            f"Next:  hive audit prove {entry} proof.jsonl     then: hive audit verifier check.py",
        )
    return 0


@click.command("consistency", help="Prove that a chain only grew between two signed checkpoints.")
@click.argument("chain", required=False, default="")
@click.option("--from", "old", type=click.IntRange(min=0), default=0, help="The earlier size.")
@shared_options
def consistency(*, options: Options, chain: str, old: int) -> int:
    """Prove that a chain only grew."""
    client = options.client()
    with moving(options, "proving"):
        if client.alive():
            found = client.get(
                "audit-growth",
                GrowthProofLine,
                timeout_s=PROOF_TIMEOUT_S,
                chain=chain,
                old=str(old),
            )
        else:
            from hive.cli.node_entry import proved

            found = proved(options.settings(), lambda proofs: proofs.growth(chain, old))
    if options.json:
        show_json(found)
        return 0
    show(
        f"{found.chain} grew from {found.old_size} to {found.new_size} entries; the first stand unchanged."
    )
    for step in found.path:
        show(fact("step", step))
    return 0


@click.command("keys", help="Print the public keys that vouch for this ledger.")
@shared_options
def keys(*, options: Options) -> int:
    """Print the keys."""
    client = options.client()
    if client.alive():
        found = client.get("audit-keys", LedgerKeys)
    else:
        from hive.cli.node_entry import proved

        async def ask(proofs: "NodeProofs") -> LedgerKeys:
            return proofs.keys()

        found = proved(options.settings(), ask)
    if options.json:
        show_json(found)
    else:
        show(fact("node", found.node))
        show(fact("witness", found.witness))
    return 0


@click.command("export", help="Write the record with its checkpoints; anybody can check it.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@shared_options
def export(*, options: Options, file: Path | None) -> int:
    """Export the ledger."""
    client = options.client()
    if client.alive():
        lines: Iterator[RecordLine] = client.lines("GET", "audit-record", RecordLine)
    else:
        from hive.cli.node_entry import recorded

        with moving(options, "opening the records"):
            lines = iter(recorded(options.settings()))
    if file is None:
        for one in lines:
            show_json(one.line)
        return 0
    count = 0
    with _new_file(file) as output:
        for one in lines:
            output.write(msgspec.json.encode(one.line) + b"\n")
            count += "entry" in one.line
    say(options, f"{count} entries in {file}")
    say(
        options,
        "Next:  hive audit verifier check.py     then anywhere: python check.py " + str(file),
    )
    return 0


@click.command("verifier", help="Write the one-file verifier of exported records and proofs.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@shared_options
def verifier(*, options: Options, file: Path | None) -> int:
    """Write the verifier, for a machine that has never seen Hive."""
    from importlib.resources import files

    text = files("hive.ledger").joinpath("verify_export.py").read_bytes()
    if file is None:
        show(text.decode().rstrip())
        return 0
    with _new_file(file) as output:
        output.write(text)
    say(
        options, f"{file} needs Python and the package cryptography: python {file} RECORD [KEY ...]"
    )
    return 0


@contextmanager
def _new_file(file: Path) -> Iterator[IO[bytes]]:
    try:
        output = file.open("xb")
    except OSError as error:
        raise HiveError(
            f"{file} cannot be written.", why=str(error.strerror), fix="Name a new file."
        ) from error
    with output:
        yield output
