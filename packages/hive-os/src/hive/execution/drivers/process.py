"""The process tier: an agent as a process of this machine, behind walls that the kernel holds.

Trusts the kernel and the launcher; the agent is hostile. `without` and `allow_none` weaken it in the open:
what they leave out is reported as not standing, and refused where `walls_min` names it.
"""

import contextlib
import posixpath
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import anyio

from hive.core.clock import Clock, SystemClock
from hive.core.errors import SandboxError, TierUnavailableError
from hive.core.grant import Grant, Limits, PathRule, Tier
from hive.core.ids import SandboxId
from hive.execution.drivers.process_mounts import granted_mounts, kept_mounts, own_mounts
from hive.execution.drivers.process_probe import judge_probe, lures, probe_argv
from hive.execution.drivers.process_sandbox import ProcessSandbox, watch_outbox
from hive.execution.drivers.process_streams import (
    STALLED_TIMEOUT_S,
    CommandStreams,
    command_streams,
)
from hive.execution.enforcement import Guarding, SandboxGuard
from hive.execution.guest_channel import GuestChannel
from hive.execution.launcher_link import LauncherLink
from hive.execution.launcher_sandbox import LaunchedSandbox, launch
from hive.execution.launcher_unwalled import launch_unwalled
from hive.execution.ports import LogLine, Opening, Prepared, Probe
from hive.execution.walls.plan import (
    GATE_INSIDE,
    HOME,
    OUTBOX_INSIDE,
    MountPlan,
    SandboxPlan,
    SizePlan,
)

GATE_PORT: Final = 4100
EGRESS_PORT: Final = 4101
PROBE_TIMEOUT_S: Final = 20.0
LINKS_MAX: Final = 16
_ROUTES: Final = {
    GATE_PORT: f"{GATE_INSIDE}/gate.sock",
    EGRESS_PORT: f"{GATE_INSIDE}/egress.sock",
}
_ENVIRONMENT: Final = {
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TMPDIR": "/tmp",  # noqa: S108 - the sandbox's own
    "USER": "agent",
    "HIVE_TURN_FD": "3",
    "HIVE_OUTBOX": OUTBOX_INSIDE,
}
_OF_AGENTS: Final = ("HIVE_TURN_FD", "HIVE_OUTBOX")


class ProcessDriver:
    """Spawns agents as walled processes through one launcher."""

    tier: Tier = Tier.PROCESS

    def __init__(
        self,
        *,
        walls_min: Sequence[str] = (),
        without: Sequence[str] = (),
        allow_none: bool = False,
        on_log: Callable[[SandboxId, LogLine], None] | None = None,
        clock: Clock | None = None,
        python: str = sys.executable,
        stalled_timeout_s: float = STALLED_TIMEOUT_S,
    ) -> None:
        self._walls_min = tuple(walls_min)
        self._without = tuple(without)
        self._allow_none = allow_none
        self._on_log = on_log
        self._clock = clock or SystemClock()
        self._python = python
        self._stalled_timeout_s = stalled_timeout_s
        self._link = LauncherLink(python=python)
        self._without_walls: str | None = None
        self._live: dict[SandboxId, LaunchedSandbox] = {}
        self.guarding: Guarding | None = None

    async def __aenter__(self) -> "ProcessDriver":
        """Start the launcher; call it from the main thread."""
        with contextlib.suppress(*((TierUnavailableError,) if self._allow_none else ())):
            await self._link.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the launcher and every sandbox."""
        self.close()

    def close(self) -> None:
        """Stop the launcher and every sandbox; a later spawn starts a new one."""
        self._link.close()

    @property
    def launcher_pid(self) -> int:
        """Return the launcher's pid, 0 while none runs."""
        return self._link.pid

    def first_process(self, sandbox: SandboxId) -> int:
        """Return the host pid of a live sandbox's first process, 0 where there is none."""
        launched = self._live.get(sandbox)
        return 0 if launched is None or launched.dead.is_set() else launched.pid

    async def probe(self) -> Probe:
        """Build a sandbox, try to get out of it, and tell which walls stood."""
        lines: list[str] = []
        try:
            await self._link.start()
            with anyio.fail_after(PROBE_TIMEOUT_S), lures() as (port, abstract):
                plan = self._plan(
                    "probe",
                    probe_argv(self._python, port, abstract),
                    environment={},
                    mounts=[],
                    reads=interpreter_reads(self._python),
                    limits=Limits(),
                )._replace(demanded=())
                began = self._clock.monotonic()
                async with launch(
                    self._link, plan, clock=self._clock, on_line=lines.append
                ) as sandbox:
                    start_ms = (self._clock.monotonic() - began) * 1000
                    await sandbox.dead.wait()
        except (SandboxError, TimeoutError, OSError) as error:
            return _unavailable(error)
        return judge_probe(sandbox, lines, start_ms=start_ms, walls_min=self._walls_min)

    @asynccontextmanager
    async def spawn(
        self, prepared: Prepared, grant: Grant, opening: Opening
    ) -> AsyncIterator[ProcessSandbox]:
        """Start a sandbox for an agent; leaving the context kills it.

        Raises:
            TierUnavailableError: a demanded wall cannot be built.
            SandboxError: it did not start.

        """
        guard = self._guard_of(opening, grant)
        kept = () if guard is None else kept_mounts(grant.paths, guard.rules)
        plan = self._plan(
            opening.sandbox_id,
            prepared.argv,
            environment={**prepared.environment, **opening.environment},
            mounts=[*own_mounts(opening), *granted_mounts(grant.paths), *kept],
            reads=(*prepared.reads, *interpreter_reads(prepared.argv[0])),
            limits=grant.limits,
        )

        def on_line(text: str) -> None:
            if self._on_log is not None:
                self._on_log(opening.sandbox_id, LogLine(text=text))

        async with self._launch(plan, on_line, guard) as launched:
            channel = GuestChannel(
                launched.turn_socket.dup(),
                on_broken=lambda error: launched.kill(str(error)),
                clock=self._clock,
            )
            sandbox = ProcessSandbox(opening.sandbox_id, launched, channel, self.tier)
            self._live[opening.sandbox_id] = launched
            try:
                async with watch_outbox(
                    launched, opening.outbox_directory, grant.limits.disk_bytes
                ):
                    yield sandbox
            finally:
                self._live.pop(opening.sandbox_id, None)
                channel.close()

    async def run(
        self,
        argv: Sequence[str],
        *,
        mounts: Sequence[PathRule],
        opening: Opening,
        limits: Limits,
        timeout_s: float,
        on_line: Callable[[str], None],
    ) -> int:
        """Run one command behind the same walls to its end; return its exit status.

        Raises:
            SandboxError: it did not start or ran past `timeout_s`.

        """
        plan = self._plan(
            opening.sandbox_id,
            argv,
            environment=opening.environment,
            mounts=[*own_mounts(opening), *granted_mounts(mounts)],
            reads=interpreter_reads(argv[0]),
            limits=limits,
        )
        async with self._launch(plan, on_line) as launched:
            with anyio.move_on_after(timeout_s):
                await launched.dead.wait()
            if not launched.dead.is_set():
                raise SandboxError(
                    "A command inside the sandbox took too long.",
                    why=f"It ran past {timeout_s:g} s; it printed last:{launched.printed}",
                )
        return _exit_status(launched)

    @asynccontextmanager
    async def open(
        self,
        argv: Sequence[str],
        *,
        mounts: Sequence[PathRule],
        opening: Opening,
        limits: Limits,
        on_line: Callable[[str], None],
    ) -> AsyncIterator[CommandStreams]:
        """Start a command behind the same walls, with streams; leaving the context kills it.

        Raises:
            TierUnavailableError: a demanded wall cannot be built.
            SandboxError: it did not start.

        """
        plan = self._plan(
            opening.sandbox_id,
            argv,
            environment=opening.environment,
            mounts=[*own_mounts(opening), *granted_mounts(mounts)],
            reads=interpreter_reads(argv[0]),
            limits=limits,
        )
        own = {name: value for name, value in plan.environment.items() if name not in _OF_AGENTS}
        plan = plan._replace(environment=own, streams=True)
        guard = self._guard_of(opening, Grant(paths=tuple(mounts), limits=limits))
        async with (
            self._launch(plan, on_line, guard) as launched,
            command_streams(launched, stalled_timeout_s=self._stalled_timeout_s) as streams,
        ):
            yield streams

    @asynccontextmanager
    async def _launch(
        self, plan: SandboxPlan, on_line: Callable[[str], None], guard: SandboxGuard | None = None
    ) -> AsyncIterator[LaunchedSandbox]:
        """Start behind walls; where there are none and that was allowed, without."""
        reason = await self._no_walls() if self._allow_none and not self._walls_min else ""
        if reason:
            async with launch_unwalled(
                plan, reason, clock=self._clock, on_line=on_line
            ) as launched:
                yield launched
            return
        async with launch(
            self._link, plan, clock=self._clock, on_line=on_line, guard=guard
        ) as launched:
            yield launched

    def _guard_of(self, opening: Opening, grant: Grant) -> SandboxGuard | None:
        return None if self.guarding is None else self.guarding.guard_for(opening.sandbox_id, grant)

    async def _no_walls(self) -> str:
        """Say why this machine has no walls, or nothing; found out once."""
        if self._without_walls is None:
            probe = await self.probe()
            self._without_walls = "" if probe.available else probe.reason
        return self._without_walls

    def _plan(
        self,
        name: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        mounts: Sequence[MountPlan],
        reads: Sequence[str],
        limits: Limits,
    ) -> SandboxPlan:
        taken = {mount.inside for mount in mounts}
        read_only = [MountPlan(path, path) for path in dict.fromkeys(reads) if path not in taken]
        for mount in (*mounts, *read_only):
            if not Path(mount.host).exists():
                raise SandboxError(
                    "The sandbox cannot be started.",
                    why=f"The path {mount.host} that it should see does not exist.",
                    fix="Build the agent's environment again, or correct its grant.",
                )
        return SandboxPlan(
            name=name,
            argv=tuple(argv),
            environment={**_ENVIRONMENT, **environment},
            mounts=(*mounts, *read_only),
            routes=_ROUTES,
            sizes=SizePlan(
                memory_bytes=limits.memory_bytes,
                processes_max=limits.processes_max,
                files_max=limits.files_max,
                disk_bytes=limits.disk_bytes,
                cpu_s=limits.cpu_s,
            ),
            demanded=self._walls_min,
            without=self._without,
        )


def interpreter_reads(program: str) -> tuple[str, ...]:
    """Return the folders that a program needs to run: its environment and what its links lead to.

    A program of the system's own folders needs none. `/x/env/bin/python` that links to
    `/y/bin/python3` needs `/x/env` and `/y`.
    """
    found: list[str] = []
    step = Path(program)
    for _ in range(LINKS_MAX):
        prefix = step.parent.parent if step.parent.name in ("bin", "sbin") else step.parent
        if not _is_of_the_system(prefix) and str(prefix) not in found:
            found.append(str(prefix))
        if not step.is_symlink():
            break
        target = step.readlink()
        step = Path(posixpath.normpath(step.parent / target))
    return tuple(found)


def _is_of_the_system(prefix: Path) -> bool:
    return prefix == Path("/") or prefix.is_relative_to("/usr")


def _exit_status(launched: LaunchedSandbox) -> int:
    """Return the status of a command that ended; a signal counts as a shell counts it.

    Raises:
        SandboxError: it did not start.

    """
    code = launched.exit_code
    if code is None or launched.failed:
        raise SandboxError("A command inside the sandbox did not run.", why=launched.reason)
    return code if code >= 0 else 128 - code


def _unavailable(error: Exception) -> Probe:
    why = error.why if isinstance(error, SandboxError) else str(error)
    return Probe(
        tier=Tier.PROCESS, scheme="process", available=False, walls=(), reason=why or str(error)
    )
