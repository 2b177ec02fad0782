"""The keeper of one sandbox: it stands outside, waits for the sandbox's end and tells it.

It makes the namespaces and the sandbox's first process, which builds the rest. What no plan is needed for can be done
ahead of one: a keeper with a first process in its own namespaces and cgroup, that waits for what it is to become.
"""

import json
import os
import signal
import socket
from typing import Final, NamedTuple, NoReturn

from hive.execution.launcher_tree import (
    FAILED,
    SandboxGround,
    SandboxPipes,
    fail,
    first,
    leave_mounts,
    tell,
)
from hive.execution.walls import cgroups, kernel, mounts, namespaces
from hive.execution.walls.plan import (
    CGROUP,
    NAMESPACES,
    NO_NETWORK,
    PLAN_MAX_BYTES,
    SandboxPlan,
    WallReport,
    read_plan,
)

FDS_MAX: Final = 5


class _FirstProcess(NamedTuple):
    """The first process as its keeper holds it: its pid, and the pipes to it and from it."""

    pid: int
    to_it: int
    from_it: int


def keep(plan: SandboxPlan, pipes: SandboxPipes, ground: SandboxGround) -> NoReturn:
    """Build a sandbox, wait for its end and tell it. Runs in a fork of the launcher."""
    stage = "namespaces"
    try:
        report = _leave(ground, network=NO_NETWORK not in plan.without)
        stage = "fork"
        made = _fork_first(ground, report, plan=plan, pipes=pipes)
        stage = "user"
        _join_groups(ground, made.pid, report, left_out=CGROUP in plan.without)
        _attend(plan, pipes, ground, made, report)
    except BaseException as error:  # noqa: BLE001 - a fork must never return into the launcher
        fail(pipes.status, stage, error)


def keep_ahead(ground: SandboxGround, order: socket.socket) -> NoReturn:
    """Do what needs no plan, then wait for one on `order`; without one, or where a step fails, end in silence.

    The launcher then builds the sandbox from the beginning, and tells what fails.
    """
    try:
        report = _leave(ground, network=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        made = _fork_first(ground, report, order=theirs, others=(ours, order))
        theirs.close()
        _join_groups(ground, made.pid, report, left_out=False)
        if not report[CGROUP][0] and ground.groups.complete:
            os._exit(FAILED)
        if ours.recv(1) != b"w":
            os._exit(FAILED)
        order.send(b"w")
        data, fds, _, _ = socket.recv_fds(order, PLAN_MAX_BYTES + 1, FDS_MAX)
        if not data:
            os._exit(0)
        pipes = SandboxPipes(*fds)
        socket.send_fds(ours, [data], fds)
        ours.close()
    except BaseException:  # noqa: BLE001 - a fork must never return into the launcher
        os._exit(FAILED)
    stage = "user"
    try:
        _attend(read_plan(data), pipes, ground, made, report)
    except BaseException as error:  # noqa: BLE001 - the same
        fail(pipes.status, stage, error)


def _leave(ground: SandboxGround, *, network: bool) -> WallReport:
    """Leave the host's namespaces but that of mounts, which the first process leaves."""
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != ground.launcher:
        os._exit(FAILED)
    if ground.as_root:
        namespaces.leave_as_root(network=network)
    else:
        namespaces.leave_as_user(network=network)
        # The new user namespace made this process undumpable for its parent; the signal survives it.
        kernel.die_with_parent(signal.SIGKILL)
    return {
        NAMESPACES: (True, "pid, mount, net, ipc, uts, user, cgroup"),
        NO_NETWORK: (network, "an empty network" if network else "left out on request"),
    }


def _fork_first(
    ground: SandboxGround,
    report: WallReport,
    *,
    plan: SandboxPlan | None = None,
    pipes: SandboxPipes | None = None,
    order: socket.socket | None = None,
    others: tuple[socket.socket, ...] = (),
) -> _FirstProcess:
    """Fork the first process: with its plan, or with a socket on which that will come."""
    to_first, from_first = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(to_first[1])
        os.close(from_first[0])
        for one in others:
            one.close()
        begun = None
        if order is not None:
            plan, pipes, begun = _ordered(ground, order)
        if plan is None or pipes is None:
            os._exit(FAILED)
        first(plan, pipes, ground, dict(report), to_first[0], from_first[1], begun)
    os.close(to_first[0])
    os.close(from_first[1])
    return _FirstProcess(pid, to_first[1], from_first[0])


def _ordered(
    ground: SandboxGround, order: socket.socket
) -> tuple[SandboxPlan, SandboxPipes, mounts.Root | None]:
    """Begin the root, as the first process, and wait for what this sandbox is to become."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        begun = None
        if ground.stage:
            leave_mounts(network=True)
            owner_map = mounts.OwnerMap(ground.host_uid) if ground.as_root else None
            begun = mounts.begin(ground.stage, owner_map)
        order.send(b"w")
        data, fds, _, _ = socket.recv_fds(order, PLAN_MAX_BYTES + 1, FDS_MAX)
        order.close()
        if not data:
            os._exit(0)
        return read_plan(data), SandboxPipes(*fds), begun
    except BaseException:  # noqa: BLE001 - a fork must never return into the launcher
        os._exit(FAILED)


def _attend(
    plan: SandboxPlan,
    pipes: SandboxPipes,
    ground: SandboxGround,
    made: _FirstProcess,
    report: WallReport,
) -> NoReturn:
    """Let the first process go on, map its user, and wait for its end."""
    pipes.close_all_but_reports()
    _announce(made.pid, pipes.status, ground)
    os.write(made.to_it, json.dumps(report).encode())
    if ground.as_root and not plan.runsc and os.read(made.from_it, 1):
        namespaces.map_user(made.pid, ground.host_uid)
        os.write(made.to_it, b"m")
    _await(made.pid, pipes.status, ground)


def _announce(first_pid: int, status: int, ground: SandboxGround) -> None:
    handle = os.pidfd_open(first_pid)
    message = json.dumps({
        "kind": "pid", "pid": first_pid, "uid": ground.host_uid,
        "memory": ground.groups.memory, "processes": ground.groups.processes, "marks": ground.groups.marks,
    }).encode()  # fmt: skip
    with socket.socket(fileno=os.dup(status)) as channel:
        socket.send_fds(channel, [message], [handle])
    os.close(handle)


def _join_groups(
    ground: SandboxGround, first_pid: int, report: WallReport, *, left_out: bool
) -> None:
    if left_out:
        report[CGROUP] = (False, "left out on request")
        return
    joined = cgroups.join(ground.groups, first_pid)
    if joined.complete:
        report[CGROUP] = (True, "memory and pids, version " + "12"[ground.groups.unified])
    else:
        report[CGROUP] = (False, "no cgroup may be written here: limits count per process")


def _await(first_pid: int, status: int, ground: SandboxGround) -> NoReturn:
    _, ended = os.waitpid(first_pid, 0)
    killed = cgroups.killed_for_memory(ground.groups)
    tell(status, kind="dead", exit=os.waitstatus_to_exitcode(ended), oom=killed)
    cgroups.remove(ground.groups)
    os._exit(0)
