"""Counts lines by the rules, and says when one has fired; bounded, and each alarm once in its time."""

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hive.core.json import Json
from hive.security.watchdog.rules import WatchRule

GROUPS_MAX: Final = 20_000
COUNTED_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A rule has fired for one group: how many lines, the last of which."""

    rule: WatchRule
    group: str
    count: int
    agent: str
    task: str
    call: str


@dataclass(slots=True)
class _Group:
    """The lines of one rule for one value, by their times."""

    seen: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=COUNTED_MAX))
    told_at: float | None = None

    def add(self, at: float, value: str, within_s: float) -> None:
        self.seen.append((at, value))
        while self.seen and self.seen[0][0] <= at - within_s:
            self.seen.popleft()


class Watch:
    """Sees the lines of the ledger in order."""

    def __init__(self, rules: Sequence[WatchRule]) -> None:
        self._groups: OrderedDict[tuple[str, str], _Group] = OrderedDict()
        self.rules = tuple(rules)

    def replace(self, rules: Sequence[WatchRule]) -> None:
        """Go on with other rules; what was counted for those that stay stands."""
        self.rules = tuple(rules)
        kept = {one.id for one in rules}
        for key in [key for key in self._groups if key[0] not in kept]:
            del self._groups[key]

    def see(self, line: Mapping[str, Json], at_s: float) -> list[Alarm]:
        """Take a line in, a flat object; return the alarms that it raises. `at_s` is monotonic."""
        return [
            alarm
            for rule in self.rules
            if rule.fits(line) and (alarm := self._count(rule, line, at_s)) is not None
        ]

    def _count(self, rule: WatchRule, line: Mapping[str, Json], at_s: float) -> Alarm | None:
        value = str(line.get(rule.by) or "")
        key = (rule.id, value)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
            if len(self._groups) > GROUPS_MAX:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        group.add(at_s, str(line.get(rule.distinct) or "") if rule.distinct else "", rule.within_s)
        count = len({one for _, one in group.seen}) if rule.distinct else len(group.seen)
        if count < min(rule.at_least, COUNTED_MAX):
            return None
        if group.told_at is not None and at_s - group.told_at < rule.within_s:
            return None
        group.told_at = at_s
        return Alarm(
            rule=rule,
            group=value,
            count=count,
            agent=str(line.get("agent") or ""),
            task=str(line.get("task") or ""),
            call=str(line.get("call") or ""),
        )
