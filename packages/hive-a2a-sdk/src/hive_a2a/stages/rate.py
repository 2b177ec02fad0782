"""How often may one caller call? Token buckets: one a caller, and one a skill of it.

A caller without a name is its address, with smaller buckets. `SharedCounters` lets several servers share
the buckets.
"""

import math
import struct
from collections.abc import Collection
from typing import Final, Protocol

from hive_a2a.buckets import RateKey, network_of, sizes_of
from hive_a2a.call import WireCall
from hive_a2a.clock import WallClock
from hive_a2a.faults import BUSY, WireFault
from hive_a2a.policy import RateLimits
from hive_a2a.ports import Stage
from hive_a2a.stages.counters import TRIES_MAX, SharedCounters

_NUMBER: Final = struct.Struct(">d")
OTHER_SKILL: Final = "*"
"""The bucket of every skill that the card does not have."""


class RateLimiter(Protocol):
    """Takes tokens from buckets."""

    async def take(self, key: RateKey, cost: float = 1.0) -> float | None:
        """Take; return None, or the seconds after which there will be enough, having taken nothing."""
        ...


class SharedBuckets:
    """Buckets that several servers share; their clocks need to agree to a fraction of a second."""

    def __init__(self, limits: RateLimits, clock: WallClock, store: SharedCounters) -> None:
        self._sizes = sizes_of(limits)
        self._clock = clock
        self._store = store

    async def take(self, key: RateKey, cost: float = 1.0) -> float | None:
        """Take; return None, or the seconds after which there will be enough, having taken nothing.

        Where the store is too busy or too full to take part, that is a second: it fails closed.
        """
        size = self._sizes[key.stranger]
        name = f"rate/{'s' if key.stranger else 'c'}/{key.text}"
        for _ in range(TRIES_MAX):
            now = self._clock.now().timestamp()
            found = await self._store.read(name)
            was = _NUMBER.unpack(found[0])[0] if found else 0.0
            then, wait_s = size.full_at(was, now, cost)
            if wait_s > 0:
                return wait_s
            revision = found[1] if found else None
            ttl_s = max(1.0, then - now)
            if await self._store.swap(name, _NUMBER.pack(then), revision=revision, ttl_s=ttl_s):
                return None
        return 1.0


class RateStage:
    """The stage: takes one token of the caller, and one of the skill that it names."""

    def __init__(
        self,
        limiter: RateLimiter,
        limits: RateLimits,
        *,
        agent: str = "",
        skills: Collection[str] = (),
    ) -> None:
        self._limiter = limiter
        self._limits = limits
        self._agent = agent
        self._skills = frozenset(skills)

    async def admit(self, call: WireCall) -> None:
        """Let a call pass that is within its rates.

        Raises:
            WireFault: retry later, with the standard headers.

        """
        who, stranger = rate_name(call)
        wait_s = await self._limiter.take(RateKey(f"c:{who}", stranger))
        if wait_s is not None:
            raise self._too_many("caller", stranger, wait_s)
        if call.skill:
            skill = call.skill if call.skill in self._skills else OTHER_SKILL
            wait_s = await self._limiter.take(
                RateKey(f"s:{self._agent}\x00{skill}\x00{who}", stranger)
            )
            if wait_s is not None:
                raise self._too_many("skill", stranger, wait_s)

    def _too_many(self, what: str, stranger: bool, wait_s: float) -> WireFault:  # noqa: FBT001
        size = sizes_of(self._limits)[stranger]
        whole_s = max(1, math.ceil(wait_s))
        window_s = max(1, math.ceil(size.burst / size.per_s))
        return WireFault(
            BUSY,
            f"Too many calls of this {what}; try again in {whole_s} s.",
            retry_after_s=float(whole_s),
            metadata={"check": str(Stage.RATE), "limit": what},
            headers=(
                (b"ratelimit-policy", f'"{what}";q={size.burst};w={window_s}'.encode()),
                (b"ratelimit", f'"{what}";r=0;t={whole_s}'.encode()),
            ),
        )


def rate_name(call: WireCall) -> tuple[str, bool]:
    """Return the name that a call is counted under, and whether it is a stranger's."""
    if call.caller.known:
        return call.caller.name, False
    return network_of(call.head.peer_address), True
