"""The checks, one class each, and the order in which they are asked.

A check is pure: a call and its facts in, an objection or nothing out. `CHEAP` needs no fact, so a
stranger costs little; `INFORMED` judges with the facts that were fetched once.
"""

from collections.abc import Awaitable
from typing import Final, Protocol, TypeAlias

from hive.core.call import OWN, Call, Obligation, PrincipalKind, Refused, Verb
from hive.core.clock import Clock
from hive.core.grant import PROVIDER_TOOL
from hive.core.settings import Settings
from hive.kernel.ports import PROVIDER_TOOLS, AgentState, CallFacts
from hive.kernel.turns import CHAIN_DEPTH_MAX

_NO_PROVIDER_TOOLS: Final = f"its grant does not name {PROVIDER_TOOL}, and the model's provider would search or run tools for it"

_NOUNS: Final = {
    Verb.ASK: "model",
    Verb.REACH: "host",
    Verb.SEND: "agent",
    Verb.SPAWN: "tier",
    Verb.RECALL: "memory",
    Verb.REMEMBER: "memory",
}

Finding: TypeAlias = Refused | Obligation | tuple[Obligation, ...] | None
"""What a check has to say: an objection, what is owed, or nothing."""


class Inquiry(Protocol):
    """A question to a layer that may have to ask elsewhere: warrant, policy, labels, guard."""

    name: str

    def examine(self, call: Call, facts: CallFacts) -> Awaitable[Finding] | Finding:
        """Object, oblige, or have nothing to say. Raising, or no answer in time, is a refusal."""
        ...


class Check(Protocol):
    """One question asked of a call."""

    name: str

    def examine(self, call: Call, facts: CallFacts) -> Refused | Obligation | None:
        """Object, oblige, or have nothing to say."""
        ...


class LimitsCheck:
    """Is the call small enough, and is there time left for it?"""

    name = "limits"

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def examine(self, call: Call, facts: CallFacts) -> Refused | None:
        """Refuse what is too large, too late, or one too many."""
        if call.size_bytes > self._settings.body_max_bytes:
            return Refused(check=self.name, reason="the content is over the size limit")
        if call.deadline <= self._clock.now():
            return Refused(check=self.name, reason="the deadline has passed")
        if call.verb is Verb.SEND and facts.tasks_in_flight >= self._settings.tasks_in_flight_max:
            return Refused(check=self.name, reason="the node is full", retry_after_s=1.0)
        return None


class IdentityCheck:
    """Is it known who calls, and is that party still there?"""

    name = "identity"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def examine(self, call: Call, facts: CallFacts) -> Refused | None:
        """Refuse strangers unless they are allowed, and agents between turns."""
        kind = call.principal.kind
        if kind is PrincipalKind.ANONYMOUS and not self._settings.anonymous:
            return Refused(check=self.name, reason="a token is needed")
        if kind is PrincipalKind.AGENT and facts.grant is None:
            return Refused(check=self.name, reason="the sandbox that calls is gone")
        if facts.turn_over:
            return Refused(check=self.name, reason="the turn that called has ended")
        if facts.parked:
            return Refused(check="parked", reason=f"the task is parked: {facts.parked}")
        return None


class SchemaCheck:
    """Is the call complete, and of a form that can be recorded?"""

    name = "schema"

    def examine(self, call: Call, facts: CallFacts) -> Refused | None:
        """Refuse a call without a target, or with one that cannot be printed."""
        if not call.target or len(call.target) > 512 or not call.target.isprintable():
            return Refused(check=self.name, reason="the target is not valid")
        return None


class GrantCheck:
    """Does the sandbox's grant name the target? An operator or client has no grant to exceed."""

    name = "grant"

    def examine(self, call: Call, facts: CallFacts) -> Refused | None:
        """Refuse what the grant does not name."""
        if call.principal.kind is not PrincipalKind.AGENT or facts.grant is None:
            return None
        allowed = False
        if call.verb is Verb.ASK:
            if call.facts.get(PROVIDER_TOOLS) is True and not facts.grant.allows_tool(
                PROVIDER_TOOL
            ):
                return Refused(check=self.name, reason=_NO_PROVIDER_TOOLS)
            allowed = facts.grant.allows_model(call.target)
        elif call.verb is Verb.REACH:
            host, _, port = call.target.rpartition(":")
            number = port.isascii() and port.isdigit() and len(port) <= 5
            allowed = number and facts.grant.allows_host(host, int(port))
        elif call.verb is Verb.SEND:
            allowed = facts.grant.allows_agent(call.target)
        elif call.verb is Verb.INVOKE:
            allowed = facts.grant.allows_tool(call.target)
        elif call.verb in (Verb.RECALL, Verb.REMEMBER):
            allowed = call.target.startswith(OWN)
        elif call.verb is Verb.SPAWN:
            allowed = facts.grant.allows_tier(call.target)
        if allowed:
            return None
        reason = f"its grant does not name the {_NOUNS.get(call.verb, 'tool')} {call.target}"
        return Refused(check=self.name, reason=reason)


class LineageCheck:
    """Would the call wait for itself, or is the chain of waiting agents too long?"""

    name = "lineage"

    def examine(self, call: Call, facts: CallFacts) -> Refused | None:
        """Refuse circles and long chains."""
        if call.verb is not Verb.SEND:
            return None
        if call.target in facts.lineage:
            return Refused(check=self.name, reason=f"{call.target} already waits for this call")
        if len(facts.lineage) >= CHAIN_DEPTH_MAX:
            return Refused(check=self.name, reason=f"over {CHAIN_DEPTH_MAX} agents wait in a row")
        return None


class ReadinessCheck:
    """Can the agent that is called take a message at all?"""

    name = "readiness"

    def examine(self, call: Call, facts: CallFacts) -> Refused | None:
        """Refuse a message for an agent that is stopped, broken or full."""
        if call.verb is not Verb.SEND or facts.agent is None:
            return None
        if facts.agent.state is AgentState.STOPPED:
            return Refused(check=self.name, reason=f"{call.target} is stopped")
        if facts.agent.state is AgentState.BROKEN:
            return Refused(check=self.name, reason=f"{call.target} is broken", retry_after_s=5.0)
        if facts.agent.turns_waiting >= facts.agent.grant.limits.queue_max:
            return Refused(
                check=self.name, reason=f"{call.target} has a full queue", retry_after_s=1.0
            )
        return None
