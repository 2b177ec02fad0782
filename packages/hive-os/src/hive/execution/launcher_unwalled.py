"""The announced degraded mode: an agent as a plain process group of this machine, behind no wall at all.

For machines that have none (not Linux, or no namespaces), and only where the operator asked for it: every
wall is reported as not standing. The agent can read what the node's user can read, and can leave its group.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream, Process

import hive_guest
from hive.core.clock import Clock
from hive.core.errors import SandboxError
from hive.execution.launcher_logs import PrintedLines
from hive.execution.launcher_sandbox import (
    START_TIMEOUT_S,
    LaunchedSandbox,
    StreamEnds,
    open_pipe,
)
from hive.execution.ports import Wall
from hive.execution.walls.plan import GATE_INSIDE, OUTBOX_INSIDE, WALL_NAMES, SandboxPlan

_FORWARD: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from hive_guest import forward; "
    "forward.serve(dict(zip(map(int, sys.argv[2::2]), sys.argv[3::2])), "
    "ready=lambda: print(flush=True), watch=(0, lambda: False))"
)


@dataclass(kw_only=True)
class UnwalledSandbox(LaunchedSandbox):
    """The node's hold on a process group."""

    def kill(self, reason: str) -> None:
        """Kill the process group; any thread may call it, and more than once."""
        super().kill(reason)
        self.end_group()

    def end_group(self) -> None:
        """Kill what is left of the group."""
        if self.pid and not self.dead.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


@asynccontextmanager
async def launch_unwalled(
    plan: SandboxPlan, reason: str, *, clock: Clock, on_line: Callable[[str], None]
) -> AsyncIterator[LaunchedSandbox]:
    """Start an agent without walls; leaving kills its process group.

    Raises:
        SandboxError: it did not start.

    """
    failure: Exception | None = None
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    with (
        contextlib.ExitStack() as stack,
        contextlib.ExitStack() as given_away,
        ours,
        theirs,
        TemporaryDirectory(prefix="hive-unwalled-") as home,
    ):
        sandbox = UnwalledSandbox(
            turn_socket=ours,
            lines=PrintedLines(clock=clock, on_line=on_line),
            memory_bytes=plan.sizes.memory_bytes,
            walls=tuple(Wall(name=name, stands=False, detail=reason) for name in WALL_NAMES),
        )
        standard: tuple[int, int] = (subprocess.DEVNULL, subprocess.PIPE)
        if plan.streams:
            sandbox.streams, standard = _open_streams(stack, given_away)
        async with _forwarder(_routes(plan)) as ports, anyio.create_task_group() as tasks:
            try:
                process = await _start(plan, ports, home, theirs, standard)
                sandbox.pid = process.pid
                theirs.close()
                given_away.close()
                tasks.start_soon(_follow, sandbox, process)
                yield sandbox
            except Exception as error:  # noqa: BLE001 - raised again below, outside the task group
                failure = error
            finally:
                sandbox.kill("The node closed the sandbox.")
    if failure is not None:
        raise failure


async def _start(
    plan: SandboxPlan,
    ports: Mapping[int, int],
    home: str,
    turn: socket.socket,
    standard: tuple[int, int],
) -> Process:
    try:
        return await anyio.open_process(
            plan.argv,
            stdin=standard[0],
            stdout=standard[1],
            env=_environment(plan, ports, home) | {"HIVE_TURN_FD": str(turn.fileno())},
            cwd=home,
            pass_fds=(turn.fileno(),),
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError("The agent did not start.", why=str(error)) from error


def _open_streams(
    ours: contextlib.ExitStack, theirs: contextlib.ExitStack
) -> tuple[StreamEnds, tuple[int, int]]:
    given_inside, given = open_pipe(theirs, ours)
    told, told_inside = open_pipe(ours, theirs)
    for end in (given, told):
        os.set_blocking(end.fileno(), False)
    return StreamEnds(given=given, told=told), (given_inside.fileno(), told_inside.fileno())


async def _follow(sandbox: UnwalledSandbox, process: Process) -> None:
    """Read what it prints and wait for its end, also when the spawn is cancelled."""
    with anyio.CancelScope(shield=True):
        async with process, anyio.create_task_group() as readers:
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    readers.start_soon(_read, sandbox.lines, stream)
            sandbox.exit_code = await process.wait()
            sandbox.end_group()
        sandbox.lines.finish()
        sandbox.dead.set()


async def _read(lines: PrintedLines, stream: ByteReceiveStream) -> None:
    async for data in stream:
        lines.feed(data)


@asynccontextmanager
async def _forwarder(routes: Mapping[int, str]) -> AsyncIterator[dict[int, int]]:
    """Forward free ports of this machine to the node's sockets; ends with the node's end of a pipe."""
    ports = {port: _free_port() for port in routes}
    pairs = [word for port, path in routes.items() for word in (str(ports[port]), path)]
    guest = str(Path(next(iter(hive_guest.__path__))).parent)
    command = [sys.executable, "-I", "-S", "-c", _FORWARD, guest, *pairs]
    async with await anyio.open_process(command, stderr=None, env={}, cwd="/") as process:
        try:
            if process.stdout is not None:
                with anyio.fail_after(START_TIMEOUT_S):
                    await process.stdout.receive()
            yield ports
        except (TimeoutError, anyio.EndOfStream) as error:
            raise SandboxError("The sandbox's forwarder did not start.") from error
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _routes(plan: SandboxPlan) -> dict[int, str]:
    """Return the routes with the host's paths.

    Raises:
        SandboxError: a path would have to appear at another place, which needs walls.

    """
    gate = ""
    for mount in plan.mounts:
        if mount.inside == GATE_INSIDE:
            gate = mount.host
        elif mount.inside not in (mount.host, OUTBOX_INSIDE):
            raise SandboxError(
                "The agent cannot be started without walls.",
                why=f"{mount.host} is to appear at {mount.inside}, which needs a mount.",
                fix="Grant the path at its own place, or run on Linux.",
            )
    return {port: path.replace(GATE_INSIDE, gate, 1) for port, path in plan.routes.items()}


def _environment(plan: SandboxPlan, ports: Mapping[int, int], home: str) -> dict[str, str]:
    outbox = next((mount.host for mount in plan.mounts if mount.inside == OUTBOX_INSIDE), "")
    if not outbox:
        outbox = f"{home}/outbox"
        Path(outbox).mkdir(exist_ok=True)
    gate = next((mount.host for mount in plan.mounts if mount.inside == GATE_INSIDE), "")
    environment = {}
    for name, value in plan.environment.items():
        for port, chosen in ports.items():
            value = value.replace(f"127.0.0.1:{port}", f"127.0.0.1:{chosen}")
        value = value.replace(f"//{GATE_INSIDE}/", f"//{gate}/")
        environment[name] = outbox if value == OUTBOX_INSIDE else value
    return environment | {"HOME": home, "TMPDIR": home}
