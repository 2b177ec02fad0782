"""A turn that runs again gets what it got before, and never repeats a *once* effect by itself."""

from dataclasses import replace
from datetime import UTC, datetime

from hive.core.call import (
    Call,
    EffectClass,
    Outcome,
    Principal,
    PrincipalKind,
    TraceContext,
    Verb,
)
from hive.core.ids import CallId, OwnerId, SpanId, TraceId
from hive.kernel.replay import Parked, RecordedCall, Rerun, key_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALL = Call(
    id=CallId("c"),
    principal=Principal(kind=PrincipalKind.AGENT, name="a", owner=OwnerId("o")),
    verb=Verb.ASK,
    target="m",
    effect=EffectClass.IDEMPOTENT,
    argument_hash="h",
    at=NOW,
    deadline=NOW,
    trace=TraceContext(trace_id=TraceId("1" * 32), span_id=SpanId("2" * 16)),
)


def recorded(call: Call, name: str, outcome: Outcome | None = Outcome.OK) -> RecordedCall:
    return RecordedCall(
        id=CallId(name), key=key_of(call), effect=call.effect, outcome=outcome, target=call.target
    )


def test_equal_calls_get_their_results_in_the_order_in_which_they_were_made():
    rerun = Rerun.of([recorded(CALL, "1"), recorded(CALL, "2")])
    assert [found.id for found in (rerun.match(CALL), rerun.match(CALL))] == ["1", "2"]
    assert rerun.match(CALL) is None


def test_calls_side_by_side_find_their_own_in_any_order():
    other = replace(CALL, argument_hash="other")
    rerun = Rerun.of([recorded(CALL, "1"), recorded(other, "2")])
    assert rerun.match(other).id == "2"
    assert rerun.match(CALL).id == "1"


def test_an_open_idempotent_call_goes_on_under_its_own_id():
    rerun = Rerun.of([recorded(CALL, "1", outcome=None)])
    found = rerun.match(CALL)
    assert (found.id, found.outcome) == ("1", None)


def test_an_open_once_effect_parks_the_turn():
    once = replace(CALL, effect=EffectClass.ONCE)
    parked = Rerun.of([recorded(once, "1", outcome=None)]).match(once)
    assert isinstance(parked, Parked)
    assert parked.call == "1"


def test_a_person_may_let_an_open_once_effect_happen_again():
    once = replace(CALL, effect=EffectClass.ONCE)
    rerun = Rerun.of([recorded(once, "1", outcome=None)], allowed=frozenset({CallId("1")}))
    assert rerun.match(once) is None


def test_a_divergence_goes_on_live_unless_a_once_effect_lies_ahead():
    stranger = replace(CALL, argument_hash="new")
    assert Rerun.of([recorded(CALL, "1")]).match(stranger) is None
    once = replace(CALL, effect=EffectClass.ONCE)
    assert isinstance(Rerun.of([recorded(once, "1")]).match(stranger), Parked)
