"""Policy at the gate: every call becomes a question, and what was said to it goes into the line of the call.

What rules say is `hive.security.policy`; this module knows what a question has to hold.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from hive.core.call import Call, Claim, Obligation, ObligationKind, Principal, Refused
from hive.core.grant import Grant, Tier
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.kernel.ports import CallFacts
from hive.kernel.relations import AskedRelations, related_facts
from hive.security.capability import Warrant
from hive.security.policy import (
    PolicyDecision,
    PolicyEngine,
    QuestionCounters,
    question_of,
    recorded,
)
from hive.security.policy.related import RelationQuestion

NAME: Final = "policy"
SAID_MAX: Final = 4096
DIGESTS_MAX: Final = 1024
SWAPS_MAX: Final = 3


class PolicyOfNode(PolicyEngine, Protocol):
    """The policy that stands on this node."""

    @property
    def version(self) -> str:
        """Return what stands, empty where nothing does."""
        ...

    def reads_arguments(self, verb: str) -> bool:
        """Tell whether a question of this verb has to carry its arguments."""
        ...

    def relations(self, verb: str, target: str) -> Mapping[str, RelationQuestion]:
        """Return which relationships the rules want to know of such a call."""
        ...


class Policies:
    """Asks the policy of every call; asked as the check `policy`."""

    name = NAME

    def __init__(self, policy: PolicyOfNode) -> None:
        self._policy = policy
        self._said: OrderedDict[str, dict[str, Json]] = OrderedDict()
        self._digests: OrderedDict[int, tuple[Grant, str]] = OrderedDict()
        self.tier_of: Callable[[Principal], str] = lambda _principal: ""
        self.relations: AskedRelations | None = None
        self.spiffe_id: Callable[[Principal], str] = lambda _principal: ""
        self.reputation_of: Callable[[Principal], float] = lambda _principal: 1.0
        self.counters_of: Callable[[Principal], QuestionCounters] = lambda _who: QuestionCounters()

    async def examine(self, call: Call, facts: CallFacts) -> Refused | tuple[Obligation, ...]:
        """Refuse what no rule allows; owe what a rule demands."""
        for _ in range(SWAPS_MAX):
            stands = self._policy.version
            answer = await self._answered(call, facts)
            # What was fetched is what one version wanted to know: no other one may judge by it.
            if isinstance(answer, Refused) or answer[0].version == stands:
                break
        else:
            return Refused(check=self.name, reason="the policy changes too often", retry_after_s=1)
        if isinstance(answer, Refused):
            return answer
        decision, tier = answer
        if decision.allow:
            return _unpayable(decision.obligations, tier) or _bound(decision)
        told = f"{decision.version} {decision.fault}".strip()
        return Refused(check=self.name, reason="; ".join(decision.reasons), detail=told)

    async def _answered(self, call: Call, facts: CallFacts) -> Refused | tuple[PolicyDecision, str]:
        """Return what the policy says, and behind which walls the caller runs."""
        argued = self._policy.reads_arguments(call.verb)
        spiffe_id = self.spiffe_id(call.principal)
        wanted = self._policy.relations(call.verb, call.target)
        document = facts.arguments.document if argued or wanted else None
        related = await related_facts(self.relations, wanted, call, document, spiffe_id)
        if isinstance(related, Refused):
            return related
        question = question_of(
            call,
            arguments=document if argued else None,
            spiffe_id=spiffe_id,
            relations=related.holds,
            relations_at=related.revision,
            grant=self._digest(facts.grant),
            warrant=_summary(facts.warrant),
            tier=self.tier_of(call.principal),
            reputation=self.reputation_of(call.principal),
            counters=self.counters_of(call.principal),
        )
        decision = await self._policy.decide(question)
        self._said[call.id] = recorded(question, decision)
        if len(self._said) > SAID_MAX:
            self._said.popitem(last=False)
        return decision, question.tier

    def degraded(self) -> tuple[str, ...]:
        """Say what an operator has to know without asking."""
        if self._policy.version:
            return ()
        return ("no policy stands, so every call is refused (hive policy show)",)

    def said(self, call: Call) -> dict[str, Json] | None:
        """Return what the line of a call keeps of the newest answer to it; None where policy was not asked."""
        return self._said.get(call.id)

    def _digest(self, grant: Grant | None) -> str:
        """Return a grant's digest, computed once: a grant stands for as long as its sandbox."""
        if grant is None:
            return ""
        held = self._digests.get(id(grant))
        if held is None or held[0] is not grant:
            held = self._digests[id(grant)] = (grant, grant.digest)
            if len(self._digests) > DIGESTS_MAX:
                self._digests.popitem(last=False)
        return held[1]


def limits_owed(call: Call, obligations: Sequence[Obligation]) -> tuple[Claim, ...]:
    """Return the claims on rates that are owed: so many calls a second of a caller to a target."""
    return tuple(
        Claim(
            kind="rate",
            scope=f"{one.check}:{call.principal} {call.verb} {call.target}",
            limit=int(one.detail),
        )
        for one in obligations
        if one.kind is ObligationKind.LIMIT and _is_count(one.detail)
    )


def records_all(said: Mapping[str, Json] | None) -> bool:
    """Tell whether policy demanded that what the call asks with is kept, whatever the journal keeps."""
    owed = None if said is None else said.get("owed")
    return isinstance(owed, list) and ObligationKind.RECORD_FULL.value in owed


def _unpayable(obligations: Sequence[Obligation], tier: str) -> Refused | None:
    """Refuse where the condition of a yes cannot be met."""
    for one in obligations:
        if one.kind is ObligationKind.RAISE_TIER and _strength(tier) < _strength(one.detail):
            wanted = plain_text(one.detail) or "stronger"
            return Refused(check=NAME, reason=f"this call needs the walls of the tier {wanted}")
        if one.kind is ObligationKind.LIMIT and not _is_count(one.detail):
            return Refused(check=NAME, reason="the policy set a limit that is no number")
    return None


def _bound(decision: PolicyDecision) -> tuple[Obligation, ...]:
    """Return what is owed; a yes of a person counts under this version of the policy only."""
    return tuple(
        replace(one, check=f"{NAME} {decision.version}")
        if one.kind is ObligationKind.APPROVAL
        else one
        for one in decision.obligations
    )


def _strength(tier: str) -> int:
    """Return how strong a tier is; one that nobody knows is stronger than all, and no tier weaker."""
    if not tier:
        return -1
    found = Tier.__members__.get(tier.upper())
    return len(Tier) if found is None else found.value


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < len(text) <= 9 and int(text) > 0


def _summary(warrant: Warrant | None) -> dict[str, Json]:
    if warrant is None:
        return {}
    return {
        "id": warrant.id,
        "holder": warrant.holder,
        "task": warrant.task,
        "depth": warrant.depth,
        "links": len(warrant.links),
        "not_after": warrant.not_after.isoformat(),
    }
