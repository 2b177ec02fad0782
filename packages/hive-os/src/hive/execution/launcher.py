"""The launcher: a small process that forks sandboxes, so that starting one does not start a Python.

The node starts it from its main thread and sends plans over a socket, each with its file descriptors. It
has one thread, imports the standard library and the walls, keeps no secret longer than a fork, and dies with
the node; every sandbox dies with it.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
from types import FrameType
from typing import Final

from hive.execution import launcher_tree
from hive.execution.walls import cgroups, kernel, namespaces
from hive.execution.walls.gvisor import PROCESSES_OVER
from hive.execution.walls.plan import PLAN_MAX_BYTES, SandboxPlan, read_plan

SANDBOXES_MAX: Final = 1024
FIRST_UID: Final = 200_001
_BLOCKS_MAX: Final = 64
_FDS_MAX: Final = 5


class Launcher:
    """Forks one keeper a plan, gives each its own slot (and host uid), and reaps."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pid = os.getpid()
        self._as_root = namespaces.may_act_as_root()
        self._parents = cgroups.parents()
        self._slots: dict[int, tuple[int, cgroups.SandboxGroup]] = {}
        self._free = list(range(SANDBOXES_MAX - 1, -1, -1))
        self._claim: socket.socket | None = None
        self._first_uid = os.geteuid()
        if self._as_root:
            self._first_uid, self._claim = _claim_uids()
        cgroups.remove_leftovers(self._parents)

    def run(self) -> None:
        """Serve plans until the node closes its end."""
        signal.signal(signal.SIGCHLD, self._reap)
        gc.collect()
        gc.freeze()
        self._control.send(b"ready")
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, PLAN_MAX_BYTES + 1, _FDS_MAX)
            except ConnectionError:
                return  # the node ended with a plan on its way: the same as its end closing
            if not data:
                return
            try:
                self._spawn(data, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _spawn(self, data: bytes, fds: list[int]) -> None:
        pipes = launcher_tree.SandboxPipes(*fds)
        for fd in fds:
            os.set_inheritable(fd, False)  # noqa: FBT003
        if not self._free:
            why = f"{SANDBOXES_MAX} sandboxes run already"
            launcher_tree.tell(pipes.status, kind="error", stage="launcher", why=why)
            return
        plan = read_plan(data)
        slot = self._free.pop()
        groups = self._groups(plan, slot)
        # Between fork and bookkeeping the child may already be dead: its signal waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        keeper = os.fork()
        if keeper == 0:
            self._become_keeper(plan, pipes, slot, groups)
        self._slots[keeper] = (slot, groups)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _become_keeper(
        self,
        plan: SandboxPlan,
        pipes: launcher_tree.SandboxPipes,
        slot: int,
        groups: cgroups.SandboxGroup,
    ) -> None:
        self._control.close()
        if self._claim is not None:
            self._claim.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        uid = self._first_uid + slot if self._as_root else self._first_uid
        ground = launcher_tree.SandboxGround(
            launcher=self._pid, as_root=self._as_root, host_uid=uid, groups=groups
        )
        launcher_tree.keep(plan, pipes, ground)

    def _groups(self, plan: SandboxPlan, slot: int) -> cgroups.SandboxGroup:
        if "cgroup" in plan.without:
            return cgroups.SandboxGroup()
        return cgroups.make(
            self._parents,
            slot,
            memory_bytes=plan.sizes.memory_bytes,
            processes_max=plan.sizes.processes_max + (PROCESSES_OVER if plan.runsc else 0),
        )

    def _reap(self, _signal: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                keeper, _ = os.waitpid(-1, os.WNOHANG)
                if keeper == 0:
                    return
                if keeper in self._slots:  # else an orphan, whose keeper was killed
                    slot, groups = self._slots.pop(keeper)
                    cgroups.remove(groups)
                    self._free.append(slot)


def _claim_uids() -> tuple[int, socket.socket]:
    """Take a block of host uids that no other launcher of this machine has; death gives it back."""
    for block in range(_BLOCKS_MAX):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0hive-sandbox-uids-{block}")
        except OSError:
            claim.close()
            continue
        return FIRST_UID + block * SANDBOXES_MAX, claim
    raise OSError(16, "every block of sandbox uids is taken")


def main() -> int:
    """Run on the socket whose descriptor is the only argument."""
    kernel.die_with_parent(signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    try:
        launcher = Launcher(control)
    except OSError as error:
        control.send(f"failed: {error}".encode())
        return 1
    launcher.run()
    return 0
