"""A turn that runs again after a crash is served what it was told before.

Recorded inner calls are matched by verb, target and argument hash, in the order in which they were
recorded, so calls that run side by side still find their own. A call that matches nothing is a
divergence: it goes on live, unless a recorded *once* effect lies unmatched ahead; then the turn parks.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from hive.core.call import Call, EffectClass, Outcome
from hive.core.ids import CallId, TaskId

Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One inner call as the ledger has it.

    `outcome` is None where nobody knows how it ended: no result was written, or its answer was cut.
    """

    id: CallId
    key: Key
    effect: EffectClass
    outcome: Outcome | None
    frames: tuple[bytes, ...] = ()
    task: TaskId | None = None
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """Why a turn must not go on by itself."""

    call: CallId
    reason: str


@dataclass(slots=True)
class Rerun:
    """The recorded inner calls of one turn, handed out once each."""

    _waiting: dict[Key, deque[RecordedCall]] = field(default_factory=dict)
    _once_ahead: dict[CallId, str] = field(default_factory=dict)
    allowed: frozenset[CallId] = frozenset()

    @classmethod
    def of(
        cls, recorded: list[RecordedCall], *, allowed: frozenset[CallId] = frozenset()
    ) -> "Rerun":
        """Line up recorded calls in the order of their intents.

        `allowed` are open *once* effects that a person decided to repeat.
        """
        rerun = cls(allowed=allowed)
        # A yes is used up by the call that followed it: what that one left is found before the yes.
        for one in sorted(recorded, key=lambda one: one.id in allowed):
            rerun._waiting.setdefault(one.key, deque()).append(one)
            if one.effect is EffectClass.ONCE and one.id not in allowed:
                rerun._once_ahead[one.id] = one.target
        return rerun

    def match(self, call: Call) -> "RecordedCall | Parked | None":
        """Return what was recorded for a call, None to go on live, or why the turn parks."""
        line = self._waiting.get(key_of(call))
        if line:
            recorded = line.popleft()
            self._once_ahead.pop(recorded.id, None)
            if recorded.outcome is not None or recorded.effect is not EffectClass.ONCE:
                return recorded
            if recorded.id in self.allowed:
                return None
            return Parked(
                call=recorded.id,
                reason=f"{call.verb} {call.target} was begun before a crash and may have happened",
            )
        if self._once_ahead:
            first = next(iter(self._once_ahead))
            return Parked(
                call=first,
                reason=f"the agent took another way than before {self._once_ahead[first]}",
            )
        return None


def key_of(call: Call) -> Key:
    """Return what a call is matched by."""
    return (call.verb.value, call.target, call.argument_hash)
