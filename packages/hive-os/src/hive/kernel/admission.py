"""May this call happen? Three steps; the first objection ends it.

Fails closed: a check that crashes refuses. There is no second way in.
"""

import logging
from collections.abc import Callable
from typing import Final

from hive.core.call import Admitted, Call, Claim, Decision, Obligation, PrincipalKind, Refused, Verb
from hive.core.clock import Clock
from hive.core.settings import Settings
from hive.kernel.checks import (
    Check,
    GrantCheck,
    IdentityCheck,
    LimitsCheck,
    LineageCheck,
    ReadinessCheck,
    SchemaCheck,
)
from hive.kernel.claims import ClaimBook, task_budget
from hive.kernel.ports import CallFacts

log: Final = logging.getLogger(__name__)


class Admission:
    """All checks in order, then the claims."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        claims: ClaimBook,
        facts: Callable[[Call], CallFacts],
    ) -> None:
        self._settings = settings
        self._claims = claims
        self._facts = facts
        self.checks: tuple[Check, ...] = (
            LimitsCheck(settings, clock),
            IdentityCheck(settings),
            SchemaCheck(),
            GrantCheck(),
            LineageCheck(),
            ReadinessCheck(),
        )

    def admit(self, call: Call) -> Decision:
        """Ask every check; take the claims. A refusal has taken nothing."""
        try:
            facts = self._facts(call)
        except Exception:
            log.exception("admission.facts_failed")
            return Refused(check="facts", reason="the call cannot be judged now")
        obligations = self._examine(call, facts)
        if isinstance(obligations, Refused):
            return obligations
        claims = self._claims_of(call, facts)
        refused_claim = self._claims.take(claims)
        if refused_claim is not None:
            return refused_claim
        return Admitted(claims=claims, obligations=obligations)

    def admit_again(self, call: Call) -> Refused | None:
        """Ask every check about a call whose claims its first intent holds: a grant may have shrunk."""
        try:
            examined = self._examine(call, self._facts(call))
        except Exception:
            log.exception("admission.facts_failed")
            return Refused(check="facts", reason="the call cannot be judged now")
        return examined if isinstance(examined, Refused) else None

    def _examine(self, call: Call, facts: CallFacts) -> Refused | tuple[Obligation, ...]:
        obligations: list[Obligation] = []
        for check in self.checks:
            match self._ask(check, call, facts):
                case Refused() as refused:
                    return refused
                case Obligation() as obligation:
                    obligations.append(obligation)
        return tuple(obligations)

    def give_back(self, decision: Admitted) -> None:
        """Return the claims of a call whose intent could not be written."""
        self._claims.give_back(decision.claims)

    @staticmethod
    def _ask(check: Check, call: Call, facts: CallFacts) -> Refused | Obligation | None:
        try:
            return check.examine(call, facts)
        except Exception:
            log.exception("admission.check_crashed", extra={"check": check.name})
            return Refused(check=check.name, reason="a check failed, so the call is refused")

    def _claims_of(self, call: Call, facts: CallFacts) -> tuple[Claim, ...]:
        rate = Claim(
            kind="rate", scope=f"principal:{call.principal}", limit=self._settings.requests_per_s
        )
        inside = call.principal.kind is PrincipalKind.AGENT and call.task is not None
        if call.verb is Verb.ASK and inside and facts.grant is not None:
            ceiling = min(facts.grant.limits.model_calls_max, self._settings.model_calls_per_task)
            scope = task_budget(str(call.task), "models.calls")
            return (rate, Claim(kind="budget", scope=scope, limit=ceiling))
        return (rate,)
