"""Warrants for tests: short ways to grants, tasks and links."""

from datetime import UTC, datetime, timedelta

from hive.core.allow_rules import AllowRule
from hive.core.call import Refused, Verb
from hive.core.grant import Grant, HostRule
from hive.core.ids import AgentId, TaskId
from hive.core.json import Json
from hive.security.capability import EVERYTHING, TaskOrder, Terms, Warrant, objection
from hive.security.capability import warrant_for_task as derive
from hive.security.capability.grammar import terms_in

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def order(name: str = "a", *, at: datetime = NOW, ends: datetime | None = None, depth: int = 8):
    return TaskOrder(
        id=f"w-{name}",
        task=TaskId(f"t-{name}"),
        agent=AgentId(name),
        at=at,
        deadline=ends or at + DAY,
        depth=depth,
    )


def warrant_of(
    grant: Grant, caller: Warrant | None = None, name: str = "a", *, ceiling: Terms = EVERYTHING
) -> Warrant:
    made = derive(grant, caller, ceiling, order(name))
    assert not isinstance(made, Refused), made
    return made


def under(*lines: str, name: str = "a") -> Warrant:
    """Return a warrant that allows these lines and nothing else."""
    return warrant_of(
        Grant(tools=("*",), agents=("*",), models=("*",), hosts=(HostRule(host="*", ports=ALL),)),
        name=name,
        ceiling=terms_in(lines),
    )


ALL = tuple(range(1, 65536))


def rule(name: str, kind: str = "tool", *, pass_on: bool = False, **conditions: str) -> AllowRule:
    return AllowRule(kind=kind, name=name, arguments=tuple(conditions.items()), pass_on=pass_on)


def invoke(warrant: Warrant, tool: str, arguments: Json = None, *, now: datetime = NOW):
    given = {} if arguments is None else arguments
    return objection(warrant, Verb.INVOKE, tool, given, now)


def reach(warrant: Warrant, target: str, method: str = "CONNECT", path: str = ""):
    return objection(
        warrant, Verb.REACH, target, {"method": method, "target": target, "path": path}, NOW
    )
