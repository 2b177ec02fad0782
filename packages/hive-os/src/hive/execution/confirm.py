"""What a source asks for, what policy leaves of it, and when a person must say yes.

A request is never a permission. Policy cuts it, a person confirms what is left once, and the yes is pinned
to that grant and that source. A grant that became narrower needs no new yes; any wider one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from hive.core.allow_rules import AllowRule
from hive.core.errors import SpecError
from hive.core.grant import ANY, PROVIDER_TOOL, Access, Grant, HostRule, Limits, PathRule
from hive.core.ids import plain_text
from hive.core.spec import AgentSpec, StartKind

LINE_MAX_CHARS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A person's yes: to which grant, for which source, and whether its build was allowed."""

    grant: Grant
    source: str
    allow_build: bool = False

    @property
    def digest(self) -> str:
        """Return the digest of the grant that was confirmed."""
        return self.grant.digest


def source_identity(spec: AgentSpec) -> str:
    """Name the source that a yes is bound to: another folder under the same name is another source."""
    entry = spec.entry
    if entry.kind is StartKind.REMOTE:
        return entry.url
    return f"{entry.source}#{entry.path or ' '.join(entry.argv)}"


def confirmed(spec: AgentSpec, grant: Grant) -> Confirmation:
    """Record a yes."""
    return Confirmation(grant=grant, source=source_identity(spec), allow_build=spec.allow_build)


def open_ceiling(*, limits: Limits | None = None) -> Grant:
    """Return the ceiling of an operator at a terminal: everything may be asked for."""
    every_port = tuple(range(1, 65536))
    return Grant(
        paths=(PathRule(host="/", inside="/", access=Access.WRITE),),
        hosts=(HostRule(host=ANY, ports=every_port),),
        programs=(ANY,),
        models=(ANY,),
        agents=(ANY,),
        tools=(ANY,),
        tiers=(ANY,),
        gpu=True,
        packages=True,
        limits=limits or Limits(),
    )


def unattended_ceiling(*, models: Sequence[str] = (ANY,), limits: Limits | None = None) -> Grant:
    """Return the ceiling without a terminal: no host, no path, no program; default models."""
    return Grant(models=tuple(models), limits=limits or Limits())


def cut_by_policy(
    needs: Grant,
    ceiling: Grant,
    mounts: Sequence[PathRule] = (),
    *,
    forbidden: Sequence[str] = (),
) -> Grant:
    """Return what is left of a request: cut by the ceiling, joined with the operator's own mounts.

    `forbidden` are host folders that no sandbox may see: the node's state.

    Raises:
        SpecError: a mount that the operator named is forbidden.

    """
    for rule in mounts:
        if _touches(rule.host, forbidden):
            raise SpecError(
                f"{rule.host} cannot be mounted.",
                why="The node keeps its keys and its record there.",
                fix="Mount another folder.",
            )
    left = needs.cut(ceiling)
    asked = (rule for rule in left.paths if not _touches(rule.host, forbidden))
    given = {rule.inside for rule in mounts}
    paths = (*mounts, *(rule for rule in asked if rule.inside not in given))
    return replace(left, paths=tuple(sorted(paths)))


def cut_away(needs: Grant, grant: Grant) -> list[str]:
    """Tell, line by line, what was asked for and is not given."""
    kept = set(grant_lines(grant))
    return [line for line in grant_lines(needs) if line not in kept]


def confirmation_needed(
    spec: AgentSpec, grant: Grant, before: Confirmation | None
) -> list[str] | None:
    """Return the lines a person must say yes to; None when nothing new is given.

    `before` is the last yes for an agent of this name.
    """
    same = before is not None and before.source == source_identity(spec)
    known = before.grant if before is not None and same else Grant(models=(ANY,))
    built = same and before is not None and before.allow_build
    lines = [line for line in grant_lines(grant) if line not in grant_lines(known)]
    wider = not _within(grant, known)
    if spec.allow_build and not built:
        lines.append("runs the build scripts of its packages (inside the walls)")
        wider = True
    if not wider:
        return None
    return lines or grant_lines(grant)


def grant_lines(grant: Grant) -> list[str]:
    """Say what a grant allows, one plain line each."""
    lines = []
    for rule in grant.paths:
        verb = "reads and changes" if rule.access is Access.WRITE else "reads"
        place = "" if rule.inside == rule.host else f" (inside: {rule.inside})"
        lines.append(f"{verb} {rule.host}{place}")
    for host in grant.hosts:
        ports = _ports(host.ports)
        lines.append(f"reaches {'ANY HOST' if host.host == ANY else host.host}, {ports}")
    for what, names in (
        ("runs", grant.programs),
        ("asks", grant.models),
        ("calls", grant.agents),
        ("uses", grant.tools),
        ("moves up to", grant.tiers),
    ):
        lines += [_name_line(what, one) for one in names]
    lines += [_rule_line(rule) for rule in grant.rules]
    if grant.gpu:
        lines.append("uses a GPU")
    if grant.packages:
        lines.append("installs packages while it runs")
    lines += _limit_lines(grant.limits)
    return [plain_text(line)[:LINE_MAX_CHARS] for line in lines]


_NOUN: Final = {
    "runs": "program",
    "asks": "model",
    "calls": "agent",
    "uses": "tool",
    "moves up to": "tier",
}


def _name_line(verb: str, name: str) -> str:
    if name == ANY:
        return f"{verb} ANY {_NOUN[verb].upper()}"
    if verb == "uses" and name == PROVIDER_TOOL:
        return "lets providers of models search, browse and run tools on their own side"
    if name.endswith(f".{ANY}"):
        return f"{verb} all tools of the server {name[:-2]}"
    return f"{verb} the {_NOUN[verb]} {name}"


def _rule_line(rule: AllowRule) -> str:
    conditions = ", ".join(f"{name}={text}" for name, text in rule.arguments) or "any argument"
    if rule.pass_on:
        return f"lets agents that it calls use the {rule.kind} {rule.name}: {conditions}"
    return f"only so, the {rule.kind} {rule.name}: {conditions}"


def _limit_lines(limits: Limits) -> list[str]:
    usual = Limits()
    return [
        f"may use {field} = {getattr(limits, field)} (usual: {getattr(usual, field)})"
        for field in Limits.__slots__
        if getattr(limits, field) > getattr(usual, field)
    ]


def _ports(ports: tuple[int, ...]) -> str:
    if len(ports) > 20:
        return f"{len(ports)} ports"
    return f"port{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))}"


def _within(grant: Grant, known: Grant) -> bool:
    """Tell whether a grant allows nothing that another one does not."""
    paths = {(rule.host, rule.inside) for rule in known.paths}
    writable = {rule.host for rule in known.paths if rule.access is Access.WRITE}
    for rule in grant.paths:
        if (rule.host, rule.inside) not in paths:
            return False
        if rule.access is Access.WRITE and rule.host not in writable:
            return False
    cut = grant.cut(known)
    return replace(cut, paths=grant.paths) == grant


def _touches(host: str, forbidden: Sequence[str]) -> bool:
    """Tell whether a path lies in a forbidden folder, or holds one."""
    path = PurePosixPath(host)
    return any(
        path == PurePosixPath(one)
        or path.is_relative_to(PurePosixPath(one))
        or PurePosixPath(one).is_relative_to(path)
        for one in forbidden
    )
