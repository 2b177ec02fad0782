"""From what a door knows to a frozen call: an id, a place in a trace, a deadline."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from hive.core.call import Call, TraceContext
from hive.core.clock import Clock
from hive.core.ids import CallId, SpanId, TraceId, new_id
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.kernel.ports import Attempt
from hive.kernel.turns import RunningTurn

GUESSABLE: Final = ("answers",)
"""Facts that are digests of what somebody said: a short answer is found by trying all."""
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class CallMaker:
    """Makes calls. An inner call inherits its turn's trace, task and deadline.

    `commit` turns arguments, and digests of what was answered, into a keyed commitment: what can be guessed cannot be
    confirmed by whoever reads the ledger.
    """

    clock: Clock
    randomness: Randomness
    commit: Callable[[bytes], str]

    def make(self, attempt: Attempt, turn: RunningTurn | None) -> Call:
        """Make a call of an attempt."""
        now = self.clock.now()
        deadline = now + timedelta(seconds=attempt.timeout_s)
        return Call(
            id=CallId(new_id(self.clock, self.randomness)),
            principal=attempt.principal,
            verb=attempt.verb,
            target=attempt.target,
            effect=attempt.effect,
            argument_hash=self.commit(attempt.arguments),
            at=now,
            deadline=deadline if turn is None else min(deadline, turn.deadline),
            trace=self._trace(attempt, turn),
            size_bytes=attempt.size_bytes,
            parent=None if turn is None else turn.call,
            task=None if turn is None else turn.task,
            warrant=_warrant(attempt, turn),
            facts={name: self._kept(name, one) for name, one in attempt.facts.items()},
            reserve=dict(attempt.reserve),
        )

    def _kept(self, name: str, fact: Json) -> Json:
        return self.commit(str(fact).encode()) if name in GUESSABLE else fact

    def _trace(self, attempt: Attempt, turn: RunningTurn | None) -> TraceContext:
        span = SpanId(self.randomness.token(8).hex())
        if turn is not None:
            return replace(turn.trace, span_id=span)
        given = _TRACEPARENT.fullmatch(attempt.traceparent)
        if given is not None and given[1] != "0" * 32:
            return TraceContext(trace_id=TraceId(given[1]), span_id=span, flags=int(given[3], 16))
        return TraceContext(trace_id=TraceId(self.randomness.token(16).hex()), span_id=span)


def _warrant(attempt: Attempt, turn: RunningTurn | None) -> str | None:
    """Return the key of the warrant under which a call is made: its turn's, else the one that was shown."""
    held = attempt.warrant if turn is None else turn.warrant
    return None if held is None else held.key


def recorded_again(call: Call, recorded: CallId) -> Call:
    """Return the call under the id that it had before a crash."""
    return replace(call, id=recorded)
