"""The gvisor tier: an agent on a kernel of its own (gVisor's runsc), inside the walls of the process tier.

The launcher builds namespaces, root and cgroup as for a process; then runsc serves that root to the agent, so no system
call of the agent reaches the host's kernel. The bundle's root is never the host's. runsc has to be started by root.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import SandboxError, TierUnavailableError
from hive.core.grant import Limits, Tier
from hive.core.ids import SandboxId
from hive.execution.drivers.gvisor_probe import judge_own_kernel, own_kernel_argv
from hive.execution.drivers.process import PROBE_TIMEOUT_S, ProcessDriver, interpreter_reads
from hive.execution.drivers.process_probe import lures
from hive.execution.launcher_sandbox import launch
from hive.execution.ports import LogLine, Probe
from hive.execution.walls.plan import MountPlan, SandboxPlan
from hive_guest import environment as guest

RUNSC: Final = "runsc"
_TURN_FD: Final = "0"
_FIRST: Final = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from hive_guest import forward
child = 0


def reap(*_):
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == child:
            code = os.waitstatus_to_exitcode(ended)
            os._exit(code if code >= 0 else 128 - code)


def start():
    global child
    child = os.fork()
    if child == 0:
        try:
            os.execv(sys.argv[3], sys.argv[3:])
        except OSError as error:
            print(f"{sys.argv[3]} cannot be started: {error.strerror}", file=sys.stderr, flush=True)
            os._exit(125)
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    signal.signal(signal.SIGCHLD, reap)
    reap()


routes = {int(port): path for port, path in json.loads(sys.argv[2]).items()}
forward.serve(routes, ready=start)
"""
"""Process 1 inside: carries the loopback ports to the node's sockets, starts the agent, and ends with it."""


class GvisorDriver(ProcessDriver):
    """Spawns agents on gVisor through the launcher."""

    tier: Tier = Tier.GVISOR

    def __init__(
        self,
        *,
        walls_min: Sequence[str] = (),
        on_log: Callable[[SandboxId, LogLine], None] | None = None,
        clock: Clock | None = None,
        runsc: str = "",
    ) -> None:
        super().__init__(walls_min=walls_min, on_log=on_log, clock=clock)
        self._runsc = runsc or shutil.which(RUNSC) or ""

    async def probe(self) -> Probe:
        """Start something on gVisor, try to get out, and tell which walls stood."""
        lines: list[str] = []
        try:
            if not self._runsc:
                raise _missing()
            await self._link.start()
            with anyio.fail_after(PROBE_TIMEOUT_S), lures() as (port, abstract):
                plan = self._plan(
                    "probe",
                    own_kernel_argv(self._python, port, abstract),
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
        except (SandboxError, TierUnavailableError, TimeoutError, OSError) as error:
            why = getattr(error, "why", "") or str(error)
            return Probe(tier=Tier.GVISOR, scheme="gvisor", available=False, walls=(), reason=why)
        return judge_own_kernel(sandbox, lines, start_ms=start_ms)

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
        if not self._runsc:
            raise _missing()
        plan = super()._plan(
            name,
            argv,
            environment=environment,
            mounts=mounts,
            reads=(*reads, guest.FOLDER, *interpreter_reads(self._python)),
            limits=limits,
        )
        above = str(Path(guest.FOLDER).parent)
        routes = json.dumps(plan.routes)
        first = (self._python, "-I", "-S", "-X", "utf8", "-c", _FIRST, above, routes)
        return plan._replace(
            environment={**plan.environment, guest.TURN_FD_VARIABLE: _TURN_FD},
            runsc=(str(Path(self._runsc).resolve()), *first),
        )


def _missing() -> TierUnavailableError:
    return TierUnavailableError(
        "The gvisor tier is not available.",
        why="runsc is not installed",
        fix="Install runsc (Debian and Ubuntu: apt-get install runsc).",
    )
