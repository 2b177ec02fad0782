"""An agent's own environment: built with `uv` behind the walls, kept by content, never changed again.

The builder reaches the package index and nothing else, and may write two folders: the environment to be and
its owner's cache. Wheels only, unless builds are allowed; then they run behind the same walls. What comes
out is checked before anything of it runs, sealed, and moved into place at once, so that a build which is
killed leaves nothing that could be taken for an environment. Owners share nothing.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

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
        self._builder = EnvironmentBuilder(
            settings=settings,
            driver=driver,
            doors=doors,
            store=self._store,
            limits=self._limits,
        )

    @property
    def store(self) -> EnvironmentStore:
        """Return where the environments lie."""
        return self._store

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
        digest = await to_thread.run_sync(self.digest, plan)
        found = await to_thread.run_sync(self._store.find, digest)
        if found:
            return found
        async with self._store.locked(digest, timeout_s=self._limits.timeout_s * 2):
            found = await to_thread.run_sync(self._store.find, digest)
            return found or await self._build(plan, digest, on_line)

    async def trim(self, keep: frozenset[str]) -> int:
        """Remove environments and caches over their bound, those used longest ago first.

        `keep` are the digests that agents have. Returns the bytes that became free.
        """
        return await self._store.trim(keep, max_bytes=self._settings.environments_max_bytes)

    async def _build(
        self, plan: EnvironmentPlan, digest: str, on_line: Callable[[str], None]
    ) -> Manifest:
        begun = self._clock.monotonic()
        on_line(f"Building its environment: {len(plan.packages)} requirements, {plan.interpreter}.")
        async with self._store.building(digest) as folder:
            try:
                cache = self._store.cache(plan.owner, plan.allow_build)
                async with self._disk_watched(folder, cache):
                    await self._builder.build(plan, folder, self._store.place(digest), on_line)
            except TierUnavailableError:
                raise
            except SandboxError as error:
                raise BuildError(
                    "The agent's environment did not build.", why=str(error), fix=error.fix
                ) from error
            manifest = await to_thread.run_sync(self._seal, folder, plan, digest)
            await to_thread.run_sync(self._store.publish, folder, manifest)
        seconds = self._clock.monotonic() - begun
        on_line(f"Its environment is ready: {len(manifest.packages)} packages, {seconds:.1f} s.")
        return manifest

    def _seal(self, folder: BuildFolder, plan: EnvironmentPlan, digest: str) -> Manifest:
        # Nothing runs any more, so this look is the one that counts.
        found = startup.check_startup(folder.environment, allow_build=plan.allow_build)
        return Manifest(
            digest=digest,
            requirements=tuple(sorted(set(plan.requirements))),
            python=str(plan.interpreter),
            uv=find_uv(self._settings.uv_bin).version,
            allow_build=plan.allow_build,
            packages=startup.installed(folder.environment),
            startup=tuple(f"{one.path} of {one.package}" for one in found),
            size_bytes=startup.seal(folder.environment),
            built_at=self._clock.now(),
        )

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


def _only(group: ExceptionGroup[Exception]) -> Exception:
    """Take one error out of the task groups it came through; several stay together."""
    error: Exception = group
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
