"""What a sandbox may: needs are asked for, a grant is what is given.

The grant is the one static document that the gate, the kernel's walls and the egress door enforce alike.
It only ever gets narrower: `cut` returns what both sides allow.
"""

from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum
from typing import Final

from hive.core.allow_rules import TOOL, AllowRule, cut_rules
from hive.core.call import sha256_hex
from hive.core.json import encode
from hive.core.kernel_rules import KernelRule, joined


class Tier(IntEnum):
    """Class of isolation, in order of strength."""

    WASM = 0
    PROCESS = 1
    GVISOR = 2
    MICROVM = 3


class Access(StrEnum):
    """How a mounted path may be used."""

    READ = "ro"
    WRITE = "rw"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PathRule:
    """A host path that appears inside the sandbox at `inside`."""

    host: str
    inside: str
    access: Access = Access.READ


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class HostRule:
    """A host (exact, `*.example.org` for every name below, `*` for all) and its ports."""

    host: str
    ports: tuple[int, ...] = (443,)

    def covers(self, host: str, port: int) -> bool:
        """Tell whether this rule lets a connection pass."""
        if port not in self.ports:
            return False
        if self.host == ANY:
            return True
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and host != self.host[2:]
        return host == self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a sandbox may use. Sizes in bytes, times in seconds; every field has a ceiling."""

    memory_bytes: int = 1 << 30
    processes_max: int = 128
    files_max: int = 1024
    disk_bytes: int = 256 << 20
    cpu_s: int = 3600
    turn_timeout_s: float = 300.0
    model_calls_max: int = 50
    sandboxes_max: int = 1
    queue_max: int = 1000

    def cut(self, ceiling: "Limits") -> "Limits":
        """Return the smaller value of each field."""
        return Limits(
            **{f.name: min(getattr(self, f.name), getattr(ceiling, f.name)) for f in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one sandbox may reach; empty by default.

    `models` and `agents` hold names or the single word `*`; `tools` holds `server.tool`, `server.*` or `*`;
    `tiers` holds names of stronger tiers that it may move up to while it works.
    `rules` add conditions to tools and hosts that are named there. `kernel` only ever takes away: what the
    kernel refuses whatever stands in the other fields.
    """

    paths: tuple[PathRule, ...] = ()
    hosts: tuple[HostRule, ...] = ()
    programs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    gpu: bool = False
    packages: bool = False
    limits: Limits = field(default_factory=Limits)
    rules: tuple[AllowRule, ...] = ()
    kernel: tuple[KernelRule, ...] = ()

    def cut(self, ceiling: "Grant") -> "Grant":
        """Return what both grants allow; never wider than either."""
        return Grant(
            paths=tuple(rule for rule in self.paths if _path_within(rule, ceiling.paths)),
            hosts=_cut_hosts(self.hosts, ceiling.hosts),
            programs=_cut_names(self.programs, ceiling.programs),
            models=_cut_names(self.models, ceiling.models),
            agents=_cut_names(self.agents, ceiling.agents),
            tools=_cut_tools(self.tools, ceiling.tools),
            tiers=_cut_names(self.tiers, ceiling.tiers),
            gpu=self.gpu and ceiling.gpu,
            packages=self.packages and ceiling.packages,
            limits=self.limits.cut(ceiling.limits),
            rules=tuple(
                sorted((*cut_rules(self.rules, ceiling.rules), *_cut_passed_on(self, ceiling)))
            ),
            kernel=joined(self.kernel, ceiling.kernel),
        )

    def allows_host(self, host: str, port: int) -> bool:
        """Tell whether the sandbox may reach a host by name."""
        return any(rule.covers(host.lower().rstrip("."), port) for rule in self.hosts)

    def allows_model(self, model: str) -> bool:
        """Tell whether the sandbox may ask a model."""
        return ANY in self.models or model in self.models

    def allows_agent(self, agent: str) -> bool:
        """Tell whether the sandbox may send to an agent."""
        return ANY in self.agents or agent in self.agents

    def allows_tool(self, tool: str) -> bool:
        """Tell whether the sandbox may call a tool, given as `server.tool`."""
        server = tool.partition(".")[0]
        return ANY in self.tools or tool in self.tools or f"{server}.{ANY}" in self.tools

    def allows_tier(self, tier: str) -> bool:
        """Tell whether the sandbox may be exchanged for one of a stronger tier."""
        return ANY in self.tiers or tier in self.tiers

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the canonical grant: what an operator's confirmation is bound to."""
        return sha256_hex(encode(self))


ANY: Final = "*"
PROVIDER: Final = "provider"
"""No tool server has this name: it stands for what providers of models run on their own side."""
PROVIDER_TOOL: Final = f"{PROVIDER}.tools"


def _cut_names(asked: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    if ANY in allowed:
        return asked
    if ANY in asked:
        return allowed
    return tuple(name for name in asked if name in allowed)


def _cut_tools(asked: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the narrower of each pair, so that `fs.*` cut by `fs.read` leaves `fs.read`."""
    ours, theirs = Grant(tools=asked), Grant(tools=allowed)
    kept = dict.fromkeys(name for name in asked if theirs.allows_tool(name))
    return tuple(kept | dict.fromkeys(name for name in allowed if ours.allows_tool(name)))


def _cut_hosts(asked: tuple[HostRule, ...], allowed: tuple[HostRule, ...]) -> tuple[HostRule, ...]:
    kept = []
    for rule in asked:
        for ceiling in allowed:
            ports = tuple(port for port in rule.ports if port in ceiling.ports)
            same = ceiling.host in (rule.host, ANY)
            if ports and (
                same or HostRule(host=ceiling.host, ports=ports).covers(rule.host, ports[0])
            ):
                kept.append(HostRule(host=rule.host, ports=ports))
                break
    return tuple(kept)


def _cut_passed_on(asked: Grant, ceiling: Grant) -> tuple[AllowRule, ...]:
    """Return what may still be passed on: what one side says where the other bounds no tool at all."""
    sides = [
        (one.tools, [rule for rule in one.rules if rule.kind == TOOL]) for one in (asked, ceiling)
    ]
    free = [ANY in tools and not rules for tools, rules in sides]
    if sides[0] != sides[1] and not any(free):
        return ()
    given = ceiling if free[0] else asked
    return tuple(rule for rule in given.rules if rule.pass_on)


def _path_within(rule: PathRule, allowed: tuple[PathRule, ...]) -> bool:
    return any(
        (rule.host == ceiling.host or rule.host.startswith(ceiling.host.rstrip("/") + "/"))
        and (rule.access is Access.READ or ceiling.access is Access.WRITE)
        for ceiling in allowed
    )
