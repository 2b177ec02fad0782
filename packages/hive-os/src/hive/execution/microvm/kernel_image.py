"""A flat kernel image becomes an ELF file that QEMU's `microvm` machine starts (PVH).

The kernel is the user's own: libkrunfw carries one as bytes in memory; it is read here and never shipped.
"""

import ctypes
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.core.errors import TierUnavailableError

_XEN_NOTE_TYPE: Final = 18
_NOTE_HEADS: Final = tuple(
    (struct.pack("<III", 4, size, _XEN_NOTE_TYPE) + b"Xen\0", size) for size in (4, 8)
)
_EHDR: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR: Final = struct.Struct("<IIQQQQQQ")
_PAGE: Final = 4096
_MAX_KERNEL_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatKernel:
    """A kernel as it lies in the guest's memory from `address` on."""

    address: int
    content: bytes


def read_krunfw(library: Path) -> FlatKernel:
    """Return the kernel that a libkrunfw library carries.

    Raises:
        TierUnavailableError: the library cannot be loaded or carries no kernel.

    """
    try:
        get = ctypes.CDLL(str(library)).krunfw_get_kernel
    except (OSError, AttributeError) as problem:
        raise TierUnavailableError(f"no kernel in {library.name}: {problem}") from problem
    get.restype = ctypes.c_void_p
    address, entry, size = ctypes.c_uint64(), ctypes.c_uint64(), ctypes.c_size_t()
    start = get(ctypes.byref(address), ctypes.byref(entry), ctypes.byref(size))
    if not start or not 0 < size.value <= _MAX_KERNEL_BYTES:
        raise TierUnavailableError(f"no kernel in {library.name}: it gives {size.value} bytes")
    return FlatKernel(address=address.value, content=ctypes.string_at(start, size.value))


def pvh_entry(kernel: FlatKernel) -> int:
    """Return the address at which a PVH start enters the kernel, from the Xen note that it carries.

    Raises:
        TierUnavailableError: it carries no such note, several that differ, or one that points outside.

    """
    found: set[int] = set()
    for head, size in _NOTE_HEADS:
        at = kernel.content.find(head)
        while at >= 0:
            where = at + len(head)
            found.add(int.from_bytes(kernel.content[where : where + size], "little"))
            at = kernel.content.find(head, at + 1)
    end = kernel.address + len(kernel.content)
    inside = {entry for entry in found if kernel.address <= entry < end}
    if len(inside) != 1:
        raise TierUnavailableError(f"this kernel has {len(inside)} PVH entries where one is needed")
    return inside.pop()


def pvh_elf(kernel: FlatKernel) -> bytes:
    """Return the kernel as an ELF file with one segment to load and the note that QEMU looks for.

    Raises:
        TierUnavailableError: it has no PVH entry.

    """
    entry = pvh_entry(kernel)
    note = struct.pack("<III4sQ", 4, 8, _XEN_NOTE_TYPE, b"Xen\0", entry)
    heads = _EHDR.size + 2 * _PHDR.size
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    size = len(kernel.content)
    return b"".join(
        (
            _EHDR.pack(
                ident, 2, 62, 1, entry, _EHDR.size, 0, 0, _EHDR.size, _PHDR.size, 2, 0, 0, 0
            ),
            _PHDR.pack(1, 7, _PAGE, kernel.address, kernel.address, size, size, _PAGE),
            _PHDR.pack(4, 4, heads, 0, 0, len(note), len(note), 4),
            note,
            bytes(_PAGE - heads - len(note)),
            kernel.content,
        )
    )
