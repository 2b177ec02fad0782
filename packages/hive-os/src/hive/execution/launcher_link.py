"""The node's end of the launcher: starts it, sends it plans, starts it again when it died.

Start it from the main thread: the kernel kills the launcher when the thread that started it ends.
"""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio

import hive
import hive_guest
from hive.core.errors import SandboxError, TierUnavailableError
from hive.execution.walls import cgroups
from hive.execution.walls.plan import PLAN_MAX_BYTES, SandboxPlan

START_TIMEOUT_S: Final = 15.0
SEND_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 5.0
CLEAR_TIMEOUT_S: Final = 5.0
CLEAR_PAUSE_S: Final = 0.005
_BOOT: Final = (
    "import sys; sys.path[:0] = sys.argv[2].split(chr(10)); "
    "from hive.execution.launcher import main; sys.exit(main())"
)


class LauncherLink:
    """One launcher process, started when it is first needed."""

    def __init__(self, *, python: str = sys.executable) -> None:
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = anyio.Lock()

    @property
    def pid(self) -> int:
        """Return the launcher's pid, 0 when none runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    async def start(self) -> None:
        """Start the launcher unless it runs.

        Raises:
            TierUnavailableError: this machine cannot run it.

        """
        async with self._lock:
            if self.pid == 0:
                self.close()
                await self._start()

    async def send(self, plan: SandboxPlan, descriptors: Sequence[int]) -> None:
        """Hand over a plan and the descriptors of its sandbox.

        Raises:
            SandboxError: the plan is too large, or the launcher does not take it.

        """
        data = plan.encode()
        if len(data) > PLAN_MAX_BYTES:
            raise SandboxError(
                "The sandbox cannot be started.",
                why=f"Its environment and mounts take {len(data)} bytes; {PLAN_MAX_BYTES} fit.",
                fix="Mount fewer paths, or shorten the environment.",
            )
        await self.start()
        control = self._control
        if control is None:
            raise SandboxError("The sandbox cannot be started.", why="The launcher was stopped.")
        try:
            with anyio.fail_after(SEND_TIMEOUT_S):
                while True:
                    try:
                        socket.send_fds(control, [data], list(descriptors))
                    except BlockingIOError:
                        await anyio.wait_writable(control)
                    else:
                        return
        except (OSError, TimeoutError) as error:
            raise SandboxError(
                "The sandbox cannot be started.",
                why=f"The launcher does not take it: {error}",
                fix="Try again: a launcher that died is started anew.",
            ) from error

    def close(self) -> None:
        """Stop the launcher, and with it every sandbox."""
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
            self._clear_groups()

    @staticmethod
    def _clear_groups() -> None:
        """Remove what launchers could no longer remove themselves, once their sandboxes are dead."""
        above = cgroups.parents()
        ends_at = time.monotonic() + CLEAR_TIMEOUT_S
        while cgroups.remove_leftovers(above) and time.monotonic() < ends_at:
            time.sleep(CLEAR_PAUSE_S)

    async def _start(self) -> None:
        if not sys.platform.startswith("linux"):
            raise _unavailable(f"The process tier needs Linux; this is {sys.platform}.")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        self._control = ours
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - must be this very thread
                [self._python, "-I", "-S", "-c", _BOOT, str(theirs.fileno()), _import_paths()],
                pass_fds=(theirs.fileno(),),
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        answer = ""
        with anyio.move_on_after(START_TIMEOUT_S):
            await anyio.wait_readable(ours)
            answer = ours.recv(1000).decode(errors="replace")
        if answer != "ready":
            self.close()
            raise _unavailable(answer or "The launcher ended or did not answer in time.")


def _import_paths() -> str:
    """Return the folders from which the launcher imports, and no others."""
    found = {str(Path(package.__path__[0]).parent) for package in (hive, hive_guest)}
    return "\n".join(sorted(found))


def _unavailable(why: str) -> TierUnavailableError:
    return TierUnavailableError(
        "The process tier is not available.", why=why, fix="Run `hive doctor` to see each wall."
    )
