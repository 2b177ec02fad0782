"""From rules to rows of the kernel's maps: a path becomes the inode that it leads to now, on the host and in the sandbox."""

import contextlib
import ipaddress
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from hive.core.errors import SandboxError
from hive.core.kernel_rules import KernelAct, KernelAnswer, KernelRule
from hive.execution.walls import kernel
from hive.execution.walls.seccomp import ALWAYS_REFUSED

SLOTS: Final = 4
PORTS_MAX: Final = 8
_ACTS: Final = MappingProxyType(
    {KernelAct.OPEN: 1, KernelAct.WRITE: 2, KernelAct.EXECUTE: 4, KernelAct.CONNECT: 8}
)
_ANSWERS: Final = MappingProxyType(
    {KernelAnswer.REPORT: 0, KernelAnswer.DENY: 1, KernelAnswer.KILL: 2}
)
_PROTOCOLS: Final = MappingProxyType({"tcp": 1, "udp": 2})
_MAPPED: Final = bytes(10) + b"\xff\xff"
ANY_GROUP: Final = b"\xff" * 8
_PREFIX_BITS: Final = 96
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


class _Inode(NamedTuple):
    number: int
    device: int


@dataclass(slots=True)
class Rows:
    """Rows by map: `places`, `programs` and `networks`, each a key and a value."""

    places: dict[bytes, bytes] = field(default_factory=dict)
    programs: dict[bytes, bytes] = field(default_factory=dict)
    networks: dict[bytes, bytes] = field(default_factory=dict)


def rows_of(rules: Sequence[tuple[int, KernelRule]], group: int, root: str) -> Rows:
    """Return the rows of rules, each under its number, for a cgroup; `root` is the sandbox's as the host names it.

    A path that leads nowhere has no row: there is nothing that could be opened. What is made there later is not covered.

    Raises:
        SandboxError: there are more rules for one place than fit, or one cannot be said in rows.

    """
    made, used = Rows(), Counter[bytes]()
    for number, rule in rules:
        match rule.act:
            case KernelAct.CONNECT:
                _network_row(made, used, number, rule, group)
            case KernelAct.SYSCALL if rule.syscall in ALWAYS_REFUSED:
                continue  # whatever the rule says, the seccomp wall says it to every sandbox
            case KernelAct.SYSCALL:
                raise _unsayable(rule, f"the seccomp wall does not refuse {rule.syscall}")
            case _:
                _place_rows(made, used, number, rule, group, root)
    return made


def places_of(rows: Rows) -> list[bytes]:
    """Return the places (inode, device, a slot of zero) that rows are about, each once."""
    return list(dict.fromkeys(key[8:20] + bytes(4) for key in rows.places))


def _place_rows(
    made: Rows, used: Counter[bytes], number: int, rule: KernelRule, group: int, root: str
) -> None:
    which = 0 if not rule.programs else 2 if rule.besides else 1
    for program in rule.programs:
        for inode in _inodes(program, root):
            made.programs[struct.pack("=QII", inode.number, inode.device, number)] = b"\1"
    inodes = dict.fromkeys(_inodes(rule.path, root))
    if rule.below:
        inodes |= dict.fromkeys(_mounted_below(rule.path, root))
    for inode in inodes:
        place = struct.pack("=QQI", group, inode.number, inode.device)
        value = struct.pack(
            "=IBBBB", number, _ACTS[rule.act], _ANSWERS[rule.answer], rule.below, which
        )
        made.places[place + struct.pack("=I", _slot(used, place, rule))] = value


def _network_row(
    made: Rows, used: Counter[bytes], number: int, rule: KernelRule, group: int
) -> None:
    network = ipaddress.ip_network(rule.network or "::/0", strict=False)
    if len(rule.ports) > PORTS_MAX:
        raise _unsayable(rule, f"a rule has at most {PORTS_MAX} ports")
    packed = network.network_address.packed
    address = packed if network.version == 6 else _MAPPED + packed
    length = network.prefixlen if network.version == 6 else network.prefixlen + 96
    place = struct.pack("=Q", group) + address + bytes((length,))
    protocols = sum(_PROTOCOLS[one] for one in rule.protocols) or 3
    ports = (*rule.ports, *(0,) * (PORTS_MAX - len(rule.ports)))
    key = struct.pack("=IIQ", _PREFIX_BITS + length, _slot(used, place, rule), group) + address
    made.networks[key] = struct.pack(
        "=IBBH8H", number, _ANSWERS[rule.answer], protocols, len(rule.ports), *ports
    )


def _slot(used: Counter[bytes], place: bytes, rule: KernelRule) -> int:
    used[place] += 1
    if used[place] > SLOTS:
        raise _unsayable(rule, f"more than {SLOTS} rules are about the same place")
    return used[place] - 1


def _views(root: str) -> tuple[str, ...]:
    """Return the roots that a path is looked up in: the host's, and the sandbox's."""
    return tuple(dict.fromkeys(("/", root or "/")))


def _inodes(path: str, root: str) -> list[_Inode]:
    """Return where a path leads: on the host, and in the sandbox where that is another file."""
    return sorted({inode for above in _views(root) for inode in _inode_in(above, path)})


def _inode_in(above: str, path: str) -> Iterator[_Inode]:
    """Yield where a path leads under one root; nothing where it leads nowhere."""
    with contextlib.suppress(OSError):
        opened = kernel.open_in_root(above, path)
        try:
            found = os.fstat(opened)
        finally:
            os.close(opened)
        yield _Inode(found.st_ino, os.major(found.st_dev) << 20 | os.minor(found.st_dev))


def _mounted_below(path: str, root: str) -> Iterator[_Inode]:
    """Yield the roots of what is mounted below a folder: the way up from a file ends at its mount's root."""
    for above in _views(root):
        listed = Path("/proc/self/mountinfo") if above == "/" else Path(root).parent / "mountinfo"
        with contextlib.suppress(OSError):
            for line in listed.read_text().splitlines():
                place = _OCTAL.sub(lambda met: chr(int(met[1], 8)), line.split()[4])
                if place.startswith(path.rstrip("/") + "/"):
                    yield from _inode_in(above, place)


def _unsayable(rule: KernelRule, why: str) -> SandboxError:
    return SandboxError(
        f"The kernel's rule {rule.name!r} cannot stand.",
        why=f"{why}.",
        fix="Correct the rule; `hive enforce explain` shows where it comes from.",
    )
