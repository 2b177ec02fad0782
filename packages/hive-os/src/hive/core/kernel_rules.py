"""What the kernel refuses a sandbox, whatever else it was granted: denials, and they only add up."""

import ipaddress
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


def connection_rule(rules: Iterable[KernelRule], address: str, port: int) -> KernelRule | None:
    """Return the rule that a TCP connection to an address meets and that refuses it: the hardest one first."""
    parsed = ipaddress.ip_address(address)
    ways = [parsed]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        ways.append(parsed.ipv4_mapped)
    met = [
        rule
        for rule in rules
        if rule.act is KernelAct.CONNECT
        and rule.answer is not KernelAnswer.REPORT
        and (not rule.ports or port in rule.ports)
        and (not rule.protocols or "tcp" in rule.protocols)
        and (not rule.network or any(way in ipaddress.ip_network(rule.network) for way in ways))
    ]
    return min(met, key=lambda rule: rule.answer is not KernelAnswer.KILL, default=None)
