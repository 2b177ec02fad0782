"""An agent that asks the same thing again and again: noticed, paused or stopped.

The same question is the same verb, target and argument hash within one task, in a row. Usage of a loop
like this is the costliest mistake that an agent makes while nobody looks.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Literal

from hive.core.call import Call, Refused, Verb
from hive.core.clock import Clock
from hive.core.ids import TaskId
from hive.kernel.budgets import SpendNotice

TASKS_MAX: Final = 10_000
PAUSE_S: Final = 30.0
LOOP: Final = "budget.loop"
Reaction = Literal["off", "warn", "pause", "stop"]


@dataclass(slots=True)
class _Row:
    key: tuple[str, str, str] = ("", "", "")
    times: int = 0
    until: float = 0.0


@dataclass(slots=True)
class LoopWatch:
    """Counts equal questions in a row that were admitted, for each task."""

    reaction: Reaction
    times_max: int
    clock: Clock
    _rows: OrderedDict[TaskId, _Row] = field(default_factory=OrderedDict)

    def look(self, call: Call) -> Refused | None:
        """Refuse a question that was asked too often; after a pause it may be asked again."""
        row = None if call.task is None else self._rows.get(call.task)
        if row is None or row.key != _key(call) or row.times < self.times_max:
            return None
        if self.reaction == "stop":
            return Refused(check="loop", reason=f"{_said(row)}; this task may not ask it any more")
        if self.reaction != "pause":
            return None
        left_s = row.until - self.clock.monotonic()
        if left_s <= 0:
            row.times = 0
            return None
        return Refused(check="loop", reason=_said(row), retry_after_s=round(left_s, 1))

    def count(self, call: Call) -> SpendNotice | None:
        """Count an admitted question; return the notice that it is one too many."""
        if self.reaction == "off" or call.task is None or call.verb is not Verb.ASK:
            return None
        row = self._rows.setdefault(call.task, _Row())
        self._rows.move_to_end(call.task)
        if len(self._rows) > TASKS_MAX:
            self._rows.popitem(last=False)
        key = _key(call)
        row.times = row.times + 1 if key == row.key else 1
        row.key = key
        if row.times != self.times_max:
            return None
        row.until = self.clock.monotonic() + PAUSE_S
        return SpendNotice(
            name=LOOP, body={"target": call.target, "times": row.times, "reaction": self.reaction}
        )


def _key(call: Call) -> tuple[str, str, str]:
    return (call.verb.value, call.target, call.argument_hash)


def _said(row: _Row) -> str:
    return f"the same question was asked {row.times} times in a row"
