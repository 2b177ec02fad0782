"""From what a door knows to a frozen call: an id, a place in a trace, a deadline."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from hive.core.call import Call, TraceContext
from hive.core.clock import Clock
from hive.core.ids import CallId, SpanId, TraceId, new_id
from hive.core.randomness import Randomness
from hive.kernel.ports import Attempt
from hive.kernel.turns import RunningTurn

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class CallMaker:
    """Makes calls. An inner call inherits its turn's trace, task and deadline.

    `commit` turns arguments into a keyed commitment: what can be guessed cannot be confirmed by
    whoever reads the ledger.
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
            facts=dict(attempt.facts),
            reserve=dict(attempt.reserve),
        )

    def _trace(self, attempt: Attempt, turn: RunningTurn | None) -> TraceContext:
        span = SpanId(self.randomness.token(8).hex())
        if turn is not None:
            return replace(turn.trace, span_id=span)
        given = _TRACEPARENT.fullmatch(attempt.traceparent)
        if given is not None and given[1] != "0" * 32:
            return TraceContext(trace_id=TraceId(given[1]), span_id=span, flags=int(given[3], 16))
        return TraceContext(trace_id=TraceId(self.randomness.token(16).hex()), span_id=span)


def recorded_again(call: Call, recorded: CallId) -> Call:
    """Return the call under the id that it had before a crash."""
    return replace(call, id=recorded)
