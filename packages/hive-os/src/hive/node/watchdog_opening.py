"""Puts the watchdog of a node together: what it reads, and what it may do to an agent."""

from contextlib import suppress
from typing import Final

from anyio.abc import TaskGroup

from hive.core.call import Principal, PrincipalKind
from hive.core.errors import LedgerError, NotFoundError
from hive.core.ids import AgentId, OwnerId
from hive.core.json import Json
from hive.core.task import TaskState
from hive.kernel.record import event
from hive.node.identity import NodeIdentity
from hive.node.kernel_parts import Ground, Kernel
from hive.node.ledger_opening import Follower
from hive.node.watchdog import Confine, Watchdog
from hive.node.watchdog_memory import WatchdogMemory
from hive.security.capability import WarrantBook
from hive.security.identity.ports import DeniedKind
from hive.security.watchdog import Confinement, Quarantine

BY: Final = "quarantine"


async def open_watchdog(
    tasks: TaskGroup,
    ground: Ground,
    kernel: Kernel,
    identity: NodeIdentity,
    followers: list[Follower],
    warrants: WarrantBook,
) -> Watchdog:
    """Open the watchdog: it follows the ledger from now on. Raises BadInputError for rules that are none."""
    quarantine = Quarantine(ground.database, ground.clock)
    await quarantine.load()

    async def note(name: str, body: dict[str, Json], agent: str) -> None:
        await kernel.writer.append(event(name, body, clock=ground.clock, agent=agent))

    halt, deny, allow = _steps(kernel, identity)
    watchdog = Watchdog(
        quarantine=quarantine,
        clock=ground.clock,
        note=note,
        confine=(halt, stripping(warrants), deny),
        release=(allow,),
    )
    watchdog.load_rules(ground.settings.state)
    kernel.guards.wardens.quarantine, kernel.guards.wardens.circuits = quarantine, watchdog.breakers
    kernel.guards.wardens.revoked = identity.is_revoked
    kernel.supervisor.shut_in = kernel.guards.wardens.shut_in
    kernel.guards.policies.reputation_of = watchdog.score
    kernel.guards.policies.counters_of = watchdog.counted
    memory = WatchdogMemory(watchdog, ground.database, ground.clock, identity.node)
    await memory.recall()
    followers.append(watchdog.observe)

    async def halt_here(found: Confinement) -> None:
        await halt(found.agent, found.reason)

    for one in quarantine.all():
        # Where its identity could not be denied durably when it was shut in, it would count again since the restart.
        if identity.service.denied.find((DeniedKind.ID, _name_of(identity, one.agent))) is None:
            await deny(one.agent, one.reason)
    tasks.start_soon(watchdog.run)
    tasks.start_soon(memory.keep)
    tasks.start_soon(warrants.watch)
    tasks.start_soon(quarantine.watch, halt_here)
    return watchdog


def _steps(kernel: Kernel, identity: NodeIdentity) -> tuple[Confine, Confine, Confine]:
    """Return what ends an agent's work, what takes its identity away, and what gives that back."""

    async def halt(agent: AgentId, reason: str) -> None:
        kernel.supervisor.kill(agent, f"quarantine: {reason}")
        # What it had begun would be begun again by whoever lets it out: it ends here, and its callers hear of it.
        for task in await kernel.recovery.open_tasks(agent):
            why = f"its agent is in quarantine: {reason}"
            with suppress(LedgerError):
                await kernel.supervisor.end_at_rest(task, TaskState.FAILED, why)

    async def deny(agent: AgentId, reason: str) -> None:
        with suppress(NotFoundError):
            await identity.service.revoke(_name_of(identity, agent), reason=reason, by=BY)

    async def allow(agent: AgentId, _reason: str) -> None:
        # It waits for whoever starts it, also where the node begins again before that.
        await kernel.registry.mark(agent, stopped=True)
        with suppress(NotFoundError):
            await identity.service.allow(_name_of(identity, agent))

    return halt, deny, allow


def stripping(warrants: WarrantBook) -> Confine:
    """Return what revokes all that came of an agent: what it handed on to others ends with it, and so do they for it."""

    async def strip(agent: AgentId, reason: str) -> None:
        await warrants.revoke("agent", agent, by=BY, reason=f"quarantine: {reason}")

    return strip


def _name_of(identity: NodeIdentity, agent: AgentId) -> str:
    principal = Principal(kind=PrincipalKind.AGENT, name=agent, owner=OwnerId(""), agent=agent)
    return identity.name_of(principal)
