"""`hive warrant`: what a holder elsewhere may do here, and what any task may no more.

`key`, `show`, `attenuate` and `verify --root` need no node.
"""

import sys
from pathlib import Path
from typing import Final

import click

from hive.cli.client import segment
from hive.cli.completion import minted_warrants
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import BadInputError
from hive.core.ids import plain_text
from hive.web.warrants import (
    WarrantLine,
    WarrantMintOrder,
    WarrantQuestionOrder,
    WarrantRevocationLine,
    WarrantRevokeOrder,
    WarrantRoot,
    WarrantView,
)

TOKEN_MAX_CHARS: Final = 65_536
ID_MAX_CHARS: Final = 100
PATH_MAX_CHARS: Final = 250
_FILE = click.Path(path_type=Path, dir_okay=False)
_ALLOW: Final = "E.g. 'tool fs.read path=under:/data', 'agent helper', 'model *', 'paths /data'."


@click.group(help="Mint, show, hand on, verify and revoke warrants.")
def warrant() -> None:
    """Warrants of holders elsewhere, and of tasks here."""


@warrant.command("key", help="Make a holder's key: FILE keeps it, the public half is printed.")
@click.argument("file", type=_FILE)
@shared_options
def key(*, options: Options, file: Path) -> int:
    """Make a key."""
    from hive.node.warrant_files import make_key

    public = make_key(file)
    if options.json:
        show_json({"public": public, "file": str(file)})
    else:
        show(public)
        say(options, f"Next:  hive warrant mint --holder {public[:8]}… --allow 'agent NAME'")
    return 0


@warrant.command("mint", help="Make a warrant of this node for the holder of a key.")
@click.option("--holder", required=True, metavar="HEX", help="The holder's public key.")
@click.option("--allow", multiple=True, required=True, metavar="CAPABILITY", help=_ALLOW)
@click.option("--ttl", type=click.IntRange(1, 7_776_000), default=3600, help="Seconds it counts.")
@click.option(
    "--depth",
    type=click.IntRange(0, 8),
    default=1,
    show_default=True,
    help="How often it may be handed on; 1 lets an agent work under it, and ask no other.",
)
@click.option("--task", default="", help="Only to go on with this task.")
@shared_options
def mint(
    *, options: Options, holder: str, allow: tuple[str, ...], ttl: int, depth: int, task: str
) -> int:
    """Mint a warrant."""
    order = WarrantMintOrder(allow=list(allow), holder=holder, ttl_s=ttl, depth=depth, task=task)
    made = options.client().post("warrants", WarrantView, order)
    return _give(options, made)


@warrant.command("list", help="List what this node gave out.")
@shared_options
def list_minted(*, options: Options) -> int:
    """List warrants."""
    found = options.client().get("warrants", list[WarrantLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    rows = [(one.id, one.holder[:16], f"{one.not_after:%Y-%m-%d %H:%M}") for one in found]
    for line in table(("WARRANT", "HOLDER", "UNTIL"), rows) if rows else ("No warrant yet.",):
        show(line)
    return 0


@warrant.command("show", help="Tell what a warrant says, without trusting it: FILE, ID, or - .")
@click.argument("which", shell_complete=minted_warrants)
@shared_options
def show_one(*, options: Options, which: str) -> int:
    """Show a warrant."""
    if which != "-" and len(which) < ID_MAX_CHARS and not Path(which).is_file():
        return _show(options, options.client().get(f"warrants/{segment(which)}", WarrantView))
    from hive.node.warrant_files import engine_without_node
    from hive.node.warrants import warrant_view

    return _show(options, warrant_view(engine_without_node().parse(_token(which))))


@warrant.command("attenuate", help="Hand a warrant on: less, never longer, to another key.")
@click.argument("which")
@click.option("--key", "key_file", type=_FILE, required=True, help="The present holder's key.")
@click.option("--to", "next_holder", required=True, metavar="HEX", help="The next holder's key.")
@click.option("--allow", multiple=True, required=True, metavar="CAPABILITY", help=_ALLOW)
@click.option("--ttl", type=click.IntRange(1, 7_776_000), default=3600, help="Seconds it counts.")
@click.option(
    "--depth", type=click.IntRange(0, 8), default=0, help="How often it may be handed on."
)
@shared_options
def attenuate(
    *,
    options: Options,
    which: str,
    key_file: Path,
    next_holder: str,
    allow: tuple[str, ...],
    ttl: int,
    depth: int,
) -> int:
    """Hand a warrant on."""
    from hive.node.warrant_files import engine_without_node, read_key
    from hive.node.warrants import key_of, warrant_view
    from hive.security.capability import MintOrder
    from hive.security.capability.grammar import terms_in

    engine = engine_without_node()
    order = MintOrder(terms=(terms_in(allow),), holder=key_of(next_holder), ttl_s=ttl, depth=depth)
    token = engine.attenuate(_token(which), order, holder_private=read_key(key_file))
    return _give(options, warrant_view(engine.parse(token)))


@warrant.command("verify", help="Verify a warrant: by this node, or by --root without one.")
@click.argument("which")
@click.option("--root", "roots", multiple=True, metavar="HEX", help="A root that is trusted.")
@shared_options
def verify(*, options: Options, which: str, roots: tuple[str, ...]) -> int:
    """Verify a warrant."""
    token = _token(which)
    if roots:
        from hive.node.warrant_files import engine_without_node
        from hive.node.warrants import warrant_view

        found = warrant_view(engine_without_node(roots).verify(token))
    else:
        question = WarrantQuestionOrder(token=token)
        found = options.client().post("warrant-checks", WarrantView, question)
    _show(options, found)
    say(options, "Valid. Whoever shows it has to prove that the holder's key is theirs.")
    return 0


@warrant.command("revoke", help="Let a warrant count no more, or all of a task, agent or root.")
@click.argument("warrant_id", required=False, default="", shell_complete=minted_warrants)
@click.option("--task", default="", help="All that came of this task.")
@click.option("--agent", default="", help="All that this agent holds now.")
@click.option("--root", "root_key", default="", metavar="HEX", help="All that this root minted.")
@click.option("--reason", default="", help="Why, for the record.")
@shared_options
def revoke(
    *, options: Options, warrant_id: str, task: str, agent: str, root_key: str, reason: str
) -> int:
    """Revoke."""
    given = {"id": warrant_id, "task": task, "agent": agent, "root": root_key}
    named = {kind: value for kind, value in given.items() if value}
    if len(named) != 1:
        raise click.UsageError("Name one: a warrant's id, --task, --agent or --root.")
    kind, value = next(iter(named.items()))
    order = WarrantRevokeOrder(kind=kind, value=value, reason=reason)  # type: ignore[arg-type]
    client = options.client()
    client.post("warrant-revocations", list[WarrantRevocationLine], order)
    known = kind != "id" or any(
        one.id == value for one in client.get("warrants", list[WarrantLine])
    )
    if options.json:
        show_json({"revoked": value, "kind": kind, "minted_here": known})
        return 0
    show(f"{plain_text(value)} counts no more, and nothing that was made of it.")
    if not known:
        say(
            options,
            "note: this node has minted no warrant of that id; `hive warrant list` has those.",
        )
    return 0


@warrant.command("revoked", help="List what counts no more.")
@shared_options
def revoked(*, options: Options) -> int:
    """List revocations."""
    found = options.client().get("warrant-revocations", list[WarrantRevocationLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    rows = [(one.kind, one.value, f"{one.at:%Y-%m-%d %H:%M}", one.reason) for one in found]
    for line in table(("WHAT", "NAME", "SINCE", "WHY"), rows) if rows else ("Nothing is revoked.",):
        show(line)
    return 0


@warrant.command("root", help="Print the key that others trust to honour this node's warrants.")
@shared_options
def root(*, options: Options) -> int:
    """Print the root."""
    found = options.client().get("warrant-root", WarrantRoot)
    if options.json:
        show_json(found)
    else:
        show(found.root)
    return 0


def _token(which: str) -> str:
    if which == "-":
        text = sys.stdin.read(TOKEN_MAX_CHARS)
    elif len(which) < PATH_MAX_CHARS and Path(which).is_file():
        text = Path(which).read_text(errors="replace")[:TOKEN_MAX_CHARS]
    else:
        text = which
    token = text.strip()
    if not token or not token.isascii():
        raise BadInputError("This is no warrant.", fix="Give its text, a file that holds it, or -.")
    return token


def _give(options: Options, made: WarrantView) -> int:
    if options.json:
        show_json(made)
        return 0
    show(made.token)
    say(options, f"{made.id}, until {made.not_after:%Y-%m-%d %H:%M} UTC.")
    say(options, f"Next:  hive warrant revoke {made.id}     when it is no longer needed")
    return 0


def _show(options: Options, found: WarrantView) -> int:
    if options.json:
        show_json(found)
        return 0
    show(f"{plain_text(found.id)}   until {found.not_after:%Y-%m-%d %H:%M} UTC")
    show(f"    from {found.issuer}")
    show(f"    to   {found.holder}   handed on {found.depth} times more at most")
    if found.task:
        show(f"    for the task {plain_text(found.task)} alone")
    for number, lines in enumerate(found.links, start=1):
        show(f"  {number}. " + ("allows nothing" if not lines else plain_text(lines[0])))
        for line in lines[1:]:
            show(f"     {plain_text(line)}")
    if len(found.links) > 1:
        show("  What all of these allow is allowed.")
    return 0
