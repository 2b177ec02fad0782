"""Keep the node's memory its own: it holds the real keys of model providers, which no file may ever get.

Without it, a crash could write the memory to disk, and another process of the same user could read it, its
environment included. The node's children are started as programs and so get a memory of their own.
"""

import contextlib
import ctypes
import resource

from hive.execution.walls import kernel


def keep_own_memory() -> None:
    """Write no core file, and let no other process of this user read this one; a kernel without it goes on."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def give_back_freed() -> None:
    """Give memory that was freed back to the machine; a C library that cannot goes on."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
