"""Who opened this connection, by the word of the kernel: a living process inside the sandbox that the socket is for.

The socket itself says which sandbox: it lies in that sandbox's own folder. The kernel says which process connected,
and this module asks it: the process must descend from the sandbox's first one, in its process namespace and its
control group. A process handle (pidfd) is held while that is read, so that a number which was given to another
process in between is noticed.
"""

import contextlib
import os
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.core.call import Refused

CHECK: Final = "identity"
DEPTH_MAX: Final = 4096
_SO_PEERPIDFD: Final = 77
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What `/proc` says of a process."""

    pid: int
    parent: int
    started_ticks: int
    namespaces_depth: int
    groups: tuple[str, ...]


class PeerProcess:
    """The process at the other end of a unix socket, held by its handle; close it."""

    def __init__(self, pid: int, uid: int, handle: int) -> None:
        self.pid = pid
        self.uid = uid
        self._handle = handle

    @property
    def alive(self) -> bool:
        """Tell whether it is still the process that connected."""
        if self._handle < 0:
            return False
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Give its handle back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def peer_of(sock: socket.socket) -> PeerProcess | Refused:
    """Return the process that connected."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    if pid <= 0:
        return Refused(check=CHECK, reason="the kernel does not say who connected")
    try:
        # The kernel's own handle on whoever connected, where it gives one (Linux 6.5).
        handle = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
        os.set_inheritable(handle, False)  # noqa: FBT003 - the standard library's
    except OSError:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return Refused(check=CHECK, reason="whoever connected is gone")
    return PeerProcess(pid, uid, handle)


def attest(peer: PeerProcess, first: int, first_started: int) -> Refused | None:
    """Say why a process is not inside the sandbox that began with the process `first`; None where it is.

    `first_started` is when that one began, as noted when the sandbox did: a number alone is not a process.
    """
    root = facts_of(first)
    if root is None or root.started_ticks != first_started:
        return Refused(check=CHECK, reason="the sandbox of this socket is gone")
    found = facts_of(peer.pid)
    inside = found is not None and _descends(found, first) and _enclosed(found, root)
    # Looked at last: while it lives, what was read under its number was its own.
    if not peer.alive:
        return Refused(check=CHECK, reason="whoever connected is gone")
    if not inside:
        return Refused(
            check=CHECK, reason="no identity issued", detail=f"pid {peer.pid}, uid {peer.uid}"
        )
    return None


def started_ticks(pid: int) -> int:
    """Return when a process began, in the kernel's ticks; 0 where there is none."""
    found = facts_of(pid)
    return 0 if found is None else found.started_ticks


def facts_of(pid: int) -> ProcessFacts | None:
    """Read what the kernel tells everybody of a process; None where it is gone."""
    place = Path("/proc", str(pid))
    try:
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        groups = (place / "cgroup").read_text().splitlines()
        status = (place / "status").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    depth = 1
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            depth = len(line.split()) - 1
    return ProcessFacts(
        pid=pid,
        parent=int(fields[1]),
        started_ticks=int(fields[19]),
        namespaces_depth=depth,
        groups=tuple(line.partition(":")[2].partition(":")[2] for line in groups),
    )


def _descends(found: ProcessFacts, first: int) -> bool:
    pid = found.pid
    for _ in range(DEPTH_MAX):
        if pid == first:
            return True
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
            pid = int(fields[1])
            if pid > 1:
                continue
        return False
    return False


def _enclosed(found: ProcessFacts, root: ProcessFacts) -> bool:
    """Tell whether a process is as deep in namespaces and control groups as the sandbox's first one."""
    return (
        found.namespaces_depth >= root.namespaces_depth
        and len(found.groups) == len(root.groups)
        and all(
            own == above or own.startswith(above.rstrip("/") + "/")
            for own, above in zip(found.groups, root.groups, strict=True)
        )
    )
