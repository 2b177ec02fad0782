"""`hive agent sign|verify|sbom`: signed agents, made and checked without a node and without a network."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hive.cli.commands.run import CommandAfterDashes, words_after_dashes
from hive.cli.errors import EXIT_FAILED
from hive.cli.session import Options, fact, say, shared_options, show, show_json
from hive.core.errors import SupplyError

if TYPE_CHECKING:
    from hive.execution.source import FoundSource
    from hive.security.supply_chain.packages import SignedPackage
    from hive.security.supply_chain.statement import Package


@click.command(
    "sign",
    cls=CommandAfterDashes,
    help="Sign an agent's source; NAME.hive-bundle.json lies beside it.",
)
@click.argument("source", required=False, default="")
@click.option(
    "--key", type=click.Path(path_type=Path), help="The private key: hive trust key FILE."
)
@click.option("--name", default="", help="The agent's name (default: from the source).")
@click.option("--out", type=click.Path(path_type=Path), help="Where the bundle goes.")
@click.option("--sbom/--no-sbom", default=True, help="Write and sign a bill of materials too.")
@click.option("--statement", is_flag=True, help="Print what would be signed, for another signer.")
@shared_options
def sign(*, options: Options, key: Path | None, **given: object) -> int:
    """Sign a source."""
    from hive.core.clock import SystemClock
    from hive.execution.source_files import BILL_ENDING, BUNDLE_ENDING
    from hive.security.supply_chain.packages import sign_package, unsigned_statement
    from hive.security.supply_chain.trust import read_signer

    if key is None and not given["statement"]:
        raise click.UsageError(
            "Name the key to sign with: --key FILE (made by hive trust key FILE)."
        )
    found = _find(str(given["source"]), str(given["name"]))
    package, name, folder = _package(found), found.spec.name, Path(found.spec.entry.source)
    now = SystemClock().now()
    bill = _bill(package) if given["sbom"] else None
    if given["statement"]:
        show(unsigned_statement(package, issued=now, sbom=bill).decode())
        return 0
    signer = read_signer(key or Path())
    bundle = sign_package(package, signer, issued=now, sbom=bill)
    place = given["out"] if isinstance(given["out"], Path) else folder / f"{name}{BUNDLE_ENDING}"
    _write(place, bundle)
    if bill is not None:
        _write(folder / f"{name}{BILL_ENDING}", bill)
    if options.json:
        show_json({"agent": name, "digest": package.digest, "bundle": str(place), "key": signer.id})
        return 0
    show(f"{name} {package.version} is signed: {place}")
    say(options, f"  content {package.digest[:16]}   key {signer.id[:16]}")
    return 0


@click.command(
    "verify", cls=CommandAfterDashes, help="Check who signed an agent's source, offline."
)
@click.argument("source", required=False, default="")
@click.option("--name", default="", help="The agent's name (default: from the source).")
@click.option("--bundle", default="", help="The bundle, where it does not lie beside the source.")
@shared_options
def verify(*, options: Options, source: str, name: str, bundle: str) -> int:
    """Check a source."""
    import anyio

    from hive.core.call import Refused
    from hive.node.provenance import papers_beside
    from hive.security.supply_chain.drivers import VERIFIERS
    from hive.security.supply_chain.packages import check_package

    settings = options.settings()
    found = _find(source, name)
    package = _package(found)
    papers = papers_beside(found.spec, bundle)
    verifier = VERIFIERS.load(settings.verify_url)(settings.verify_url, state=settings.state)
    said = anyio.run(check_package, verifier, package, papers.bundle, papers.bill)
    if not isinstance(said, Refused):
        _tell_signed(options, package, said)
        return 0
    if options.json:
        refusal = {"agent": package.name, "signed": False, "reason": said.reason}
        show_json({**refusal, "detail": said.detail})
    else:
        show(fact(package.name, "unsigned", said.reason, width=0))
        say(options, f"  content {package.digest[:16]}  {said.detail}")
    return EXIT_FAILED


def _tell_signed(options: Options, package: "Package", said: "SignedPackage") -> None:
    claim, verified = said.claim, said.verified
    facts = {
        "signer": verified.signer,
        "key": verified.key,
        "version": claim.version,
        "signed": f"{claim.issued:%Y-%m-%dT%H:%M:%SZ}",
        "content": verified.digest,
        "bundle": verified.bundle,
        "locks": ", ".join(claim.locks),
        "bill": claim.sbom,
    }
    if options.json:
        show_json({"agent": package.name, **facts, "signed_at": facts["signed"], "signed": True})
        return
    show(f"{package.name} {claim.version} is signed by {verified.signer}")
    for label in ("key", "content", "bundle", "signed", "locks", "bill"):
        show(fact(label, facts[label] or "none"))


@click.command(
    "sbom", cls=CommandAfterDashes, help="Print the bill of materials (CycloneDX 1.6) of a source."
)
@click.argument("source", required=False, default="")
@click.option("--name", default="", help="The agent's name (default: from the source).")
@shared_options
def sbom(*, options: Options, source: str, name: str) -> int:
    """Print a bill of materials."""
    show(_bill(_package(_find(source, name))).decode())
    return 0


def _find(source: str, name: str) -> "FoundSource":
    from hive.execution.source import find_command, find_source

    argv = words_after_dashes(click.get_current_context())
    if bool(source) == bool(argv):
        raise click.UsageError("Name a source, or a command after `--`.")
    cwd, home = Path.cwd(), Path.home()
    found = (
        find_command(argv, cwd=cwd, home=home, name=name)
        if argv
        else find_source(source, cwd=cwd, home=home, name=name)
    )
    if found.visible is None:
        raise SupplyError(
            "An agent that runs elsewhere has no source here.", fix="Sign it where its files lie."
        )
    return found


def _package(found: "FoundSource") -> "Package":
    """Take the package from a copy of its files, so that nothing changes while it is read."""
    from hive.execution.source_copy import discard, stage
    from hive.node.provenance import package_of

    if found.visible is None:
        raise SupplyError("It has no source here.", fix="Name a source.")
    with tempfile.TemporaryDirectory(prefix="hive-") as folder:
        copy = stage(found.visible, Path(folder))
        try:
            return package_of(found.spec, copy, Path.home())
        finally:
            discard(copy)


def _bill(package: "Package") -> bytes:
    from hive.core.clock import SystemClock
    from hive.security.supply_chain.drivers import BILLS
    from hive.security.supply_chain.locks import pinned_parts
    from hive.security.supply_chain.packages import requirement_lines

    parts = pinned_parts(package.locks, requirement_lines(package))
    return BILLS.load("cyclonedx:")().write(
        name=package.name, version=package.version, parts=parts, made_at=SystemClock().now()
    )


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise SupplyError(f"{path} cannot be written.", why=error.strerror or "") from error
