"""An agent's own environment: built with `uv` behind the walls, kept by content, never changed again.

The builder reaches the package index and nothing else, and may write two folders: the environment to be and
its owner's cache. Wheels only, unless builds are allowed; then they run behind the same walls. What comes
out is checked before anything of it runs, sealed, and moved into place at once, so that a build which is
killed leaves nothing that could be taken for an environment. Owners share nothing.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import anyio
from anyio import to_thread

from hive.core.call import sha256_hex
from hive.core.clock import Clock
from hive.core.errors import BuildError, SandboxError, TierUnavailableError
from hive.core.json import encode
from hive.core.settings import Settings
from hive.execution import environment_startup as startup
from hive.execution.environment_builder import BuildLimits, EnvironmentBuilder, EnvironmentPlan
from hive.execution.environment_python import find_uv
from hive.execution.environment_store import BuildFolder, EnvironmentStore, Manifest
from hive.execution.ports import BuilderDoors, SandboxDriver
from hive.execution.source_copy import discard

DISK_CHECK_S: Final = 1.0


class EnvironmentRecipe(Protocol):
    """How one kind of environment is made; `str()` says in a line what it is made of."""

    def digest(self) -> str:
        """Return what names the environment: equal recipes are one."""
        ...

    def cache(self) -> Path:
        """Return the folder that its client keeps downloads in."""
        ...

    async def build(self, folder: BuildFolder, place: Path, on_line: Callable[[str], None]) -> None:
        """Fill `folder.environment` so that it is right when it lies at `place`."""
        ...

    def seal(self, folder: BuildFolder, digest: str, now: datetime) -> Manifest:
        """Check what came out, make it unchangeable, and say what it holds."""
        ...


class Environments:
    """Builds environments, finds those that exist, and removes those used longest ago."""

    def __init__(
        self,
        *,
        settings: Settings,
        driver: SandboxDriver,
        doors: BuilderDoors,
        clock: Clock,
        limits: BuildLimits | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._limits = limits or BuildLimits()
        self._store = EnvironmentStore(settings.state)
        self._driver = driver
        self._doors = doors
        self._held: Counter[str] = Counter()
        self._builder = EnvironmentBuilder(
            settings=settings,
            driver=driver,
            doors=doors,
            store=self._store,
            limits=self._limits,
            clock=clock,
        )

    @property
    def clock(self) -> Clock:
        """Return the clock by which releases are young or old."""
        return self._clock

    @property
    def driver(self) -> SandboxDriver:
        """Return the tier behind whose walls builds run."""
        return self._driver

    @property
    def doors(self) -> BuilderDoors:
        """Return what opens the way out for a build."""
        return self._doors

    @property
    def store(self) -> EnvironmentStore:
        """Return where the environments lie."""
        return self._store

    @contextmanager
    def held(self, digest: str) -> Iterator[None]:
        """Keep an environment from being removed while something runs on it."""
        self._held[digest] += 1
        try:
            yield
        finally:
            self._held[digest] -= 1
            self._held += Counter()

    def digest(self, plan: EnvironmentPlan) -> str:
        """Return what names a plan's environment."""
        local = any(line.startswith("./") for line in plan.requirements)
        parts = (
            plan.owner,
            sorted(set(plan.requirements)),
            plan.interpreter.version,
            plan.interpreter.path,
            find_uv(self._settings.uv_bin).version,
            plan.allow_build,
            plan.source if local else "",
            *([self._settings.package_age_days] if self._settings.package_age_days else ()),
            *(["lock", plan.lock] if plan.lock else ()),
        )
        return sha256_hex(encode(parts))[:40]

    def place(self, digest: str) -> Path:
        """Return where an environment lies, or would lie."""
        return self._store.place(digest)

    async def ensure(self, plan: EnvironmentPlan, *, on_line: Callable[[str], None]) -> Manifest:
        """Return the environment of a plan; build it when there is none.

        Raises:
            BuildError: it did not build, or would run code before the agent; nothing is kept.
            TierUnavailableError: the walls for the build cannot be raised.

        """
        return await self.make(_PythonRecipe(self, self._builder, plan), on_line=on_line)

    async def resolve(self, plan: EnvironmentPlan, *, on_line: Callable[[str], None]) -> list[str]:
        """Return the plan's packages as the index has them now, each with its version.

        Raises:
            BuildError: the index does not have one.

        """
        async with (
            self._store.locked("resolve", timeout_s=self._limits.timeout_s),
            self._store.building("resolve") as folder,
        ):
            return await self._builder.resolve(plan, folder, on_line)

    async def make(self, recipe: EnvironmentRecipe, *, on_line: Callable[[str], None]) -> Manifest:
        """Return the environment of a recipe; build it when there is none.

        Raises:
            BuildError: it did not build, or would run code before the agent; nothing is kept.
            TierUnavailableError: the walls for the build cannot be raised.

        """
        digest = await to_thread.run_sync(recipe.digest)
        found = await to_thread.run_sync(self._store.find, digest)
        if found:
            return found
        async with self._store.locked(digest, timeout_s=self._limits.timeout_s * 2):
            found = await to_thread.run_sync(self._store.find, digest)
            return found or await self._build(recipe, digest, on_line)

    async def trim(self, keep: frozenset[str]) -> int:
        """Remove environments and caches over their bound, those used longest ago first.

        `keep` are the digests that agents have. Returns the bytes that became free.
        """
        used = keep | frozenset(self._held)
        return await self._store.trim(used, max_bytes=self._settings.environments_max_bytes)

    async def _build(
        self, recipe: EnvironmentRecipe, digest: str, on_line: Callable[[str], None]
    ) -> Manifest:
        begun = self._clock.monotonic()
        on_line(f"Building its environment: {recipe}.")
        async with self._store.building(digest) as folder:
            try:
                async with self._disk_watched(folder, recipe.cache()):
                    await recipe.build(folder, self._store.place(digest), on_line)
            except TierUnavailableError:
                raise
            except SandboxError as error:
                raise BuildError(
                    "The agent's environment did not build.", why=str(error), fix=error.fix
                ) from error
            manifest = await to_thread.run_sync(recipe.seal, folder, digest, self._clock.now())
            await to_thread.run_sync(self._store.publish, folder, manifest)
        seconds = self._clock.monotonic() - begun
        on_line(f"Its environment is ready: {len(manifest.packages)} packages, {seconds:.1f} s.")
        return manifest

    @asynccontextmanager
    async def _disk_watched(self, folder: BuildFolder, cache: Path) -> AsyncIterator[None]:
        """End the build when it eats the disk: a small wheel can hold a huge file."""
        reason, begun = "", self._clock.now().timestamp()

        async def watch() -> None:
            nonlocal reason
            while not reason:
                await anyio.sleep(DISK_CHECK_S)
                reason = await to_thread.run_sync(self._disk_objection, folder, cache, begun)
            tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                yield
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise _only(group) from None
        # A build may end between two looks, so the last one comes after it.
        reason = reason or await to_thread.run_sync(self._disk_objection, folder, cache, begun)
        if reason:
            await to_thread.run_sync(discard, cache)
            raise BuildError(
                "The agent's environment is too large.",
                why=reason,
                fix="Remove large requirements, or free some disk.",
            )

    def _disk_objection(self, folder: BuildFolder, cache: Path, begun: float) -> str:
        if self._store.free_bytes() < self._settings.disk_floor_bytes:
            return f"Less than {self._settings.disk_floor_bytes >> 20} MiB of disk are left."
        most = self._limits.environment_max_bytes
        size = startup.folder_bytes(folder.environment)
        size += startup.folder_bytes(cache, since=begun)
        return f"It takes more than {most >> 20} MiB." if size > most else ""


class _PythonRecipe:
    """How the environment of a plan is made."""

    def __init__(
        self, environments: Environments, builder: EnvironmentBuilder, plan: EnvironmentPlan
    ) -> None:
        self._environments = environments
        self._builder = builder
        self._plan = plan

    def __str__(self) -> str:
        return f"{len(self._plan.packages)} requirements, {self._plan.interpreter}"

    def digest(self) -> str:
        return self._environments.digest(self._plan)

    def cache(self) -> Path:
        return self._environments.store.cache(self._plan.owner, self._plan.allow_build)

    async def build(self, folder: BuildFolder, place: Path, on_line: Callable[[str], None]) -> None:
        await self._builder.build(self._plan, folder, place, on_line)

    def seal(self, folder: BuildFolder, digest: str, now: datetime) -> Manifest:
        plan = self._plan
        # Nothing runs any more, so this look is the one that counts.
        found = startup.check_startup(folder.environment, allow_build=plan.allow_build)
        return Manifest(
            digest=digest,
            requirements=tuple(sorted(set(plan.requirements))),
            python=str(plan.interpreter),
            uv=self._builder.uv.version,
            allow_build=plan.allow_build,
            packages=startup.installed(folder.environment),
            startup=tuple(f"{one.path} of {one.package}" for one in found),
            size_bytes=startup.seal(folder.environment),
            built_at=now,
        )


def _only(group: ExceptionGroup[Exception]) -> Exception:
    """Take one error out of the task groups it came through; several stay together."""
    error: Exception = group
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
