"""The breaker: what opens it, what closes it, and whom it stops."""

import pytest

from hive_a2a.call import CallerIdentity
from hive_a2a.faults import WireFault
from hive_a2a.policy import BreakerLimits
from hive_a2a.stages.breaker import (
    PROBE_MAX_S,
    BreakerStage,
    Circuit,
    MemoryCircuits,
    SharedCircuits,
)
from hive_a2a.stages.counters import MemoryCounters
from tests.stages_rig import ALICE, BOB, SetClock, a_call

pytestmark = pytest.mark.anyio
LIMITS = BreakerLimits(failures=3, rest_s=10, probes=1)
CAROL = CallerIdentity(name="bearer:issuer#carol", scheme="bearer")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(params=["memory", "shared"])
def stage(request, clock) -> BreakerStage:
    store = MemoryCircuits() if request.param == "memory" else SharedCircuits(MemoryCounters(clock))
    return BreakerStage(LIMITS, clock, store=store, agent="echo", skills=["s", "t"])


async def end(stage, *, worked, caller=ALICE, skill="s"):
    await stage.end(await stage.admit(a_call(caller=caller, skill=skill)), worked=worked)


async def open_for_all(stage):
    for caller in (ALICE, BOB, CAROL):
        await end(stage, worked=False, caller=caller)


async def rests(stage, caller=ALICE, skill="s") -> float | None:
    try:
        passage = await stage.admit(a_call(caller=caller, skill=skill))
    except WireFault as fault:
        return fault.retry_after_s if fault.metadata == {"check": "breaker"} else None
    await stage.end(passage, worked=None)
    return None


async def test_a_resting_skill_says_when_to_come_again(stage):
    await open_for_all(stage)
    with pytest.raises(WireFault) as refused:
        await stage.admit(a_call(skill="s"))
    assert (refused.value.status, refused.value.retry_after_s) == (503, 10)
    assert refused.value.metadata == {"check": "breaker"}


async def test_failures_in_a_row_of_different_callers_open_it_for_all(stage):
    await open_for_all(stage)
    assert await rests(stage) == 10
    assert await rests(stage, CallerIdentity(name="new", scheme="bearer")) == 10
    assert await rests(stage, skill="t") is None, "another skill goes on"


async def test_a_success_between_begins_the_row_anew(stage):
    for _ in range(4):
        await end(stage, worked=False, caller=ALICE)
        await end(stage, worked=False, caller=BOB)
        await end(stage, worked=True, caller=ALICE)
        await end(stage, worked=True, caller=BOB)
    assert await rests(stage) is None


async def test_one_caller_alone_shuts_only_its_own_way(stage):
    for _ in range(3):
        await end(stage, worked=False, caller=ALICE)
    assert await rests(stage, ALICE) == 10
    assert await rests(stage, BOB) is None


async def test_refusals_and_callers_errors_do_not_count(stage):
    for _ in range(20):
        await end(stage, worked=None)
    assert await rests(stage) is None


async def test_half_open_one_probe_decides(stage, clock):
    await open_for_all(stage)
    clock.move(10)
    probe = await stage.admit(a_call(caller=BOB, skill="s"))
    assert await rests(stage, ALICE) == 1.0, "one probe at a time"
    await stage.end(probe, worked=False)
    assert await rests(stage, ALICE) == 10, "open again"
    clock.move(10)
    await end(stage, worked=True, caller=BOB)
    assert await rests(stage, ALICE) is None


async def test_a_probe_that_was_refused_later_gives_its_place_back(stage, clock):
    await open_for_all(stage)
    clock.move(10)
    await end(stage, worked=None)
    probe = await stage.admit(a_call(caller=BOB, skill="s"))
    await stage.end(probe, worked=True)
    assert await rests(stage) is None


async def test_a_probe_that_never_ends_is_forgotten(stage, clock):
    await open_for_all(stage)
    clock.move(10)
    await stage.admit(a_call(caller=BOB, skill="s"))
    assert await rests(stage, ALICE) == 1.0
    clock.move(PROBE_MAX_S)
    assert await rests(stage, ALICE) is None


async def test_a_caller_whose_own_way_is_shut_does_not_hold_the_probe_of_all(stage, clock):
    await open_for_all(stage)
    clock.move(5)
    for _ in range(3):
        # Began while it was closed, so that nothing shuts them out.
        await stage._change(f"echo\x00s\x00{ALICE.name}", lambda one: stage._failed(one, "", False))
    clock.move(5)
    assert await rests(stage, ALICE) == 5
    assert await rests(stage, BOB) is None


async def test_what_began_before_it_opened_says_nothing(stage, clock):
    early = [await stage.admit(a_call(caller=ALICE, skill="s")) for _ in range(2)]
    await open_for_all(stage)
    clock.move(5)
    await stage.end(early[0], worked=False)
    await stage.end(early[1], worked=True)
    assert await rests(stage, BOB) == 5


async def test_only_what_runs_the_agent_counts(stage):
    await open_for_all(stage)
    passage = await stage.admit(a_call(method="GetTask", skill="s"))
    await stage.end(passage, worked=False)


async def test_invented_skills_share_one_circuit(stage):
    for number, caller in enumerate((ALICE, BOB, CAROL)):
        await end(stage, worked=False, caller=caller, skill=f"invented-{number}")
    assert await rests(stage, skill="another") == 10
    assert await rests(stage, skill="s") is None


async def test_circuits_are_bounded_and_open_ones_stay_longest():
    circuits = MemoryCircuits(circuits_max=2)
    await circuits.save("open", Circuit(open_since=1.0), None)
    for name in ("a", "b"):
        assert await circuits.save(name, Circuit(failures=1), None)
    assert (await circuits.load("open"))[0].open_since == 1.0
    assert (await circuits.load("a"))[1] is None
    await circuits.save("b", Circuit(open_since=2.0), (await circuits.load("b"))[1])
    await circuits.save("c", Circuit(open_since=3.0), None)
    assert len(circuits) == 2
    assert not await circuits.save("c", Circuit(), 0), "somebody else wrote since"
    assert await circuits.save("c", Circuit(), (await circuits.load("c"))[1])
    assert len(circuits) == 1


async def test_a_store_that_never_yields_lets_no_probe_pass(clock):
    class StuckCircuits(MemoryCircuits):
        stuck = False

        async def save(self, name, circuit, revision):
            return not self.stuck and await super().save(name, circuit, revision)

    store = StuckCircuits()
    stage = BreakerStage(LIMITS, clock, store=store, skills=["s"])
    await open_for_all(stage)
    clock.move(10)
    store.stuck = True
    assert await rests(stage) == 1.0
    await stage.end(type(await stage.admit(a_call(method="GetTask")))(("x", "y")), worked=False)


async def test_two_servers_share_one_circuit(clock):
    counters = MemoryCounters(clock)
    one, other = (
        BreakerStage(LIMITS, clock, store=SharedCircuits(counters), skills=["s"]) for _ in range(2)
    )
    for stage, caller in ((one, ALICE), (other, BOB), (one, CAROL)):
        await end(stage, worked=False, caller=caller)
    assert await rests(one) == 10
    assert await rests(other) == 10
