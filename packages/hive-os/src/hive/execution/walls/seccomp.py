"""The seccomp wall: which system calls an agent may make, as a classic BPF program.

Default allow for calls that are listed in the kernel up to `KNOWN_MAX`, ENOSYS for newer ones, EPERM for
those that reach out of the sandbox (mounts, namespaces, tracing, keys, io_uring, BPF, modules, clocks), and
checks of arguments where one call has a harmless and a harmful use. A foreign architecture is killed.
"""

import ctypes
import errno
import struct
from collections.abc import Sequence
from typing import Final

from hive.execution.walls import kernel

_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_AND: Final = 0x54
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000

_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_MACHINE_WORDS: Final = {kernel.X86_64: 0xC000003E, kernel.AARCH64: 0xC00000B7}
_X32_BIT: Final = 0x40000000
KNOWN_MAX: Final = 462

Instruction = tuple[int, int, int, int]

_FORBIDDEN: Final[dict[str, tuple[int, int]]] = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280),
    "chroot": (161, 51), "clock_adjtime": (305, 266), "clock_settime": (227, 112),
    "create_module": (174, -1), "delete_module": (176, 106), "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
    "get_kernel_syms": (177, -1), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, -1),
    "iopl": (172, -1), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "listmount": (458, 458),
    "lookup_dcookie": (212, 18), "memfd_secret": (447, 447), "migrate_pages": (256, 238),
    "modify_ldt": (154, -1), "mount": (165, 40), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "move_pages": (279, 239), "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pivot_root": (155, 41),
    "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "query_module": (178, -1),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "reboot": (169, 142),
    "request_key": (249, 218), "setdomainname": (171, 162), "sethostname": (170, 161),
    "setns": (308, 268), "settimeofday": (164, 170), "statmount": (457, 457),
    "swapoff": (168, 225), "swapon": (167, 224), "sysfs": (139, -1), "syslog": (103, 116),
    "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, -1),
    "userfaultfd": (323, 282), "ustat": (136, -1), "vhangup": (153, 58), "_sysctl": (156, -1),
}  # fmt: skip
ALWAYS_REFUSED: Final = frozenset(_FORBIDDEN)
"""The calls that fail in every sandbox, whatever their arguments are."""
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_SOCKET: Final = (41, 198)
_IOCTL: Final = (16, 29)
_PERSONALITY: Final = (135, 92)
_OPENAT2: Final = (437, 437)
_OPEN: Final = {(2, -1): (1, 2), (257, 56): (2, 3)}
"""The calls that open: where their flags and their mode stand."""
_MODE: Final = {
    (90, -1): 1, (91, 52): 1, (268, 53): 2, (452, 452): 2,
    (85, -1): 1, (133, -1): 1, (259, 33): 2,
}  # fmt: skip
"""chmod and its kin, creat, mknod: where their mode stands."""

_NEW_NAMESPACES: Final = 0x7E020080
_FAMILIES: Final = (1, 2, 10)
_SOCKET_KINDS: Final = (1, 2, 5)
_PROTOCOLS: Final = (0, 6, 17)
_SOCKET_KIND_MASK: Final = 0xF
_TERMINAL_INJECTION: Final = (0x5412, 0x541C)
_SET_ID: Final = 0o6000
_CREATING: Final = 0o100 | 0o20000000
_PERSONALITIES: Final = (0, 8, 0xFFFFFFFF)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse(number: int) -> int:
    """Return the filter's answer for an error number."""
    return _ERRNO | number


def load(offset: int) -> Instruction:
    """Load a word of the call's record."""
    return (_LOAD, 0, 0, offset)


def argument(index: int) -> Instruction:
    """Load the low half of an argument; the kernel reads no more of those that are checked here."""
    return load(16 + 8 * index)


def answer(value: int) -> Instruction:
    """End the program."""
    return (_RETURN, 0, 0, value)


def when_equal(value: int, then: Sequence[Instruction]) -> list[Instruction]:
    """Run `then` if the loaded word is `value`, else go on behind it."""
    return [(_JUMP_EQUAL, 0, _near(then), value), *then]


def when_at_least(value: int, then: Sequence[Instruction]) -> list[Instruction]:
    """Run `then` if the loaded word is `value` or more."""
    return [(_JUMP_AT_LEAST, 0, _near(then), value), *then]


def when_any_bit(mask: int, then: Sequence[Instruction]) -> list[Instruction]:
    """Run `then` if the loaded word has a bit of `mask`."""
    return [(_JUMP_ANY_BIT, 0, _near(then), mask), *then]


def one_of(values: Sequence[int], otherwise: int) -> list[Instruction]:
    """Go on behind this block if the loaded word is one of `values`, else answer `otherwise`."""
    block: list[Instruction] = []
    for position, value in enumerate(values):
        block.append((_JUMP_EQUAL, len(values) - position, 0, value))
    return [*block, answer(otherwise)]


def _near(block: Sequence[Instruction]) -> int:
    if len(block) > 255:
        raise ValueError("a jump of classic BPF spans at most 255 instructions")
    return len(block)


def assemble(program: Sequence[Instruction]) -> bytes:
    """Return the program's bytes."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def agent_program(machine: str) -> list[Instruction]:
    """Return the filter of an agent on one architecture.

    Raises:
        OSError: ENOSYS, there is no table for this architecture.

    """
    if machine not in _MACHINE_WORDS:
        raise OSError(errno.ENOSYS, f"no table of system calls for {machine}")
    column = 0 if machine == kernel.X86_64 else 1
    program = [load(_MACHINE_AT)]
    program += one_of([_MACHINE_WORDS[machine]], KILL)
    program.append(load(_NUMBER_AT))
    if machine == kernel.X86_64:
        program += when_at_least(_X32_BIT, [answer(refuse(errno.ENOSYS))])
    program += when_at_least(KNOWN_MAX + 1, [answer(refuse(errno.ENOSYS))])
    for newer in (_CLONE3, _OPENAT2):  # their arguments lie in memory, where no filter looks
        program += when_equal(newer[column], [answer(refuse(errno.ENOSYS))])
    for numbers, block in (*_checked(), *_without_set_id()):
        if numbers[column] >= 0:
            program += when_equal(numbers[column], block)
    for numbers in _FORBIDDEN.values():
        if numbers[column] >= 0:
            program += when_equal(numbers[column], [answer(refuse(errno.EPERM))])
    return [*program, answer(ALLOW)]


def _checked() -> list[tuple[tuple[int, int], list[Instruction]]]:
    denied = refuse(errno.EPERM)
    clone = [argument(0), *when_any_bit(_NEW_NAMESPACES, [answer(denied)]), answer(ALLOW)]
    ioctl = [argument(1)]
    for request in _TERMINAL_INJECTION:
        ioctl += when_equal(request, [answer(denied)])
    personality = [argument(0), *one_of(_PERSONALITIES, denied), answer(ALLOW)]
    return [
        (_CLONE, clone),
        (_IOCTL, [*ioctl, answer(ALLOW)]),
        (_PERSONALITY, personality),
        (_SOCKET, _socket_block()),
    ]


def _without_set_id() -> list[tuple[tuple[int, int], list[Instruction]]]:
    """Refuse to make a program that runs as its owner: in a writable mount it would be the host's."""
    denied = when_any_bit(_SET_ID, [answer(refuse(errno.EPERM))])
    blocks: list[tuple[tuple[int, int], list[Instruction]]] = [
        (numbers, [argument(mode), *denied, answer(ALLOW)]) for numbers, mode in _MODE.items()
    ]
    for numbers, (flags, mode) in _OPEN.items():
        creating = when_any_bit(_CREATING, [argument(mode), *denied])
        blocks.append((numbers, [argument(flags), *creating, answer(ALLOW)]))
    return blocks


def _socket_block() -> list[Instruction]:
    return [
        argument(0),
        *one_of(_FAMILIES, refuse(errno.EAFNOSUPPORT)),
        argument(1),
        (_AND, 0, 0, _SOCKET_KIND_MASK),
        *one_of(_SOCKET_KINDS, refuse(errno.EPERM)),
        argument(2),
        *one_of(_PROTOCOLS, refuse(errno.EPROTONOSUPPORT)),
        answer(ALLOW),
    ]


def run(program: Sequence[Instruction], record: bytes) -> int:
    """Interpret a program on a call's record (number, machine, pointer, six arguments).

    It is how the program is tested without a kernel, and for architectures that are not at hand.
    """
    position, word = 0, 0
    while True:
        code, then, otherwise, value = program[position]
        position += 1
        if code == _RETURN:
            return value
        if code == _LOAD:
            (word,) = struct.unpack_from("=I", record, value)
        elif code == _AND:
            word &= value
        else:
            taken = {
                _JUMP_EQUAL: word == value,
                _JUMP_AT_LEAST: word >= value,
                _JUMP_ANY_BIT: bool(word & value),
            }[code]
            position += then if taken else otherwise


def install(program: Sequence[Instruction]) -> None:
    """Put the filter on this thread and on all that it will start; needs no-new-privileges."""
    code = assemble(program)
    packed = _Program(len(program), code)
    buffer = (ctypes.c_char * ctypes.sizeof(packed)).from_buffer(packed)
    kernel.call("seccomp", 1, 0, buffer)


def forbidden_numbers(machine: str) -> dict[str, int]:
    """Return the calls that are refused whatever their arguments, with their numbers."""
    column = 0 if machine == kernel.X86_64 else 1
    return {name: pair[column] for name, pair in _FORBIDDEN.items() if pair[column] >= 0}
