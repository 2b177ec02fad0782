"""The launcher: a small process that forks sandboxes, so that starting one does not start a Python.

The node starts it from its main thread and sends plans over a socket, each with its file descriptors. It
has one thread, imports the standard library and the walls, keeps no secret longer than a fork, and dies with
the node; every sandbox dies with it.
"""

import contextlib
import gc
import itertools
import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Final, NamedTuple, NoReturn

from hive.execution.launcher_keeper import keep, keep_ahead
from hive.execution.launcher_tree import SandboxGround, SandboxPipes, tell
from hive.execution.walls import cgroups, kernel, mounts, namespaces
from hive.execution.walls.gvisor import PROCESSES_OVER
from hive.execution.walls.plan import PLAN_MAX_BYTES, SandboxPlan, read_plan

SANDBOXES_MAX: Final = 1024
FIRST_UID: Final = 200_001
_BLOCKS_MAX: Final = 64
_FDS_MAX: Final = 5
AHEAD_PAUSE_S: Final = 0.02
_WAITING: Final = b"w"


class _Ahead(NamedTuple):
    """A keeper that waits for its plan, and the groups that its first process is in."""

    keeper: int
    order: socket.socket
    groups: cgroups.SandboxGroup


class _MountChanges:
    """Tells when the host's mounts change: a root that was begun before would show, and hold, what was."""

    def __init__(self) -> None:
        self._table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)

    def wait(self, control: socket.socket, pause_s: float | None) -> bool:
        """Wait for `control` (True), a change or the end of a pause (False)."""
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(self._table, select.POLLPRI)
        found = dict(poll.poll(None if pause_s is None else pause_s * 1000))
        return control.fileno() in found


class Launcher:
    """Forks one keeper a plan, gives each its own slot (and host uid), and reaps."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pid = os.getpid()
        self._as_root = namespaces.may_act_as_root()
        self._parents = cgroups.parents()
        self._slots: dict[int, tuple[int, cgroups.SandboxGroup]] = {}
        self._free = list(range(SANDBOXES_MAX - 1, -1, -1))
        # A group's name is never used again: the kernel may still bury what was in the last one of it.
        self._serials = itertools.count()
        self._buried: deque[cgroups.SandboxGroup] = deque()
        self._ahead: _Ahead | None = None
        self._claim: socket.socket | None = None
        self._stage = mounts.own_place()
        self._changes = _MountChanges()
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
            self._wait()
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
        pipes = SandboxPipes(*fds)
        for fd in fds:
            os.set_inheritable(fd, False)  # noqa: FBT003
        if not self._free:
            why = f"{SANDBOXES_MAX} sandboxes run already"
            tell(pipes.status, kind="error", stage="launcher", why=why)
            return
        plan = read_plan(data)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and not plan.without and self._hand_over(ahead, plan, data, fds):
            return
        slot = self._free.pop()
        groups = self._groups(plan)
        self._fork(slot, groups, lambda ground: keep(plan, pipes, ground))

    def _wait(self) -> None:
        """Wait for the next plan; meanwhile a sandbox is begun ahead, and again where the host's mounts change."""
        for _ in range(len(self._buried)):
            groups = self._buried.popleft()
            if not cgroups.remove(groups):
                self._buried.append(groups)
        while True:
            pause_s = None if self._ahead is not None else AHEAD_PAUSE_S
            if self._changes.wait(self._control, pause_s):
                return
            if self._ahead is not None:
                self._let_go(self._ahead)
                self._ahead = None
            else:
                self._look_ahead()
                if self._ahead is None:
                    return

    def _look_ahead(self) -> None:
        """Fork a keeper that does what needs no plan, and waits for one."""
        if not self._free:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        slot = self._free.pop()
        groups = cgroups.make(self._parents, next(self._serials))

        def wait(ground: SandboxGround) -> NoReturn:
            ours.close()
            keep_ahead(ground, theirs)

        keeper = self._fork(slot, groups, wait)
        theirs.close()
        ours.settimeout(0)
        self._ahead = _Ahead(keeper, ours, groups)

    def _hand_over(self, ahead: "_Ahead", plan: SandboxPlan, data: bytes, fds: list[int]) -> bool:
        """Let the keeper that waits become this sandbox; False where it is not ready, and it is let go."""
        with contextlib.suppress(OSError):
            if ahead.order.recv(1) == _WAITING and self._bound(ahead.groups, plan) == ahead.groups:
                socket.send_fds(ahead.order, [data], fds)
                ahead.order.close()
                return True
        self._let_go(ahead)
        return False

    def _let_go(self, ahead: "_Ahead") -> None:
        ahead.order.close()
        if ahead.keeper in self._slots:  # else it is dead, and its number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(ahead.keeper, signal.SIGKILL)

    def _fork(
        self, slot: int, groups: cgroups.SandboxGroup, become: Callable[[SandboxGround], NoReturn]
    ) -> int:
        # Between fork and bookkeeping the child may already be dead: its signal waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        keeper = os.fork()
        if keeper == 0:
            self._become_keeper(slot, groups, become)
        self._slots[keeper] = (slot, groups)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        return keeper

    def _become_keeper(
        self, slot: int, groups: cgroups.SandboxGroup, become: Callable[[SandboxGround], NoReturn]
    ) -> NoReturn:
        self._control.close()
        if self._claim is not None:
            self._claim.close()
        if self._ahead is not None:
            self._ahead.order.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        uid = self._first_uid + slot if self._as_root else self._first_uid
        become(
            SandboxGround(
                launcher=self._pid,
                as_root=self._as_root,
                host_uid=uid,
                groups=groups,
                stage=self._stage,
            )
        )

    def _groups(self, plan: SandboxPlan) -> cgroups.SandboxGroup:
        if "cgroup" in plan.without:
            return cgroups.SandboxGroup()
        return self._bound(cgroups.make(self._parents, next(self._serials)), plan)

    @staticmethod
    def _bound(groups: cgroups.SandboxGroup, plan: SandboxPlan) -> cgroups.SandboxGroup:
        return cgroups.bound(
            groups,
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
                    if not cgroups.remove(groups):
                        self._buried.append(groups)
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
