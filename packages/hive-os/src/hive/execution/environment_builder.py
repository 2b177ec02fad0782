"""One build of an environment, step by step behind the walls; trusts nothing that a package brings.

`uv` makes an empty environment, then unpacks wheels into it: no code of a package runs. What was unpacked is
looked at from outside; only then is bytecode compiled, by the bare interpreter, which imports none of it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from anyio import to_thread

from hive.core.clock import Clock
from hive.core.errors import BuildError, ConfigError
from hive.core.grant import Access, Grant, HostRule, Limits, PathRule
from hive.core.ids import OwnerId, plain_text
from hive.core.settings import Settings
from hive.execution import environment_index as index
from hive.execution import environment_lock as locks
from hive.execution import environment_startup as startup
from hive.execution.environment_python import Interpreter, UvProgram, find_uv
from hive.execution.environment_store import BuildFolder, EnvironmentStore
from hive.execution.ports import BuilderDoors, Opening, SandboxDriver
from hive.execution.spec_file import host_rule
from hive.execution.spec_requirements import CONSTRAINT, package_name

PROXY: Final = "http://127.0.0.1:4101"
UV_INSIDE: Final = "/opt/hive-builder/uv"
WORK_INSIDE: Final = "/opt/hive-builder/work"
CACHE_INSIDE: Final = "/opt/hive-builder/cache"
LOCKED: Final = "locked.txt"
LINES_KEPT: Final = 60
LINES_TOLD: Final = 12

_ENVIRONMENT: Final = {
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "NO_COLOR": "1",
    "HTTP_PROXY": PROXY,
    "HTTPS_PROXY": PROXY,
    "ALL_PROXY": PROXY,
    "http_proxy": PROXY,
    "https_proxy": PROXY,
    "NO_PROXY": "",
    "UV_CACHE_DIR": CACHE_INSIDE,
    "UV_NO_CONFIG": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    # A copy: a hard link would let a later build of the same owner change an environment in use.
    "UV_LINK_MODE": "copy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLimits:
    """How much one build may take."""

    timeout_s: float = 900.0
    environment_max_bytes: int = 12 << 30
    sandbox: Limits = field(
        default_factory=lambda: Limits(
            memory_bytes=4 << 30,
            processes_max=256,
            files_max=8192,
            disk_bytes=1 << 30,
            cpu_s=3600,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPlan:
    """What an environment is made of; equal plans are one environment.

    `source` is the staged copy of the agent's folder, for requirements that are files in it, and for the lock that
    `lock` names: with one, what it pins is installed and nothing else.
    """

    owner: OwnerId
    requirements: tuple[str, ...]
    interpreter: Interpreter
    allow_build: bool = False
    source: str = ""
    lock: str = ""

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the requirements without the constraints, each once, in order."""
        return tuple(
            one for one in sorted(set(self.requirements)) if not one.startswith(CONSTRAINT)
        )

    @property
    def constraints(self) -> tuple[str, ...]:
        """Return the constraints."""
        kept = sorted(set(self.requirements))
        return tuple(one.removeprefix(CONSTRAINT) for one in kept if one.startswith(CONSTRAINT))


class EnvironmentBuilder:
    """Runs the commands of builds through a tier and the builder's own doors."""

    def __init__(
        self,
        *,
        settings: Settings,
        driver: SandboxDriver,
        doors: BuilderDoors,
        store: EnvironmentStore,
        limits: BuildLimits,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._driver = driver
        self._doors = doors
        self._store = store
        self._limits = limits

    async def build(
        self,
        plan: EnvironmentPlan,
        folder: BuildFolder,
        place: Path,
        on_line: Callable[[str], None],
    ) -> None:
        """Fill `folder.environment` so that it is right when it lies at `place`.

        Raises:
            BuildError: it cannot be built.
            SandboxError: the walls could not be raised, or a step ran too long.

        """
        url, hosts = await self._hosts(plan, on_line)
        await to_thread.run_sync(self._write_work, folder.work, plan)
        target = PathRule(host=str(folder.environment), inside=str(place), access=Access.WRITE)
        cache = await to_thread.run_sync(self._store.cache, plan.owner, plan.allow_build)
        keep = PathRule(host=str(cache), inside=CACHE_INSIDE, access=Access.WRITE)
        mounts = (*self._reads(plan, folder.work), target)
        async with self._doors.open(plan.owner, Grant(hosts=hosts)) as opening:
            step = _Step(self, opening, url, on_line)
            await step.run(_venv(plan, place), (*mounts, keep), "An empty environment")
            before = await to_thread.run_sync(startup.skeleton, folder.environment)
            if plan.lock:
                await self._write_locked(step, plan, folder.work)
            await step.run(
                _install(plan, place, self._age()), (*mounts, keep), "The agent's environment"
            )
            if plan.lock:
                fits = (*_uv(plan), *locks.FITS, "--python", f"{place}/bin/python")
                argv = (*fits, "--requirements", f"{WORK_INSIDE}/requirements.txt")
                await step.run(argv, mounts, "What fits both the requirements and their lock")
            await to_thread.run_sync(startup.check_skeleton, folder.environment, before)
            await to_thread.run_sync(
                lambda: startup.check_startup(folder.environment, allow_build=plan.allow_build)
            )
            # A file that does not compile is one the package never imports: no reason to fail.
            await step.run(_compile(plan, place), mounts, "")

    async def _write_locked(self, step: "_Step", plan: EnvironmentPlan, work: Path) -> None:
        """Put what the lock pins beside the requirements."""
        lines: list[str] = []
        export = (*_uv(plan), *locks.EXPORT, "--python", plan.interpreter.path)
        argv = (*export, "--directory", plan.source)
        await step.run(argv, self._reads(plan, work), "The list of what its lock pins", lines)
        pinned = locks.locked_lines(lines)
        await to_thread.run_sync(_write_lines, work / LOCKED, pinned)

    def _age(self) -> tuple[str, ...]:
        """Return what keeps releases out that are younger than the operator wants."""
        days = self._settings.package_age_days
        if not days:
            return ()
        before = self._clock.now() - timedelta(days=days)
        return ("--exclude-newer", before.strftime("%Y-%m-%dT%H:%M:%SZ"))

    @property
    def uv(self) -> UvProgram:
        """Return the uv that builds."""
        return find_uv(self._settings.uv_bin)

    async def resolve(
        self, plan: EnvironmentPlan, folder: BuildFolder, on_line: Callable[[str], None]
    ) -> list[str]:
        """Return the plan's packages with the versions that the index would give now.

        Raises:
            BuildError: the index does not have one.

        """
        url, hosts = await self._hosts(plan, on_line)
        await to_thread.run_sync(self._write_work, folder.work, plan)
        cache = await to_thread.run_sync(self._store.cache, plan.owner, plan.allow_build)
        keep = PathRule(host=str(cache), inside=CACHE_INSIDE, access=Access.WRITE)
        found: list[str] = []
        async with self._doors.open(plan.owner, Grant(hosts=hosts)) as opening:
            step = _Step(self, opening, url, found.append)
            mounts = (*self._reads(plan, folder.work), keep)
            await step.run(_resolve(plan, self._age()), mounts, "The list of packages")
        return found

    async def command(
        self,
        argv: Sequence[str],
        mounts: Sequence[PathRule],
        opening: Opening,
        url: str,
        on_line: Callable[[str], None],
    ) -> int:
        """Run one command behind the walls; return its exit status."""
        environment = {**_ENVIRONMENT, "UV_DEFAULT_INDEX": url}
        if self._settings.ssl_cert_file:
            environment["SSL_CERT_FILE"] = f"{WORK_INSIDE}/roots.pem"
        return await self._driver.run(
            argv,
            mounts=mounts,
            opening=replace(opening, environment={**environment, **opening.environment}),
            limits=self._limits.sandbox,
            timeout_s=self._limits.timeout_s,
            on_line=on_line,
        )

    async def _hosts(
        self, plan: EnvironmentPlan, on_line: Callable[[str], None]
    ) -> tuple[str, tuple[HostRule, ...]]:
        """Return the index and every host that it needs; asked once, then remembered."""
        url = self._settings.index_url
        url = url or await to_thread.run_sync(
            index.default_index, find_uv(self._settings.uv_bin).path
        )
        own = index.index_host(url)
        named = tuple(host_rule(text) for text in self._settings.index_hosts)
        known = named or self._store.remembered_hosts(url)
        if not known:
            on_line("Asking the package index where its files lie.")
            known = await self._ask(plan, url, own)
            self._store.remember_hosts(url, known)
        return url, tuple(dict.fromkeys((own, *known)))

    async def _ask(self, plan: EnvironmentPlan, url: str, own: HostRule) -> tuple[HostRule, ...]:
        names = [package_name(one) for one in plan.packages if not one.startswith("./")]
        pages = index.index_pages(url, next(iter(names), ""))
        argv = (plan.interpreter.path, "-I", "-S", "-c", index.SCRIPT, *pages)
        lines: deque[str] = deque(maxlen=LINES_KEPT)
        async with (
            self._store.building("index") as folder,
            self._doors.open(plan.owner, Grant(hosts=(own,))) as opening,
        ):
            await to_thread.run_sync(self._write_work, folder.work, plan)
            mounts = self._reads(plan, folder.work)
            await self.command(argv, mounts, opening, url, lines.append)
        return index.answered_hosts(list(lines))

    def _reads(self, plan: EnvironmentPlan, work: Path) -> tuple[PathRule, ...]:
        reads = [*plan.interpreter.reads, *filter(None, (plan.source,))]
        return (
            *(PathRule(host=path, inside=path) for path in reads),
            PathRule(host=find_uv(self._settings.uv_bin).path, inside=UV_INSIDE),
            PathRule(host=str(work), inside=WORK_INSIDE),
        )

    def _write_work(self, work: Path, plan: EnvironmentPlan) -> None:
        # A file of the source is named where it lies inside, which is where it lies outside.
        lines = [plan.source + one[1:] if one.startswith("./") else one for one in plan.packages]
        _write_lines(work / "requirements.txt", lines)
        _write_lines(work / "constraints.txt", plan.constraints)
        if self._settings.ssl_cert_file:
            (work / "roots.pem").write_bytes(_roots(self._settings.ssl_cert_file))


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _roots(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            "The certificate authorities cannot be read.",
            why=f"{path}: {error.strerror}.",
            fix="Correct HIVE_SSL_CERT_FILE (or SSL_CERT_FILE), or unset it.",
        ) from None


class _Step:
    """Runs commands of one build; keeps the last lines for the error."""

    def __init__(
        self,
        builder: EnvironmentBuilder,
        opening: Opening,
        url: str,
        on_line: Callable[[str], None],
    ) -> None:
        self._builder = builder
        self._opening = opening
        self._url = url
        self._on_line = on_line

    async def run(
        self,
        argv: Sequence[str],
        mounts: Sequence[PathRule],
        what: str,
        answer: list[str] | None = None,
    ) -> None:
        """Run one command; `what` failed when it does ("": it may fail). Its lines are told, or are the `answer`."""
        lines: deque[str] = deque(maxlen=LINES_KEPT)

        def take(line: str) -> None:
            lines.append(plain_text(line))
            if answer is not None:
                answer.append(line)
            elif what:
                self._on_line(lines[-1])

        status = await self._builder.command(argv, mounts, self._opening, self._url, take)
        if status and what:
            raise BuildError(
                f"{what} did not build.",
                why="".join(f"\n  {line}" for line in list(lines)[-LINES_TOLD:]),
                fix=_advice(" ".join(" ".join(lines).split())),
            )


def _advice(told: str) -> str:
    told = told.lower()
    if "hash mismatch" in told:
        return (
            "The index has another file than the lock or the requirements name: find out why first."
        )
    if "require-hashes" in told or "hash-checking" in told:
        return "Name a version and a hash of every package: `uv lock`, or `uv pip compile --generate-hashes`."
    if "no usable wheels" in told or "no-build" in told or "building source dist" in told:
        return "A package has no wheel for this Python: another version, or `--allow-build`."
    if "403" in told or "tunnel" in told or "proxy" in told or "dns" in told:
        return "The index sends the builder to another host: name it in HIVE_INDEX_HOSTS."
    if "certificate" in told or "unknownissuer" in told:
        return "Name the index's certificate authority: HIVE_SSL_CERT_FILE=/path/roots.pem"
    return "Correct the requirements, then run the command again."


def _venv(plan: EnvironmentPlan, place: Path) -> tuple[str, ...]:
    options = ("--quiet", "--no-project", "--allow-existing", "--python", plan.interpreter.path)
    return (*_uv(plan), "venv", *options, str(place))


def _uv(plan: EnvironmentPlan) -> tuple[str, ...]:
    # A tier shows what surrounds the program it starts: the interpreter's folder, not the node's.
    become = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    return (plan.interpreter.path, "-I", "-S", "-c", become, UV_INSIDE)


def _install(plan: EnvironmentPlan, place: Path, age: tuple[str, ...]) -> tuple[str, ...]:
    wheels = () if plan.allow_build else ("--only-binary", ":all:")
    limits = ("--constraints", f"{WORK_INSIDE}/constraints.txt") if plan.constraints else ()
    pinned = plan.lock or locks.demands_hashes(plan.packages)
    hashes = ("--require-hashes",) if pinned else ()
    return (
        *_uv(plan),
        "pip",
        "install",
        "--python",
        f"{place}/bin/python",
        *wheels,
        "--requirements",
        f"{WORK_INSIDE}/{LOCKED if plan.lock else 'requirements.txt'}",
        *limits,
        *hashes,
        *age,
    )


def _resolve(plan: EnvironmentPlan, age: tuple[str, ...]) -> tuple[str, ...]:
    wheels = () if plan.allow_build else ("--only-binary", ":all:")
    quiet = ("--quiet", "--no-deps", "--no-header", "--no-annotate", "--no-strip-extras")
    python = ("--python", plan.interpreter.path)
    return (
        *_uv(plan),
        "pip",
        "compile",
        *quiet,
        *python,
        *wheels,
        *age,
        f"{WORK_INSIDE}/requirements.txt",
    )


def _compile(plan: EnvironmentPlan, place: Path) -> tuple[str, ...]:
    # Unchecked: the environment never changes, so a start need not compare times.
    options = ("-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash")
    return (plan.interpreter.path, "-I", "-S", "-m", "compileall", *options, f"{place}/lib")
