"""What was seen once and may not come again: the memory behind every proof that is good for one use."""

import hashlib
from typing import Protocol

from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.faults import BUSY, WireFault
from hive_a2a.once import OnceFullError, OnceMemory


class OnceStore(Protocol):
    """Remembers what was used; a cluster shares one, or a proof is good once on each of its servers."""

    async def first_use(self, owner: str, nonce: str, *, for_s: float) -> bool:
        """Remember it for so long and return whether it is new.

        Raises:
            WireFault: it cannot be remembered now (429, 503); then it must not be accepted either.

        """
        ...


class MemoryOnce:
    """Remembers in this process, within bounds: a full store refuses."""

    def __init__(
        self,
        *,
        entries_max: int = 200_000,
        per_owner_max: int = 50_000,
        clock: WallClock | None = None,
    ) -> None:
        self._memory = OnceMemory(entries_max=entries_max, per_owner_max=per_owner_max)
        self._clock = clock or MachineClock()

    def __len__(self) -> int:
        return len(self._memory)

    async def first_use(self, owner: str, nonce: str, *, for_s: float) -> bool:
        """Remember it for so long and return whether it is new.

        Raises:
            WireFault: the store or the owner's share of it is full (429).

        """
        now = self._clock.monotonic()
        text = f"{owner}\x00{nonce}".encode("utf-8", "replace")
        key = hashlib.blake2b(text, digest_size=16).digest()
        try:
            return self._memory.first_use(key, until=now + for_s, now=now, owner=owner)
        except OnceFullError:
            raise WireFault(
                BUSY,
                "Too many proofs in too short a time.",
                retry_after_s=for_s,
                metadata={"check": "authentication"},
            ) from None
