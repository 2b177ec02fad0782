"""May this call happen? Three steps; the first objection ends it.

Fails closed: a check that crashes refuses. There is no second way in.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final

import anyio

from hive.core.budget import Amounts, Unit
from hive.core.call import (
    Admitted,
    Call,
    Claim,
    Decision,
    Obligation,
    ObligationKind,
    PrincipalKind,
    Refused,
    Verb,
)
from hive.core.clock import Clock
from hive.core.settings import Settings
from hive.kernel.budgets import Budgets, Payment, SpendNotice
from hive.kernel.checks import (
    Check,
    Finding,
    GrantCheck,
    IdentityCheck,
    Inquiry,
    LimitsCheck,
    LineageCheck,
    ReadinessCheck,
    SchemaCheck,
)
from hive.kernel.claims import ClaimBook, task_budget
from hive.kernel.letters import MESSAGE
from hive.kernel.loops import LoopWatch
from hive.kernel.policies import limits_owed
from hive.kernel.ports import CallFacts
from hive.kernel.scans import redactions_of
from hive.kernel.turns import RunningTurn
from hive.security.guardrails import KINDS, nonce_scope

INQUIRY_TIMEOUT_S: Final = 10.0
CHECK_BROKE: Final = "a check failed, so the call is refused"
_REDACTED: Final = frozenset({Verb.ASK, Verb.INVOKE, Verb.SEND})
log: Final = logging.getLogger(__name__)


class Admission:
    """All checks in order, then the claims."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        claims: ClaimBook,
        budgets: Budgets,
        facts: Callable[[Call, bytes], CallFacts],
        inquiries: Sequence[Inquiry] = (),
        tries: Callable[[Call, CallFacts], Refused | None] = lambda _call, _facts: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._claims = claims
        self._budgets = budgets
        self._loops = LoopWatch(settings.model_loop, settings.model_loop_calls, clock)
        self._facts = facts
        self._tries = tries
        self.checks: tuple[Check | Inquiry, ...] = (
            LimitsCheck(settings, clock),
            IdentityCheck(settings),
            SchemaCheck(),
            GrantCheck(),
            *inquiries,
            LineageCheck(),
            ReadinessCheck(),
        )

    async def admit(self, call: Call, arguments: bytes) -> Decision:
        """Ask every check; take the claims. A refusal has taken nothing."""
        try:
            facts = self._facts(call, arguments)
        except Exception:
            log.exception("admission.facts_failed")
            return Refused(check="facts", reason="the call cannot be judged now")
        obligations = await self._examine(call, facts)
        if isinstance(obligations, Refused):
            return obligations
        looped = self._loops.look(call)
        if looped is not None:
            return looped
        claims = (*self._claims_of(call, facts), *limits_owed(call, obligations))
        refused_claim = self._claims.take(claims)
        if refused_claim is not None:
            return refused_claim
        # Last, so that only what passes all else uses up the one try of a circuit.
        waits = self._tries(call, facts)
        if waits is not None:
            self._claims.give_back(claims)
            return waits
        notice = self._loops.count(call)
        if notice is not None:
            self._claims.notice(notice)
        return Admitted(claims=claims, obligations=obligations)

    async def admit_again(self, call: Call, arguments: bytes) -> Decision:
        """Ask every check about a call whose claims its first intent holds: a grant may have shrunk."""
        try:
            examined = await self._examine(call, self._facts(call, arguments))
        except Exception:
            log.exception("admission.facts_failed")
            return Refused(check="facts", reason="the call cannot be judged now")
        return examined if isinstance(examined, Refused) else Admitted(obligations=examined)

    async def _examine(self, call: Call, facts: CallFacts) -> Refused | tuple[Obligation, ...]:
        obligations: list[Obligation] = []
        for check in self.checks:
            match await self._ask(check, call, facts):
                case Refused() as refused:
                    return refused
                case Obligation() as obligation:
                    obligations.append(obligation)
                case tuple() as several:
                    obligations += several
        return _owed(call, obligations)

    def room(self, turn: RunningTurn | None) -> Amounts:
        """Return what the tightest ceilings leave a turn now; units without a ceiling are missing."""
        if turn is None:
            return {}
        room: dict[Unit, int] = {}
        for name, budget in self._budgets.applying(turn.payers, self._clock.now()):
            left = (
                0 if self._claims.closed(name) else max(0, budget.limit - self._claims.spent(name))
            )
            room[budget.unit] = min(left, room.get(budget.unit, left))
        return room

    def payment(self, call: Call, spent: Amounts | None, turn: RunningTurn | None) -> Payment:
        """Return what a call paid and who pays; without `spent`, all that was reserved."""
        if call.verb is not Verb.ASK or turn is None:
            return Payment()
        amounts = dict(call.reserve if spent is None else spent)
        amounts[Unit.CALLS] = 1
        amounts[Unit.MILLISECONDS] = _milliseconds(self._clock.now() - call.at)
        return Payment(payers=turn.payers, amounts=amounts, at=call.at)

    def settle(self, call: Call, claims: Iterable[Claim], payment: Payment) -> None:
        """Count a payment in the moment its line is durable, so that memory and ledger say the same.

        A ceiling that was set while the call was under way has no claim of it, and counts it as well.
        """
        if payment.payers is None:
            return
        claimed = tuple(claims)
        known = {one.scope for one in claimed}
        late = tuple(
            one
            for one in self._budgets.claims(payment.payers, {}, call.at)
            if one.scope not in known
        )
        self._claims.settle(claimed, payment.amounts)
        self._claims.count(late, payment.amounts)

    def claim_again(self, call: Call) -> Decision:
        """Claim anew for a call that goes on after a crash, in place of what its first intent holds."""
        self._claims.give_back(self._claims.claims_of_open(call.id))
        try:
            claims = self._unit_claims(call, self._facts(call, b""))
        except Exception:
            log.exception("admission.facts_failed")
            return Refused(check="facts", reason="the call cannot be judged now")
        return self._claims.take(claims) or Admitted(claims=claims)

    def holds(self, call: Call, kind: str) -> bool:
        """Tell whether the first intent of a call that goes on after a crash has a claim of a kind."""
        return self._claims.holds(call.id, kind)

    def take_notices(self) -> list[SpendNotice]:
        """Return what happened to budgets since it was asked last."""
        return self._claims.take_notices()

    def give_back(self, decision: Admitted) -> None:
        """Return the claims of a call whose intent could not be written."""
        self._claims.give_back(decision.claims)

    @staticmethod
    async def _ask(check: Check | Inquiry, call: Call, facts: CallFacts) -> Finding:
        try:
            found = check.examine(call, facts)
            if not isinstance(found, Awaitable):
                return found
            with anyio.fail_after(INQUIRY_TIMEOUT_S):
                return await found
        except Exception:
            log.exception("admission.check_crashed", extra={"check": check.name})
            return Refused(check=check.name, reason=CHECK_BROKE)

    def _claims_of(self, call: Call, facts: CallFacts) -> tuple[Claim, ...]:
        rate = Claim(
            kind="rate", scope=f"principal:{call.principal}", limit=self._settings.requests_per_s
        )
        said = call.facts.get(MESSAGE)
        if call.verb is Verb.SEND and isinstance(said, str):
            sender = f"{call.principal.owner} {call.principal}"
            return (rate, Claim(kind="nonce", scope=nonce_scope(sender, said)))
        inside = call.principal.kind is PrincipalKind.AGENT and call.task is not None
        if call.verb is not Verb.ASK or not inside or facts.grant is None:
            return (rate,)
        ceiling = min(facts.grant.limits.model_calls_max, self._settings.model_calls_per_task)
        scope = task_budget(str(call.task), "models.calls")
        calls = Claim(kind="budget", scope=scope, limit=ceiling)
        return (rate, calls, *self._unit_claims(call, facts))

    def _unit_claims(self, call: Call, facts: CallFacts) -> tuple[Claim, ...]:
        if facts.payers is None or call.verb is not Verb.ASK:
            return ()
        reserve = {
            **call.reserve,
            Unit.CALLS: 1,
            Unit.MILLISECONDS: _milliseconds(call.deadline - call.at),
        }
        return self._budgets.claims(facts.payers, reserve, call.at)


def _owed(call: Call, obligations: list[Obligation]) -> Refused | tuple[Obligation, ...]:
    """Refuse where something has to be taken out of what nobody can change on its way, or find."""
    unknown = redactions_of(obligations) - frozenset(KINDS)
    for one in obligations:
        if one.kind is ObligationKind.REDACT and (unknown or call.verb not in _REDACTED):
            return Refused(
                check=one.check,
                reason="it holds what may not leave, and it cannot be taken out on this way",
                detail=f"no such kind: {', '.join(sorted(unknown))}" if unknown else "",
            )
    return tuple(obligations)


def _milliseconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds() * 1000))
