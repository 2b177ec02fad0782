"""`hive identity node`: foreign nodes that are known here, and how this one becomes known elsewhere."""

import sys
from pathlib import Path

import click

from hive.cli.client import segment
from hive.cli.completion import foreign_nodes
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import BadInputError
from hive.core.ids import plain_text
from hive.web.nodes import (
    AnswerMade,
    AnswerOrder,
    ChallengeMade,
    ChallengeOrder,
    ForeignNodeLine,
    QualifierMade,
    RegisterOrder,
)

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(help="Make foreign nodes known here, and this node known to others.")
def node() -> None:
    """Foreign nodes."""


@node.command("list", help="List the nodes that are known here.")
@shared_options
def list_nodes(*, options: Options) -> int:
    """List them."""
    found = options.client().get("nodes", list[ForeignNodeLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    rows = [
        (one.node, one.signing[:16], str(one.bits), one.machine or "-", f"{one.at:%Y-%m-%d}")
        for one in found
    ]
    for line in table(("NODE", "KEY", "WORK", "MACHINE", "SINCE"), rows) if rows else ():
        show(line)
    if not rows:
        show("No foreign node is known.")
    return 0


@node.command("challenge", help="Make a challenge for a node that shall become known here.")
@click.argument("name")
@shared_options
def challenge(*, options: Options, name: str) -> int:
    """Make a challenge."""
    made = options.client().post("node-challenges", ChallengeMade, ChallengeOrder(node=name))
    if options.json:
        show_json(made)
        return 0
    show(made.challenge)
    tpm = ", a quote of its TPM" if made.tpm else ""
    say(options, f"Until {made.ends_at:%H:%M} UTC; {made.bits} bits of work{tpm}.")
    say(options, "Next, on that node:  hive identity node answer CHALLENGE")
    return 0


@node.command("nonce", help="Tell what a quote of this machine's TPM has to carry (tpm2_quote -q).")
@click.argument("challenge")
@shared_options
def nonce(*, options: Options, challenge: str) -> int:
    """Tell the qualifier."""
    order = AnswerOrder(challenge=challenge)
    made = options.client().post("node-qualifiers", QualifierMade, order)
    if options.json:
        show_json(made)
    else:
        show(made.qualifier)
    return 0


@node.command("answer", help="Answer another node's challenge with this node's keys.")
@click.argument("challenge")
@click.option("--quote", type=_FILE, help="What the TPM said (tpm2_quote -m).")
@click.option("--signature", type=_FILE, help="Its signature (tpm2_quote -s).")
@shared_options
def answer(*, options: Options, challenge: str, quote: Path | None, signature: Path | None) -> int:
    """Answer."""
    order = AnswerOrder(
        challenge=challenge, quote=_bytes_of(quote), quote_signature=_bytes_of(signature)
    )
    made = options.client().post("node-answers", AnswerMade, order)
    if options.json:
        show_json(made)
        return 0
    show(made.answer)
    say(options, "Next, on the node that asked:  hive identity node add ANSWER")
    return 0


@node.command("add", help="Make a node known by its answer; - reads it from the input.")
@click.argument("answer")
@shared_options
def add(*, options: Options, answer: str) -> int:
    """Make a node known."""
    text = sys.stdin.read().strip() if answer == "-" else answer
    made = options.client().post("nodes", ForeignNodeLine, RegisterOrder(answer=text))
    if options.json:
        show_json(made)
    else:
        show(f"{made.node} is known here.")
    return 0


@node.command("rm", help="Know a node no longer: its messages count no more from this moment.")
@click.argument("name", shell_complete=foreign_nodes)
@shared_options
def remove(*, options: Options, name: str) -> int:
    """Forget a node."""
    options.client().delete(f"nodes/{segment(name)}")
    if options.json:
        show_json({"removed": name})
    else:
        show(f"{plain_text(name)} is known no longer.")
    return 0


def _bytes_of(file: Path | None) -> bytes:
    if file is None:
        return b""
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInputError(f"{file} cannot be read.", why=error.strerror or "") from error
