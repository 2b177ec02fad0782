"""The stand-alone chain: its order, what it records, and how it counts for the breaker."""

from contextlib import aclosing

import anyio
import pytest
from a2a.types import GetTaskRequest
from a2a.utils.errors import InternalError, TaskNotFoundError

from hive_a2a.buckets import TokenBuckets
from hive_a2a.errors import A2AError
from hive_a2a.faults import WireFault, invalid
from hive_a2a.policy import BreakerLimits, Policy, RateLimits
from hive_a2a.ports import Stage
from hive_a2a.stages.audit import AuditUnavailableError, MemoryAudit
from hive_a2a.stages.breaker import MemoryCircuits
from hive_a2a.stages.chain import CALL_ID_FACT, ChainParts
from hive_a2a.stages.extensions import RequiredExtensions, required_extensions
from hive_a2a.stages.guard import ALLOW, Redact, Refuse, redacted
from hive_a2a.stages.schema import SkillSchema
from hive_a2a.stages.tenuo_warrants import TenuoWarrants
from tests.stages_rig import (
    FREE_RATE,
    SetClock,
    a_call,
    a_card,
    a_chain,
    an_answer,
    an_event,
    answering,
    streaming,
)

pytestmark = pytest.mark.anyio
OUT = {"s": SkillSchema(output={"type": "object", "required": ["total"]})}


class NumberGuard:
    """Replaces parts by their number, or refuses the word that it was given."""

    def __init__(self, refuses: str = "") -> None:
        self._refuses = refuses

    async def before(self, call):
        return self._judge(call.params)

    async def after(self, call, answer):
        return self._judge(answer)

    async def event(self, call, event):
        return self._judge(event)

    def _judge(self, shown):
        if self._refuses and self._refuses in str(shown):
            return Refuse("no")
        if "redact" in str(shown):

            def judge(part):
                part.text = part.text.replace("redact", "***")
                return part

            return Redact(redacted(shown, judge))
        return ALLOW


async def drained(chain, call, run) -> list:
    async with aclosing(chain.stream(call, run)) as events:
        return [event async for event in events]


def endings(audit) -> list[tuple[str, str, str, int]]:
    return [
        (str(one.ending), one.stage, one.error, one.events)
        for one in audit.records
        if one.kind != "attempt"
    ]


async def test_a_call_is_recorded_before_and_after_the_handler():
    audit = MemoryAudit()
    chain = a_chain(ChainParts(audit=audit))
    call = a_call(skill="s", tenant="t")
    answer = an_answer()

    async def run():
        assert [one.kind for one in audit.records] == ["attempt"]
        return answer

    assert await chain.unary(call, run) is answer
    attempt, outcome = audit.records
    assert attempt.call == outcome.call == call.facts[CALL_ID_FACT]
    assert (attempt.method, attempt.caller, attempt.tenant) == (
        "SendMessage",
        call.caller.name,
        "t",
    )
    assert len(attempt.content) == len(attempt.peer) == len(outcome.answer) == 64
    assert outcome.ending == "completed"


async def test_a_stream_is_recorded_until_its_last_event():
    audit = MemoryAudit()
    chain = a_chain(ChainParts(audit=audit))
    events = await drained(chain, a_call(), streaming(an_event("a"), an_event("b")))
    assert len(events) == 2
    assert endings(audit) == [("completed", "", "", 2)]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (RuntimeError("x"), "INTERNAL_ERROR"),
        (TaskNotFoundError(), "TASK_NOT_FOUND"),
        (InternalError(), "INTERNAL_ERROR"),
        (invalid("x"), "INVALID_PARAMS"),
    ],
)
async def test_what_a_handler_raises_is_passed_on_and_recorded_as_its_failure(error, word):
    audit = MemoryAudit()
    chain = a_chain(ChainParts(audit=audit))
    with pytest.raises(type(error)):
        await chain.unary(a_call(), answering(error))
    with pytest.raises(type(error)):
        await drained(chain, a_call(), streaming(an_event("a"), error))
    assert endings(audit) == [("failed", "", word, 0), ("failed", "", word, 1)]


async def test_a_cancelled_call_and_a_broken_stream_are_recorded_as_that():
    audit = MemoryAudit()
    chain = a_chain(ChainParts(audit=audit))
    closed = anyio.Event()

    async def forever():
        await anyio.sleep_forever()

    async def stream_forever():
        try:
            yield an_event("a")
            yield an_event("b")
            await anyio.sleep_forever()
        finally:
            closed.set()

    with anyio.move_on_after(0.02):
        await chain.unary(a_call(), forever)
    with anyio.move_on_after(0.02):
        await drained(chain, a_call(), stream_forever)
    assert closed.is_set()
    async with aclosing(chain.stream(a_call(), stream_forever)) as events:
        await anext(events)
    assert [one[0] for one in endings(audit)] == ["cancelled", "cancelled", "broken"]
    assert [one[3] for one in endings(audit)] == [0, 2, 1]


async def test_the_order_of_the_stages_is_that_of_the_standard_chain():
    audit = MemoryAudit()
    policy = Policy(rate=RateLimits(per_s=0.001, burst=2))
    parts = ChainParts(
        audit=audit,
        guards=[NumberGuard("forbidden")],
        schemas={"s": SkillSchema(input={"type": "object"})},
        clock=SetClock(),
    )
    chain = a_chain(parts, policy=policy, card=a_card("s", required=("urn:x",)))
    ready = {"extensions": frozenset({"urn:x"})}
    for call in (
        a_call([1], "forbidden"),
        a_call([1], "forbidden", **ready, headers={"a2a-warrant": "x"}),
        a_call([1], "forbidden", **ready),
        a_call("forbidden", **ready),
    ):
        with pytest.raises(WireFault):
            await chain.unary(call, answering(an_answer()))
    assert [one[1] for one in endings(audit)] == ["extensions", "warrant", "schema", "rate"]
    assert {one[0] for one in endings(audit)} == {"refused"}
    assert all(one.kind == "refused" for one in audit.records)


async def test_an_answer_may_be_refused_after_the_handler():
    audit = MemoryAudit()
    chain = a_chain(ChainParts(audit=audit, schemas=OUT, guards=[NumberGuard("forbidden")]))
    for answer in (an_answer({"x": 1}), an_answer("forbidden")):
        with pytest.raises(WireFault):
            await chain.unary(a_call(skill="s"), answering(answer))
    for event in (an_event({"x": 1}), an_event("forbidden")):
        with pytest.raises(WireFault):
            await drained(chain, a_call(skill="s"), streaming(an_event("ok"), event))
    assert endings(audit) == [
        ("refused", "schema", "INVALID_AGENT_RESPONSE", 0),
        ("refused", "guard", "REFUSED", 0),
        ("refused", "schema", "INVALID_AGENT_RESPONSE", 1),
        ("refused", "guard", "REFUSED", 1),
    ]


async def test_redactions_reach_handler_and_caller():
    chain = a_chain(ChainParts(audit=MemoryAudit(), guards=[NumberGuard()]))
    call = a_call("redact me")

    async def run():
        assert call.params.message.parts[0].text == "*** me"
        return an_answer("redact this")

    assert (await chain.unary(call, run)).parts[0].text == "*** this"
    (event,) = await drained(chain, a_call(), streaming(an_event("redact")))
    assert event.artifact_update.artifact.parts[0].text == "***"


async def test_without_schemas_a_guard_alone_judges_and_nothing_is_nothing():
    chain = a_chain(ChainParts(audit=MemoryAudit(), guards=[NumberGuard()], schemas=OUT))
    params = GetTaskRequest(id="t")
    assert await chain.unary(a_call(method="GetTask", params=params), answering(None)) is None


async def test_only_the_handlers_failures_open_the_breaker():
    clock = SetClock()
    policy = Policy(rate=FREE_RATE, breaker=BreakerLimits(failures=2, rest_s=10))
    circuits = MemoryCircuits()
    parts = ChainParts(
        audit=MemoryAudit(), clock=clock, circuits=circuits, schemas=OUT,
        guards=[NumberGuard("forbidden")], limiter=TokenBuckets(FREE_RATE, clock),
    )  # fmt: skip
    chain = a_chain(parts, policy=policy)
    for error in (TaskNotFoundError(), invalid("x"), an_answer("forbidden")):
        for _ in range(3):
            with pytest.raises((WireFault, TaskNotFoundError)):
                await chain.unary(a_call(skill="s"), answering(error))
    assert len(circuits) == 0
    with pytest.raises(WireFault):
        await chain.unary(a_call(skill="s"), answering(an_answer({"bad": 1})))
    with pytest.raises(RuntimeError):
        await drained(chain, a_call(skill="s"), streaming(an_event("a"), RuntimeError()))
    with pytest.raises(WireFault) as resting:
        await chain.unary(a_call(skill="s"), answering(an_answer()))
    assert resting.value.metadata["check"] == "breaker"
    clock.move(10)
    await drained(chain, a_call(skill="s"), streaming(an_event("a")))
    await chain.unary(a_call(skill="s"), answering(an_answer()))


async def test_a_record_that_cannot_be_written_stops_the_call():
    class FullAudit(MemoryAudit):
        async def attempt(self, record):
            raise AuditUnavailableError("full")

    audit = FullAudit()
    chain = a_chain(ChainParts(audit=audit))
    with pytest.raises(WireFault) as refused:
        await chain.unary(a_call(), answering(AssertionError("the handler was called")))
    assert (refused.value.status, refused.value.retry_after_s) == (503, 5.0)
    assert endings(audit) == [("refused", "audit", "UNAVAILABLE", 0)]


async def test_everything_off_is_a_bare_handler():
    policy = Policy.secure().without(*Stage)
    chain = a_chain(ChainParts(guards=[NumberGuard("x")], schemas=OUT), policy=policy)
    call = a_call("x", {"no": 1}, skill="s", headers={"a2a-warrant": "junk"})
    assert await chain.unary(call, answering(an_answer())) is not None
    assert len(await drained(chain, call, streaming(an_event("x")))) == 1
    assert not call.facts


async def test_what_is_switched_off_shows_in_every_entry():
    audit = MemoryAudit()
    policy = Policy(rate=FREE_RATE).without(Stage.GUARD)
    chain = a_chain(ChainParts(audit=audit), policy=policy)
    await chain.unary(a_call(), answering(an_answer()))
    assert all(one.weakened == ("off:guard",) for one in audit.records)


async def test_a_chain_that_would_be_less_than_its_policy_is_not_made():
    with pytest.raises(A2AError, match="wants a record"):
        a_chain()
    for policy in (
        Policy(warrants_required=True),
        Policy(warrants_required=True).without(Stage.WARRANT),
    ):
        check = None if policy.on(Stage.WARRANT) else TenuoWarrants([b"\x01" * 32])
        with pytest.raises(A2AError, match="wants warrants"):
            a_chain(ChainParts(audit=MemoryAudit(), warrants=check), policy=policy)
    with pytest.raises(A2AError, match="name of a method"):
        a_chain(ChainParts(audit=MemoryAudit()), card=a_card("a2a.GetTask"))


async def test_required_extensions_are_named_and_a_seal_may_meet_one():
    card = a_card(required=("urn:a", "urn:b"))
    assert required_extensions(card) == ("urn:a", "urn:b")
    stage = RequiredExtensions(required_extensions(card), met_by_seal=["urn:a"])
    with pytest.raises(WireFault) as refused:
        stage.admit(a_call())
    assert refused.value.kind.code == -32008
    assert refused.value.metadata["extensions"] == "urn:a,urn:b"
    with pytest.raises(WireFault):
        stage.admit(a_call(extensions=frozenset({"urn:b"})))
    stage.admit(a_call(extensions=frozenset({"urn:b"}), sealed=True))
    stage.admit(a_call(extensions=frozenset({"urn:a", "urn:b"})))


async def test_a_card_without_a_url_has_no_audience():
    card = a_card("s")
    del card.supported_interfaces[:]
    chain = a_chain(ChainParts(audit=MemoryAudit()), card=card)
    await chain.unary(a_call(), answering(an_answer()))
