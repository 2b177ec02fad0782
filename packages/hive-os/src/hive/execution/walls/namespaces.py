"""The namespaces of a sandbox: its own processes, mounts, network, users, names and messages.

As root, all but the user namespace belong to the host's root, so no capability inside reaches them; the
agent's user is mapped to a host uid of its own. Unprivileged, the caller's own uid is mapped.
"""

import fcntl
import os
import signal
import socket
import struct
from pathlib import Path
from typing import Final

from hive.execution.walls import kernel
from hive.execution.walls.plan import INSIDE_UID

OUTER_ROOT: Final = (
    kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)
NOBODY: Final = 65534
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_CAP_SETGID: Final = 6
_CAP_SETUID: Final = 7
_CAP_NET_ADMIN: Final = 12
_CAP_SYS_ADMIN: Final = 21
_NEEDED_BY_ROOT: Final = (_CAP_SETGID, _CAP_SETUID, _CAP_NET_ADMIN, _CAP_SYS_ADMIN)


def may_act_as_root() -> bool:
    """Tell whether this process has what the privileged way of building needs."""
    if os.geteuid() != 0:
        return False
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return all(held >> capability & 1 for capability in _NEEDED_BY_ROOT)
    return False


def leave_as_user(*, network: bool) -> None:
    """Enter a user namespace and all others at once, mapped to this very user."""
    uid, gid = os.geteuid(), os.getegid()
    flags = OUTER_ROOT | kernel.CLONE_NEWUSER
    kernel.call("unshare", flags & ~(0 if network else kernel.CLONE_NEWNET))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{INSIDE_UID} {uid} 1")
    _write("/proc/self/gid_map", f"{INSIDE_UID} {gid} 1")


def leave_as_root(*, network: bool) -> None:
    """Enter all namespaces but those of users and mounts."""
    kernel.call("unshare", OUTER_ROOT & ~(0 if network else kernel.CLONE_NEWNET))


def map_user(pid: int, host_uid: int) -> None:
    """Let the process, in its new user namespace, be the agent's user and nobody else."""
    _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", f"{INSIDE_UID} {host_uid} 1")
    _write(f"/proc/{pid}/gid_map", f"{INSIDE_UID} {host_uid} 1")


def become_agent() -> None:
    """Take the agent's user and group for good."""
    os.setresgid(INSIDE_UID, INSIDE_UID, INSIDE_UID)
    os.setresuid(INSIDE_UID, INSIDE_UID, INSIDE_UID)


def bring_loopback_up() -> None:
    """Switch the only interface of a new network namespace on; it starts down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def open_id_mapping(owner: tuple[int, int], host_uid: int, *, served_by_root: bool = False) -> int:
    """Return a user namespace in which `owner` (uid, gid) of a file looks like `host_uid`.

    A mount with it lets the agent write what belongs to the owner, and what it writes belongs to him. With
    `served_by_root` root may make files there as well, which belong to nobody until it gives them to the agent.
    """
    lines = [[f"{one} {host_uid} 1"] for one in owner]
    if served_by_root:
        for one, line in zip(owner, lines, strict=True):
            line.append(f"{NOBODY if one != NOBODY else NOBODY - 1} 0 1")
    waiting, go = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kernel.call("unshare", kernel.CLONE_NEWUSER)
            # Inside a new process namespace only the host's /proc knows the number that is needed.
            os.write(go, os.readlink("/proc/self").encode())  # noqa: PTH115
            signal.pause()
        finally:
            os._exit(0)
    os.close(go)
    try:
        seen = os.read(waiting, 16).decode()
        if not seen:
            raise OSError(1, "no user namespace for the mapping of owners")
        _write(f"/proc/{seen}/setgroups", "deny")
        _write(f"/proc/{seen}/uid_map", "\n".join(lines[0]))
        _write(f"/proc/{seen}/gid_map", "\n".join(lines[1]))
        return os.open(f"/proc/{seen}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(waiting)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _write(path: str, text: str) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(target, text.encode())
    finally:
        os.close(target)
