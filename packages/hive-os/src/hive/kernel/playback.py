"""Calls served from the record of another run: all of them (a replay), or those before a step (a fork).

A call finds its step by verb, target and body: the same body first, then the same body after the masks
(`kernel.masks`). Steps with the same body are served in their order, so calls that run side by side find
their own. What finds no step is a divergence; the first one is kept and ends the turn's luck: nothing
is served after it, and in a replay nothing ever goes live.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio

from hive.core.call import Call, Refused, Verb
from hive.core.ids import TaskId
from hive.core.task import Message
from hive.kernel.masks import Difference, Masked, first_difference, masked
from hive.kernel.replay import RecordedCall, key_of
from hive.ledger.asked import AskedKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedStep:
    """One step of a recorded run: `asked` is None where it was not kept, `refused` where it was a no."""

    number: int
    recorded: RecordedCall
    asked: bytes | None = None
    refused: Refused | None = None

    @property
    def verb(self) -> str:
        """Return the verb."""
        return self.recorded.key[0]

    @property
    def target(self) -> str:
        """Return the target."""
        return self.recorded.key[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A step that was served: `how` is exact, masked or position; `masks` names what was masked."""

    step: PlayedStep
    how: str
    masks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where a run left its record. `step` is 0 where its end is what differs."""

    step: int
    reason: str
    expected: str = ""
    actual: str = ""
    difference: Difference | None = None


@dataclass(slots=True, kw_only=True)
class Playback:
    """A recorded run, handed out step by step.

    `live_from` is the step from which a fork goes live; None is a replay. With `by_position` a
    call before it is served although its body differs: whoever forked with another message knows that.
    """

    run: TaskId
    steps: Sequence[PlayedStep]
    keeper: AskedKeeper
    history: tuple[Message, ...] = ()
    live_from: int | None = None
    by_position: bool = False
    on_served: Callable[[Served], None] = field(default=lambda _served: None)
    divergence: Divergence | None = None
    served: dict[int, Served] = field(default_factory=dict)
    diverged: anyio.Event = field(default_factory=anyio.Event)
    _masked: dict[int, Masked] = field(default_factory=dict)

    @property
    def offline(self) -> bool:
        """Tell whether nothing may go live."""
        return self.live_from is None

    @property
    def ahead(self) -> list[PlayedStep]:
        """Return the steps that are to be served and were not."""
        limit = self.live_from
        return [
            step
            for step in self.steps
            if step.number not in self.served and (limit is None or step.number < limit)
        ]

    @property
    def masks_used(self) -> Counter[str]:
        """Return how many values each mask took out where a step was served by it."""
        return Counter(name for one in self.served.values() for name in one.masks)

    def serve(self, call: Call, arguments: bytes) -> RecordedCall | Refused | None:
        """Return what is on record for a call, why it may not happen, or None to let it go live."""
        if self.divergence is not None:
            return _no(self.divergence)
        ahead = self.ahead
        if not ahead and not self.offline:
            return None
        clean = self.keeper.redact(arguments)
        found = self._find(call, clean, ahead)
        if found is None and self._is_later(call, clean):
            return None
        if found is None:
            return self._diverge(_unknown(call, clean, ahead))
        return self._hand_out(found)

    def finish(self, reason: str = "") -> None:
        """Note that the turn has ended; a step that was not asked for is a divergence."""
        ahead = self.ahead
        if self.divergence is None and ahead:
            first = ahead[0]
            self._diverge(
                Divergence(
                    step=first.number,
                    reason=f"the run ended before it{': ' + reason if reason else ''}",
                    expected=f"{first.verb} {first.target}",
                    actual="(nothing)",
                )
            )

    def _hand_out(self, found: Served) -> RecordedCall | Refused:
        step = found.step
        if (reason := _unservable(step)) is not None:
            return self._diverge(
                Divergence(step=step.number, reason=reason, expected=f"{step.verb} {step.target}")
            )
        self.served[step.number] = found
        self.on_served(found)
        return step.recorded if step.refused is None else step.refused

    def _find(self, call: Call, clean: bytes, ahead: list[PlayedStep]) -> Served | None:
        key = key_of(call)
        for step in ahead:
            if step.recorded.key == key:
                return Served(step=step, how="exact")
        near = [step for step in ahead if step.recorded.key[:2] == key[:2]]
        now = masked(clean) if near else None
        for step in near:
            if step.asked is not None and now is not None:
                then = self._masked.setdefault(step.number, masked(step.asked))
                if then.document == now.document:
                    names = tuple(sorted(now.found.values()))
                    return Served(step=step, how="masked", masks=names)
        if self.by_position and near:
            return Served(step=near[0], how="position")
        return None

    def _is_later(self, call: Call, clean: bytes) -> bool:
        """Tell whether a call of a fork is a step from which on it is live, come before the others."""
        if self.live_from is None:
            return False
        later = [step for step in self.steps if step.number >= self.live_from]
        return self._find(call, clean, later) is not None

    def _diverge(self, divergence: Divergence) -> Refused:
        self.divergence = divergence
        self.diverged.set()
        return _no(divergence)


def _unservable(step: PlayedStep) -> str | None:
    """Return why a step's answer cannot be served, None where it can."""
    recorded = step.recorded
    if step.refused is not None:
        return None
    if recorded.outcome is None or (step.verb == Verb.SEND and recorded.task is None):
        return "how it ended is not on record: it was cut off, or its answer was not kept"
    if step.verb == Verb.REACH and not recorded.frames:
        return (
            "what passed through a tunnel (CONNECT, https) or was too large is not on record, "
            "so it cannot be replayed"
        )
    return None


def _unknown(call: Call, clean: bytes, ahead: list[PlayedStep]) -> Divergence:
    actual = f"{call.verb.value} {call.target}"
    if not ahead:
        return Divergence(step=0, reason="the run is at its end, and asks for more", actual=actual)
    same = [step for step in ahead if step.recorded.key[:2] == key_of(call)[:2]]
    first = same[0] if same else ahead[0]
    expected = f"{first.verb} {first.target}"
    if not same:
        return Divergence(
            step=first.number, reason="another call is made", expected=expected, actual=actual
        )
    if first.asked is None:
        return Divergence(
            step=first.number,
            reason="it asks something else; what was asked then is not kept (HIVE_JOURNAL=results)",
            expected=expected,
            actual=actual,
        )
    return Divergence(
        step=first.number,
        reason="it asks something else",
        expected=expected,
        actual=actual,
        difference=first_difference(first.asked, clean),
    )


def _no(divergence: Divergence) -> Refused:
    return Refused(
        check="replay",
        reason=f"this run is served from a record, and at step {divergence.step} "
        f"{divergence.reason}",
    )
