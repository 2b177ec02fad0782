"""Warrants at the gate: every task gets one when its message is accepted, and every call of its turn is held to it.

What a warrant says is `hive.security.capability`; this module knows who sends to whom. The warrant is written into the
intent that opens the turn, so a turn that runs again after a crash runs under the very same one.
"""

from collections import OrderedDict
from datetime import timedelta
from typing import Final, Protocol

from hive.core.call import Call, Refused, Verb
from hive.core.clock import Clock
from hive.core.grant import Grant
from hive.core.ids import AgentId, TaskId, new_id
from hive.core.randomness import Randomness
from hive.kernel.ports import CallFacts
from hive.kernel.turns import RunningTurn
from hive.security.capability import (
    EVERYTHING,
    TaskOrder,
    Terms,
    Warrant,
    joined,
    objection,
    warrant_for_task,
)

WARRANT_TTL_S: Final = 7 * 86_400
NAME: Final = "warrant"
SHOWN_MAX: Final = 4096


class Revocations(Protocol):
    """Who knows what was revoked."""

    def objection(self, warrant: Warrant) -> Refused | None:
        """Object to a warrant that was revoked."""
        ...


class NothingRevoked:
    """A node without a book of revocations: nothing was."""

    def objection(self, warrant: Warrant) -> Refused | None:
        """Have nothing to say."""
        return None


class TaskWarrants:
    """Makes the warrants of tasks; asked as the check `warrant`."""

    name = NAME

    def __init__(
        self,
        *,
        clock: Clock,
        randomness: Randomness,
        ceiling: Terms = EVERYTHING,
        ttl_s: float = WARRANT_TTL_S,
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._ceiling = ceiling
        self._ttl = timedelta(seconds=ttl_s)
        self._shown: OrderedDict[str, Warrant] = OrderedDict()
        self.revocations: Revocations = NothingRevoked()

    def show(self, warrant: Warrant | None) -> None:
        """Keep a warrant that a caller from elsewhere showed, for as long as its call is judged."""
        if warrant is None:
            return
        key = warrant.key
        self._shown[key] = warrant
        self._shown.move_to_end(key)
        if len(self._shown) > SHOWN_MAX:
            self._shown.popitem(last=False)

    def of(self, call: Call, turn: RunningTurn | None) -> Warrant | None:
        """Return the warrant under which a call is made.

        Raises:
            KeyError: it names one that was not shown; whoever asks refuses.

        """
        if turn is not None:
            return turn.warrant
        return None if call.warrant is None else self._shown[call.warrant]

    def examine(self, call: Call, facts: CallFacts) -> Refused | None:
        """Refuse what the caller's warrant does not allow.

        A turn without a warrant may do nothing. A builder and a tool server have no turn: their grant is all they have.
        """
        warrant, inside = facts.warrant, call.principal.turn is not None
        if warrant is None:
            return self._no("the turn that calls has no warrant") if inside else None
        elsewhere = warrant.task != call.task if inside else warrant.task and _direct(call)
        if elsewhere:
            return self._no("its warrant is that of another task", warrant)
        found = self.revocations.objection(warrant) or objection(
            warrant, call.verb, call.target, facts.arguments.document, self._clock.now()
        )
        if found is None and call.verb is Verb.SEND and warrant.depth < 1:
            return self._no("its warrant may not be handed on any further", warrant)
        return found

    def _no(self, reason: str, warrant: Warrant | None = None) -> Refused:
        return Refused(check=self.name, reason=reason, detail="" if warrant is None else warrant.id)

    def open(
        self,
        grant: Grant,
        caller: Warrant | None,
        *,
        agent: AgentId,
        task: TaskId,
        before: Warrant | None = None,
    ) -> Warrant | Refused:
        """Return the warrant of a task that begins, or goes on: then never more than it had `before`."""
        if caller is not None and caller.token and caller.task not in ("", task):
            return self._no("its warrant is for another task", caller)
        now = self._clock.now()
        order = TaskOrder(
            id=new_id(self._clock, self._randomness),
            task=task,
            agent=agent,
            at=now,
            deadline=now + self._ttl,
        )
        made = warrant_for_task(grant, caller, self._ceiling, order)
        return made if isinstance(made, Refused) or before is None else joined(made, before)


def _direct(call: Call) -> bool:
    """Tell whether a caller from elsewhere does something itself: which task a message goes on with is seen later."""
    return call.verb is not Verb.SEND
