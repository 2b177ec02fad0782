"""libbpf by ctypes: load an object, attach its programs, change its maps, hear its events.

Nothing outlives the process that holds an `Object`: the kernel lets go of programs and maps with their last descriptor.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

SONAMES: Final = ("libbpf.so.1", "libbpf.so.0")
_PRINT: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_SAMPLE: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_POINTERS: Final = (
    "bpf_object__open_file",
    "bpf_object__find_program_by_name",
    "bpf_program__attach",
    "bpf_program__attach_cgroup",
    "ring_buffer__new",
)
_RETURN_0: Final = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
_LOAD: Final = 5
_ASKED_BYTES: Final = 144
_CALL_NUMBERS: Final = {"x86_64": 321, "aarch64": 280}
Library: TypeAlias = Any
_SILENT: Final = _PRINT(lambda _level, _format, _arguments: 0)


class BpfError(Exception):
    """The library is missing, or the kernel refused; the text says which and why."""


def open_library() -> Library:
    """Load libbpf.

    Raises:
        BpfError: it is not installed.

    """
    for name in SONAMES:
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        for function in _POINTERS:
            getattr(library, function).restype = ctypes.c_void_p
        library.bpf_object__load.argtypes = [ctypes.c_void_p]
        library.bpf_object__close.argtypes = [ctypes.c_void_p]
        library.bpf_object__close.restype = None
        library.bpf_object__find_map_fd_by_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.bpf_object__find_program_by_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.bpf_program__attach.argtypes = [ctypes.c_void_p]
        library.bpf_program__attach_cgroup.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.bpf_link__destroy.argtypes = [ctypes.c_void_p]
        library.ring_buffer__new.argtypes = [
            ctypes.c_int, _SAMPLE, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        library.ring_buffer__epoll_fd.argtypes = [ctypes.c_void_p]
        library.ring_buffer__consume.argtypes = [ctypes.c_void_p]
        library.ring_buffer__free.argtypes = [ctypes.c_void_p]
        library.ring_buffer__free.restype = None
        library.libbpf_set_print.argtypes = [_PRINT]
        library.libbpf_set_print(_SILENT)
        return library
    raise BpfError("libbpf is not installed (Debian: libbpf1)")


def is_refused(program_type: int, attach_type: int) -> bool:
    """Tell whether this machine refuses programs of a type altogether; asked with one that is too short to stand."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(_RETURN_0, len(_RETURN_0))
    licence = ctypes.create_string_buffer(b"GPL")
    asked = struct.pack(
        "=IIQQIIQII16sII",
        program_type,
        len(_RETURN_0) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        0, 0, 0, 0, 0,
        b"hive",
        0,
        attach_type,
    )  # fmt: skip
    packed = ctypes.create_string_buffer(asked, _ASKED_BYTES)
    number = _CALL_NUMBERS.get(platform.machine(), -1)
    made = libc.syscall(number, _LOAD, packed, _ASKED_BYTES)
    if made >= 0:
        os.close(made)
        return False
    return ctypes.get_errno() in (errno.EPERM, errno.EACCES, errno.ENOSYS)


class BpfObject:
    """One loaded object. Use it as a context; leaving it takes its programs out of the kernel."""

    def __init__(self, path: Path) -> None:
        self._library = open_library()
        self._links: list[int] = []
        self._ring: int | None = None
        self._heard: Any = None
        self._object = self._library.bpf_object__open_file(os.fsencode(path), None)
        if not self._object:
            raise BpfError(f"{path.name} cannot be read: {_why()}")
        if self._library.bpf_object__load(self._object):
            why = _why()
            self.close()
            raise BpfError(f"the kernel does not load it: {why}")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Take its programs out of the kernel."""
        self.close()

    def close(self) -> None:
        """Take its programs out of the kernel; twice is no error."""
        for link in self._links:
            self._library.bpf_link__destroy(link)
        self._links.clear()
        if self._ring:
            self._library.ring_buffer__free(self._ring)
        if self._object:
            self._library.bpf_object__close(self._object)
        self._ring = self._object = None

    def map(self, name: str) -> int:
        """Return the descriptor of a map.

        Raises:
            BpfError: there is none of that name.

        """
        found = int(self._library.bpf_object__find_map_fd_by_name(self._object, name.encode()))
        if found < 0:
            raise BpfError(f"it has no map {name}")
        return found

    def attach(self, name: str, cgroup: int = -1) -> None:
        """Attach a program where its section says, or to a cgroup (a descriptor of its folder).

        Raises:
            BpfError: the kernel refused.

        """
        program = self._library.bpf_object__find_program_by_name(self._object, name.encode())
        if not program:
            raise BpfError(f"it has no program {name}")
        if cgroup < 0:
            link = self._library.bpf_program__attach(program)
        else:
            link = self._library.bpf_program__attach_cgroup(program, cgroup)
        if not link:
            raise BpfError(f"{name} cannot be attached: {_why()}")
        self._links.append(link)

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Set an entry of a map.

        Raises:
            BpfError: the map is full, or takes no such key.

        """
        if self._library.bpf_map_update_elem(table, key, value, ctypes.c_ulonglong(0)):
            raise BpfError(f"a rule cannot be set: {_why()}")

    def take(self, table: int, key: bytes) -> None:
        """Remove an entry of a map; one that is not there is no error."""
        self._library.bpf_map_delete_elem(table, key)

    def value(self, table: int, key: bytes, size_bytes: int) -> bytes | None:
        """Return an entry of a map."""
        found = ctypes.create_string_buffer(size_bytes)
        if self._library.bpf_map_lookup_elem(table, key, found):
            return None
        return found.raw

    def hear(self, table: int, told: Callable[[bytes], None]) -> None:
        """Call `told` with each event of a ring buffer, from within `consume`.

        Raises:
            BpfError: it is no ring buffer.

        """

        def sample(_context: object, data: int, size_bytes: int) -> int:
            told(ctypes.string_at(data, size_bytes))
            return 0

        self._heard = _SAMPLE(sample)
        self._ring = self._library.ring_buffer__new(table, self._heard, None, None)
        if not self._ring:
            raise BpfError(f"its events cannot be heard: {_why()}")

    def waits_on(self) -> int:
        """Return the descriptor that is readable when there are events."""
        return int(self._library.ring_buffer__epoll_fd(self._ring))

    def consume(self) -> None:
        """Hand on the events that are there; one thread at a time."""
        if self._ring:
            self._library.ring_buffer__consume(self._ring)


def _why() -> str:
    number = ctypes.get_errno()
    return os.strerror(number) if number else "it does not say why"
