"""`hive identity`: who vouches for the agents, what was issued, and what counts no more."""

import os
from pathlib import Path

import click

from hive.cli.commands.identity_nodes import node
from hive.cli.completion import issued_identities
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import BadInputError
from hive.core.ids import plain_text
from hive.web.identity import (
    BundleView,
    DeniedLine,
    IdentityView,
    IssuedSvidLine,
    RevokeOrder,
    RootAnswer,
    RootOrder,
    RotatedAuthority,
    RotateOrder,
    ServiceOrder,
    ServiceSvid,
)

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(help="Show, revoke and rotate the SPIFFE identities of agents.")
def identity() -> None:
    """Identities of agents."""


identity.add_command(node)


@identity.command("show", help="Tell who vouches for whom, and what is denied.")
@shared_options
def show_identity(*, options: Options) -> int:
    """Show the authority."""
    view = options.client().get("identity", IdentityView)
    if options.json:
        show_json(view)
        return 0
    away = "" if view.root_key_here else "   the root's key is not on this node"
    show(f"spiffe://{view.trust_domain}   issued by {plain_text(view.issuer)}{away}")
    for root in view.roots:
        show(f"    root {root}")
    rows = [
        (one.spiffe_id, one.sandbox[-12:], one.serial or "-", _time(one.ends_at))
        for one in view.holders
    ]
    for line in table(("IDENTITY", "SANDBOX", "SERIAL", "UNTIL"), rows) if rows else ():
        show(line)
    for one in view.denied:
        show(f"denied {one.kind} {one.value}   {plain_text(one.reason)}")
    return 0


@identity.command("issued", help="List what was issued and has not ended, newest first.")
@shared_options
def issued(*, options: Options) -> int:
    """List what was issued."""
    found = options.client().get("identity-issued", list[IssuedSvidLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    rows = [
        (
            one.kind,
            one.serial,
            one.spiffe_id,
            _time(one.at),
            _time(one.ends_at),
            "denied" if one.denied else "",
        )
        for one in found
    ]
    for line in table(("KIND", "SERIAL", "IDENTITY", "ISSUED", "UNTIL", ""), rows) if rows else ():
        show(line)
    if not rows:
        show("Nothing was issued that still counts.")
    return 0


@identity.command("bundle", help="Print what others need to verify these identities.")
@click.option("--jwks", is_flag=True, help="The keys of JWT-SVIDs instead of the certificates.")
@shared_options
def bundle(*, options: Options, jwks: bool) -> int:
    """Print the bundle."""
    view = options.client().get("identity-bundle", BundleView)
    if options.json:
        show_json(view)
    else:
        show((view.jwks if jwks else view.roots_pem).rstrip())
    return 0


@identity.command("revoke", help="Deny a SPIFFE id, or one certificate or token by its serial.")
@click.argument("named", shell_complete=issued_identities)
@click.option("--reason", default="", help="Why, for the record.")
@shared_options
def revoke(*, options: Options, named: str, reason: str) -> int:
    """Revoke."""
    order = RevokeOrder(named=named, reason=reason)
    made = options.client().post("identity-revoked", DeniedLine, order)
    if options.json:
        show_json(made)
        return 0
    show(f"{made.kind} {made.value} counts no more.")
    if made.kind == "id":
        say(options, f"Undo:  hive identity allow {made.value}")
    return 0


@identity.command("allow", help="Let a denied SPIFFE id count again.")
@click.argument("named")
@shared_options
def allow(*, options: Options, named: str) -> int:
    """Lift a denial."""
    view = options.client().post("identity-allowed", IdentityView, RevokeOrder(named=named))
    if options.json:
        show_json(view)
    else:
        show(f"{plain_text(named)} counts again.")
    return 0


@identity.command("rotate", help="Make a new intermediate; every agent gets a fresh identity.")
@click.option("--root", is_flag=True, help="A new root as well; the one before vouches for it.")
@click.option("--root-key", type=_FILE, help="The root's key (PEM), where it is kept elsewhere.")
@shared_options
def rotate(*, options: Options, root: bool, root_key: Path | None) -> int:
    """Rotate."""
    order = RotateOrder(root=root, root_key="" if root_key is None else _read(root_key))
    made = options.client().post("identity-rotation", RotatedAuthority, order)
    if options.json:
        show_json(made)
    else:
        show(f"{made.what} {made.generation} until {made.ends_at:%Y-%m-%d}   {made.fingerprint}")
    return 0


@identity.command("service", help="Vouch for a server that is no agent, such as a NATS server.")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--days", default=30, show_default=True, help="How long it counts.")
@shared_options
def service(*, options: Options, name: str, folder: Path, days: int) -> int:
    """Write a server's certificate, key and roots into a folder."""
    order = ServiceOrder(name=name, days=days)
    made = options.client().post("identity-services", ServiceSvid, order)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file, text in (
        ("cert.pem", made.chain_pem),
        ("key.pem", made.key_pem),
        ("roots.pem", made.roots_pem),
    ):
        _write(folder / file, text)
    show(f"{made.spiffe_id} until {made.ends_at:%Y-%m-%d}   {folder}/cert.pem key.pem roots.pem")
    return 0


@identity.group("root", help="Take the root's key away from this node.")
def root_key() -> None:
    """Take the root's key away."""


@root_key.command("export", help="Write the root's key, encrypted, into a file.")
@click.argument("file", type=_FILE)
@click.option("--passphrase-file", type=_FILE, required=True, help="A file with the passphrase.")
@shared_options
def export(*, options: Options, file: Path, passphrase_file: Path) -> int:
    """Export the root's key."""
    order = RootOrder(passphrase=_read(passphrase_file).strip())
    answer = options.client().post("identity-root", RootAnswer, order)
    _write(file, answer.key_pem)
    show(f"The root's key is in {file}, encrypted.")
    say(options, "Next:  hive identity root forget     destroys it on this node")
    return 0


@root_key.command("forget", help="Destroy the root's key on this node; keep an exported one safe.")
@click.option("--yes", is_flag=True, help="It was exported.")
@shared_options
def forget(*, options: Options, yes: bool) -> int:
    """Destroy the root's key here."""
    if not yes:
        raise BadInputError(
            "Without the root's key no rotation is possible.",
            why="It cannot be had back from this node.",
            fix="hive identity root export FILE --passphrase-file P     then: hive identity root forget --yes",
        )
    options.client().post("identity-root", RootAnswer, RootOrder(forget=True))
    show("The root's key is no longer on this node.")
    return 0


def _write(file: Path, text: str) -> None:
    """Write a new file for its owner's eyes only. Raises BadInputError."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInputError(f"{file} cannot be written.", why=error.strerror or "") from error
    with os.fdopen(descriptor, "w") as target:
        target.write(text)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise BadInputError(f"{file} cannot be read.", why=error.strerror or "") from error


def _time(at: object) -> str:
    return f"{at:%m-%d %H:%M:%S}" if at is not None else "-"
