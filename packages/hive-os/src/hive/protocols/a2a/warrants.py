"""A caller from elsewhere shows a warrant: verified here with its proof, then carried to the gate beside who calls.

The headers, the proof and its nonce are the SDK's; what the warrant allows inside is judged by the kernel, call by call.
A token says who calls, a warrant how much of what that caller may is wanted now.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Final, Protocol

from hive.core.clock import Clock
from hive.core.errors import ConflictError, EngineError, IdentityError
from hive.engines.ports import KeyValue
from hive.security.capability.warrant import Warrant
from hive_a2a.call import WireCall
from hive_a2a.faults import refused_by
from hive_a2a.stages.warrant import (
    FACT,
    PROOF_HEADER,
    WARRANT_HEADER,
    WarrantCheck,
    WarrantStage,
)

VERIFIED: Final = "hive.warrant"
"""Where `WireCall.facts` holds the `Warrant` that passed."""
STAGES_MAX: Final = 256


class WarrantVerifier(Protocol):
    """Who verifies what is shown, and by which roots."""

    @property
    def roots(self) -> Sequence[bytes]:
        """Return the public keys of those who may mint for this node."""
        ...

    def verify(self, token: str) -> Warrant:
        """Verify a chain. Raises IdentityError."""
        ...


class KeptNonces:
    """Nonces of proofs in the cluster's key-value store: none is taken twice, on any node, over any restart."""

    def __init__(self, store: KeyValue, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def claim(self, nonce: bytes, *, until: float) -> bool:
        """Take a nonce; False where it was taken before, or nothing can be remembered."""
        left_s = max(1.0, until - self._clock.now().timestamp())
        try:
            await self._store.create(nonce.hex(), b"1", ttl_s=left_s)
        except (ConflictError, EngineError):
            return False
        return True


class _WallTime:
    """The node's clock as the SDK asks for it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        """Return the time."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._clock.monotonic()


class ShownWarrants:
    """Verifies the warrants of callers; one stage for each audience, since a proof names its own."""

    def __init__(self, verifier: WarrantVerifier, nonces: KeptNonces, clock: Clock) -> None:
        self._verifier = verifier
        self._nonces = nonces
        self._clock = _WallTime(clock)
        self._stages: OrderedDict[str, WarrantStage] = OrderedDict()

    async def admit(self, call: WireCall, audience: str) -> None:
        """Let a call pass that shows no warrant, or one that is its caller's and allows to call so.

        Raises:
            WireFault: what is shown does not allow the call.

        """
        if call.head.headers.keys().isdisjoint((WARRANT_HEADER, PROOF_HEADER)):
            return  # Most callers show none, and the engine is loaded for the first that does.
        # A path names the agent to us; what the client bound in its proof is the tenant that it wrote itself.
        seen = replace(call, tenant=str(getattr(call.params, "tenant", "")))
        await self._stage(audience).admit(seen)
        call.facts.update(seen.facts)
        if FACT not in call.facts:
            return
        try:
            call.facts[VERIFIED] = self._verifier.verify(call.head.headers[WARRANT_HEADER])
        except IdentityError as error:
            raise refused_by("warrant", error.what, detail=error.why or "") from None

    @cached_property
    def _check(self) -> WarrantCheck:
        from hive_a2a.stages.tenuo_warrants import TenuoWarrants

        return TenuoWarrants(self._verifier.roots, clock=self._clock)

    def _stage(self, audience: str) -> WarrantStage:
        stage = self._stages.get(audience)
        if stage is None:
            stage = self._stages[audience] = WarrantStage(
                audience=audience, clock=self._clock, check=self._check, nonces=self._nonces
            )
            if len(self._stages) > STAGES_MAX:
                self._stages.popitem(last=False)
        return stage


def shown_in(call: WireCall) -> Warrant | None:
    """Return the warrant that was verified for a call, None where none was shown."""
    found = call.facts.get(VERIFIED)
    return found if isinstance(found, Warrant) else None
