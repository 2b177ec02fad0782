"""Ways around extensions, rates, breaker, guard and schema. Each one works where its stage is off."""

import pytest

from hive_a2a.buckets import TokenBuckets
from hive_a2a.call import CallerIdentity
from hive_a2a.faults import WireFault, invalid
from hive_a2a.policy import BreakerLimits, Policy, RateLimits
from hive_a2a.ports import Stage
from hive_a2a.stages.audit import MemoryAudit
from hive_a2a.stages.chain import ChainParts
from hive_a2a.stages.schema import SkillSchema
from tests.stages_rig import (
    ALICE,
    BOB,
    FREE_RATE,
    SetClock,
    a_call,
    a_card,
    a_chain,
    a_stranger,
    a_task,
    an_answer,
    an_event,
    answering,
    streaming,
)

pytestmark = pytest.mark.anyio
RATE = RateLimits(per_s=0.001, burst=5, stranger_per_s=0.001, stranger_burst=2, buckets_max=50)


def chain(*off, policy=None, card=None, **parts):
    policy = policy or Policy(rate=FREE_RATE)
    given = ChainParts(audit=MemoryAudit(), **{"clock": SetClock()} | parts)
    return a_chain(given, policy=policy.without(*off), card=card)


async def passed(chain, calls, answer=None) -> int:
    count = 0
    for call in calls:
        try:
            await chain.unary(call, answering(answer or an_answer()))
        except WireFault:
            continue
        count += 1
    return count


async def test_a_call_without_the_required_extension():
    card = a_card("s", required=("urn:must",))
    calls = [a_call(), a_call(extensions=frozenset({"urn:must2"})), a_call(method="GetTask")]
    assert await passed(chain(Stage.EXTENSIONS, card=card), calls) == 3
    assert await passed(chain(card=card), calls) == 0
    assert await passed(chain(card=card), [a_call(extensions=frozenset({"urn:must"}))]) == 1


@pytest.mark.parametrize("bound", [Stage.RATE])
async def test_many_tenants_skills_and_methods_buy_no_more_calls(bound):
    policy = Policy(rate=RATE)
    calls = [
        a_call(tenant=f"t-{number}", skill=f"s-{number}", method=method)
        for number in range(20)
        for method in ("SendMessage", "GetTask")
    ]
    assert await passed(chain(bound, policy=policy), calls) == 40
    assert await passed(chain(policy=policy), calls) == RATE.burst


async def test_many_addresses_buy_a_bounded_number_of_calls_and_nobody_elses_bucket():
    policy = Policy(rate=RATE)
    calls = [a_stranger(f"198.51.{n // 250}.{n % 250}") for n in range(1000) for _ in range(4)]
    assert await passed(chain(Stage.RATE, policy=policy), calls) == 4000
    clock = SetClock()
    buckets = TokenBuckets(RATE, clock)
    server = chain(policy=policy, limiter=buckets, clock=clock)
    assert await passed(server, [a_call() for _ in range(5)]) == 5
    flood = await passed(server, calls)
    assert flood <= RATE.stranger_burst * (RATE.buckets_max + 1)
    assert len(buckets) <= 2 * RATE.buckets_max
    assert await passed(server, [a_call()]) == 0, "the flood did not give a used bucket back"
    assert await passed(server, [a_call(caller=BOB)]) == 1, "nor did it take a known caller's"


async def test_one_ipv6_network_is_one_stranger():
    calls = [a_stranger(f"2001:db8:1:1::{number:x}") for number in range(1, 200)]
    assert await passed(chain(policy=Policy(rate=RATE)), calls) == RATE.stranger_burst


@pytest.mark.parametrize("name", [f"{ALICE.name}\x00echo\x00s", f"echo\x00s\x00{ALICE.name}"])
async def test_a_caller_cannot_pose_as_another_by_the_separators_of_a_name(name):
    evil = CallerIdentity(name=name, scheme="bearer")
    server = chain(policy=Policy(rate=RATE))
    await passed(server, [a_call(caller=evil, skill="s") for _ in range(10)])
    assert await passed(server, [a_call(skill="s") for _ in range(10)]) == RATE.burst


async def test_callers_errors_do_not_open_the_breaker_for_others():
    policy = Policy(rate=FREE_RATE, breaker=BreakerLimits(failures=3, rest_s=60))
    server = chain(policy=policy)
    for _ in range(20):
        with pytest.raises(WireFault):
            await server.unary(a_call(skill="s"), answering(invalid("the caller's own fault")))
    assert await passed(server, [a_call(skill="s", caller=BOB)]) == 1


async def test_one_caller_whose_messages_crash_the_agent_shuts_only_itself_out():
    policy = Policy(rate=FREE_RATE, breaker=BreakerLimits(failures=3, rest_s=60))

    async def crash(server, times):
        crashed = 0
        for _ in range(times):
            try:
                await server.unary(a_call(skill="s"), answering(ZeroDivisionError()))
            except ZeroDivisionError:
                crashed += 1
            except WireFault:
                pass
        return crashed

    assert await crash(chain(Stage.BREAKER, policy=policy), 20) == 20
    server = chain(policy=policy)
    assert await crash(server, 20) == 3
    assert await passed(server, [a_call(skill="s", caller=BOB)]) == 1


async def test_a_guard_that_crashes_on_purpose_lets_nothing_through():
    class FragileGuard:
        async def before(self, call):
            if len(call.params.message.parts[0].text) > 10:
                raise MemoryError("too long for me")
            raise RecursionError

        after = event = before

    calls = [a_call("x" * 100), a_call("x")]
    guards = [FragileGuard()]
    assert await passed(chain(Stage.GUARD, guards=guards), calls) == 2
    assert await passed(chain(guards=guards), calls) == 0


SCHEMAS = {
    "s": SkillSchema(
        input={"type": "object", "properties": {"n": {"type": "integer"}}},
        output={"type": "object", "required": ["total"]},
    ),
    "free": SkillSchema(),
}


async def test_a_skill_left_unnamed_does_not_dodge_its_schema():
    calls = [a_call({"n": "x"}), a_call({"n": "x"}, skill="unknown"), a_call({"n": "x"}, skill="s")]
    assert await passed(chain(Stage.SCHEMA, schemas=SCHEMAS), calls) == 3
    assert await passed(chain(schemas=SCHEMAS), calls) == 0


async def test_an_output_that_breaks_the_schema_in_a_stream_is_not_sent():
    events = [an_event({"total": 1}), an_event({"leak": "SECRET"}), an_event({"total": 2})]

    async def seen(server) -> tuple[list, str]:
        got = []
        stream = server.stream(a_call(skill="s"), streaming(*events))
        while True:
            try:
                got.append(await anext(stream))
            except StopAsyncIteration:
                return got, ""
            except WireFault as fault:
                return got, f"{fault.kind.code} {fault.message}"

    assert await seen(chain(Stage.SCHEMA, schemas=SCHEMAS)) == (events, "")
    got, told = await seen(chain(schemas=SCHEMAS))
    assert got == events[:1]
    assert told.startswith("-32006")
    assert "SECRET" not in told


async def test_a_refused_output_cannot_be_read_later_as_a_task():
    bad = a_task({"leak": "SECRET"}, task="t-9")

    async def read_later(server):
        await passed(server, [a_call(skill="s")], bad)
        return await passed(server, [a_call(method="GetTask", params=None)], bad)

    assert await read_later(chain(Stage.SCHEMA, schemas=SCHEMAS)) == 1
    assert await read_later(chain(schemas=SCHEMAS)) == 0
