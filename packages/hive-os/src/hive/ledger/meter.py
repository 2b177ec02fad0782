"""What the node did and spent, counted in memory as the writer tells of durable lines.

The page and the metrics read it, so that neither asks the database again and again. Every set of names is
bounded: an agent may ask for as many models as it likes, the rest of them is one, `other`.
"""

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final, Generic, TypeVar

from hive.core.call import Outcome
from hive.core.clock import Clock
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.ledger.cost import MINUTES_SHOWN, CostSum, ModelCall, PastSpend, model_call_of
from hive.ledger.entry import Entry, EntryKind
from hive.ledger.journal import body_of
from hive.ledger.refusals import REFUSALS_SUMMARISED

AGENTS_MAX: Final = 500
MODELS_PER_AGENT_MAX: Final = 16
SERIES_MAX: Final = 500
WAYS_MAX: Final = 64
CHECKS_MAX: Final = 64
OUTCOMES_MAX: Final = 64
LATENCIES_MAX: Final = 1000
NAME_MAX_CHARS: Final = 120
SECONDS_SHOWN: Final = 60
OTHER: Final = "other"
BOUNDS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)
_REFUSED: Final = '"decision":"refused"'
NameT = TypeVar("NameT")
KeptT = TypeVar("KeptT")


@dataclass(slots=True)
class Tally:
    """Calls, tokens and money, growing."""

    calls: int = 0
    failed: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    nano_usd: int = 0

    @property
    def tokens(self) -> int:
        """Return the tokens that went in and came out."""
        return self.input_tokens + self.output_tokens

    def count(self, call: ModelCall) -> None:
        """Add one call."""
        self.calls += 1
        self.failed += not call.answered
        self.unpriced += call.unpriced
        self.input_tokens += call.input_tokens or 0
        self.output_tokens += call.output_tokens or 0
        self.cached_tokens += call.cached_tokens or 0
        self.reasoning_tokens += call.reasoning_tokens or 0
        self.nano_usd += call.nano_usd or 0

    def add(self, one: "CostSum | Tally") -> None:
        """Add what was summed elsewhere."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(one, name))


@dataclass(slots=True)
class Histogram:
    """Durations in seconds, counted below each bound; the last count is of all above."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def count(self, seconds: float) -> None:
        """Add one duration."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def copy(self) -> "Histogram":
        """Return one that grows no more."""
        return Histogram(counts=list(self.counts), sum_s=self.sum_s)


@dataclass(slots=True)
class ModelSeries:
    """All calls of one agent to one model by one upstream."""

    tally: Tally = field(default_factory=Tally)
    outcomes: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class WaySeries:
    """How long one model of one upstream takes."""

    duration: Histogram = field(default_factory=Histogram)
    first_token: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class AgentTally:
    """What one agent spent."""

    total: Tally = field(default_factory=Tally)
    today: Tally = field(default_factory=Tally)


@dataclass(slots=True, kw_only=True)
class Bounded(Generic[NameT, KeptT]):
    """A table that stops growing: what has no place is kept under one name for all the rest."""

    most: int
    rest: NameT
    make: Callable[[], KeptT]
    kept: dict[NameT, KeptT] = field(default_factory=dict)

    def of(self, name: NameT) -> KeptT:
        """Return what is kept under a name, or under the rest's."""
        found = self.kept.get(name)
        if found is not None:
            return found
        if len(self.kept) >= self.most:
            name = self.rest
        return self.kept.setdefault(name, self.make())


class Ring:
    """Sums of the newest slots of equal width, one number each for tokens and money."""

    def __init__(self, slots: int, width_s: int) -> None:
        self._slots = slots
        self._width_s = width_s
        self._kept: dict[int, list[int]] = {}

    def put(self, slot: int, tokens: int, nano_usd: int) -> None:
        """Count in a slot, by its number since 1970."""
        kept = self._kept.setdefault(slot, [0, 0])
        kept[0] += tokens
        kept[1] += nano_usd
        if len(self._kept) > 2 * self._slots:
            newest = max(self._kept)
            self._kept = {n: v for n, v in self._kept.items() if n > newest - self._slots}

    def row(self, now: datetime) -> list[tuple[int, int]]:
        """Return tokens and money of each slot until now, the oldest first."""
        last = self._slot(now)
        return [
            (kept[0], kept[1])
            for slot in range(last - self._slots + 1, last + 1)
            for kept in (self._kept.get(slot, (0, 0)),)
        ]

    def _slot(self, at: datetime) -> int:
        return int(at.timestamp()) // self._width_s


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFigures:
    """A copy of all counters, for who reads them on another thread."""

    entries: int
    calls: Mapping[tuple[str, str], int]
    refusals: Mapping[str, int]
    outcomes: Sequence[tuple[tuple[str, str, str], Mapping[str, int]]]
    sums: Sequence[tuple[tuple[str, str, str], Tally]]
    durations: Sequence[tuple[tuple[str, str], Histogram]]
    first_tokens: Sequence[tuple[tuple[str, str], Histogram]]


class SpendMeter:
    """Counts every durable line. Call `observe` as the writer's observer; it never awaits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.entries = 0
        self.calls: Counter[tuple[str, str]] = Counter()
        self.refusals: Counter[str] = Counter()
        self.series: Bounded[tuple[str, str, str], ModelSeries] = Bounded(
            most=SERIES_MAX, rest=(OTHER, OTHER, OTHER), make=ModelSeries
        )
        self.ways: Bounded[tuple[str, str], WaySeries] = Bounded(
            most=WAYS_MAX, rest=(OTHER, OTHER), make=WaySeries
        )
        self.agents: Bounded[str, AgentTally] = Bounded(
            most=AGENTS_MAX, rest=OTHER, make=AgentTally
        )
        self._models_of: dict[str, set[str]] = {}
        self._day = clock.now().date()
        self._seconds = Ring(SECONDS_SHOWN, 1)
        self._minutes = Ring(MINUTES_SHOWN, 60)
        self._durations_ms: deque[float] = deque(maxlen=LATENCIES_MAX)
        self._first_tokens_ms: deque[float] = deque(maxlen=LATENCIES_MAX)
        self._chains: set[str] = set()
        self.complete = False

    @property
    def chains(self) -> Sequence[str]:
        """Return the chains whose lines are counted here, every one of them from its first."""
        return sorted(self._chains)

    @property
    def today(self) -> Tally:
        """Sum what all agents spent since midnight (UTC)."""
        self._turn_day(self._clock.now().date())
        return _sum(agent.today for agent in self.agents.kept.values())

    @property
    def total(self) -> Tally:
        """Sum what all agents spent."""
        return _sum(agent.total for agent in self.agents.kept.values())

    def observe(self, entries: Sequence[Entry]) -> None:
        """Count durable lines."""
        for entry in entries:
            self.entries += 1
            self._chains.add(entry.chain)
            if entry.kind is EntryKind.RESULT:
                self._result(entry)
            elif entry.kind is EntryKind.INTENT:
                # Inside a string its quotes would be escaped, so nobody can write this as a text.
                if _REFUSED in entry.body:
                    self._refused(body_of(entry))
            elif entry.name == REFUSALS_SUMMARISED:
                self._summary(body_of(entry))

    def add_past(self, past: PastSpend) -> None:
        """Count what the chains of earlier starts hold, once; from now on the totals are whole."""
        if self.complete:
            return
        self._turn_day(self._clock.now().date())
        for one in past.total:
            self.agents.of(_name(one.key["agent"])).total.add(one)
        if past.day == self._day:
            for one in past.on_day:
                self.agents.of(_name(one.key["agent"])).today.add(one)
        for minute, (tokens, nano_usd) in past.minutes.items():
            self._minutes.put(minute, tokens, nano_usd)
        self.complete = True

    def figures(self) -> MeterFigures:
        """Copy all counters: agent, model and upstream name a series, model and upstream a way."""
        series, ways = self.series.kept.items(), self.ways.kept.items()
        return MeterFigures(
            entries=self.entries,
            calls=dict(self.calls),
            refusals=dict(self.refusals),
            outcomes=[(name, dict(one.outcomes)) for name, one in series],
            sums=[(name, replace(one.tally)) for name, one in series],
            durations=[(name, one.duration.copy()) for name, one in ways],
            first_tokens=[(name, one.first_token.copy()) for name, one in ways],
        )

    def tokens_per_s(self) -> float:
        """Return the mean of the last minute."""
        seconds = self._seconds.row(self._clock.now())
        return sum(tokens for tokens, _ in seconds) / len(seconds)

    def minutes(self) -> list[tuple[int, int]]:
        """Return tokens and nano-dollars of each minute of the last hour."""
        return self._minutes.row(self._clock.now())

    def durations_ms(self, *shares: float) -> list[float | None]:
        """Return percentiles of how long the newest answered calls took."""
        return percentiles(self._durations_ms, shares)

    def first_tokens_ms(self, *shares: float) -> list[float | None]:
        """Return percentiles of how soon their first token came."""
        return percentiles(self._first_tokens_ms, shares)

    def _result(self, entry: Entry) -> None:
        call = model_call_of(entry)
        if call is not None:
            self._model_call(call)
        outcome = call.outcome if call is not None else str(body_of(entry).get("outcome"))
        ended = (_name(entry.name.partition(" ")[0]), _outcome(outcome))
        if ended not in self.calls and len(self.calls) >= OUTCOMES_MAX:
            ended = (OTHER, OTHER)
        self.calls[ended] += 1

    def _model_call(self, call: ModelCall) -> None:
        agent, model, upstream = self._labels(call)
        series = self.series.of((agent, model, upstream))
        series.tally.count(call)
        series.outcomes[_outcome(call.outcome)] += 1
        self._turn_day(call.at.date())
        spent = self.agents.of(agent)
        spent.total.count(call)
        if call.at.date() == self._day:
            spent.today.count(call)
        second, tokens, nano_usd = int(call.at.timestamp()), call.tokens, call.nano_usd or 0
        self._seconds.put(second, tokens, nano_usd)
        self._minutes.put(second // 60, tokens, nano_usd)
        if call.answered:
            self._times(call, model, upstream)

    def _times(self, call: ModelCall, model: str, upstream: str) -> None:
        way = self.ways.of((model, upstream))
        way.duration.count(call.duration_ms / 1000)
        self._durations_ms.append(call.duration_ms)
        if call.first_token_ms is not None:
            way.first_token.count(call.first_token_ms / 1000)
            self._first_tokens_ms.append(call.first_token_ms)

    def _labels(self, call: ModelCall) -> tuple[str, str, str]:
        """Return the names to count under; one agent's many models take no place from others."""
        agent, model = _name(call.agent), _name(call.model)
        models = self._models_of.get(agent)
        if models is None:
            if len(self._models_of) >= AGENTS_MAX:
                return OTHER, OTHER, OTHER
            models = self._models_of[agent] = set()
        if model not in models:
            if len(models) >= MODELS_PER_AGENT_MAX:
                model = OTHER
            else:
                models.add(model)
        return agent, model, _name(call.upstream)

    def _refused(self, body: Mapping[str, Json]) -> None:
        if body.get("decision") == "refused":
            self._count_refusals(str(body.get("check")), 1)

    def _summary(self, body: Mapping[str, Json]) -> None:
        counts = body.get("counts")
        for one in counts if isinstance(counts, list) else ():
            if isinstance(one, dict) and isinstance(one.get("count"), int):
                self._count_refusals(str(one.get("check")), int(str(one["count"])))

    def _count_refusals(self, check: str, times: int) -> None:
        check = _name(check)
        if check not in self.refusals and len(self.refusals) >= CHECKS_MAX:
            check = OTHER
        self.refusals[check] += times

    def _turn_day(self, day: date) -> None:
        if day <= self._day:
            return
        self._day = day
        for agent in self.agents.kept.values():
            agent.today = Tally()


def percentiles(values: Sequence[float], shares: Sequence[float]) -> list[float | None]:
    """Return percentiles, interpolated as `percentile_cont` of SQL does."""
    ordered = sorted(values)
    if not ordered:
        return [None] * len(shares)
    found: list[float | None] = []
    for share in shares:
        place = share * (len(ordered) - 1)
        low = ordered[math.floor(place)]
        found.append(low + (ordered[math.ceil(place)] - low) * (place % 1))
    return found


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def _outcome(text: str) -> str:
    return text if text in _OUTCOMES else OTHER


def _name(text: str) -> str:
    return plain_text(text[:NAME_MAX_CHARS]) or "-"
