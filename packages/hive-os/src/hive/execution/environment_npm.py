"""The environment of a package from npm, installed behind the walls of a build; trusts nothing it brings.

npm unpacks and checks each archive against the registry's word, which is kept; no script of a package runs
unless that was allowed. What came out is looked at from outside, sealed and kept by content, like an
environment of Python.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from anyio import to_thread

from hive.core.call import sha256_hex
from hive.core.errors import BuildError
from hive.core.grant import Access, Grant, PathRule
from hive.core.ids import OwnerId, plain_text, printable
from hive.core.json import Json, encode
from hive.core.settings import Settings
from hive.execution import environment_startup as startup
from hive.execution.environment import Environments
from hive.execution.environment_builder import PROXY, BuildLimits
from hive.execution.environment_node import NodeProgram, npm_settings, registry_host
from hive.execution.environment_store import BuildFolder, Manifest
from hive.execution.npm_age import aged_version, before_option, youngest
from hive.execution.packages import PackageRef
from hive.execution.ports import Opening
from hive.execution.spec_file import host_rule

WORK_INSIDE: Final = "/opt/hive-builder/work"
CACHE_INSIDE: Final = "/opt/hive-builder/cache"
LINES_KEPT: Final = 60
LINES_TOLD: Final = 12
LOCK_MAX_BYTES: Final = 32 << 20
_ROOTS: Final = "roots.pem"
_INSTALL: Final = (
    "install", "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress",
    "--omit=dev", "--install-links=true",
)  # fmt: skip


class _LockedPackage(msgspec.Struct, frozen=True, rename="camel"):
    version: str = ""
    integrity: str = ""
    link: bool = False
    in_bundle: bool = False
    has_install_script: bool = False


class _Lock(msgspec.Struct, frozen=True):
    packages: dict[str, _LockedPackage]


@dataclass(frozen=True, slots=True, kw_only=True)
class NpmPlan:
    """What an environment is made of: one package at one version."""

    owner: OwnerId
    package: PackageRef
    node: NodeProgram
    allow_build: bool = False


class NpmEnvironments:
    """Builds the environments of packages from npm, and finds the version of one that names none."""

    def __init__(
        self,
        *,
        settings: Settings,
        environments: Environments,
        limits: BuildLimits | None = None,
    ) -> None:
        self._settings = settings
        self._driver = environments.driver
        self._doors = environments.doors
        self._environments = environments
        self._limits = limits or BuildLimits()

    async def ensure(self, plan: NpmPlan, *, on_line: Callable[[str], None]) -> Manifest:
        """Return the environment of a plan; build it when there is none.

        Raises:
            BuildError: it did not build; nothing is kept.
            TierUnavailableError: the walls for the build cannot be raised.

        """
        return await self._environments.make(_NpmRecipe(self, plan), on_line=on_line)

    async def version(self, plan: NpmPlan, *, on_line: Callable[[str], None]) -> str:
        """Return the version that the registry would give now.

        Raises:
            BuildError: it does not have the package.

        """
        lines: list[str] = []
        youngest_at = self.youngest()
        fields = ("version",) if youngest_at is None else ("dist-tags", "time")
        words = ("view", "--json", plan.package.requirement, *fields)
        store = self._environments.store
        async with (
            store.locked("npm-view", timeout_s=self._limits.timeout_s),
            store.building("npm-view") as folder,
        ):
            await self.command(plan, folder.work, words, (), on_line=lines.append)
        if youngest_at is not None:
            return aged_version(_view(lines), plan.package.tag, youngest_at)
        for line in reversed(lines):
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if isinstance(told, str):
                return told
        raise _failure("The version of the package", lines)

    def youngest(self) -> datetime | None:
        """Return when the youngest release that may be taken was made; None takes any."""
        return youngest(self._environments.clock, self._settings.package_age_days)

    def cache(self, plan: NpmPlan) -> Path:
        """Return the folder in which npm keeps its downloads."""
        return self._environments.store.cache(plan.owner, plan.allow_build, "npm-")

    def digest(self, plan: NpmPlan) -> str:
        """Return what names a plan's environment."""
        parts: tuple[object, ...] = (
            *("npm", plan.owner, str(plan.package), plan.node.version, plan.allow_build),
            *([self._settings.package_age_days] if self._settings.package_age_days else ()),
        )
        return sha256_hex(encode(parts))[:40]

    async def command(
        self,
        plan: NpmPlan,
        work: Path,
        words: Sequence[str],
        mounts: Sequence[PathRule],
        *,
        on_line: Callable[[str], None],
    ) -> int:
        """Run npm behind the walls; it reaches its registry and nothing else."""
        registry, authorities = self._settings.npm_registry_url, self._settings.ssl_cert_file
        if not registry or not authorities:
            own, file = await to_thread.run_sync(npm_settings, plan.node)
            registry, authorities = registry or own, authorities or file
        if authorities:
            data = await to_thread.run_sync(Path(authorities).read_bytes)
            await to_thread.run_sync((work / _ROOTS).write_bytes, data)
        named = tuple(host_rule(text) for text in self._settings.index_hosts)
        cache = await to_thread.run_sync(self.cache, plan)
        grant = Grant(hosts=(registry_host(registry), *named))
        reads = [PathRule(host=path, inside=path) for path in plan.node.reads]
        async with self._doors.open(plan.owner, grant) as opening:
            environment = _environment(registry, trusted=bool(authorities))
            return await self._driver.run(
                (plan.node.path, f"{plan.node.npm}/bin/npm-cli.js", *words),
                mounts=(
                    *reads,
                    *mounts,
                    PathRule(host=str(work), inside=WORK_INSIDE),
                    PathRule(host=str(cache), inside=CACHE_INSIDE, access=Access.WRITE),
                ),
                opening=_with(opening, environment),
                limits=self._limits.sandbox,
                timeout_s=self._limits.timeout_s,
                on_line=on_line,
            )


class _NpmRecipe:
    """How the environment of one package is made."""

    def __init__(self, environments: NpmEnvironments, plan: NpmPlan) -> None:
        self._environments = environments
        self._plan = plan

    def __str__(self) -> str:
        return f"{self._plan.package}, {self._plan.node}"

    def digest(self) -> str:
        return self._environments.digest(self._plan)

    def cache(self) -> Path:
        return self._environments.cache(self._plan)

    async def build(self, folder: BuildFolder, place: Path, on_line: Callable[[str], None]) -> None:
        plan = self._plan
        wanted = {"private": True, "dependencies": {plan.package.name: plan.package.version}}
        await to_thread.run_sync((folder.environment / "package.json").write_bytes, encode(wanted))
        target = PathRule(host=str(folder.environment), inside=str(place), access=Access.WRITE)
        scripts = () if plan.allow_build else ("--ignore-scripts",)
        lines: deque[str] = deque(maxlen=LINES_KEPT)

        def take(line: str) -> None:
            lines.append(plain_text(line))
            on_line(lines[-1])

        status = await self._environments.command(
            plan,
            folder.work,
            (
                *_INSTALL,
                *scripts,
                *before_option(self._environments.youngest()),
                "--prefix",
                str(place),
            ),
            (target,),
            on_line=take,
        )
        if status:
            raise _failure(str(plan.package), list(lines))

    def seal(self, folder: BuildFolder, digest: str, now: datetime) -> Manifest:
        plan, lock = self._plan, read_lock(folder.environment)
        check_links(folder.environment)
        scripts = [path for path, one in lock.items() if one.has_install_script]
        return Manifest(
            digest=digest,
            requirements=(str(plan.package),),
            python=str(plan.node),
            uv=f"npm of Node.js {'.'.join(map(str, plan.node.version))}",
            allow_build=plan.allow_build,
            packages={path: one.version for path, one in lock.items()},
            startup=tuple(
                f"install script of {path}" + ("" if plan.allow_build else " (not run)")
                for path in scripts
            ),
            size_bytes=startup.seal(folder.environment),
            built_at=now,
            integrity={path: one.integrity for path, one in lock.items() if one.integrity},
        )


def read_lock(environment: Path) -> dict[str, _LockedPackage]:
    """Return the installed packages by their places, each with what its archive was checked against.

    Raises:
        BuildError: the list is missing, or a package came without a word of the registry.

    """
    found: dict[str, _LockedPackage] = {}
    for name in ("node_modules/.package-lock.json", "package-lock.json"):
        path = environment / name
        try:
            if path.is_symlink() or path.stat().st_size > LOCK_MAX_BYTES:
                continue
            listed = msgspec.json.decode(path.read_bytes(), type=_Lock).packages
        except (OSError, msgspec.MsgspecError):
            continue
        found = {place: one for place, one in listed.items() if place}
        break
    if not found:
        raise BuildError("npm left no list of what it installed.", why="Its lock is missing.")
    for place, one in found.items():
        # A bundled package came inside the archive of another, which was checked.
        if one.link or not (one.integrity or one.in_bundle):
            raise BuildError(
                f"The package at {printable(place)} was not checked against a registry.",
                why="It is a link, or came from a repository or a URL.",
                fix="Choose another version of the server.",
            )
    return found


def check_links(environment: Path) -> None:
    """Refuse an environment with a link that leads out of it.

    Raises:
        BuildError: it has one.

    """
    for root, folders, names in os.walk(environment):
        for name in (*folders, *names):
            path = Path(root, name)
            if path.is_symlink() and not _stays(path, environment):
                raise BuildError(
                    "A package brought a link that leads out of its environment.",
                    why=printable(str(path.relative_to(environment))),
                    fix="Choose another version of the server.",
                )


def _stays(link: Path, environment: Path) -> bool:
    target = link.readlink()
    return not target.is_absolute() and link.resolve().is_relative_to(environment.resolve())


def _environment(registry: str, *, trusted: bool) -> dict[str, str]:
    roots = f"{WORK_INSIDE}/{_ROOTS}"
    return {
        "HOME": "/tmp",  # noqa: S108 - the sandbox's own
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "CI": "1",
        "HTTP_PROXY": PROXY,
        "HTTPS_PROXY": PROXY,
        "npm_config_proxy": PROXY,
        "npm_config_https_proxy": PROXY,
        "npm_config_noproxy": "",
        "npm_config_registry": registry,
        "npm_config_cache": CACHE_INSIDE,
        "npm_config_userconfig": f"{WORK_INSIDE}/user.npmrc",
        "npm_config_globalconfig": f"{WORK_INSIDE}/global.npmrc",
        "npm_config_logs_max": "0",
        "npm_config_fetch_retry_mintimeout": "1000",
        "npm_config_fetch_retry_maxtimeout": "5000",
        **({"npm_config_cafile": roots, "NODE_EXTRA_CA_CERTS": roots} if trusted else {}),
    }


def _with(opening: Opening, environment: dict[str, str]) -> Opening:
    return replace(opening, environment={**environment, **opening.environment})


def _view(lines: Sequence[str]) -> Json:
    """Read what `npm view` printed as one document, from its first brace on."""
    _, brace, rest = "\n".join(lines).partition("{")
    try:
        document: Json = json.JSONDecoder().raw_decode(brace + rest)[0]
    except ValueError as error:
        raise _failure("The version of the package", lines) from error
    return document


def _failure(what: str, lines: Sequence[str]) -> BuildError:
    told = " ".join(lines).lower()
    advice = "Correct the name and the version, then try again."
    if "with a date before" in told:
        advice = "It is too young for HIVE_PACKAGE_AGE_DAYS: choose an older version, or wait."
    elif "403" in told or "tunnel" in told or "proxy" in told:
        advice = "The registry sends npm to another host: name it in HIVE_INDEX_HOSTS."
    elif "certificate" in told:
        advice = "Name the registry's certificate authority: HIVE_SSL_CERT_FILE=/path/roots.pem"
    return BuildError(
        f"{what} could not be had from npm.",
        why="".join(f"\n  {plain_text(line)}" for line in list(lines)[-LINES_TOLD:]),
        fix=advice,
    )
