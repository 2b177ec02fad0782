"""Packages that hold tool servers: pinned to a version, built behind walls, and the commands they offer.

A package is the operator's choice and holds nothing of anybody, so all owners share what was built from it.
Its programs are read from what it declares, by name; nothing of it runs outside the walls.
"""

import configparser
import json
import posixpath
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import to_thread

from hive.core.errors import BuildError, SpecError
from hive.core.grant import PathRule
from hive.core.ids import OwnerId, printable
from hive.core.settings import Settings
from hive.execution.environment import Environments
from hive.execution.environment_builder import EnvironmentPlan
from hive.execution.environment_node import NODE_WHEEL_REQUIREMENT, NodeProgram, host_node, node_in
from hive.execution.environment_npm import NpmEnvironments, NpmPlan
from hive.execution.environment_python import own_interpreter
from hive.execution.packages import PackageKind, PackageRef
from hive.execution.spec_requirements import package_name

OWNER: Final = OwnerId("operator")
DECLARATION_MAX_BYTES: Final = 1 << 20
_SYSTEM: Final = "/usr/local/bin:/usr/bin:/bin"
_PYTHON: Final = ("python", "python3")
_FLAGS: Final = ("-X", "utf8", "-u")
_HIDDEN: Final = ("node", "npm", "npx")
_ABSENT: Final = "#!/bin/sh\necho 'not part of this environment' >&2\nexit 127\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPackage:
    """A package's environment and what can be started from it.

    `programs` are the commands that the package itself declares, each with how it is started; `tools` are
    the interpreter's own names, which a command line may begin with too.
    """

    package: PackageRef
    digest: str
    programs: Mapping[str, tuple[str, ...]]
    tools: Mapping[str, tuple[str, ...]]
    reads: tuple[str, ...]
    environment: Mapping[str, str]

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the command line to run.

        The first word names a program of the package or its interpreter; any other line is the arguments
        of the package's own program.

        Raises:
            SpecError: the package declares no program, or several and none is named.

        """
        first = argv[0] if argv else ""
        named = self.programs.get(first) or self.tools.get(first)
        if named:
            return (*named, *argv[1:])
        return (*self._own_program(), *argv)

    @property
    def mounts(self) -> tuple[PathRule, ...]:
        """Return what must be readable."""
        return tuple(PathRule(host=path, inside=path) for path in self.reads)

    def _own_program(self) -> tuple[str, ...]:
        short = self.package.name.rpartition("/")[2]
        if len(self.programs) == 1:
            return next(iter(self.programs.values()))
        for name, start in self.programs.items():
            if package_name(name) == package_name(short):
                return start
        known = ", ".join(sorted(map(printable, self.programs))) or "none"
        raise SpecError(
            f"It is not clear which program of {self.package} is the server.",
            why=f"It declares: {known}.",
            fix="Begin the command with the program's name.",
        )


class ToolPackages:
    """Pins and builds the packages of tool servers."""

    def __init__(
        self, *, settings: Settings, environments: Environments, npm: NpmEnvironments
    ) -> None:
        self._settings = settings
        self._environments = environments
        self._npm = npm

    @property
    def environments(self) -> Environments:
        """Return where the environments lie."""
        return self._environments

    async def pin(self, package: PackageRef, *, on_line: Callable[[str], None]) -> PackageRef:
        """Return the package at one version: its own, or the one that the registry gives now.

        Raises:
            BuildError: the registry does not have it.

        """
        if package.version:
            return package
        if package.kind is PackageKind.NPM:
            plan = await self._npm_plan(package, on_line=on_line)
            return package.pinned(await self._npm.version(plan, on_line=on_line))
        found = await self._environments.resolve(_python_plan(package), on_line=on_line)
        for line in found:
            name, _, version = line.partition("==")
            if package_name(name) == package_name(package.name) and version:
                return package.pinned(version.split()[0])
        raise BuildError(f"The index names no version of {package}.", why="\n".join(found)[:500])

    async def build(
        self,
        package: PackageRef,
        *,
        proxied: bool = False,
        allow_build: bool = False,
        on_line: Callable[[str], None],
    ) -> BuiltPackage:
        """Build a pinned package, or find it built; `proxied` servers reach hosts.

        Raises:
            BuildError: it did not build.
            TierUnavailableError: the walls for the build cannot be raised.

        """
        if package.kind is PackageKind.PYPI:
            return await self._python(package, allow_build, on_line)
        plan = await self._npm_plan(
            package, proxied=proxied, allow_build=allow_build, on_line=on_line
        )
        manifest = await self._npm.ensure(plan, on_line=on_line)
        place = self._environments.place(manifest.digest)
        programs = await to_thread.run_sync(npm_programs, place, package.name, plan.node)
        node_folder = str(Path(plan.node.path).parent)
        return BuiltPackage(
            package=package,
            digest=manifest.digest,
            programs=programs,
            tools={"node": (plan.node.path,)},
            reads=(str(place), *plan.node.reads),
            environment={
                "PATH": f"{place}/node_modules/.bin:{node_folder}:{_SYSTEM}",
                "NODE_PATH": f"{place}/node_modules",
            },
        )

    async def node(self, *, proxied: bool = False, on_line: Callable[[str], None]) -> NodeProgram:
        """Return the Node.js for servers: the host's, else one built from its package.

        One that is to reach hosts needs a Node.js whose `fetch` obeys the proxy.

        Raises:
            BuildError: there is none, and it did not build.

        """
        found = await to_thread.run_sync(host_node, self._settings.node_bin)
        if found and (found.obeys_proxy or not proxied):
            return found
        plan = _plan_of((NODE_WHEEL_REQUIREMENT,))
        manifest = await self._environments.ensure(plan, on_line=on_line)
        place = self._environments.place(manifest.digest)
        built = await to_thread.run_sync(node_in, place)
        if built is None:
            raise BuildError(
                "No Node.js runs here.",
                why=f"{NODE_WHEEL_REQUIREMENT} does not run on this machine.",
                fix="Install Node.js 22 or newer with npm, or set HIVE_NODE_BIN.",
            )
        return built

    async def _npm_plan(
        self,
        package: PackageRef,
        *,
        proxied: bool = False,
        allow_build: bool = False,
        on_line: Callable[[str], None],
    ) -> NpmPlan:
        node = await self.node(proxied=proxied, on_line=on_line)
        return NpmPlan(owner=OWNER, package=package, node=node, allow_build=allow_build)

    async def _python(
        self,
        package: PackageRef,
        allow_build: bool,  # noqa: FBT001 - private
        on_line: Callable[[str], None],
    ) -> BuiltPackage:
        plan = _python_plan(package, allow_build=allow_build)
        manifest = await self._environments.ensure(plan, on_line=on_line)
        place = self._environments.place(manifest.digest)
        python = (f"{place}/bin/python", *_FLAGS)
        programs = await to_thread.run_sync(python_programs, place, package.name, python)
        hidden = await to_thread.run_sync(hide_programs, self._settings.state / "hidden-programs")
        return BuiltPackage(
            package=package,
            digest=manifest.digest,
            programs=programs,
            tools=dict.fromkeys(_PYTHON, python),
            reads=(str(place), str(hidden), *plan.interpreter.reads),
            environment={
                "PATH": f"{place}/bin:{hidden}:{_SYSTEM}",
                "VIRTUAL_ENV": str(place),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )


def hide_programs(folder: Path) -> Path:
    """Make the folder of programs that stand in front of the host's and say that there is none.

    A Python library that finds Node.js on the host tries to install more of itself at run time, which
    cannot work in an environment that never changes; without one it falls back to Python.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    for name in _HIDDEN:
        place = folder / name
        if not place.is_file() or place.read_text() != _ABSENT:
            coming = folder / f".{name}-{secrets.token_hex(8)}"
            coming.write_text(_ABSENT)
            coming.chmod(0o755)
            coming.rename(place)
    return folder


def python_programs(
    environment: Path, package: str, python: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return the console scripts of a package, and the programs that its wheel brings as files."""
    found: dict[str, tuple[str, ...]] = {}
    for info in sorted(environment.glob("lib/python3*/site-packages/*.dist-info")):
        name = info.name.removesuffix(".dist-info").partition("-")[0]
        if package_name(name) != package_name(package):
            continue
        for script in _console_scripts(info / "entry_points.txt"):
            if (environment / "bin" / script).is_file():
                found[script] = (*python, f"{environment}/bin/{script}")
        for line in _text(info / "RECORD").splitlines():
            path = line.partition(",")[0]
            program = environment / "bin" / posixpath.basename(path)
            if path.startswith("../../../bin/") and program.name not in found:
                found[program.name] = _started_by_head(program, python)
    return found


def npm_programs(environment: Path, package: str, node: NodeProgram) -> dict[str, tuple[str, ...]]:
    """Return the commands that a package declares, each as a file run by Node.js."""
    folder = environment / "node_modules" / package
    try:
        declared = json.loads(_text(folder / "package.json")).get("bin", {})
    except (ValueError, AttributeError):
        declared = {}
    if isinstance(declared, str):
        declared = {package.rpartition("/")[2]: declared}
    found = {}
    for name, path in declared.items() if isinstance(declared, dict) else ():
        inside = posixpath.normpath(str(path))
        if inside.startswith(("/", "..")) or not (folder / inside).is_file():
            continue
        found[str(name)] = _started_by_head(folder / inside, (node.path,), native=True)
    return found


def _started_by_head(
    program: Path, interpreter: tuple[str, ...], *, native: bool = False
) -> tuple[str, ...]:
    """Start a file by what it is: a binary by itself, a script by the interpreter."""
    try:
        with program.open("rb") as stream:
            head = stream.read(128)
    except OSError:
        head = b""
    is_binary = head.startswith(b"\x7fELF")
    is_shell = head.startswith((b"#!/bin/sh", b"#!/bin/bash")) and native
    return (str(program),) if is_binary or is_shell else (*interpreter, str(program))


def _console_scripts(path: Path) -> list[str]:
    reader = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        reader.read_string(_text(path))
        scripts = reader["console_scripts"]
    except (configparser.Error, KeyError):
        return []
    return [name for name in scripts if "/" not in name]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > DECLARATION_MAX_BYTES:
            return ""
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _python_plan(package: PackageRef, *, allow_build: bool = False) -> EnvironmentPlan:
    return _plan_of((package.requirement, *package.beside), allow_build=allow_build)


def _plan_of(requirements: tuple[str, ...], *, allow_build: bool = False) -> EnvironmentPlan:
    return EnvironmentPlan(
        owner=OWNER,
        requirements=requirements,
        interpreter=own_interpreter(),
        allow_build=allow_build,
    )
