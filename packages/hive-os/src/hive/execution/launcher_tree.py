"""The processes inside one sandbox: the first process, and the agent. Outside waits the keeper (`launcher_keeper`).

The first process builds the walls around itself, forwards the loopback ports to the node's sockets, reaps, and
dies with the keeper; with it dies everything inside. The agent gets four file descriptors (a command with streams
three) and an explicit environment.
"""

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final, NamedTuple, NoReturn

from hive.execution.walls import (
    cgroups,
    gvisor,
    kernel,
    landlock,
    limits,
    mounts,
    namespaces,
    seccomp,
)
from hive.execution.walls.plan import (
    CGROUP,
    INSIDE_UID,
    LANDLOCK,
    NAMESPACES,
    NO_NETWORK,
    SECCOMP,
    UNPRIVILEGED,
    SandboxPlan,
    WallReport,
)
from hive_guest import forward

CONNECTIONS_MAX: Final = 256
FAILED: Final = 125
GUARDED: Final = b"g"
GUARD_TIMEOUT_S: Final = 10.0
_TURN_FD: Final = 3
_STATUS_FD: Final = 4
_TOLD_MAX_CHARS: Final = 500
_OOM_AGENT: Final = b"1000"
_OOM_OWN: Final = b"0"


class SandboxPipes(NamedTuple):
    """File descriptors that the node sent along: where the agent prints, its turns, and our reports.

    `given` is the standard input of a command with streams, which has no turns.
    """

    out: int
    err: int
    turn: int
    status: int
    given: int = -1

    def close_all_but_reports(self) -> None:
        """Close what belongs to the agent alone: an end held elsewhere would hide that it closed its own."""
        for unused in (self.out, self.err, self.turn, self.given):
            if unused >= 0:
                os.close(unused)


class SandboxGround(NamedTuple):
    """What the launcher found out once: whether it is root, the uid it gives to this sandbox, where roots are begun ahead."""

    launcher: int
    as_root: bool
    host_uid: int
    groups: cgroups.SandboxGroup
    stage: str = ""


def tell(status: int, **report: object) -> None:
    """Send one report to the node; a node that is gone is no reason to fail."""
    with contextlib.suppress(OSError):
        os.write(status, json.dumps(report).encode())


def fail(status: int, stage: str, error: BaseException) -> NoReturn:
    """Tell why a sandbox could not be built, and end this process."""
    tell(status, kind="error", stage=stage, why=str(error)[:_TOLD_MAX_CHARS])
    os._exit(FAILED)


def first(
    plan: SandboxPlan,
    pipes: SandboxPipes,
    ground: SandboxGround,
    report: WallReport,
    from_keeper: int,
    to_keeper: int,
    begun: mounts.Root | None = None,
) -> NoReturn:
    """Be process 1 inside: raise the walls, start the agent, forward and reap until it ends."""
    stage = "start"

    def enter(name: str) -> None:
        nonlocal stage
        stage = name

    try:
        kernel.die_with_parent(signal.SIGKILL)
        told = os.read(from_keeper, 4096)
        if not told:
            os._exit(FAILED)
        report |= json.loads(told)
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        if plan.runsc:
            _raise_own_kernel(plan, ground, report, enter, begun)
        else:
            _raise_walls(plan, ground, report, from_keeper, to_keeper, enter, begun)
        os.close(from_keeper)
        os.close(to_keeper)
        enter("forwarder")
        forward.serve(
            plan.routes if report[NO_NETWORK][0] and not plan.runsc else {},
            connections_max=CONNECTIONS_MAX,
            ready=lambda: _start_agent(plan, pipes, report, score),
        )
    except BaseException as error:  # noqa: BLE001 - a fork must never return into the launcher
        fail(pipes.status, stage, error)
    os._exit(FAILED)


def leave_mounts(*, network: bool) -> None:
    """Leave the host's mounts, with a name and a loopback of its own."""
    if network:
        namespaces.bring_loopback_up()
    kernel.call("unshare", kernel.CLONE_NEWNS)
    kernel.call("sethostname", b"sandbox", 7)


def _raise_walls(
    plan: SandboxPlan,
    ground: SandboxGround,
    report: WallReport,
    from_keeper: int,
    to_keeper: int,
    enter: Callable[[str], None],
    begun: mounts.Root | None,
) -> None:
    enter("mounts")
    if begun is None:
        leave_mounts(network=report[NO_NETWORK][0])
    uid = ground.host_uid
    rules = mounts.build(
        plan.mounts,
        owner_uid=uid if ground.as_root else INSIDE_UID,
        disk_bytes=plan.sizes.disk_bytes,
        owner_map=mounts.OwnerMap(uid) if ground.as_root else None,
        begun=begun,
    )
    enter("user")
    if ground.as_root:
        os.setgroups([])
        kernel.call("unshare", kernel.CLONE_NEWUSER)
        os.write(to_keeper, b"u")
        if os.read(from_keeper, 1) != b"m":
            os._exit(FAILED)
        namespaces.become_agent()
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    # A change of user clears it.
    kernel.die_with_parent(signal.SIGKILL)
    if select.select([from_keeper], [], [], 0)[0]:
        os._exit(FAILED)  # the keeper says nothing more: readable means that it died in between
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    report[UNPRIVILEGED] = (True, f"uid {INSIDE_UID} inside, {uid} outside, no capability")
    enter("landlock")
    _raise_landlock(plan, rules, report)
    enter("seccomp")
    _raise_seccomp(plan, report)
    _check_demanded(plan, report, enter)


def _raise_own_kernel(
    plan: SandboxPlan,
    ground: SandboxGround,
    report: WallReport,
    enter: Callable[[str], None],
    begun: mounts.Root | None,
) -> None:
    """Build the root for gVisor, whose kernel stands where Landlock and seccomp stand in the process tier."""
    enter("user")
    if not ground.as_root:
        raise OSError(1, "runsc has to be started by root")
    enter("mounts")
    if begun is None:
        leave_mounts(network=True)
    mounts.build(
        plan.mounts,
        owner_uid=INSIDE_UID,
        disk_bytes=plan.sizes.disk_bytes,
        owner_map=mounts.OwnerMap(INSIDE_UID, served_by_root=True),
        store=mounts.StorePlan(gvisor.STORE, gvisor.STORE_BYTES),
        begun=begun,
    )
    enter("exec")
    if not os.access(plan.argv[0], os.X_OK):
        raise FileNotFoundError(2, f"{plan.argv[0]} is not there or cannot be run")
    enter("mounts")
    gvisor.write_bundle(plan)
    gvisor.drop_unneeded_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    report[NAMESPACES] = (True, "pid, mount, net, ipc, uts, cgroup, and gVisor's own")
    report[UNPRIVILEGED] = (True, f"uid {INSIDE_UID} of gVisor's kernel, no capability")
    report[LANDLOCK] = (
        True,
        "not needed: the agent opens no file itself, gVisor serves this root alone",
    )
    report[SECCOMP] = (True, "no system call of the agent reaches the host's kernel")
    _check_demanded(plan, report, enter)


def _check_demanded(plan: SandboxPlan, report: WallReport, enter: Callable[[str], None]) -> None:
    enter("walls")
    missing = [name for name in plan.demanded if not report.get(name, (False, ""))[0]]
    if missing:
        reasons = (f"{name} ({report.get(name, (False, 'unknown'))[1]})" for name in missing)
        raise OSError(1, "demanded but not standing: " + ", ".join(reasons))


def _raise_landlock(plan: SandboxPlan, rules: dict[str, int], report: WallReport) -> None:
    abi = landlock.version()
    if LANDLOCK in plan.without:
        report[LANDLOCK] = (False, "left out on request")
    elif not abi:
        report[LANDLOCK] = (False, "this kernel has none")
    else:
        landlock.restrict(rules)
        report[LANDLOCK] = (True, f"ABI {abi}")


def _raise_seccomp(plan: SandboxPlan, report: WallReport) -> None:
    if SECCOMP in plan.without:
        report[SECCOMP] = (False, "left out on request")
        return
    try:
        program = seccomp.agent_program(kernel.MACHINE)
        seccomp.install(program)
    except OSError as error:
        report[SECCOMP] = (False, str(error))
    else:
        report[SECCOMP] = (True, f"{len(program)} instructions")


def _start_agent(plan: SandboxPlan, pipes: SandboxPipes, report: WallReport, score: int) -> None:
    """Fork the agent; when the kernel wants memory back, it is to take the agent, not us."""
    os.write(score, _OOM_AGENT)
    agent = os.fork()
    if agent == 0:
        _agent(plan, pipes, report)
    os.write(score, _OOM_OWN)
    os.close(score)
    pipes.close_all_but_reports()

    def reap(_signal: int, _frame: FrameType | None) -> None:
        _reap(agent, pipes.status)

    signal.signal(signal.SIGCHLD, reap)
    reap(0, None)


def _reap(agent: int, status: int) -> None:
    """Collect the dead; when the agent is among them, everything ends."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid == agent:
                code = os.waitstatus_to_exitcode(ended)
                tell(status, kind="ended", exit=code)
                os._exit(code if code >= 0 else 128 - code)


def _agent(plan: SandboxPlan, pipes: SandboxPipes, report: WallReport) -> NoReturn:
    """Become the agent's program."""
    status = pipes.status
    try:
        os.setsid()
        if plan.runsc and pipes.given < 0:
            pipes = pipes._replace(given=os.dup(pipes.turn))
        status = _arrange_descriptors(pipes)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.umask(0o022)
        os.chdir("/" if plan.runsc else plan.directory)
        if report[LANDLOCK][0] and not plan.runsc:
            landlock.restrict({}, files=False)
        argv, environment = plan.argv, plan.environment
        if plan.runsc:
            argv, environment = gvisor.command(plan), dict(gvisor.environment())
        else:
            limits.apply(plan.sizes, whole_is_limited=report[CGROUP][0])
        if plan.guarded:
            _await_guard(status)
        tell(status, kind="ready", walls=report)
        os.execve(argv[0], argv, environment)  # noqa: S606 - this is the sandbox
    except OSError as error:
        # Where the program's own words would stand, for whoever looks there why it does not run.
        with contextlib.suppress(Exception):
            words = f"{plan.argv[0]} cannot be started: {error.strerror}\n"
            os.write(2, words.encode(errors="replace"))
        fail(status, "exec", error)
    except BaseException as error:  # noqa: BLE001 - a fork must never return into the launcher
        fail(status, "exec", error)


def _await_guard(status: int) -> None:
    """Wait until the node says that the kernel's rules for this sandbox stand."""
    tell(status, kind="guard")
    if not select.select([status], [], [], GUARD_TIMEOUT_S)[0] or os.read(status, 1) != GUARDED:
        raise OSError(errno.EPERM, "the kernel's rules for it do not stand")


def _arrange_descriptors(pipes: SandboxPipes) -> int:
    """Leave 0 empty or given, 1 and 2 printing, 3 the turns, and the report pipe until the program runs."""
    streams = pipes.given >= 0
    given = pipes.given if streams else os.open("/dev/null", os.O_RDONLY)
    sources = [os.dup(fd) for fd in (given, pipes.out, pipes.err, pipes.turn, pipes.status)]
    floor = max(sources) + 1
    *high, status = [_dup_above(fd, floor) for fd in sources]
    for target, source in enumerate(high):
        os.dup2(source, target, inheritable=not (streams and target == _TURN_FD))
    os.dup2(status, _STATUS_FD, inheritable=False)
    kernel.close_from(_STATUS_FD + 1)
    return _STATUS_FD


def _dup_above(fd: int, floor: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(floor, 16))
