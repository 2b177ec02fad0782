"""As whom does an engine run, and what does it see? Never as root, and no user of the host is touched.

PostgreSQL refuses to run as root, and a server that parses bytes of strangers should not. Three cases:

- the node is an ordinary user: the child is that user (one without a name, as containers like to have,
  goes the third way, for `initdb` insists on a name);
- the node is root: the child becomes uid 65534 before it executes anything;
- the node is root of a user namespace that does not map 65534: the child enters a namespace of its own in
  which its present uid is called 65534, so that it has no capability left.

The folders above the data stay closed. On Linux a child's working directory is its data, and everything it
opens is named from there through `/proc/self/cwd`, which needs no right on any parent. Binaries that lie
below a closed folder (an environment in root's home) are shown to the child by a bind mount in a mount
namespace of its own.
"""

import ctypes
import os
import pwd
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.core.errors import EngineError

LINUX: Final = sys.platform == "linux"
UNPRIVILEGED_UID: Final = 65534
OWN_DIRECTORY: Final = "/proc/self/cwd"
_SHOWN_AT: Final = "/mnt"
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_MS_RDONLY: Final = 1
_MS_REMOUNT: Final = 32
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_SLAVE: Final = 1 << 19

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demotion:
    """How a child gives up what the node has: `uid` to become, or a user namespace to hide in."""

    uid: int | None = None
    namespace: bool = False


def demotion_here(
    *, uid: int | None = None, uid_map: str | None = None, named: bool | None = None
) -> Demotion:
    """Decide it for this process (the arguments are for tests)."""
    uid = os.geteuid() if uid is None else uid
    if uid != 0:
        named = _has_name(uid) if named is None else named
        return Demotion(namespace=LINUX and not named)
    if not LINUX:
        return Demotion(uid=UNPRIVILEGED_UID)
    table = Path("/proc/self/uid_map").read_text() if uid_map is None else uid_map
    for line in table.splitlines():
        inside, _, count = (int(field) for field in line.split())
        if inside <= UNPRIVILEGED_UID < inside + count:
            return Demotion(uid=UNPRIVILEGED_UID)
    return Demotion(namespace=True)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def give(path: Path, demotion: Demotion) -> None:
    """Make a folder or file belong to the uid that the child will have."""
    if demotion.uid is not None:
        os.chown(path, demotion.uid, demotion.uid, follow_symlinks=False)


def own_path(directory: Path) -> str:
    """Return how a child whose working directory is `directory` names it."""
    return OWN_DIRECTORY if LINUX else str(directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """How the child names a binary; `shown` is the folder that must be mounted for it, if any."""

    program: str
    shown: str = ""


def visibility(program: Path, root: Path, demotion: Demotion) -> Visibility:
    """Tell how a child can reach `program`, whose parts all lie below `root`.

    Raises:
        EngineError: it lies below a folder that is closed to the child, and nothing can be mounted.

    """
    if demotion.uid is None or _closed_above(program) is None:
        return Visibility(program=str(program))
    closed = _closed_above(program, within=root)
    if closed is not None or not LINUX or not _may_mount():
        raise EngineError(
            f"{program.name} cannot be run as an unprivileged user.",
            why=f"{closed or _closed_above(program)} is closed to others, "
            f"and {'is part of the installation' if closed else 'this process may not mount'}.",
            fix="Install Hive in an environment that others may read (for example below /opt), "
            "or run it as an ordinary user.",
        )
    inside = Path(_SHOWN_AT) / program.relative_to(root)
    return Visibility(program=str(inside), shown=str(root))


def _closed_above(path: Path, *, within: Path | None = None) -> Path | None:
    """Return the first folder on the way to `path` (from `within`) that others may not enter."""
    for parent in path.resolve().parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            return parent
        if parent == within:
            return None
    return None


def _may_mount() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) & 1 << 21)


def before_exec(
    demotion: Demotion, *, shown: str, death_signal: signal.Signals, parent: int
) -> Callable[[], None]:
    """Return what the child does between fork and exec.

    The order matters: changing the uid clears the death signal, so that comes after; and a parent that
    died before the signal was set is noticed by comparing the parent's pid last.
    """

    def lower() -> None:
        if shown:
            _show(shown)
        if demotion.namespace:
            _hide_in_namespace()
        if demotion.uid is not None:
            os.setgroups([])
            os.setgid(demotion.uid)
            os.setuid(demotion.uid)
        os.umask(0o077)
        if LINUX:
            _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
            _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
            _check(_libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0))
        if os.getppid() != parent:
            os._exit(1)

    return lower


def _show(root: str) -> None:
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None))
    target = _SHOWN_AT.encode()
    _check(_libc.mount(os.fsencode(root), target, None, _MS_BIND, None))
    _check(_libc.mount(None, target, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY, None))


def _hide_in_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER))
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{UNPRIVILEGED_UID} {uid} 1"),
        ("gid_map", f"{UNPRIVILEGED_UID} {gid} 1"),
    ):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
