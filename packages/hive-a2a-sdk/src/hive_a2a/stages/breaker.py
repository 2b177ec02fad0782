"""A skill whose handler keeps failing rests, so that callers hear it at once and the handler can recover.

Only failures of the handler count: what a stage refused and what the standard calls the caller's error
say nothing about the handler. A stream counts when it ends. Since a caller can also make a handler fail
by what it sends, one caller alone shuts only its own way: the skill rests for all when the failures
in a row come from different callers.

Closed, it lets all pass; open, none; after `rest_s` it is half open and lets `probes` calls try: one
success closes it, one failure opens it again. A probe that never ends stops counting as one after
`PROBE_MAX_S`.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from hive_a2a.call import WireCall
from hive_a2a.clock import WallClock
from hive_a2a.faults import UNAVAILABLE, WireFault
from hive_a2a.policy import BreakerLimits
from hive_a2a.ports import Stage
from hive_a2a.stages.counters import TRIES_MAX, SharedCounters
from hive_a2a.stages.rate import OTHER_SKILL, rate_name

CIRCUITS_MAX: Final = 10_000
PROBE_MAX_S: Final = 300.0
CIRCUIT_TTL_S: Final = 3600.0
HANDLED: Final = frozenset({"SendMessage", "SendStreamingMessage"})
"""The methods that run the agent; the others read and write stores."""


class Circuit(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What is known of one handler: failures in a row, by whom the last, since when it rests, who probes."""

    failures: int = 0
    last_by: str = ""
    open_since: float = 0.0
    probes: int = 0
    probe_at: float = 0.0


_CLOSED: Final = Circuit()
_decoder: Final = msgspec.msgpack.Decoder(Circuit)
_encoder: Final = msgspec.msgpack.Encoder()


class CircuitStore(Protocol):
    """Where circuits are kept."""

    async def load(self, name: str) -> tuple[Circuit, int | None]:
        """Return a circuit and its revision; a closed one where there is none."""
        ...

    async def save(self, name: str, circuit: Circuit, revision: int | None) -> bool:
        """Write a circuit if nobody did since; tell whether it was."""
        ...


class MemoryCircuits:
    """Circuits of this process; the ones unused longest are forgotten first, open ones last."""

    def __init__(self, *, circuits_max: int = CIRCUITS_MAX) -> None:
        self._circuits_max = circuits_max
        self._circuits: OrderedDict[str, tuple[Circuit, int]] = OrderedDict()
        self._revision = 0

    def __len__(self) -> int:
        return len(self._circuits)

    async def load(self, name: str) -> tuple[Circuit, int | None]:
        """Return a circuit and its revision; a closed one where there is none."""
        return self._circuits.get(name, (_CLOSED, None))

    async def save(self, name: str, circuit: Circuit, revision: int | None) -> bool:
        """Write a circuit if nobody did since; tell whether it was."""
        found = self._circuits.get(name)
        if (found[1] if found else None) != revision:
            return False
        if circuit == _CLOSED:
            self._circuits.pop(name, None)
            return True
        self._revision += 1
        self._circuits[name] = (circuit, self._revision)
        self._circuits.move_to_end(name)
        while len(self._circuits) > self._circuits_max:
            self._forget_one()
        return True

    def _forget_one(self) -> None:
        for name, (circuit, _) in list(self._circuits.items())[:16]:
            if not circuit.open_since:
                del self._circuits[name]
                return
        self._circuits.popitem(last=False)


class SharedCircuits:
    """Circuits that several servers share."""

    def __init__(self, store: SharedCounters) -> None:
        self._store = store

    async def load(self, name: str) -> tuple[Circuit, int | None]:
        """Return a circuit and its revision; a closed one where there is none."""
        found = await self._store.read(f"breaker/{name}")
        return (_CLOSED, None) if found is None else (_decoder.decode(found[0]), found[1])

    async def save(self, name: str, circuit: Circuit, revision: int | None) -> bool:
        """Write a circuit if nobody did since; tell whether it was."""
        return await self._store.swap(
            f"breaker/{name}", _encoder.encode(circuit), revision=revision, ttl_s=CIRCUIT_TTL_S
        )


@dataclass(slots=True)
class BreakerPassage:
    """One call on its way through the breaker; must be ended exactly once.

    `names` are its circuits (the skill's, the caller's own), `probing` those where it is a probe.
    """

    names: tuple[str, str] | None
    who: str = ""
    probing: tuple[str, ...] = ()


class BreakerStage:
    """The stage: `admit` before the handler, `end` after it."""

    def __init__(
        self,
        limits: BreakerLimits,
        clock: WallClock,
        *,
        store: CircuitStore | None = None,
        agent: str = "",
        skills: Collection[str] = (),
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._store: CircuitStore = MemoryCircuits() if store is None else store
        self._agent = agent
        self._skills = frozenset(skills)

    @property
    def waits(self) -> bool:
        """Tell whether it may wait for somebody else."""
        return not isinstance(self._store, MemoryCircuits)

    async def admit(self, call: WireCall) -> BreakerPassage:
        """Let a call pass whose handler does not rest.

        Raises:
            WireFault: unavailable, with the seconds after which it will be tried again.

        """
        if call.method not in HANDLED:
            return BreakerPassage(None)
        who = rate_name(call)[0]
        known = call.skill if not call.skill or call.skill in self._skills else OTHER_SKILL
        skill = f"{self._agent}\x00{known}"
        names = (skill, f"{skill}\x00{who}")
        probing: list[str] = []
        for name in names:
            wait_s = await self._enter(name, probing)
            if wait_s is not None:
                await self._give_back(probing)
                raise _resting(wait_s)
        return BreakerPassage(names, who, tuple(probing))

    async def end(self, passage: BreakerPassage, *, worked: bool | None) -> None:
        """Say how it went: the handler worked, it failed, or (None) it was never asked or is not to blame."""
        if passage.names is None:
            return
        if worked is None:
            await self._give_back(passage.probing)
            return
        skill, own = passage.names
        for name, who in ((own, ""), (skill, passage.who)):
            probe = name in passage.probing
            step = _worked if worked else self._failed
            await self._change(name, lambda circuit: step(circuit, who, probe))  # noqa: B023

    async def _enter(self, name: str, probing: list[str]) -> float | None:
        """Return None if a call may pass; else after how long it should ask again."""
        for _ in range(TRIES_MAX):
            circuit, revision = await self._store.load(name)
            if not circuit.open_since:
                return None
            now = self._now()
            rested_s = now - circuit.open_since
            if rested_s < self._limits.rest_s:
                return self._limits.rest_s - rested_s
            stale = now - circuit.probe_at >= PROBE_MAX_S
            under_way = 0 if stale else circuit.probes
            if under_way >= self._limits.probes:
                return 1.0
            tried = msgspec.structs.replace(circuit, probes=under_way + 1, probe_at=now)
            if await self._store.save(name, tried, revision):
                probing.append(name)
                return None
        return 1.0

    async def _give_back(self, probing: list[str] | tuple[str, ...]) -> None:
        for name in probing:
            await self._change(
                name,
                lambda circuit: (
                    msgspec.structs.replace(circuit, probes=circuit.probes - 1)
                    if circuit.probes
                    else None
                ),
            )

    async def _change(self, name: str, change: "_Change") -> None:
        """Change a circuit; give up where others change it all the time: they know as much."""
        for _ in range(TRIES_MAX):
            circuit, revision = await self._store.load(name)
            changed = change(circuit)
            if changed is None or await self._store.save(name, changed, revision):
                return

    def _failed(self, circuit: Circuit, who: str, probe: bool) -> Circuit | None:  # noqa: FBT001
        """Return a circuit after a failure; `who` is empty where it counts whoever caused it."""
        if circuit.open_since:
            # What began before it opened says nothing new.
            return msgspec.structs.replace(_CLOSED, open_since=self._now()) if probe else None
        if who and circuit.failures and circuit.last_by == who:
            return None
        failures = circuit.failures + 1
        opened = self._now() if failures >= self._limits.failures else 0.0
        return Circuit(failures=failures, last_by=who, open_since=opened)

    def _now(self) -> float:
        return self._clock.now().timestamp()


class _Change(Protocol):
    def __call__(self, circuit: Circuit, /) -> Circuit | None: ...


def _worked(circuit: Circuit, who: str, probe: bool) -> Circuit | None:  # noqa: FBT001
    """Return a circuit after a success."""
    if circuit == _CLOSED or (circuit.open_since and not probe):
        return None
    return _CLOSED


def _resting(wait_s: float) -> WireFault:
    return WireFault(
        UNAVAILABLE,
        "This skill failed too often and rests.",
        retry_after_s=max(1.0, wait_s),
        metadata={"check": str(Stage.BREAKER)},
    )
