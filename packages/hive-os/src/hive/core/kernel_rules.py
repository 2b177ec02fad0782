"""What the kernel refuses a sandbox, whatever else it was granted: denials, and they only add up."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class KernelAct(StrEnum):
    """What a process does that the kernel can see."""

    OPEN = "open"
    WRITE = "write"
    EXECUTE = "execute"
    CONNECT = "connect"
    SYSCALL = "syscall"


class KernelAnswer(StrEnum):
    """What happens to a process that does it."""

    REPORT = "report"
    DENY = "deny"
    KILL = "kill"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class KernelRule:
    """One thing that a sandbox's processes must not do, under the name that its evidence bears.

    `path` is absolute and meant as the sandbox names it and as the host does; with `below` it is a directory
    with everything under it. `network` is in CIDR form. No `ports` means all of them, no `protocols` both
    `tcp` and `udp`. With `programs` it holds for processes of these executables alone, with `besides` for all
    but these.
    """

    name: str
    act: KernelAct
    answer: KernelAnswer = KernelAnswer.KILL
    path: str = ""
    below: bool = False
    network: str = ""
    ports: tuple[int, ...] = ()
    protocols: tuple[str, ...] = ()
    syscall: str = ""
    programs: tuple[str, ...] = ()
    besides: bool = False


def joined(ours: Iterable[KernelRule], theirs: Iterable[KernelRule]) -> tuple[KernelRule, ...]:
    """Return the denials of both sides."""
    return tuple(sorted({*ours, *theirs}))
