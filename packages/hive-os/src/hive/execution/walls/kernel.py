"""System calls that Python does not wrap, made through the C library; each raises OSError with its name.

Trusts nothing but the kernel's answer: a call that is missing raises ENOSYS, and the caller decides.
"""

import ctypes
import os
import platform
import struct
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SYSCALL: Final = getattr(_LIBC, "syscall", None)

X86_64: Final = "x86_64"
AARCH64: Final = "aarch64"
MACHINE: Final = {"amd64": X86_64, "arm64": AARCH64}.get(
    platform.machine().lower(), platform.machine().lower()
)

_NUMBERS: Final[dict[str, dict[str, int]]] = {
    X86_64: {"pivot_root": 155, "mount": 165, "umount2": 166, "sethostname": 170,
             "unshare": 272, "prctl": 157, "capset": 126, "seccomp": 317},
    AARCH64: {"pivot_root": 41, "mount": 40, "umount2": 39, "sethostname": 161,
              "unshare": 97, "prctl": 167, "capset": 91, "seccomp": 277},
}  # fmt: skip
_NUMBERS_EVERYWHERE: Final = {
    "open_tree": 428,
    "move_mount": 429,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

_RESOLVE_IN_ROOT: Final = 0x10
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
OPEN_TREE_CLONE: Final = 1
MOVE_MOUNT_F_EMPTY_PATH: Final = 4
MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR_IDMAP: Final = 0x00100000

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

CAPABILITIES_MAX: Final = 64


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call by name and return its result.

    Raises:
        OSError: the kernel refused; ENOSYS when this machine has no such call.

    """
    number = _NUMBERS_EVERYWHERE.get(name) or _NUMBERS.get(MACHINE, {}).get(name)
    if number is None or _SYSCALL is None:
        raise OSError(38, f"{name} is not known on {MACHINE}")
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    words += [ctypes.c_long(0)] * (6 - len(words))
    result = int(_SYSCALL(ctypes.c_long(number), *words))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def prctl(option: int, argument: int = 0) -> int:
    """Change this process."""
    return call("prctl", option, argument)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount a file system, or bind one place to another."""
    try:
        call("mount", os.fsencode(source), os.fsencode(target), kind.encode(), flags,
             options.encode())  # fmt: skip
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({source} at {target})") from error


def set_mount_attributes(
    directory_fd: int, path: str, attributes: int, *, userns_fd: int = 0
) -> None:
    """Set attributes of a mount and of all mounts below it; locked ones keep their own."""
    wanted = _MountAttributes(attributes, 0, 0, userns_fd)
    flags = AT_RECURSIVE | (0 if path else AT_EMPTY_PATH)
    packed = (ctypes.c_char * ctypes.sizeof(wanted)).from_buffer(wanted)
    call("mount_setattr", directory_fd, os.fsencode(path), flags, packed, ctypes.sizeof(wanted))


def open_in_root(root: str, path: str) -> int:
    """Open a place (O_PATH) as a process with another root would find it, links and all; return its descriptor.

    Raises:
        OSError: it leads nowhere there.

    """
    above = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
    packed = ctypes.create_string_buffer(how, len(how))
    try:
        return call("openat2", above, os.fsencode(path), packed, len(how))
    finally:
        os.close(above)


def close_from(first_fd: int) -> None:
    """Close every file descriptor from `first_fd` on."""
    call("close_range", first_fd, 0xFFFFFFFF, 0)


def die_with_parent(signal_number: int) -> None:
    """Ask for a signal when the parent dies; a change of user clears it, so call it after."""
    prctl(PR_SET_PDEATHSIG, signal_number)


def drop_capabilities() -> None:
    """Give up every capability, for this process and for all that it will start."""
    for capability in range(CAPABILITIES_MAX):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == 22:
                break
            raise
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(b"\x22\x05\x08\x20\0\0\0\0", 8)
    call("capset", header, ctypes.create_string_buffer(24))
