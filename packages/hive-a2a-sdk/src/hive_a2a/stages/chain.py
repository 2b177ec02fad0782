"""The stand-alone chain: what every call passes on its way to the handler, and what is kept of it.

    extensions -> rate -> breaker -> warrant -> schema -> guard -> audit (attempt)
        -> handler -> schema and guard of the answer, or of every event -> audit (outcome)

The first stage that says no ends it; the handler is not called. A stage that is off (`Policy.off`) is
skipped, and every record says so. The outcome is recorded in a `finally` with what really happened: a
stream is open until its last event has gone, and broken if it ends in any other way.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from hive_a2a.buckets import TokenBuckets
from hive_a2a.call import Proto, WireCall
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import A2AError
from hive_a2a.faults import BAD_ANSWER, INTERNAL, UNAVAILABLE, WireFault, fault_of_official
from hive_a2a.policy import Policy
from hive_a2a.ports import ResultT, Stage
from hive_a2a.stages.audit import (
    AuditKind,
    AuditSink,
    AuditUnavailableError,
    CallEnding,
    CallRecord,
    feed,
    new_call_id,
    record_of,
)
from hive_a2a.stages.breaker import BreakerPassage, BreakerStage, CircuitStore
from hive_a2a.stages.extensions import RequiredExtensions, required_extensions
from hive_a2a.stages.guard import TIMEOUT_S, Guard, GuardStage
from hive_a2a.stages.rate import RateLimiter, RateStage
from hive_a2a.stages.schema import SchemaStage, SkillSchema, schemas_of_card
from hive_a2a.stages.warrant import (
    FACT,
    TOOL_PREFIX,
    NonceStore,
    ShownWarrant,
    WarrantCheck,
    WarrantStage,
)

log = logging.getLogger(__name__)
CLOSE_TIMEOUT_S: Final = 5.0
AUDIT_RETRY_S: Final = 5.0
CALL_ID_FACT: Final = "audit.call"
"""Where `WireCall.facts` holds the id under which the call is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainParts:
    """What the stages work with; what is left out has a default that needs nothing else, but for the record.

    `audience` is the server as clients name it in proofs of possession: its URL, unless told otherwise.
    `schemas` are added to those that the card declares. `extensions_met_by_seal` are required extensions
    that a sealed request has met by being sealed.
    """

    audit: AuditSink | None = None
    limiter: RateLimiter | None = None
    circuits: CircuitStore | None = None
    warrants: WarrantCheck | None = None
    nonces: NonceStore | None = None
    audience: str = ""
    schemas: Mapping[str, SkillSchema] = field(default_factory=dict)
    guards: Sequence[Guard] = ()
    guard_timeout_s: float = TIMEOUT_S
    extensions_met_by_seal: Sequence[str] = ()
    clock: WallClock | None = None


@dataclass(slots=True)
class _Trail:
    """One call while it is under way: what its outcome will say."""

    began_at: float
    call_id: str
    passage: BreakerPassage | None = None
    attempted: bool = False
    called: bool = False
    ending: CallEnding = CallEnding.COMPLETED
    stage: str = ""
    error: str = ""
    events: int = 0
    answer: Any = None
    handler_failed: bool | None = None


class StagedChain:
    """A `CallChain` of the stand-alone stages."""

    def __init__(self, policy: Policy, card: Proto, parts: ChainParts | None = None) -> None:
        given = parts or ChainParts()
        clock = given.clock or MachineClock()
        self._clock = clock
        agent = str(card.name)
        skills = [str(skill.id) for skill in card.skills]
        _admit_parts(policy, given, skills)
        self._weakened = policy.weakened
        on = policy.on
        self._extensions = on(Stage.EXTENSIONS) and RequiredExtensions(
            required_extensions(card), met_by_seal=given.extensions_met_by_seal
        )
        limiter = TokenBuckets(policy.rate, clock) if given.limiter is None else given.limiter
        self._rate = on(Stage.RATE) and RateStage(limiter, policy.rate, agent=agent, skills=skills)
        self._breaker = on(Stage.BREAKER) and BreakerStage(
            policy.breaker, clock, store=given.circuits, agent=agent, skills=skills
        )
        self._warrant = on(Stage.WARRANT) and WarrantStage(
            audience=given.audience or _url_of(card),
            clock=clock,
            check=given.warrants,
            nonces=given.nonces,
            required=policy.warrants_required,
        )
        schemas = SchemaStage(
            {**schemas_of_card(card), **given.schemas} if on(Stage.SCHEMA) else {}
        )
        self._schema = None if schemas.idle else schemas
        guards = GuardStage(
            given.guards if on(Stage.GUARD) else (), timeout_s=given.guard_timeout_s
        )
        self._guard = None if guards.idle else guards
        self._audit = given.audit if on(Stage.AUDIT) else None

    async def unary(self, call: WireCall, run: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Let a call pass that has one answer.

        Raises:
            WireFault: a stage said no.

        """
        trail = self._begin(call)
        try:
            await self._admit(call, trail)
            trail.called = True
            answer = await run()
            trail.called = False
            answer = await self._checked(call, answer)
            if trail.answer is not None and answer is not None:
                feed(trail.answer, _packed(answer))
        except BaseException as error:
            self._blame(trail, error)
            raise
        finally:
            await self._end(call, trail)
        return answer

    async def stream(
        self, call: WireCall, run: Callable[[], AsyncGenerator[Proto]]
    ) -> AsyncGenerator[Proto]:
        """Let a call pass that has a stream of answers.

        Raises:
            WireFault: a stage said no, before the first event or to one of them.

        """
        trail = self._begin(call)
        events: AsyncGenerator[Proto] | None = None
        try:
            await self._admit(call, trail)
            events = run()
            while True:
                trail.called = True
                try:
                    event = await anext(events)
                except StopAsyncIteration:
                    break
                trail.called = False
                event = await self._checked(call, event, streamed=True)
                if trail.answer is not None:
                    feed(trail.answer, _packed(event))
                trail.events += 1
                yield event
        except BaseException as error:
            self._blame(trail, error)
            raise
        finally:
            await self._end(call, trail, events)

    def _begin(self, call: WireCall) -> _Trail:
        trail = _Trail(self._clock.monotonic(), new_call_id() if self._audit else "")
        if self._audit is not None:
            call.facts[CALL_ID_FACT] = trail.call_id
        return trail

    async def _admit(self, call: WireCall, trail: _Trail) -> None:
        if self._extensions:
            self._extensions.admit(call)
        if self._rate:
            await self._rate.admit(call)
        if self._breaker:
            trail.passage = await self._breaker.admit(call)
        if self._warrant:
            await self._warrant.admit(call)
        content = self._commitment(call, trail)
        if self._schema is not None:
            self._schema.admit(call)
        if self._guard is not None:
            await self._guard.before(call)
        if self._audit is not None:
            await self._attempt(self._audit, call, trail, content)

    def _commitment(self, call: WireCall, trail: _Trail) -> str:
        """Commit to the request as it came: the schema stage and guards may still change it."""
        if self._audit is None:
            return ""
        begun = self._audit.commitment(trail.call_id, "content")
        feed(begun, _packed(call.params))
        return begun.hexdigest()

    async def _attempt(self, audit: AuditSink, call: WireCall, trail: _Trail, content: str) -> None:
        shown = call.facts.get(FACT)
        peer = audit.commitment(trail.call_id, "peer")
        feed(peer, call.head.peer_address.encode())
        record = record_of(
            call,
            AuditKind.ATTEMPT,
            call=trail.call_id,
            content=content,
            peer=peer.hexdigest(),
            warrant=shown.ids[-1] if isinstance(shown, ShownWarrant) else "",
            weakened=self._weakened,
        )
        trail.answer = audit.commitment(trail.call_id, "answer")
        trail.attempted = True
        try:
            await audit.attempt(record)
        except AuditUnavailableError as error:
            raise WireFault(
                UNAVAILABLE,
                "The agent cannot record the call now.",
                retry_after_s=AUDIT_RETRY_S,
                metadata={"check": str(Stage.AUDIT)},
                detail=str(error),
            ) from None

    async def _checked(self, call: WireCall, answer: Any, *, streamed: bool = False) -> Any:  # noqa: ANN401
        if answer is None or (self._schema is None and self._guard is None):
            return answer
        if self._schema is not None:
            self._schema.check(call, answer)
        if self._guard is None:
            return answer
        if streamed:
            return await self._guard.event(call, answer)
        return await self._guard.after(call, answer)

    def _blame(self, trail: _Trail, error: BaseException) -> None:
        """Say what a call that did not complete ended with."""
        if isinstance(error, GeneratorExit):
            trail.ending = CallEnding.BROKEN
            return
        if not isinstance(error, Exception):
            trail.ending = CallEnding.CANCELLED
            return
        fault = _fault_of(error)
        trail.stage = "" if trail.called else str(fault.metadata.get("check", ""))
        trail.error = fault.kind.reason
        trail.ending = CallEnding.REFUSED if trail.stage else CallEnding.FAILED
        # An answer that breaks the skill's own schema is the handler's failure, a guard's no is not.
        trail.handler_failed = fault.kind in (INTERNAL, BAD_ANSWER) and (
            trail.called or trail.stage == Stage.SCHEMA
        )

    async def _end(
        self, call: WireCall, trail: _Trail, events: AsyncGenerator[Proto] | None = None
    ) -> None:
        """Record the outcome first, since nothing that follows may keep it from being told."""
        self._record(call, trail)
        if events is None:
            if trail.passage is None or not self._breaker:
                return
            if not self._breaker.waits:
                await self._breaker.end(trail.passage, worked=_worked(trail))
                return
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            try:
                if events is not None:
                    await events.aclose()
            finally:
                if trail.passage is not None and self._breaker:
                    await self._breaker.end(trail.passage, worked=_worked(trail))

    def _record(self, call: WireCall, trail: _Trail) -> None:
        if self._audit is None:
            return
        took_ms = int((self._clock.monotonic() - trail.began_at) * 1000)
        if not trail.attempted:
            self._audit.refusal(
                record_of(
                    call,
                    AuditKind.REFUSED,
                    call=trail.call_id,
                    ending=str(trail.ending),
                    stage=trail.stage,
                    error=trail.error,
                    weakened=self._weakened,
                )
            )
            return
        self._audit.outcome(
            CallRecord(
                kind=AuditKind.OUTCOME,
                call=trail.call_id,
                ending=str(trail.ending),
                stage=trail.stage,
                error=trail.error,
                events=trail.events,
                answer=trail.answer.hexdigest(),
                took_ms=took_ms,
                weakened=self._weakened,
            )
        )


def _worked(trail: _Trail) -> bool | None:
    """Tell what a call says of its handler: it works, it fails, or nothing."""
    if trail.ending is CallEnding.COMPLETED:
        return True
    return False if trail.handler_failed else None


def _fault_of(error: Exception) -> WireFault:
    if isinstance(error, WireFault):
        return error
    if type(error).__module__.startswith("a2a."):
        return fault_of_official(error)  # type: ignore[arg-type]
    return WireFault(INTERNAL, "The agent failed.", detail=type(error).__name__)


def _packed(message: Proto) -> bytes:
    packed: bytes = message.SerializeToString(deterministic=True)
    return packed


def _url_of(card: Proto) -> str:
    return str(card.supported_interfaces[0].url) if card.supported_interfaces else ""


def _admit_parts(policy: Policy, parts: ChainParts, skills: Sequence[str]) -> None:
    """Refuse a chain that would be less than its policy says.

    Raises:
        A2AError: it would.

    """
    if policy.on(Stage.AUDIT) and parts.audit is None:
        raise A2AError(
            "The policy wants a record, and there is none.",
            why="The stage `audit` is on, but no sink was given.",
            fix="Give a FileAudit, or switch the stage off by `policy.without(Stage.AUDIT)`.",
        )
    if policy.warrants_required and (parts.warrants is None or not policy.on(Stage.WARRANT)):
        raise A2AError(
            "The policy wants warrants, and nobody would verify them.",
            why="No check was given, or the stage `warrant` is off.",
            fix="Give TenuoWarrants with the roots that you trust.",
        )
    named = [skill for skill in skills if skill.startswith(TOOL_PREFIX)]
    if named:
        raise A2AError("A skill cannot have the name of a method.", why=f"{named[0]!r} is one.")
