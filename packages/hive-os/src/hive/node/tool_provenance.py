"""Who signed the package of a tool server? Asked after it was built, where nothing of it has run, and before each start.

What is signed is the built package: its files and those of all that it depends on, its name and version, and what could
turn it into something else: an interpreter that is called in its place, and variables that steer one.
"""

import posixpath
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from anyio import to_thread

from hive.core.call import Refused
from hive.core.errors import NotFoundError, SpecError, SupplyError
from hive.core.ids import printable
from hive.core.json import Json
from hive.execution.packages import read_package
from hive.execution.source_files import BUNDLE_ENDING
from hive.execution.tool_content import package_digest
from hive.execution.tool_packages import BuiltPackage
from hive.node.provenance import Provenance
from hive.protocols.mcp.launch import ServerLauncher
from hive.protocols.mcp.ports import ServerSpec, ServerView, TransportKind
from hive.security.supply_chain.packages import SignedPackage, check_package
from hive.security.supply_chain.statement import Package, SignedKind
from hive.security.supply_chain.strict_json import DOCUMENT_MAX_BYTES
from hive.web.trust import ToolPackageLine

FOLDER: Final = "tool-bundles"
_STEERING: Final = ("LD_", "DYLD_", "PYTHON", "NODE_", "BASH_", "ENV")
_SPELLED: Final = frozenset({"NODE_ENV", "NODE_NO_WARNINGS", "PYTHONUNBUFFERED", "PYTHONUTF8"})
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
Note = Callable[[str, dict[str, Json]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolProvenance:
    """Checks the packages of tool servers. Without a signature of somebody trusted, production starts none."""

    provenance: Provenance
    note: Note

    @classmethod
    def of(cls, provenance: Provenance, note: Note) -> Self:
        """Return what checks with the same keys as agents are checked with."""
        return cls(provenance=provenance, note=note)

    async def vouch(self, spec: ServerSpec, built: BuiltPackage | None, place: Path | None) -> None:
        """Let a server start, or say why not; it has been built and nothing of it has run.

        Raises:
            SupplyError: this node demands a signature and nobody trusted has signed this.

        """
        bundle = await to_thread.run_sync(self._kept, spec.name)
        if self.provenance.demanded or bundle is not None:
            await self._checked(spec, built, place, bundle)

    async def admit(self, launcher: ServerLauncher, spec: ServerSpec, text: str) -> ServerSpec:
        """Take a server in with the bundle that vouches for it; "" leaves it unsigned. Return its spec, pinned.

        Raises:
            SpecError: a bundle is given for what has no package.
            SupplyError: it is not signed as it lies here, or is older than what has run.

        """
        pinned = await launcher.pin(spec)
        if pinned.transport is not TransportKind.STDIO or not (text or self.provenance.demanded):
            if text:
                raise SpecError(
                    f"The server {spec.name} is not started here.", why="It has no package."
                )
            await to_thread.run_sync(self._keep, spec.name, "")
            return pinned
        await to_thread.run_sync(self._keep, spec.name, text)
        try:
            built, place = await launcher.built(pinned)
            signed = await self._checked(pinned, built, place, text.encode() or None)
            await self._note_newest(pinned, signed)
        except BaseException:
            await to_thread.run_sync(self._keep, spec.name, "")
            raise
        verified = signed.verified
        body: dict[str, Json] = {
            "name": spec.name,
            "package": pinned.package,
            "signer": verified.signer,
            "bundle": verified.bundle,
        }
        await self.note("tool.package.verified", body)
        return pinned

    async def _note_newest(self, spec: ServerSpec, signed: SignedPackage) -> None:
        book = self.provenance.book
        older = await book.older(signed.claim) if book is not None else ""
        if older:
            raise _unsigned(spec, older)
        if book is not None:
            await book.note(signed)

    async def describe(self, view: ServerView | None, launcher: ServerLauncher) -> ToolPackageLine:
        """Say of a server's package what a signer would sign. Raises NotFoundError, SpecError."""
        if view is None:
            raise NotFoundError("There is no such server.", fix="hive tool list")
        built, place = await launcher.built(view.spec)
        package = await to_thread.run_sync(package_of_tool, view.spec, built, place)
        return ToolPackageLine(
            name=package.name, version=package.version, digest=package.digest, spec=package.spec
        )

    async def _checked(
        self,
        spec: ServerSpec,
        built: BuiltPackage | None,
        place: Path | None,
        bundle: bytes | None,
    ) -> SignedPackage:
        package = await to_thread.run_sync(package_of_tool, spec, built, place)
        found = await check_package(self.provenance.verifier, package, bundle)
        if isinstance(found, Refused):
            raise _unsigned(spec, found.reason)
        return found

    def _path(self, server: str) -> Path:
        return self.provenance.state / FOLDER / f"{server}{BUNDLE_ENDING}"

    def _kept(self, server: str) -> bytes | None:
        try:
            with self._path(server).open("rb") as file:
                return file.read(DOCUMENT_MAX_BYTES + 1)
        except FileNotFoundError:
            return None

    def _keep(self, server: str, text: str) -> None:
        path = self._path(server)
        if not text:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        coming = path.with_name(f".coming-{secrets.token_hex(8)}")
        coming.write_text(text, "utf-8")
        coming.replace(path)


def package_of_tool(spec: ServerSpec, built: BuiltPackage | None, place: Path | None) -> Package:
    """Return a server's package as it may be compared with what was signed on another machine.

    Raises:
        SupplyError: it has none, so nobody can vouch for it.

    """
    if built is None or place is None:
        raise SupplyError(
            f"The tool server {spec.name} has no package that could be signed.",
            why="It is a command, and what that starts may change at any time.",
            fix="Add it as a package (--npm, --pypi), or run it elsewhere (--url).",
        )
    ref = read_package(str(built.package))
    steering = {
        name: value
        for name, value in sorted(spec.environment.items())
        if name.upper().startswith(_STEERING) and name not in _SPELLED
    }
    replaced = (
        bool(spec.argv) and spec.argv[0] in built.tools and spec.argv[0] not in built.programs
    )
    return Package(
        kind=SignedKind.TOOL,
        name=str(replace(ref, version="", tag="", beside=())),
        version=ref.version,
        digest=package_digest(place, ref.kind),
        spec={
            "beside": list(ref.beside),
            "builds": spec.grant.packages,
            "argv": list(spec.argv) if replaced else [],
            "environment": dict(steering),
            "covers": _covered(spec, built),
        },
    )


def _covered(spec: ServerSpec, built: BuiltPackage) -> list[Json]:
    """Return where granted files would lie over what was signed, or over the system that runs it."""
    own = (*built.reads, *_SYSTEM)
    return [
        rule.inside
        for rule in spec.grant.paths
        if any(_overlap(rule.inside, place) for place in own)
    ]


def _overlap(one: str, other: str) -> bool:
    first, second = (f"{posixpath.normpath(path).rstrip('/')}/" for path in (one, other))
    return first.startswith(second) or second.startswith(first)


def _unsigned(spec: ServerSpec, why: str) -> SupplyError:
    return SupplyError(
        f"The tool server {spec.name} is not started.",
        why=why,
        fix=f"hive tool sign {printable(spec.name)[1:-1]} --key FILE     signs what another node has built",
    )
