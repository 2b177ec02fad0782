"""`hive tool sign`: vouch for the package of a tool server, as this node has built it."""

from pathlib import Path
from typing import Final

import click

from hive.cli.client import segment
from hive.cli.completion import server_names
from hive.cli.session import Options, fact, say, shared_options, show, show_json
from hive.core.errors import SupplyError

BUNDLE_MAX_BYTES: Final = 1 << 20
SIGN_TIMEOUT_S: Final = 600.0


@click.command("sign", help="Sign a server's package as this node built it; try it here first.")
@click.argument("name", shell_complete=server_names)
@click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The private key: hive trust key FILE.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where the bundle goes.")
@shared_options
def sign(*, options: Options, name: str, key: Path, out: Path | None) -> int:
    """Sign a package; the key stays with this command."""
    from hive.core.clock import SystemClock
    from hive.execution.source_files import BUNDLE_ENDING
    from hive.security.supply_chain.packages import sign_package
    from hive.security.supply_chain.statement import Package, SignedKind
    from hive.security.supply_chain.trust import read_signer
    from hive.web.trust import ToolPackageLine

    signer = read_signer(key)
    path = f"tool-packages/{segment(name)}"
    found = options.client().get(path, ToolPackageLine, timeout_s=SIGN_TIMEOUT_S)
    package = Package(
        kind=SignedKind.TOOL,
        name=found.name,
        version=found.version,
        digest=found.digest,
        spec=found.spec,
    )
    place = out or Path(f"{name}{BUNDLE_ENDING}")
    try:
        place.write_bytes(sign_package(package, signer, issued=SystemClock().now()))
    except OSError as error:
        raise SupplyError(f"{place} cannot be written.", why=error.strerror or "") from error
    if options.json:
        show_json({"server": name, "digest": found.digest, "bundle": str(place), "key": signer.id})
        return 0
    show(f"{found.name} {found.version} is signed: {place}")
    for label, value in found.spec.items():
        if value:
            say(options, fact(label, str(value)))
    say(
        options,
        f"Next:  hive tool add {name} ... --bundle {place}     on the node that shall run it",
    )
    return 0


def signature_in(path: Path | None) -> str:
    """Return the text of a bundle; "" without one. Raises SupplyError."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            data = file.read(BUNDLE_MAX_BYTES + 1)
        if 0 < len(data) <= BUNDLE_MAX_BYTES:
            return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SupplyError(f"{path} is no bundle.", why=str(error)) from error
    raise SupplyError(f"{path} is no bundle.", why=f"It has 1 to {BUNDLE_MAX_BYTES} bytes.")
