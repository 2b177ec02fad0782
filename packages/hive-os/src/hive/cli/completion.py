"""Names for the shell's tab key, asked from a running node: fast, and silent where there is none."""

from typing import TYPE_CHECKING, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from hive.cli.client import OperatorClient

if TYPE_CHECKING:
    from hive.web.relations import RelationLine
from hive.core.ids import plain_text

TIMEOUT_S: Final = 0.5
NAMES_MAX: Final = 500
TASKS_MAX: Final = 50
_T = TypeVar("_T")


def tool_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of servers and tools that begin as typed."""
    return [one for one in _names(ctx) if one.startswith(incomplete)][:NAMES_MAX]


def server_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of servers that begin as typed."""
    return [one for one in tool_names(ctx, _param, incomplete) if "." not in one]


def foreign_nodes(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the foreign nodes that are known."""
    from hive.web.nodes import ForeignNodeLine

    found = _asked(ctx, "nodes", list[ForeignNodeLine])
    return [CompletionItem(one.node) for one in found if one.node.startswith(incomplete)]


def issued_identities(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return what may be revoked: ids that are in use, and serials that count."""
    from hive.web.identity import IssuedSvidLine

    found = _asked(ctx, "identity-issued", list[IssuedSvidLine])
    named = {one.spiffe_id: "an agent" for one in found}
    named |= {one.serial: f"{one.kind} of {one.spiffe_id}" for one in found if not one.denied}
    return [
        CompletionItem(name, help=told)
        for name, told in named.items()
        if name.startswith(incomplete)
    ][:NAMES_MAX]


def waiting_calls(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the calls that wait for a person, each with what it is."""
    from hive.web.approvals import ApprovalLine

    return [
        CompletionItem(one.id, help=f"{one.verb} {one.target}")
        for one in _asked(ctx, "approvals", list[ApprovalLine])
        if one.state == "waiting" and one.id.startswith(incomplete)
    ][:NAMES_MAX]


def minted_warrants(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return ids of warrants that the node gave out, each with its holder."""
    from hive.web.warrants import WarrantLine

    return [
        CompletionItem(one.id, help=one.holder[:16])
        for one in _asked(ctx, "warrants", list[WarrantLine])
        if one.id.startswith(incomplete)
    ][:NAMES_MAX]


def oauth_grants(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the grants of programs that logged in, each with whose it is."""
    from hive.web.mcp_grants import OauthGrantLine

    return [
        CompletionItem(one.id, help=f"{plain_text(one.client)} {plain_text(one.resource)}")
        for one in _asked(ctx, "mcp-grants", list[OauthGrantLine])
        if one.id.startswith(incomplete)
    ][:NAMES_MAX]


def agent_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of agents that begin as typed."""
    from hive.web.values import AgentStatus

    found = _asked(ctx, "agents", list[AgentStatus])
    return [one.name for one in found if one.name.startswith(incomplete)][:NAMES_MAX]


def task_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the newest tasks, each with its agent and what it was asked."""
    from hive.web.values import TaskSummaries

    found = _answered(ctx, "tasks", TaskSummaries, limit=str(TASKS_MAX))
    return [
        CompletionItem(one.id, help=f"{one.agent} {plain_text(one.asked)[:40]}")
        for one in (found.tasks if found is not None else ())
        if one.id.startswith(incomplete)
    ]


def quarantined_agents(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of agents in quarantine that begin as typed."""
    from hive.web.watchdog import QuarantinedAgent

    found = _asked(ctx, "quarantine", list[QuarantinedAgent])
    return [one.agent for one in found if one.agent.startswith(incomplete)][:NAMES_MAX]


def trusted_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of trusted keys that begin as typed."""
    from hive.web.trust import TrustLine

    found = _asked(ctx, "trust", list[TrustLine])
    return [one.name for one in found if one.name.startswith(incomplete)][:NAMES_MAX]


def related_things(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return objects that something is written down of."""
    return sorted({one.object for one in _written(ctx) if one.object.startswith(incomplete)})


def relation_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of relations of the object that was typed before."""
    kind = str(ctx.params.get("thing") or ctx.params.get("kind") or "").partition(":")[0]
    return sorted({one for one in _defined(ctx, kind) if one.startswith(incomplete)})


def relation_subjects(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return subjects that are written down somewhere."""
    return sorted({one.subject for one in _written(ctx) if one.subject.startswith(incomplete)})


def _written(ctx: click.Context) -> "list[RelationLine]":
    from hive.web.relations import RelationLine

    return _asked(ctx, "relations", list[RelationLine])[:NAMES_MAX]


def _defined(ctx: click.Context, kind: str) -> list[str]:
    """Return the relations of a type, as the node tells them one by one."""
    found = _asked(ctx, "relation-names", list[str])
    return [name for of, _, name in (one.partition("#") for one in found) if kind in ("", of)]


def _names(ctx: click.Context) -> list[str]:
    return _asked(ctx, "tool-names", list[str])


def _asked(ctx: click.Context, path: str, shape: type[list[_T]]) -> list[_T]:
    found = _answered(ctx, path, shape)
    return [] if found is None else found


def _answered(ctx: click.Context, path: str, shape: type[_T], **query: str) -> _T | None:
    """Ask the node; whatever goes wrong, a person at the tab key wants no error."""
    try:
        from hive.core.settings import load_settings

        state = next((one.params["state"] for one in _chain(ctx) if one.params.get("state")), None)
        client = OperatorClient(load_settings(state_dir=state).state)
        return client.get(path, shape, timeout_s=TIMEOUT_S, **query)
    except Exception:  # noqa: BLE001  no node, no settings, no answer: no names
        return None


def _chain(ctx: click.Context) -> list[click.Context]:
    found = [ctx]
    while (parent := found[-1].parent) is not None:
        found.append(parent)
    return found
