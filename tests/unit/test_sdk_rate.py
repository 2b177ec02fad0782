"""Token buckets: who has which, how they fill, and that several servers can share them."""

import pytest

from hive_a2a.buckets import RateKey, TokenBuckets
from hive_a2a.faults import WireFault
from hive_a2a.policy import RateLimits
from hive_a2a.stages.counters import MemoryCounters
from hive_a2a.stages.rate import RateStage, SharedBuckets, rate_name
from tests.stages_rig import ALICE, BOB, SetClock, a_call, a_stranger

pytestmark = pytest.mark.anyio
LIMITS = RateLimits(per_s=2, burst=4, stranger_per_s=1, stranger_burst=2, buckets_max=3)


async def taken(limiter, key, most=20) -> int:
    for count in range(most):
        if await limiter.take(key) is not None:
            return count
    return most


@pytest.mark.parametrize("shared", [False, True])
async def test_a_bucket_gives_its_burst_then_fills_at_its_rate(shared):
    clock = SetClock()
    store = MemoryCounters(clock)
    limiter = SharedBuckets(LIMITS, clock, store) if shared else TokenBuckets(LIMITS, clock)
    assert await taken(limiter, RateKey("a")) == 4
    assert await limiter.take(RateKey("a")) == pytest.approx(0.5)
    clock.move(1.0)
    assert await taken(limiter, RateKey("a")) == 2
    assert await taken(limiter, RateKey("b", stranger=True)) == 2
    clock.move(3600)
    assert await taken(limiter, RateKey("a")) == 4


async def test_a_refused_call_takes_no_token():
    clock = SetClock()
    limiter = TokenBuckets(LIMITS, clock)
    assert await taken(limiter, RateKey("a")) == 4
    for _ in range(50):
        await limiter.take(RateKey("a"))
    clock.move(0.5)
    assert await limiter.take(RateKey("a")) is None


async def test_two_servers_share_one_bucket():
    clock = SetClock()
    store = MemoryCounters(clock)
    one, other = (SharedBuckets(LIMITS, clock, store) for _ in range(2))
    assert await taken(one, RateKey("a"), most=3) == 3
    assert await taken(other, RateKey("a")) == 1
    assert await taken(one, RateKey("a")) == 0


async def test_a_lost_race_is_run_again_and_a_store_that_never_yields_refuses():
    clock = SetClock()

    class RacingStore(MemoryCounters):
        lost = 0

        async def swap(self, name, value, *, revision, ttl_s):
            if self.lost:
                self.lost -= 1
                return False
            return await super().swap(name, value, revision=revision, ttl_s=ttl_s)

    store = RacingStore(clock)
    limiter = SharedBuckets(LIMITS, clock, store)
    store.lost = 3
    assert await limiter.take(RateKey("a")) is None
    store.lost = 1000
    assert await limiter.take(RateKey("a")) == 1.0


async def test_buckets_are_bounded_and_only_a_full_one_makes_room():
    clock = SetClock()
    limiter = TokenBuckets(LIMITS, clock)
    for name in "abc":
        assert await taken(limiter, RateKey(name)) == 4
    assert await taken(limiter, RateKey("d")) == 4, "the crowd's own bucket"
    assert await taken(limiter, RateKey("e")) == 0, "which everybody shares who came too late"
    assert await taken(limiter, RateKey("a")) == 0
    assert len(limiter) == 3
    clock.move(10)
    assert await taken(limiter, RateKey("e")) == 4
    assert len(limiter) == 3


async def test_a_shared_store_is_bounded_and_lets_old_names_go():
    clock = SetClock()
    store = MemoryCounters(clock, entries_max=2)
    for name in "ab":
        assert await store.swap(name, b"1", revision=None, ttl_s=10)
    assert not await store.swap("c", b"1", revision=None, ttl_s=10)
    assert not await store.swap("a", b"2", revision=None, ttl_s=10), "it is there already"
    clock.move(11)
    assert await store.read("a") is None
    assert await store.swap("c", b"1", revision=None, ttl_s=10)
    assert await store.swap("b", b"2", revision=None, ttl_s=10)
    assert len(store) == 2
    assert (await store.read("b") or (b"",))[0] == b"2"


async def test_a_call_takes_of_the_caller_and_of_the_skill():
    clock = SetClock()
    stage = RateStage(TokenBuckets(LIMITS, clock), LIMITS, skills=["s", "t"])
    for _ in range(4):
        await stage.admit(a_call(skill="s"))
    with pytest.raises(WireFault) as refused:
        await stage.admit(a_call(skill="t"))
    fault = refused.value
    assert fault.status == 429
    assert fault.retry_after_s == 1.0
    assert fault.metadata == {"check": "rate", "limit": "caller"}
    assert (b"ratelimit-policy", b'"caller";q=4;w=2') in fault.headers
    assert (b"ratelimit", b'"caller";r=0;t=1') in fault.headers
    await stage.admit(a_call(caller=BOB, skill="s"))


async def test_a_skill_has_a_bucket_of_its_own():
    clock = SetClock()

    class OnlySkills(TokenBuckets):
        async def take(self, key, cost=1.0):
            return await super().take(key, cost) if "\x00" in key.text else None

    stage = RateStage(OnlySkills(LIMITS, clock), LIMITS, skills=["s", "t"])
    for _ in range(4):
        await stage.admit(a_call(skill="s"))
    with pytest.raises(WireFault) as refused:
        await stage.admit(a_call(skill="s"))
    assert refused.value.metadata["limit"] == "skill"
    await stage.admit(a_call(skill="t"))


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::1", "20010db800000001/64"),
        ("2001:db8:0:1:ffff::9%eth0", "20010db800000001/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("no address", ""),
    ],
)
async def test_a_stranger_is_its_network(address, counted_as):
    assert rate_name(a_stranger(address)) == (counted_as, True)
    assert rate_name(a_call(address=address)) == (ALICE.name, False)
