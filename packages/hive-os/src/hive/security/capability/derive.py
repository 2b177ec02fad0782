"""The warrant of a task: what its caller may, cut by the operator's ceiling and by the agent's own grant.

It can only narrow: the links of the caller's warrant are all in it, its depth is one less, and it ends no later.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final

from hive.core.allow_rules import HOST, TOOL, AllowRule, covers, nearest
from hive.core.call import Refused, Verb
from hive.core.grant import ANY, Grant, HostRule
from hive.core.ids import AgentId, TaskId
from hive.security.capability.objection import CHECK
from hive.security.capability.ports import DEPTH_MAX, EVERYTHING, LINKS_MAX, Capability, Terms
from hive.security.capability.warrant import Warrant, mark

NODE: Final = "node"
_EVERY_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOrder:
    """Which task a warrant is for. `id` is the warrant's own; `deadline` when it ends at the latest."""

    id: str
    task: TaskId
    agent: AgentId
    at: datetime
    deadline: datetime
    depth: int = DEPTH_MAX


def warrant_for_task(
    grant: Grant, caller: Warrant | None, ceiling: Terms, order: TaskOrder
) -> Warrant | Refused:
    """Return the warrant of a task, or why there can be none.

    `caller` is the warrant of whoever sends: of the task that hands on, or one that a stranger showed. Without one
    the operator's ceiling is all that bounds the grant.
    """
    above = () if caller is None else caller.links
    own = terms_of(grant)
    links = tuple(dict.fromkeys((*(() if ceiling == EVERYTHING else (ceiling,)), *above, own)))
    depth = order.depth if caller is None else min(order.depth, caller.depth - 1)
    if depth < 0 or len(links) > LINKS_MAX:
        reason = "its warrant may not be handed on any further"
        return Refused(check=CHECK, reason=reason, detail="" if caller is None else caller.id)
    marks = {mark("id", order.id), mark("task", order.task), mark("agent", order.agent)}
    return Warrant(
        id=order.id,
        issuer=NODE if caller is None else caller.issuer,
        holder=order.agent,
        links=links,
        not_after=order.deadline if caller is None else min(order.deadline, caller.not_after),
        minted_at=order.at,
        depth=depth,
        task=order.task,
        parents=() if caller is None else (*caller.parents, caller.id),
        marks=frozenset(marks) if caller is None else caller.marks | marks,
    )


def joined(one: Warrant, before: Warrant) -> Warrant | Refused:
    """Return what two warrants of one task allow both: a task that goes on may no more than before."""
    links = tuple(dict.fromkeys((*before.links, *one.links)))
    if len(links) > LINKS_MAX:
        return Refused(check=CHECK, reason="its warrant has too many links", detail=before.id)
    return replace(
        one,
        links=links,
        not_after=min(one.not_after, before.not_after),
        minted_at=min(one.minted_at, before.minted_at),
        depth=min(one.depth, before.depth),
        parents=tuple(dict.fromkeys((*before.parents, before.id, *one.parents))),
        marks=one.marks | before.marks,
    )


@lru_cache(maxsize=512)
def terms_of(grant: Grant) -> Terms:
    """Return what a grant allows as terms; where a rule holds for a tool or host, its conditions do.

    Paths of a grant are those of its sandbox: no argument of a tool is about them.
    """
    found = [*_tools(grant)]
    found += [Capability(verb=Verb.SEND, target=name) for name in grant.agents]
    found += [Capability(verb=Verb.ASK, target=name) for name in grant.models]
    found += [Capability(verb=Verb.SPAWN, target=name) for name in grant.tiers]
    found += _hosts(grant)
    return Terms(capabilities=tuple(dict.fromkeys(found)))


def _tools(grant: Grant) -> Iterator[Capability]:
    ruled = (rule.name for rule in grant.rules if rule.kind == TOOL and not rule.pass_on)
    for name in dict.fromkeys((*grant.tools, *ruled)):
        if grant.allows_tool(name):
            rules = nearest(grant.rules, TOOL, name)
            yield from _under(Verb.INVOKE, name, rules)
    for rule in grant.rules:
        if rule.pass_on and not grant.allows_tool(rule.name):
            yield from _under(Verb.INVOKE, rule.name, (rule,))


def _hosts(grant: Grant) -> Iterator[Capability]:
    for one in grant.hosts:
        yield from _under(Verb.REACH, _host(one), nearest(grant.rules, HOST, one.host))
        for rule in grant.rules:
            if rule.kind == HOST and rule.name != one.host and covers(HOST, one.host, rule.name):
                nearer = HostRule(host=rule.name, ports=one.ports)
                yield from _under(Verb.REACH, _host(nearer), (rule,))


def _under(verb: Verb, target: str, rules: tuple[AllowRule, ...]) -> Iterator[Capability]:
    if not rules:
        yield Capability(verb=verb, target=target)
    for rule in rules:
        yield Capability(verb=verb, target=target, arguments=rule.arguments or None)


def _host(rule: HostRule) -> str:
    if rule.host == ANY and len(rule.ports) >= _EVERY_PORT:
        return ANY
    name = f"[{rule.host}]" if ":" in rule.host and not rule.host.startswith("[") else rule.host
    return f"{name}:{','.join(map(str, rule.ports))}"
