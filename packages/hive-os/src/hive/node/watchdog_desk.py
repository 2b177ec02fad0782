"""The watchdog as the operator sees and commands it."""

from collections.abc import Sequence
from pathlib import Path

from hive.core.errors import NotFoundError
from hive.core.ids import AgentId, agent_id
from hive.kernel.ports import Agents
from hive.node.watchdog import RaisedAlarm, Watchdog
from hive.security.roles import acting_operator
from hive.security.watchdog import Confinement, WatchRule
from hive.web.watchdog import (
    AlarmLine,
    QuarantinedAgent,
    QuarantineOrder,
    WatchDesk,
    WatchRuleLine,
)


class NodeWatch(WatchDesk):
    """The watchdog of one node."""

    def __init__(self, watchdog: Watchdog, agents: Agents, folder: Path) -> None:
        self._watchdog = watchdog
        self._agents = agents
        self._folder = folder

    async def quarantined(self) -> Sequence[QuarantinedAgent]:
        """Tell who is shut in."""
        return [_shown(one) for one in self._watchdog.quarantine.all()]

    async def shut(self, order: QuarantineOrder) -> QuarantinedAgent:
        """Shut an agent in."""
        agent = agent_id(order.agent)
        if self._agents.get(agent) is None:
            raise NotFoundError(f"There is no agent {agent!r}.", fix="See `hive ps`.")
        reason = order.reason or "an operator's decision"
        return _shown(await self._watchdog.shut(agent, by=str(acting_operator()), reason=reason))

    async def release(self, agent: str) -> QuarantinedAgent:
        """Let an agent out."""
        return _shown(await self._watchdog.release(AgentId(agent), by=str(acting_operator())))

    async def alarms(self) -> Sequence[AlarmLine]:
        """Tell which alarms were raised, newest first."""
        return [_alarm(one) for one in reversed(self._watchdog.alarms)]

    async def rules(self, *, again: bool) -> Sequence[WatchRuleLine]:
        """Tell which rules stand."""
        if again:
            self._watchdog.load_rules(self._folder)
        return [_rule(one) for one in self._watchdog.rules]


def _shown(one: Confinement) -> QuarantinedAgent:
    return QuarantinedAgent(agent=one.agent, at=one.at, by=one.by, reason=one.reason)


def _alarm(one: RaisedAlarm) -> AlarmLine:
    alarm, rule = one.alarm, one.alarm.rule
    return AlarmLine(
        at=one.at,
        rule=rule.id,
        title=rule.title,
        level=rule.level,
        reaction=rule.reaction.value,
        agent=alarm.agent,
        group=alarm.group,
        count=alarm.count,
        task=alarm.task,
    )


def _rule(one: WatchRule) -> WatchRuleLine:
    match = ", ".join(
        f"{field.name}{'|' + field.modifier if field.modifier else ''} = {field.value!r}"
        for field in one.fields
    )
    return WatchRuleLine(
        id=one.id,
        title=one.title,
        level=one.level,
        reaction=one.reaction.value,
        match=match,
        at_least=one.at_least,
        within_s=one.within_s,
        by=one.by,
        distinct=one.distinct,
    )
