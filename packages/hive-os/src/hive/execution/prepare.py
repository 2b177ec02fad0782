"""From a confirmed spec to something that can be spawned: the staged source, an environment, a command.

What runs is the copy that carries the spec's digest; a copy that is missing or different is an error, never
a reason to look at the folder again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from anyio import to_thread

from hive.core.errors import SpecError
from hive.core.ids import OwnerId
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.execution.components import Components
from hive.execution.environment import Environments
from hive.execution.environment_builder import EnvironmentPlan
from hive.execution.environment_lock import lock_digest
from hive.execution.environment_python import Interpreter, find_interpreter
from hive.execution.ports import Prepared
from hive.execution.source_copy import staged_digest, staged_path
from hive_guest import environment as guest

_FLAGS: Final = ("-I", "-X", "utf8", "-u")
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_SYSTEM_ROOTS: Final = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr")


class Preparer:
    """Turns specs into prepared artifacts of the process tier.

    `roots` is the operator's file of certificate authorities, for agents that reach hosts.
    """

    def __init__(
        self,
        *,
        state: Path,
        home: Path,
        environments: Environments,
        roots: str = "",
        components: Components | None = None,
    ) -> None:
        self._components = components
        self._roots = roots if roots and Path(roots).is_file() else ""
        self._state = state
        self._home = home
        self._environments = environments

    @property
    def environments(self) -> Environments:
        """Return where the environments come from."""
        return self._environments

    async def prepare(
        self, spec: AgentSpec, owner: OwnerId, *, on_line: Callable[[str], None]
    ) -> Prepared:
        """Find the staged source and the interpreter, build the environment where one is needed.

        Raises:
            SpecError: the staged source is missing or not what was confirmed, or no Python fits.
            BuildError: the environment did not build.
            TierUnavailableError: the walls for the build cannot be raised, or wasmtime is missing for a component.

        """
        if spec.entry.kind is StartKind.REMOTE:
            return await to_thread.run_sync(self._proxy, spec)
        source = await to_thread.run_sync(self._staged, spec)
        if spec.entry.kind is StartKind.COMPONENT:
            return await self._component(spec, source / spec.entry.path, on_line)
        interpreter = await to_thread.run_sync(self._interpreter, spec.python)
        python, place, digest = _bare(interpreter), "", ""
        if spec.requirements:
            lock = await to_thread.run_sync(lock_digest, source, spec.requirements)
            plan = EnvironmentPlan(
                owner=owner,
                requirements=spec.requirements,
                interpreter=interpreter,
                allow_build=spec.allow_build,
                source=str(source),
                lock=lock,
            )
            manifest = await self._environments.ensure(plan, on_line=on_line)
            digest = manifest.digest
            place = str(self._environments.place(digest))
            python = (f"{place}/bin/python", *_FLAGS)
        return Prepared(
            spec=spec,
            argv=(*python, guest.MAIN_PATH, *_arguments(spec.entry, source)),
            reads=(
                *filter(None, (*interpreter.reads, place, guest.FOLDER, str(source))),
                *self._trusted(),
            ),
            environment={**_environment(spec, interpreter, place), **self._trust()},
            digest=digest,
        )

    async def _component(
        self, spec: AgentSpec, source: Path, on_line: Callable[[str], None]
    ) -> Prepared:
        """Compile a component ahead of time; what is spawned is the compiled file."""
        if self._components is None:
            raise SpecError("Components cannot be prepared here.")
        compiled = await self._components.ensure(source, on_line=on_line)
        return Prepared(spec=spec, argv=(str(compiled),), reads=(), digest=compiled.stem)

    def _proxy(self, spec: AgentSpec) -> Prepared:
        """Prepare what stands for an agent that runs elsewhere: the guest alone, behind the same walls."""
        interpreter = self._interpreter("")
        return Prepared(
            spec=spec,
            argv=(*_bare(interpreter), guest.MAIN_PATH, "--remote", spec.entry.url),
            reads=(*interpreter.reads, guest.FOLDER, *self._trusted()),
            environment={**_environment(spec, interpreter, ""), **self._trust()},
            digest=spec.digest,
        )

    def _trusted(self) -> tuple[str, ...]:
        """Return the file of authorities, unless the sandbox has the system's own anyway."""
        inside = any(Path(self._roots).is_relative_to(place) for place in _SYSTEM_ROOTS)
        return (self._roots,) if self._roots and not inside else ()

    def _trust(self) -> dict[str, str]:
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if self._roots else ()
        return dict.fromkeys(names, self._roots)

    def _staged(self, spec: AgentSpec) -> Path:
        place = staged_path(self._state, spec.digest)
        if place.is_dir() and staged_digest(place) == spec.digest:
            return place
        raise SpecError(
            f"The source of {spec.name} is not as it was confirmed.",
            why=f"Its copy in {place.parent} is missing or was changed.",
            fix="Deploy it again: `hive run SOURCE`.",
        )

    def _interpreter(self, demand: str) -> Interpreter:
        return find_interpreter(demand, home=self._home)


def _bare(interpreter: Interpreter) -> tuple[str, ...]:
    """Start an agent without requirements: the bare interpreter, no installed package in sight."""
    return (interpreter.path, *_FLAGS, "-S")


def _arguments(entry: EntryPoint, source: Path) -> tuple[str, ...]:
    start = ("--source", str(source))
    match entry.kind:
        case StartKind.PYTHON:
            named = ("--attribute", entry.attribute) if entry.attribute else ()
            return (*start, "--path", entry.path, *named)
        case StartKind.A2A_COMMAND:
            return (*start, "--a2a-command", "--", *entry.argv)
        case _:
            return (*start, "--command", "--", *entry.argv)


def _environment(spec: AgentSpec, interpreter: Interpreter, place: str) -> dict[str, str]:
    """Return the agent's plain variables; what Hive sets wins over what a source asks for."""
    programs = f"{place}/bin" if place else str(Path(interpreter.path).parent)
    return {
        **spec.environment,
        **guest.TELEMETRY_OFF,
        "PATH": f"{programs}:{_PATH}",
        "LANG": "C.UTF-8",
        **({"VIRTUAL_ENV": place} if place else {}),
    }
