"""How far an agent has kept its trust: a number between 0 and 1 of what the record says of it, fading with time.

An agent of which nothing is known has 1. A turn that failed and a refusal by a check that guards something lower it, an
alarm lowers it much. What ended well brings it back slowly, up to a bound: no amount of work that friends asked for makes up
for more than one alarm. Policy reads it as `input.reputation`, beside what was counted in the last hour; nothing else
depends on it. It is asked in memory, and kept by `StandingBook`: a node that starts again forgets nothing.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

AGENTS_MAX: Final = 10_000
HALF_LIFE_S: Final = 7 * 86_400.0
RECENT_S: Final = 3600.0
COUNTED_MAX: Final = 1000
BEGIN: Final = 5.0
WELL: Final = 1.0
BADLY: Final = 1.0
REFUSED: Final = 2.0
ALARM: Final = 10.0
GOOD_MAX: Final = ALARM
LOWEST: Final = 0.01


@dataclass(slots=True)
class Standing:
    """Weights of good and of bad, as of a moment in monotonic seconds."""

    good: float = 0.0
    bad: float = 0.0
    at_s: float = 0.0

    def faded(self, at_s: float) -> "Standing":
        """Return what is left of it later."""
        share = math.exp2(-max(0.0, at_s - self.at_s) / HALF_LIFE_S)
        return Standing(self.good * share, self.bad * share, at_s)


class Reputation:
    """The standing of all agents."""

    def __init__(self) -> None:
        self._standing: OrderedDict[str, Standing] = OrderedDict()
        self._changed: set[str] = set()

    @property
    def changed(self) -> bool:
        """Tell whether something is to be kept."""
        return bool(self._changed)

    def put(self, agent: str, standing: Standing) -> None:
        """Take over a standing that was kept."""
        self._standing[agent] = standing
        self._bound(agent)

    def take_changed(self) -> dict[str, Standing]:
        """Return what changed since the last time."""
        changed, self._changed = self._changed, set()
        # A standing is changed by putting another in its place, so what is handed out stays as it is.
        return {one: self._standing[one] for one in changed if one in self._standing}

    def give_back(self, changed: Iterable[str]) -> None:
        """Say that these could not be kept."""
        self._changed.update(one for one in changed if one in self._standing)

    def score(self, agent: str, at_s: float) -> float:
        """Return a number between 0.01 and 1 in hundredths; 1 for one of whom nothing is known."""
        standing = self._standing.get(agent)
        if standing is None:
            return 1.0
        now = standing.faded(at_s)
        share = (now.good + BEGIN) / (now.good + now.bad + BEGIN)
        return max(LOWEST, round(share, 2))

    def add(self, agent: str, at_s: float, *, good: float = 0.0, bad: float = 0.0) -> None:
        """Add to a standing."""
        now = self._standing.get(agent, Standing(at_s=at_s)).faded(at_s)
        now.good = min(GOOD_MAX, now.good + good)
        now.bad += bad
        self._standing[agent] = now
        self._changed.add(agent)
        self._bound(agent)

    def _bound(self, agent: str) -> None:
        self._standing.move_to_end(agent)
        if len(self._standing) > AGENTS_MAX:
            forgotten, _ = self._standing.popitem(last=False)
            self._changed.discard(forgotten)


@dataclass(slots=True)
class RecentTally:
    """How often something happened to each agent in the last hour, up to a thousand; times are monotonic seconds."""

    _times: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def add(self, agent: str, at_s: float) -> None:
        """Count one more."""
        times = self._times.setdefault(agent, deque(maxlen=COUNTED_MAX))
        times.append(at_s)
        self._times.move_to_end(agent)
        if len(self._times) > AGENTS_MAX:
            self._times.popitem(last=False)

    def count(self, agent: str, at_s: float) -> int:
        """Return how often it happened."""
        times = self._times.get(agent)
        if times is None:
            return 0
        while times and times[0] <= at_s - RECENT_S:
            times.popleft()
        if not times:
            del self._times[agent]
        return len(times)
