"""The way in for every call: made, found in the record, or judged and written down before it acts."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

from hive.core.call import (
    Admitted,
    Call,
    Decision,
    Label,
    Obligation,
    ObligationKind,
    Refused,
)
from hive.core.clock import Clock
from hive.core.errors import EngineError, HiveError, LedgerError
from hive.core.ids import TaskId
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.core.task import TaskMove
from hive.kernel.admission import Admission
from hive.kernel.approval_book import CHECK, CLAIM, ApprovalBook
from hive.kernel.approvals import ApprovalRule
from hive.kernel.calls import CallMaker
from hive.kernel.outcomes import append_patiently
from hive.kernel.policies import records_all
from hive.kernel.ports import Attempt
from hive.kernel.record import event, intent, refusal
from hive.kernel.replay import Parked, RecordedCall
from hive.kernel.turns import RunningTurn
from hive.ledger.asked import AskedKeeper
from hive.ledger.entry import Draft
from hive.ledger.refusals import RefusalMeter
from hive.ledger.writer import LedgerWriter
from hive.observability.conventions import call_attributes, span_name
from hive.observability.spans import Span, SpanKind, Tracer
from hive.security.capability.warrant import Warrant

NOTICE_TIMEOUT_S: Final = 10.0
POLICY: Final = "policy"
ADMIT: Final = "hive.admit"
RECORD_INTENT: Final = "hive.record intent"


class Entrance:
    """Lets calls in, or says why not."""

    def __init__(
        self,
        *,
        admission: Admission,
        writer: LedgerWriter,
        refusals: RefusalMeter,
        clock: Clock,
        randomness: Randomness,
        tracer: Tracer,
        commit: Callable[[bytes], str],
        keeper: AskedKeeper,
        approvals: ApprovalBook,
        label: Callable[[TaskId | None], tuple[Label, ...]] = lambda _task: (),
        said: Callable[[Call], dict[str, Json] | None] = lambda _call: None,
    ) -> None:
        self._admission = admission
        self._approvals = approvals
        self._label = label
        self._said = said
        self._clock = clock
        self._writer = writer
        self._refusals = refusals
        self._tracer = tracer
        self._calls = CallMaker(clock, randomness, commit)
        self._keeper = keeper

    def make(self, attempt: Attempt, turn: RunningTurn | None) -> Call:
        """Make a call of an attempt, with the label of whoever makes it."""
        call = self._calls.make(attempt, turn)
        return call if turn is None else replace(call, labels=self._label(turn.task))

    def recorded(
        self, call: Call, turn: RunningTurn | None, arguments: bytes
    ) -> RecordedCall | Refused | None:
        """Return what the record holds for a call, None to go on live, or why it may not."""
        if turn is None or turn.parked:
            return None
        if turn.rises is not None:
            return Refused(check="tier", reason="this turn goes on in a stronger tier")
        if turn.playback is not None:
            served = turn.playback.serve(call, arguments)
            if served is not None:
                return served
        if turn.rerun is None:
            return None
        match turn.rerun.match(call):
            case Parked(call=parked_call, reason=reason):
                turn.parked, turn.parked_call = reason, parked_call
                return Refused(check="parked", reason=reason)
            case found:
                return found

    async def judge(self, call: Call, arguments: bytes) -> Decision:
        """Ask whether a call may happen; a yes has taken its claims."""
        with self._tracer.start(ADMIT, parent=call.trace):
            return await self._admission.admit(call, arguments)

    def span(self, call: Call, turn: RunningTurn | None) -> AbstractContextManager[Span | None]:
        """Open the span of a call, where spans leave the node: here the ledger tells the same."""
        if not self._tracer.exports:
            return nullcontext()
        return self._tracer.start(
            span_name(call.verb, call.target),
            parent=None if turn is None else turn.trace,
            context=call.trace,
            kind=SpanKind.CLIENT,
            attributes=call_attributes(call.verb, call.target, call.id, call.facts),
        )

    async def judge_again(self, call: Call, arguments: bytes) -> Decision:
        """Ask about a call whose intent is in the ledger since before a crash; a yes claims anew."""
        decision = await self._admission.admit_again(call, arguments)
        if isinstance(decision, Admitted):
            decision = await self._asked_since(call, decision, arguments)
        if isinstance(decision, Admitted):
            owed, decision = decision.obligations, self._admission.claim_again(call)
            if isinstance(decision, Admitted):
                decision = replace(decision, obligations=owed)
        if isinstance(decision, Refused):
            await self.refuse(call, decision, b"")
        return decision

    async def _asked_since(self, call: Call, admitted: Admitted, arguments: bytes) -> Decision:
        """Put a call to a person that was begun when nobody had to be asked."""
        rule = self._question(call, arguments, admitted)
        if rule is None or self._admission.holds(call, CLAIM):
            return admitted
        yes = await self._approvals.obtain(call, rule, arguments)
        if isinstance(yes, Refused):
            return yes
        await self._approvals.settle((yes,))
        return admitted

    async def admit(self, call: Call, arguments: bytes) -> Decision:
        """Judge a call, and wait some seconds for a person's yes where a rule demands one.

        A refusal is recorded. Claims of a yes that is not written have to be given back, as `write` does.
        """
        decision = await self.judge(call, arguments)
        if isinstance(decision, Admitted):
            rule = self._question(call, arguments, decision)
            if rule is not None:
                # Nobody else shall be refused for what a call holds that may never happen.
                self._admission.give_back(decision)
                decision = await self._with_yes(call, rule, arguments)
        if isinstance(decision, Refused):
            await self.refuse(call, decision, arguments)
        return decision

    async def _with_yes(self, call: Call, rule: ApprovalRule, arguments: bytes) -> Decision:
        yes = await self._approvals.obtain(call, rule, arguments)
        if isinstance(yes, Refused):
            return yes
        decision = await self.judge(call, arguments)
        if isinstance(decision, Refused):
            self._approvals.give_back((yes,))
            return decision
        now = self._question(call, arguments, decision)
        if now is not None and now.version != rule.version:
            self._give_back(replace(decision, claims=(*decision.claims, yes)))
            reason = "what a person has to decide has changed meanwhile: ask again"
            return Refused(check=CHECK, reason=reason, retry_after_s=1.0)
        duty = Obligation(kind=ObligationKind.APPROVAL, check=yes.kind, detail=rule.id)
        kept = (one for one in decision.obligations if one.kind is not ObligationKind.APPROVAL)
        return replace(decision, claims=(*decision.claims, yes), obligations=(*kept, duty))

    def _question(self, call: Call, arguments: bytes, admitted: Admitted) -> ApprovalRule | None:
        """Return the one question that a person has to answer: of an operator's rule, of checks, or of both."""
        ruled = self._approvals.needed(call, arguments)
        demanded = _demanded(call, admitted)
        if ruled is None or demanded is None:
            return ruled or demanded
        note = " ".join(filter(None, (ruled.note, demanded.note)))
        return replace(ruled, id=f"{ruled.id}+{demanded.id}", note=note)

    async def admit_and_record(self, call: Call, arguments: bytes) -> Decision:
        """Judge a call and make its intent durable, or its refusal."""
        decision = await self.admit(call, arguments)
        if isinstance(decision, Refused):
            return decision
        refused = await self.write(call, decision, (), call.task, arguments=arguments)
        return refused or decision

    async def write(
        self,
        call: Call,
        admitted: Admitted,
        moves: tuple[TaskMove, ...],
        task: TaskId | None,
        *,
        arguments: bytes,
        then: Callable[[], None] | None = None,
        warrant: Warrant | None = None,
    ) -> Refused | None:
        """Make an intent durable; `then` runs in the moment it is. `warrant` is that of the turn it opens."""
        agent = call.target if moves else (call.principal.agent or "")
        try:
            with self._tracer.start(RECORD_INTENT, parent=call.trace):
                draft = intent(call, admitted, agent=agent, task=task, moves=moves, warrant=warrant)
                await self._writer.append(self._with_arguments(draft, call, arguments), then=then)
        except (EngineError, LedgerError) as error:
            self._give_back(admitted)
            return Refused(check="ledger", reason=error.what, detail=str(error), retry_after_s=1.0)
        except BaseException:
            self._give_back(admitted)
            raise
        if any(one.kind is ObligationKind.APPROVAL for one in admitted.obligations):
            await self._approvals.settle(admitted.claims)
        return None

    async def take_back(
        self, call: Call, admitted: Admitted, refused: Refused, arguments: bytes
    ) -> None:
        """Refuse a call that was admitted and not written yet: what it took is given back."""
        self._give_back(admitted)
        await self.refuse(call, refused, arguments)

    def _give_back(self, admitted: Admitted) -> None:
        self._admission.give_back(admitted)
        self._approvals.give_back(admitted.claims)

    async def refuse(self, call: Call, refused: Refused, arguments: bytes) -> None:
        """Write that a call was refused, up to the rate at which refusals are written."""
        if not self._refusals.admit(str(call.principal), refused.check):
            return
        try:
            draft = refusal(call, refused, agent=call.principal.agent or "")
            await self._writer.append(self._with_arguments(draft, call, arguments))
        except HiveError:
            self._refusals.count(str(call.principal), refused.check)

    async def tell_notices(self, call: Call) -> None:
        """Write what happened to budgets with a call: warnings, overruns, loops."""
        for notice in self._admission.take_notices():
            draft = event(
                notice.name,
                {**notice.body, "call": call.id},
                clock=self._clock,
                agent=call.principal.agent or "",
                owner=call.principal.owner,
                task=call.task,
            )
            await append_patiently(self._writer, draft, timeout_s=NOTICE_TIMEOUT_S)

    def _with_arguments(self, draft: Draft, call: Call, arguments: bytes) -> Draft:
        """Keep what an agent asked beside the line: a replay compares it, a person reads it.

        What policy said stands in the line itself, so that another policy can be asked the same later.
        """
        said = self._said(call)
        if said is not None:
            draft = replace(draft, body={**draft.body, POLICY: said})
        if call.principal.turn is None:
            return draft
        return replace(draft, content=self._keeper.pack(arguments, demanded=records_all(said)))


def _demanded(call: Call, admitted: Admitted) -> ApprovalRule | None:
    """Return the question that a check put to a person, if one did; several become one."""
    asked = [one for one in admitted.obligations if one.kind is ObligationKind.APPROVAL]
    if not asked:
        return None
    return ApprovalRule(
        id="+".join(dict.fromkeys(one.check for one in asked)),
        verb=call.verb.value,
        target=call.target,
        note=" ".join(dict.fromkeys(one.detail for one in asked if one.detail)),
    )
