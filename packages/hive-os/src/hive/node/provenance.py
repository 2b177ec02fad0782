"""Who signed the code that a node is about to build and start? Asked before every start, not only at the first.

A bundle lies beside the source (`NAME.hive-bundle.json`) or is named by the operator. It is kept with the copy of the
source, by digest, and checked against that copy each time an agent is placed: a key that was taken away, or a node that
has become a production node since, counts from the next start on.
"""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from anyio import to_thread

import hive
from hive.core.call import Refused
from hive.core.clock import Clock
from hive.core.errors import SpecError, SupplyError
from hive.core.grant import Grant
from hive.core.json import Json, decode, encode
from hive.core.settings import Settings
from hive.core.spec import AgentSpec, StartKind
from hive.engines.ports import Database
from hive.execution.source_copy import staged_path
from hive.execution.source_files import BILL_ENDING, BUNDLE_ENDING, opened_below
from hive.security.supply_chain.book import PackageBook
from hive.security.supply_chain.drivers import VERIFIERS
from hive.security.supply_chain.locks import LOCK_MAX_BYTES, LOCK_NAMES
from hive.security.supply_chain.packages import SignedPackage, check_package
from hive.security.supply_chain.ports import Verifier
from hive.security.supply_chain.statement import Package, SignedKind
from hive.security.supply_chain.strict_json import DOCUMENT_MAX_BYTES

BUNDLES_MAX: Final = 2000
_HOME: Final = Path(hive.__file__).parent
_DEMO: Final = _HOME / "cli" / "demo_agents"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageStanding:
    """What is known of who made an agent's code. `problem` is empty where nothing is to be said against it."""

    text: str
    problem: str = ""
    signed: SignedPackage | None = None

    @property
    def record(self) -> dict[str, Json]:
        """Return what the ledger's line of a deployment says of it."""
        if self.signed is None:
            return {"signed": False, "unsigned_because": self.problem or self.text}
        verified = self.signed.verified
        return {"signed": True, "signer": verified.signer, "bundle": verified.bundle}


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """What came with a source: the bundle that vouches for it, and its bill of materials."""

    bundle: bytes | None = None
    bill: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Checks packages. Without a signature of somebody trusted, production starts nothing."""

    state: Path
    verifier: Verifier
    demanded: bool
    book: PackageBook | None = None
    home: Path = field(default_factory=Path.home)

    async def keep(self, spec: AgentSpec, papers: Papers) -> None:
        """Keep what came with a source, beside the copy of it that will run.

        What is kept already and good is not given up for what is not: that agent has to start again.
        """
        if papers.bundle is not None:
            before = await to_thread.run_sync(_kept, self.state / "bundles", _stem(spec))
            good = before.bundle is not None and not await self._refused(spec, before)
            if good and await self._refused(spec, papers):
                return
        await to_thread.run_sync(_keep, self.state / "bundles", _stem(spec), papers)

    async def _refused(self, spec: AgentSpec, papers: Papers) -> bool:
        return isinstance(await self._checked(spec, papers), Refused)

    async def _checked(self, spec: AgentSpec, papers: Papers) -> SignedPackage | Refused:
        copy = staged_path(self.state, spec.digest)
        package = await to_thread.run_sync(package_of, spec, copy, self.home)
        return await check_package(self.verifier, package, papers.bundle, papers.bill)

    async def admit(self, spec: AgentSpec, *, newest: bool = False) -> PackageStanding:
        """Say how a package stands; with `newest`, it may not be older than what ran here last.

        Raises:
            SupplyError: nobody trusted has signed it as what it is, and this node demands that.

        """
        standing = await self._standing(spec, newest=newest)
        if standing.problem and self.demanded:
            raise SupplyError(
                f"{spec.name} is not deployed.",
                why=standing.problem,
                fix="hive agent verify SOURCE     tells more; hive agent sign SOURCE --key FILE signs it",
            )
        return standing

    async def note(self, standing: PackageStanding) -> None:
        """Remember that a signed package runs from now on."""
        if standing.signed is not None and self.book is not None:
            await self.book.note(standing.signed)

    async def _standing(self, spec: AgentSpec, *, newest: bool) -> PackageStanding:
        if spec.entry.kind is StartKind.REMOTE:
            return PackageStanding(text="its code runs elsewhere")
        copy = staged_path(self.state, spec.digest)
        if await to_thread.run_sync(_part_of_hive, spec, copy):
            return PackageStanding(text="a part of Hive")
        papers = await to_thread.run_sync(_kept, self.state / "bundles", _stem(spec))
        found = await self._checked(spec, papers)
        if isinstance(found, Refused):
            return PackageStanding(text="unsigned", problem=found.reason)
        older = await self.book.older(found.claim) if newest and self.book is not None else ""
        if older:
            return PackageStanding(text="unsigned", problem=older)
        verified = found.verified
        return PackageStanding(text=f"by {verified.signer} ({verified.key[:16]})", signed=found)


def provenance_of(settings: Settings, database: Database | None, clock: Clock) -> Provenance:
    """Return the check that the settings name.

    Raises:
        ConfigError: HIVE_VERIFY_URL names no verifier that can be used.

    """
    driver = VERIFIERS.load(settings.verify_url)
    return Provenance(
        state=settings.state,
        verifier=driver(settings.verify_url, state=settings.state),
        demanded=settings.production,
        book=None if database is None else PackageBook(database, clock=clock),
    )


def package_of(spec: AgentSpec, copy: Path, home: Path) -> Package:
    """Return an agent as a package: what may be compared with what was signed on another machine."""
    entry = spec.entry
    return Package(
        kind=SignedKind.AGENT,
        name=spec.name,
        version=spec.version,
        digest=spec.digest,
        spec={
            "start": entry.kind.value,
            "path": entry.path,
            "attribute": entry.attribute,
            "argv": list(entry.argv),
            "python": spec.python,
            "requirements": list(spec.requirements),
            "environment": dict(spec.environment),
        },
        needs=_needs(spec, home),
        locks=_locks(copy),
    )


def _needs(spec: AgentSpec, home: Path) -> dict[str, Json]:
    """Return what a package asks for beyond the usual: a default that a later Hive adds changes nothing."""
    usual, asked = _plain(Grant()), _plain(spec.needs)
    needs = {key: value for key, value in asked.items() if value != usual[key]}
    if "limits" in needs:
        more, less = _plain(spec.needs.limits), _plain(Grant().limits)
        needs["limits"] = {key: value for key, value in more.items() if value != less[key]}
    if "paths" in needs:
        needs["paths"] = [
            {"path": _portable(rule.host, spec.entry.source, home), "access": rule.access.value}
            for rule in spec.needs.paths
        ]
    return needs


def _plain(value: object) -> dict[str, Json]:
    return cast("dict[str, Json]", decode(encode(value)))


def papers_beside(spec: AgentSpec, bundle: str = "") -> Papers:
    """Read what lies beside a source; `bundle` names another file for the signature.

    Raises:
        SpecError: a file cannot be read, or is too large.

    """
    folder = spec.entry.source
    beside = _below(folder, f"{spec.name}{BUNDLE_ENDING}") if folder else None
    if bundle:
        path = Path(bundle).resolve()
        beside = _below(str(path.parent), path.name)
        if beside is None:
            raise SpecError(f"{bundle} does not exist.", fix="Name the bundle that was signed.")
    bill = _below(folder, f"{spec.name}{BILL_ENDING}") if folder else None
    return Papers(bundle=beside, bill=bill)


def _below(folder: str, name: str) -> bytes | None:
    if not os.path.lexists(Path(folder, name)):
        return None
    with opened_below(folder, name) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        data = file.read(DOCUMENT_MAX_BYTES + 1)
    if len(data) > DOCUMENT_MAX_BYTES:
        raise SpecError(f"{name} is too large.", why=f"It may have {DOCUMENT_MAX_BYTES} bytes.")
    return data


def _stem(spec: AgentSpec) -> str:
    return f"{spec.digest}.{spec.name}"


def _keep(folder: Path, stem: str, papers: Papers) -> None:
    if papers.bundle is None:
        return  # Signed once is signed: what vouched for these very bytes before still does.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for ending, data in ((BUNDLE_ENDING, papers.bundle), (BILL_ENDING, papers.bill)):
        path = folder / f"{stem}{ending}"
        if data is None:
            path.unlink(missing_ok=True)
            continue
        coming = folder / f".coming-{secrets.token_hex(8)}"
        coming.write_bytes(data)
        coming.replace(path)
    kept = sorted(folder.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[BUNDLES_MAX:]:
        path.unlink(missing_ok=True)


def _kept(folder: Path, stem: str) -> Papers:
    def read(ending: str) -> bytes | None:
        try:
            return (folder / f"{stem}{ending}").read_bytes()
        except FileNotFoundError:
            return None

    return Papers(bundle=read(BUNDLE_ENDING), bill=read(BILL_ENDING))


def _locks(copy: Path) -> dict[str, bytes]:
    found = {}
    for name in LOCK_NAMES:
        path = copy / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= LOCK_MAX_BYTES:
            found[name] = path.read_bytes()
    return found


def _part_of_hive(spec: AgentSpec, copy: Path) -> bool:
    """Tell whether this is an agent that came with Hive: its files and nothing else, started as it is meant to be.

    Any other file of Hive is no agent: under a command or a function that somebody names it would do what they say.
    """
    source, entry = Path(spec.entry.source or "/"), spec.entry
    own = source == _HOME / "execution" / "tool_agent" or source.parent == _DEMO
    plain = entry.kind is StartKind.PYTHON and not entry.argv and entry.attribute in ("", "agent")
    if not own or not plain or entry.path != "agent.py" or spec.requirements or not copy.is_dir():
        return False
    files = [path for path in copy.rglob("*") if not path.is_dir()]
    try:
        return bool(files) and all(
            path.read_bytes() == (source / path.relative_to(copy)).read_bytes() for path in files
        )
    except OSError:
        return False


def _portable(path: str, source: str, home: Path) -> str:
    """Name a path so that it means the same on another machine: by the source, else by the home folder."""
    for base, sign in ((source, "."), (str(home), "~")):
        if base and (path == base or path.startswith(base.rstrip("/") + "/")):
            return sign + path[len(base.rstrip("/")) :]
    return path
