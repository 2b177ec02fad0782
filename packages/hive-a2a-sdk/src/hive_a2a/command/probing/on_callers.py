"""Probes of who may see what: another caller reads, lists, cancels or follows the probe's own task."""

from typing import Any, Final

from hive_a2a.command.probing.agent import UNKNOWN_TASK, Asker, ForeignReply, ProbedAgent
from hive_a2a.command.probing.findings import (
    AttackProbe,
    Severity,
    Sight,
    fails,
    not_applicable,
    unclear,
    withstands,
)

NOT_FOUND: Final = -32001
NOT_CANCELABLE: Final = -32002


def _others(agent: ProbedAgent) -> tuple[Asker, ...]:
    return (Asker.STRANGER, Asker.OTHER) if agent.other_token else (Asker.STRANGER,)


def _shut(reply: ForeignReply) -> Sight | None:
    """Judge an answer that tells nothing of the task; None for one that does."""
    if reply.at_the_gate or reply.code in (NOT_FOUND, -32000):
        return withstands(f"Another caller is told nothing ({reply}).")
    if not reply.status:
        return unclear("There was no answer.")
    return None


async def _each(agent: ProbedAgent, method: str, params: dict[str, Any]) -> list[ForeignReply]:
    return [await agent.call(method, params, asker=asker) for asker in _others(agent)]


async def _on_own_task(
    agent: ProbedAgent, method: str, name: str
) -> tuple[Sight | None, ForeignReply]:
    """Call a method on the probe's own task in another's name; return the worst answer."""
    replies = await _each(agent, method, {name: agent.task or UNKNOWN_TASK})
    for reply in replies:
        if _shut(reply) is None:
            return None, reply
    sight = _shut(replies[0])
    if not agent.task and not replies[0].at_the_gate:
        return unclear("The agent gave the probe no task that another could ask for."), replies[0]
    return sight, replies[0]


async def foreign_get(agent: ProbedAgent) -> Sight:
    """Read the task of somebody else."""
    sight, reply = await _on_own_task(agent, "GetTask", "id")
    if sight is not None:
        return sight
    if reply.ok:
        return fails(f"Another caller reads the task, messages and all ({reply}).")
    return unclear(f"The answer was {reply}.")


async def foreign_list(agent: ProbedAgent) -> Sight:
    """List the tasks of somebody else."""
    replies = await _each(agent, "ListTasks", {})
    if any(agent.task and agent.task in reply.text for reply in replies if reply.ok):
        return fails("Another caller finds the probe's task in his list.")
    for reply in replies:
        listed = reply.result.get("tasks") if isinstance(reply.result, dict) else None
        if listed and not agent.other_token:
            return fails(f"A stranger is shown {len(listed)} tasks.")
    if not replies[0].status:
        return unclear("There was no answer.")
    if not agent.task and any(reply.ok for reply in replies):
        return unclear("The list is empty, and the agent gave the probe no task to look for.")
    return withstands(f"Another caller finds nothing ({replies[0]}).")


async def foreign_cancel(agent: ProbedAgent) -> Sight:
    """Cancel the task of somebody else: the probe's own."""
    sight, reply = await _on_own_task(agent, "CancelTask", "id")
    if sight is not None:
        return sight
    if reply.ok:
        return fails(f"Another caller cancels the task ({reply}).")
    if reply.code == NOT_CANCELABLE:
        return fails(f"Another caller is told that the task exists, and its state ({reply}).")
    return unclear(f"The answer was {reply}.")


async def foreign_subscribe(agent: ProbedAgent) -> Sight:
    """Follow the task of somebody else."""
    if agent.capabilities.get("streaming") is not True:
        return not_applicable("The card offers no streaming.")
    sight, reply = await _on_own_task(agent, "SubscribeToTask", "id")
    if sight is not None:
        return sight
    if reply.ok:
        return fails(f"Another caller follows the task ({reply}).")
    return unclear(f"The task is over, and the answer was {reply}.")


async def foreign_webhooks(agent: ProbedAgent) -> Sight:
    """Read where the owner of a task wants to be told, tokens included."""
    if agent.capabilities.get("pushNotifications") is not True:
        return not_applicable("The card offers no push notifications.")
    sight, reply = await _on_own_task(agent, "ListTaskPushNotificationConfigs", "taskId")
    if sight is not None:
        return sight
    if reply.ok and isinstance(reply.result, dict) and reply.result.get("configs"):
        return fails(f"Another caller reads the webhooks ({reply}).")
    if reply.ok:
        return unclear(f"The list is empty for another caller ({reply}).")
    return unclear(f"The answer was {reply}.")


async def unenforced_scheme(agent: ProbedAgent) -> Sight:
    """Call without what the card says that a caller must show."""
    wanted = agent.card.get("securityRequirements") or agent.card.get("security")
    if not wanted:
        return not_applicable("The card asks nothing of its callers.")
    reply = await agent.harmless(asker=Asker.STRANGER)
    if reply.at_the_gate or reply.code == -32000:
        return withstands(f"A caller who shows nothing is refused ({reply}).")
    if not reply.status:
        return unclear("There was no answer.")
    return fails(f"A caller who shows nothing is answered like any other ({reply}).")


async def open_extended_card(agent: ProbedAgent) -> Sight:
    """Ask for the card of known callers as a stranger."""
    if not (
        agent.capabilities.get("extendedAgentCard")
        or agent.card.get("supportsAuthenticatedExtendedCard")
    ):
        return not_applicable("The card offers no extended card.")
    reply = await agent.call("GetExtendedAgentCard", {}, asker=Asker.STRANGER)
    if reply.ok:
        return fails(f"A stranger is given the extended card ({reply}).")
    if not reply.status:
        return unclear("There was no answer.")
    return withstands(f"A stranger is not given it ({reply}).")


async def mixed_tenants(agent: ProbedAgent) -> Sight:
    """Ask for the own task under the name of another tenant."""
    if not agent.tenant:
        return not_applicable("The interface is of no tenant.")
    if not agent.task:
        return unclear("The agent gave the probe no task to ask for.")
    own = await agent.call("GetTask", {"id": agent.task})
    if not own.ok:
        return unclear(f"The owner himself is not given the task ({own}).")
    reply = await agent.call("GetTask", {"id": agent.task, "tenant": "hive-probe-elsewhere"})
    if reply.ok:
        return fails(f"The task is given under another tenant's name ({reply}).")
    if not reply.status:
        return unclear("There was no answer.")
    return withstands(f"Under another tenant's name it is not given ({reply}).")


CALLER_PROBES: Final = (
    AttackProbe(
        id="caller-scheme-not-enforced",
        title="Declared security not enforced",
        severity=Severity.CRITICAL,
        clause="7.3",
        sends="a harmless request without credentials",
        fix="Refuse callers who do not show what the card asks for with 401.",
        run=unenforced_scheme,
    ),
    AttackProbe(
        id="caller-foreign-get",
        title="Another's task can be read",
        severity=Severity.CRITICAL,
        clause="13.1",
        sends="GetTask of the probe's own task in another's name",
        fix="Give tasks to their owner alone, and refuse strangers.",
        run=foreign_get,
    ),
    AttackProbe(
        id="caller-foreign-list",
        title="Another's tasks can be listed",
        severity=Severity.CRITICAL,
        clause="13.1",
        sends="ListTasks in another's name",
        fix="List to each caller his own tasks, and nothing to strangers.",
        run=foreign_list,
    ),
    AttackProbe(
        id="caller-foreign-subscribe",
        title="Another's task can be followed",
        severity=Severity.CRITICAL,
        clause="13.1",
        sends="SubscribeToTask of the probe's own task in another's name",
        fix="Look at the owner before a stream begins.",
        run=foreign_subscribe,
    ),
    AttackProbe(
        id="caller-foreign-webhooks",
        title="Another's webhooks can be read",
        severity=Severity.HIGH,
        clause="13.1",
        sends="ListTaskPushNotificationConfigs of the probe's own task in another's name",
        fix="Look at the owner of the task first.",
        run=foreign_webhooks,
    ),
    AttackProbe(
        id="caller-extended-card",
        title="Extended card for strangers",
        severity=Severity.HIGH,
        clause="13.3",
        sends="GetExtendedAgentCard without credentials",
        fix="Give the extended card to known callers alone.",
        run=open_extended_card,
    ),
    AttackProbe(
        id="caller-tenant",
        title="Tenants are mixed up",
        severity=Severity.MEDIUM,
        clause="13.1",
        sends="GetTask of the probe's own task under another tenant's name",
        fix="Make the tenant a part of what a task is found by.",
        run=mixed_tenants,
    ),
    AttackProbe(
        id="caller-foreign-cancel",
        title="Another's task can be cancelled",
        severity=Severity.CRITICAL,
        clause="13.1",
        sends="CancelTask of the probe's own task in another's name",
        fix="Let the owner alone cancel a task.",
        run=foreign_cancel,
    ),
)
