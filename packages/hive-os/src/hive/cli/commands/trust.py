"""`hive trust`: whose signatures on agents count on this node."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hive.cli.client import segment
from hive.cli.completion import trusted_names
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import SupplyError

if TYPE_CHECKING:
    from hive.node.trust import NodeTrust
    from hive.web.trust import TrustLine


@click.group(help="Say whose signatures on agents count here.", invoke_without_command=True)
@shared_options
@click.pass_context
def trust(context: click.Context, *, options: Options) -> int:
    """List keys unless a verb follows."""
    return 0 if context.invoked_subcommand is not None else _list(options)


@trust.command("list", help="List the keys that are trusted.")
@shared_options
def list_keys(*, options: Options) -> int:
    """List keys."""
    return _list(options)


@trust.command("key", help="Make a pair of keys: FILE to sign with, FILE.pub for others to trust.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@shared_options
def make_key(*, options: Options, file: Path) -> int:
    """Make a pair of keys."""
    from hive.core.randomness import SystemRandomness
    from hive.security.supply_chain.trust import make_pair

    public = file.with_name(f"{file.name}.pub")
    made = make_pair(file, public, SystemRandomness())
    if options.json:
        show_json({"private": str(file), "public": str(public), "id": made.id})
        return 0
    show(f"{file} signs: keep it secret. {public} is for others.")
    say(options, f"Next:  hive trust add {public}     on every node that shall trust it")
    return 0


@trust.command("add", help="Trust a public key (Ed25519 or ECDSA P-256, as PEM).")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", default="", help="What to call it (default: the file's name).")
@shared_options
def add(*, options: Options, file: Path, name: str) -> int:
    """Trust a key."""
    from hive.web.trust import TrustLine, TrustOrder

    try:
        pem = file.read_text("ascii")
    except (OSError, ValueError) as error:
        raise SupplyError(
            f"{file} is no key.", why=str(error), fix="hive trust key FILE"
        ) from error
    order = TrustOrder(name=name or file.name.partition(".")[0].lower(), pem=pem)
    client = options.client()
    if client.alive():
        return _told(options, client.post("trust", TrustLine, order), "is trusted")
    import anyio

    return _told(options, anyio.run(_folder(options).add, order), "is trusted")


@trust.command("rm", help="Trust a key no longer; agents that it signed do not start again.")
@click.argument("name", shell_complete=trusted_names)
@shared_options
def remove(*, options: Options, name: str) -> int:
    """Trust a key no longer."""
    client = options.client()
    if client.alive():
        client.delete(f"trust/{segment(name)}")
    else:
        import anyio

        anyio.run(_folder(options).remove, name)
    if options.json:
        show_json({"removed": name})
    else:
        show(f"{name} is trusted no longer.")
    return 0


@trust.command("older", help="Let an older signed version of AGENT be deployed again.")
@click.argument("agent")
@shared_options
def allow_older(*, options: Options, agent: str) -> int:
    """Forget which version of an agent was the newest; a running node is needed."""
    options.client().delete(f"newest-packages/{segment(agent)}")
    if options.json:
        show_json({"forgotten": agent})
    else:
        show(f"The next signed {agent} may be of any version.")
    return 0


@trust.command(
    "image",
    help="Check an OCI image's cosign signature: HOST/NAME@sha256:... or a layout's folder.",
)
@click.argument("image")
@click.option("--key", default="", help="cosign.pub (default: any key that is trusted here).")
@click.option("--digest", default="", help="Which image, where a layout has several.")
@shared_options
def check_image(*, options: Options, image: str, key: str, digest: str) -> int:
    """Check an image's signature."""
    import anyio

    from hive.core.call import Refused
    from hive.security.supply_chain.drivers import VERIFIERS
    from hive.security.supply_chain.oci import image_in_layout, image_in_registry
    from hive.security.supply_chain.registry import registry_reader

    if Path(image).is_dir():
        found = image_in_layout(Path(image), digest)
    else:
        found = image_in_registry(image, registry_reader(image.partition("/")[0]))
    url = f"cosign:{key}"
    verifier = VERIFIERS.load(url)(url, state=options.settings().state)
    said = anyio.run(verifier.verify, found.bundle, found.digest)
    if isinstance(said, Refused):
        _tell_image(options, found.digest, signer="", reason=said.reason)
        return EXIT_FAILED
    _tell_image(options, said.digest, signer=said.signer, reason="")
    return 0


def _tell_image(options: Options, digest: str, *, signer: str, reason: str) -> None:
    if options.json:
        show_json(
            {
                "image": f"sha256:{digest}",
                "signed": bool(signer),
                "signer": signer,
                "reason": reason,
            }
        )
    else:
        show(f"sha256:{digest} is {f'signed by {signer}' if signer else f'not signed: {reason}'}")


def _list(options: Options) -> int:
    from hive.web.trust import TrustLine

    client = options.client()
    if client.alive():
        found = client.get("trust", list[TrustLine])
    else:
        import anyio

        found = list(anyio.run(_folder(options).lines))
    if options.json:
        for one in found:
            show_json(one)
        return 0
    if not found:
        show("No key is trusted.")
        say(options, "Next:  hive trust key release.key")
        return 0
    rows = [(one.name, one.id[:16], one.kind) for one in found]
    for line in table(("NAME", "ID", "KIND"), rows):
        show(line)
    return 0


def _folder(options: Options) -> "NodeTrust":
    """Return the folder itself, for while no node runs."""
    from hive.core.json import Json
    from hive.node.trust import NodeTrust
    from hive.security.supply_chain.trust import folder_of

    async def unrecorded(_name: str, _body: dict[str, Json]) -> None:
        return

    settings = options.settings()
    return NodeTrust(folder=folder_of(settings.verify_url, settings.state), note=unrecorded)


def _told(options: Options, key: "TrustLine", what: str) -> int:
    if options.json:
        show_json(key)
    else:
        show(f"{key.name} ({key.kind} {key.id[:16]}) {what}.")
    return 0
