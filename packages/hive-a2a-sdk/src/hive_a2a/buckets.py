"""Token buckets: how often may somebody do something, with bounded memory of who did?

A name that anybody can have many of is counted with smaller buckets, and an IPv6 address as its /64,
since whoever has one address of it has all. The number of buckets is bounded, and a bucket that is not full
again is never thrown away to make room: who comes when all are taken shares one bucket with the
others who do. So neither invented names nor many addresses buy more.

A bucket is kept as one number: the moment at which it is full again.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from hive_a2a.clock import WallClock
from hive_a2a.policy import RateLimits

_IPV6_HOST_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class RateKey:
    """Whose bucket: `stranger` chooses the size, `text` the bucket."""

    text: str
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class BucketSize:
    """How fast a bucket fills, and how much it holds."""

    per_s: float
    burst: int

    def full_at(self, was_full_at: float, now: float, cost: float) -> tuple[float, float]:
        """Return when it is full again after taking, and how long to wait first (0: take now)."""
        then = max(was_full_at, now) + cost / self.per_s
        return then, max(0.0, then - now - self.burst / self.per_s)


def sizes_of(limits: RateLimits) -> dict[bool, BucketSize]:
    """Return the size of a known caller's bucket, and of a stranger's (True)."""
    return {
        False: BucketSize(limits.per_s, limits.burst),
        True: BucketSize(limits.stranger_per_s, limits.stranger_burst),
    }


class TokenBuckets:
    """Buckets of this process."""

    def __init__(self, limits: RateLimits, clock: WallClock) -> None:
        self._sizes = sizes_of(limits)
        self._clock = clock
        self._buckets_max = limits.buckets_max
        self._full_at: dict[bool, OrderedDict[str, float]] = {
            False: OrderedDict(),
            True: OrderedDict(),
        }
        self._crowd_full_at = {False: 0.0, True: 0.0}

    def __len__(self) -> int:
        return sum(map(len, self._full_at.values()))

    async def take(self, key: RateKey, cost: float = 1.0) -> float | None:
        """Take; return None, or the seconds after which there will be enough, having taken nothing."""
        return self.take_now(key, cost)

    def take_now(self, key: RateKey, cost: float = 1.0) -> float | None:
        """Take without waiting: these buckets never need to."""
        now = self._clock.monotonic()
        buckets = self._full_at[key.stranger]
        size = self._sizes[key.stranger]
        was = buckets.get(key.text)
        crowded = was is None and not self._room(buckets, now)
        if crowded:
            was = self._crowd_full_at[key.stranger]
        then, wait_s = size.full_at(was or 0.0, now, cost)
        if wait_s > 0:
            return wait_s
        if crowded:
            self._crowd_full_at[key.stranger] = then
        else:
            buckets[key.text] = then
            buckets.move_to_end(key.text)
        return None

    def _room(self, buckets: OrderedDict[str, float], now: float) -> bool:
        """Make room by the bucket that was used longest ago, if it is full again and so says nothing."""
        if len(buckets) < self._buckets_max:
            return True
        text, full_at = next(iter(buckets.items()))
        if full_at > now:
            return False
        del buckets[text]
        return True


def network_of(address: str) -> str:
    """Return what an address is counted under: itself, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{int(parsed) >> _IPV6_HOST_BITS:x}/64"
    return address
