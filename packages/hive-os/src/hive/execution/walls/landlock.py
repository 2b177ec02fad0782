"""The Landlock wall: files by path, and no abstract socket or signal out of the sandbox.

It stands behind the mounts: should a mount let too much through, this does not. Takes whatever the kernel
offers (ABI 1 to 7) and tells which.
"""

import ctypes
import os
import stat
from collections.abc import Mapping
from typing import Final

from hive.execution.walls import kernel

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REFER: Final = 1 << 13
_REFER_FROM_ABI: Final = 2
_TRUNCATE: Final = 1 << 14
_IOCTL_DEVICE: Final = 1 << 15
_ALL_BY_ABI: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_NOW: Final = (1 << 16) - 1
_FILE_BITS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE

LIST: Final = _READ_DIR
READ: Final = _READ_FILE | _READ_DIR
READ_RUN: Final = READ | _EXECUTE
EVERYTHING: Final = _ALL_NOW
DEVICE: Final = _READ_FILE | _WRITE_FILE | _IOCTL_DEVICE

_SCOPES: Final = 0b11
_SCOPES_FROM_ABI: Final = 6
_PATH_BENEATH: Final = 1


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """Return the kernel's Landlock ABI, 0 when it has none."""
    try:
        return kernel.call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def restrict(rules: Mapping[str, int], *, files: bool = True) -> None:
    """Confine this thread and all that it will start to `rules` (path to access bits).

    With `files` off, only sockets and signals are scoped: a second domain that protects the first.

    Raises:
        OSError: the kernel refused.

    """
    abi = version()
    handled = _ALL_BY_ABI.get(abi, _ALL_NOW) if files else 0
    scoped = _SCOPES if abi >= _SCOPES_FROM_ABI else 0
    if not files and abi >= _REFER_FROM_ABI:
        # Every domain denies moving a file to another folder unless a rule allows it.
        handled, rules = _REFER, {**rules, "/": _REFER}
    if not handled and not scoped:
        return
    wanted = _Ruleset(handled, 0, scoped)
    size = ctypes.sizeof(wanted) if scoped else 8
    ruleset = kernel.call("landlock_create_ruleset", _bytes_of(wanted), size, 0)
    try:
        for path, access in rules.items():
            _allow(ruleset, path, access & handled)
        kernel.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # The kernel refuses a rule that gives a file the rights of a directory.
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            access &= _FILE_BITS
        rule = _PathBeneath(access, parent)
        kernel.call("landlock_add_rule", ruleset, _PATH_BENEATH, _bytes_of(rule), 0)
    finally:
        os.close(parent)


def _bytes_of(value: ctypes.Structure) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * ctypes.sizeof(value)).from_buffer(value)
