"""One provider while the node runs: its connection, how it does, and what was learned of it."""

from dataclasses import dataclass, field
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import EngineUnavailableError
from hive.core.randomness import Randomness
from hive.protocols.models.ports import Dialect, Upstream
from hive.protocols.models.routing.breaker import CircuitBreaker
from hive.protocols.models.routing.registry import UpstreamRow
from hive.protocols.models.routing.slots import Slots

LEARNED_S: Final = 600.0
REST_MAX_S: Final = 60.0
_SMOOTHING: Final = 0.2


@dataclass(slots=True, kw_only=True, eq=False)
class LiveUpstream:
    """A provider that is open, or the `problem` why it is not.

    `trusted` is false for one that was found and not added: it answers only who names it.
    """

    row: UpstreamRow
    clock: Clock
    breaker: CircuitBreaker
    slots: Slots
    trusted: bool = True
    upstream: Upstream | None = None
    problem: str = ""
    known: tuple[str, ...] = ()
    answered: int = 0
    failed: int = 0
    first_byte_ms: float | None = None
    retired: anyio.Event = field(default_factory=anyio.Event)
    idle: anyio.Event = field(default_factory=anyio.Event)
    _under_way: int = 0
    _unspoken: dict[Dialect, float] = field(default_factory=dict)
    _resting_until: float = 0.0

    @classmethod
    def of(
        cls, row: UpstreamRow, *, clock: Clock, randomness: Randomness, trusted: bool = True
    ) -> "LiveUpstream":
        """Make one that is not open yet."""
        options = row.options
        return cls(
            row=row,
            clock=clock,
            trusted=trusted,
            breaker=CircuitBreaker(clock=clock, randomness=randomness),
            slots=Slots(
                concurrent_max=options.concurrent_max,
                queue_max=options.queue_max,
                queue_s=options.queue_s,
            ),
        )

    @property
    def name(self) -> str:
        """Return its name."""
        return self.row.name

    @property
    def resting_s(self) -> float:
        """Return how long it asked to be left alone from now."""
        return max(0.0, self._resting_until - self.clock.monotonic())

    def rest(self, seconds: float) -> None:
        """Keep what it asked for with its `retry-after`."""
        until = self.clock.monotonic() + min(seconds, REST_MAX_S)
        self._resting_until = max(self._resting_until, until)

    def opened(self) -> Upstream:
        """Return the open provider.

        Raises:
            EngineUnavailableError: it could not be opened.

        """
        if self.upstream is None:
            raise EngineUnavailableError(
                f"The model provider {self.name!r} cannot be used.", why=self.problem
            )
        return self.upstream

    def spoken(self) -> frozenset[Dialect]:
        """Return its wires without those that it was found not to speak."""
        if self.upstream is None or not self._unspoken:
            return frozenset() if self.upstream is None else self.upstream.dialects
        now = self.clock.monotonic()
        self._unspoken = {one: until for one, until in self._unspoken.items() if until > now}
        return self.upstream.dialects - self._unspoken.keys()

    def forget_wire(self, dialect: Dialect) -> None:
        """Keep for a while that it does not speak a wire."""
        self._unspoken[dialect] = self.clock.monotonic() + LEARNED_S

    def began(self) -> None:
        """Count a question that is under way."""
        self._under_way += 1

    def ended(self) -> None:
        """Count its end."""
        self._under_way -= 1
        if self.retired.is_set() and not self._under_way:
            self.idle.set()

    def retire(self) -> None:
        """Let it end as soon as no question is under way."""
        self.retired.set()
        if not self._under_way:
            self.idle.set()

    def count_answer(self, first_byte_ms: float) -> None:
        """Keep how long an answer took to begin."""
        self.answered += 1
        before = self.first_byte_ms
        self.first_byte_ms = (
            first_byte_ms if before is None else before + _SMOOTHING * (first_byte_ms - before)
        )
