"""Start a tool server of somebody else behind the walls of the process tier, and hand out its streams.

A server is as foreign as an agent. It sees its package, the paths of its grant and the variables of its
spec; it goes out through a proxy of its own, where each host is a call under its grant, in its own name. It
has no handle and no door to the node.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from hive.core.errors import EngineUnavailableError, HiveError, SpecError
from hive.core.grant import Grant, PathRule
from hive.core.ids import OwnerId
from hive.core.settings import Settings
from hive.execution.environment import Environments
from hive.execution.environment_npm import NpmEnvironments
from hive.execution.packages import read_package
from hive.execution.ports import Opening, SandboxDriver, WalledCommand
from hive.execution.tool_packages import BuiltPackage, ToolPackages
from hive.protocols.mcp.ports import ServerSpec, TransportKind

log = logging.getLogger(__name__)

EGRESS: Final = "http://127.0.0.1:4101"
_SYSTEM_ROOTS: Final = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr")
_HELPS: Final = {
    "NODE_USE_ENV_PROXY": "1",
    "NO_UPDATE_NOTIFIER": "1",
    # Read-only paths belong to nobody inside, and git would refuse to look at them.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
_ROOTS_NAMES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


Vouch = Callable[[ServerSpec, BuiltPackage | None, Path | None], Awaitable[None]]
"""Let a built server start, or raise: its spec, its package and where that lies; None for a command."""


async def _anything(_spec: ServerSpec, _built: BuiltPackage | None, _place: Path | None) -> None:
    return


class ServerDoors(Protocol):
    """Opens the way out for one running server: a proxy that passes its grant's hosts, nothing else."""

    def open(
        self, server: str, owner: OwnerId, grant: Grant
    ) -> AbstractAsyncContextManager[Opening]:
        """Serve the server's socket; leaving the context closes it and forgets the grant."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCommand:
    """What is run for a spec: complete, before anything starts."""

    argv: tuple[str, ...]
    mounts: tuple[PathRule, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


class ServerLauncher:
    """Builds the packages of stdio servers and runs them behind walls."""

    def __init__(
        self,
        *,
        settings: Settings,
        driver: SandboxDriver,
        packages: ToolPackages,
        doors: ServerDoors,
        on_line: Callable[[str, str], None] | None = None,
    ) -> None:
        """Prepare; `on_line` takes a server's name and a line that it printed or that its build told.

        `vouch` is asked before each start.
        """
        self._settings = settings
        self._driver = driver
        self._packages = packages
        self._doors = doors
        self._on_line = on_line or _log_line
        self._pinned: dict[str, str] = {}
        self.vouch: Vouch = _anything

    @property
    def packages(self) -> ToolPackages:
        """Return what builds the packages."""
        return self._packages

    async def pin(self, spec: ServerSpec) -> ServerSpec:
        """Return the spec with its package at one version; call it when a server is added.

        Raises:
            SpecError: the package is no package.
            BuildError: the registry does not have it.

        """
        if not spec.package:
            return spec
        told = self._lines_of(spec)
        pinned = await self._packages.pin(read_package(spec.package), on_line=told)
        return replace(spec, package=str(pinned))

    async def prepare(self, spec: ServerSpec) -> ServerCommand:
        """Build what a spec needs and say what would be run.

        Raises:
            SpecError: the spec cannot be run.
            BuildError: its package did not build.
            TierUnavailableError: the walls for the build cannot be raised.
            SupplyError: nobody trusted has signed it, and that is demanded.

        """
        if spec.transport is not TransportKind.STDIO:
            raise SpecError(f"The server {spec.name} is not started here: it has an address.")
        granted = _granted(spec)
        built, place = await self.built(spec)
        await self.vouch(spec, built, place)
        if built is None:
            return ServerCommand(
                argv=_program(spec),
                mounts=granted,
                environment={**self._own_environment(), **spec.environment},
            )
        return ServerCommand(
            argv=built.command(spec.argv),
            mounts=(*granted, *built.mounts),
            environment={**self._own_environment(), **built.environment, **spec.environment},
            digest=built.digest,
        )

    async def built(self, spec: ServerSpec) -> tuple[BuiltPackage | None, Path | None]:
        """Build the package of a spec, or find it built; return it and where it lies. Nothing of it runs.

        Raises:
            BuildError: it did not build.
            TierUnavailableError: the walls for the build cannot be raised.

        """
        if not spec.package:
            return None, None
        if spec.package not in self._pinned:
            self._pinned[spec.package] = (await self.pin(spec)).package
        built = await self._packages.build(
            read_package(self._pinned[spec.package]),
            proxied=bool(spec.grant.hosts),
            allow_build=spec.grant.packages,
            on_line=self._lines_of(spec),
        )
        return built, self._packages.environments.place(built.digest)

    @asynccontextmanager
    async def launch(
        self, spec: ServerSpec, owner: OwnerId, instance: str
    ) -> AsyncIterator[WalledCommand]:
        """Run a server for an owner; leaving the context kills it.

        Raises:
            EngineUnavailableError: it cannot be built or started; the reason stands in `why`.

        """
        async with AsyncExitStack() as stack:
            try:
                streams = await self._start(stack, spec, owner)
            except HiveError as error:
                raise EngineUnavailableError(
                    f"The tool server {spec.name} did not start.",
                    why=f"{error.what} {error.why}".strip(),
                    fix=error.fix,
                ) from error
            log.info(
                "mcp.server_started",
                extra={"server": spec.name, "instance": instance, "pid": streams.pid},
            )
            yield streams

    async def _start(
        self, stack: AsyncExitStack, spec: ServerSpec, owner: OwnerId
    ) -> WalledCommand:
        command = await self.prepare(spec)
        if command.digest:
            stack.enter_context(self._packages.environments.held(command.digest))
        opening = await stack.enter_async_context(self._doors.open(spec.name, owner, spec.grant))
        environment = {**command.environment, **opening.environment}
        return await stack.enter_async_context(
            self._driver.open(
                command.argv,
                mounts=(*command.mounts, *self._trusted()),
                opening=replace(opening, environment=environment),
                limits=spec.grant.limits,
                on_line=self._lines_of(spec),
            )
        )

    def _own_environment(self) -> dict[str, str]:
        proxies = dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
            EGRESS,
        )
        roots = self._settings.ssl_cert_file
        trusted = dict.fromkeys(_ROOTS_NAMES, roots) if roots and Path(roots).is_file() else {}
        return {
            **_HELPS,
            **proxies,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **trusted,
        }

    def _trusted(self) -> tuple[PathRule, ...]:
        """Return the operator's file of authorities, unless the sandbox has the system's own anyway."""
        roots = self._settings.ssl_cert_file
        inside = any(Path(roots).is_relative_to(place) for place in _SYSTEM_ROOTS)
        if not roots or inside or not Path(roots).is_file():
            return ()
        return (PathRule(host=roots, inside=roots),)

    def _lines_of(self, spec: ServerSpec) -> Callable[[str], None]:
        return lambda text: self._on_line(spec.name, text)


def _granted(spec: ServerSpec) -> tuple[PathRule, ...]:
    for rule in spec.grant.paths:
        if not Path(rule.host).exists():
            raise SpecError(
                f"The server {spec.name} is granted a path that does not exist.",
                why=rule.host,
                fix="Make it, or correct the grant.",
            )
    return spec.grant.paths


def _program(spec: ServerSpec) -> tuple[str, ...]:
    """Return the command of a server without a package: a program of the system or of a granted path."""
    if not spec.argv:
        raise SpecError(f"The server {spec.name} has neither a command nor a package.")
    first = spec.argv[0]
    if first.startswith("/"):
        return spec.argv
    for folder in ("/usr/local/bin", "/usr/bin", "/bin"):
        if "/" not in first and Path(folder, first).is_file():
            return (f"{folder}/{first}", *spec.argv[1:])
    raise SpecError(
        f"The program of the server {spec.name} is not found.",
        why=f"{first} is neither a full path nor a program of the system.",
        fix="Name its full path and grant it, or its package (npm:NAME@1.2.3, pypi:NAME==1.2.3).",
    )


def _log_line(server: str, text: str) -> None:
    log.debug("mcp.server_line", extra={"server": server, "text": text})


def open_launcher(
    *,
    settings: Settings,
    environments: Environments,
    doors: ServerDoors,
    on_line: Callable[[str, str], None] | None = None,
) -> ServerLauncher:
    """Put a launcher together from the parts of a node."""
    npm = NpmEnvironments(settings=settings, environments=environments)
    return ServerLauncher(
        settings=settings,
        driver=environments.driver,
        packages=ToolPackages(settings=settings, environments=environments, npm=npm),
        doors=doors,
        on_line=on_line,
    )
