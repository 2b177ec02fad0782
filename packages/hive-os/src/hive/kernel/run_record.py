"""A run as the ledger has it: the turns of one task, each with its effects, numbered from 1.

A fork begins with the steps of the run that it was made of; those belong to it as well, and say from
which run they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hive.core.call import Call, Refused, Verb
from hive.core.errors import LedgerError
from hive.core.ids import TaskId
from hive.core.task import Message, Role, Task
from hive.kernel.lines import Body, call_of, line_body, recorded_call, warrant_of
from hive.kernel.playback import PlayedStep
from hive.ledger.journal import Journal, Step
from hive.security.capability.warrant import Warrant

FORK_DEPTH_MAX: Final = 16
FORKED_FROM: Final = "forked_from"
FORKED_AT: Final = "forked_at"
FORKED_MESSAGE: Final = "forked_with_message"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """One effect of a run: `origin` is the run it was served from, empty where it happened."""

    number: int
    step: Step
    intent: Body
    result: Body | None
    origin: str = ""

    @property
    def admitted(self) -> bool:
        """Tell whether it was allowed."""
        return self.intent.decision == "admitted"

    @property
    def outcome(self) -> str:
        """Return how it ended."""
        if not self.admitted:
            return "refused"
        return "open" if self.result is None else self.result.outcome

    def played(self) -> PlayedStep:
        """Return it as it can be served."""
        asked = self.step.asked
        no = Refused(check=self.intent.check, reason=self.intent.reason)
        return PlayedStep(
            number=self.number,
            recorded=recorded_call(self.step),
            asked=None if asked is None else asked.arguments,
            refused=None if self.admitted else no,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTurn:
    """One turn of a run: the call that woke the agent, its message, what it did."""

    call: Call
    message: Message
    steps: tuple[RunStep, ...]
    warrant: Warrant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run. `forked_from` and `forked_at` say of which it was made and from which step it went live."""

    task: Task
    turns: tuple[RunTurn, ...]
    forked_from: str = ""
    forked_at: int = 0

    @property
    def last(self) -> RunTurn:
        """Return the newest turn, the one that a replay runs."""
        return self.turns[-1]

    @property
    def steps(self) -> list[RunStep]:
        """Return all effects, in order."""
        return [step for turn in self.turns for step in turn.steps]

    @property
    def redacted(self) -> bool:
        """Tell whether something that was asked is not kept as it was."""
        return any(one.step.asked is not None and one.step.asked.redacted for one in self.steps)


class RunReader:
    """Reads runs out of the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def read(self, task: Task, *, inherited: Sequence[RunStep] = ()) -> RunRecord:
        """Read the run of a task. `inherited` are the steps that a fork was served.

        Raises:
            LedgerError: its messages or its calls cannot be read.

        """
        own = [
            step
            for step in await self._journal.task(task.id)
            if line_body(step.intent).verb == Verb.SEND and step.intent.task == task.id
        ]
        asked = [message for message in task.history if message.role is Role.USER]
        if not own or len(asked) < len(own):
            raise LedgerError(
                f"The run {task.id} cannot be read.",
                why="The ledger holds no call that opened it, or its owner was forgotten.",
            )
        turns: list[RunTurn] = []
        number = 0
        for turn, message in zip(own, asked[-len(own) :], strict=True):
            steps = list(inherited) if not turns else []
            number += len(steps)
            for step in await self._journal.effects(turn.call):
                number += 1
                steps.append(_run_step(number, step))
            turns.append(
                RunTurn(
                    call=call_of(turn.intent),
                    message=message,
                    steps=tuple(steps),
                    warrant=warrant_of(turn.intent),
                )
            )
        facts = line_body(own[0].intent).facts
        origin = forked_of(facts)
        return RunRecord(
            task=task,
            turns=tuple(turns),
            forked_from="" if origin is None else origin.run,
            forked_at=0 if origin is None else origin.at,
        )

    async def origin_of(self, task: Task) -> "ForkOrigin | None":
        """Return of which run a task was forked, None where it was not."""
        for step in await self._journal.task(task.id):
            body = line_body(step.intent)
            if body.verb == Verb.SEND and step.intent.task == task.id:
                return forked_of(body.facts)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkOrigin:
    """Of which run a fork was made, from which step it is live, whether its message is another one."""

    run: TaskId
    at: int
    other_message: bool = False


def forked_of(facts: object) -> ForkOrigin | None:
    """Return what an intent's facts say about a fork."""
    if not isinstance(facts, dict) or FORKED_FROM not in facts:
        return None
    return ForkOrigin(
        run=TaskId(str(facts[FORKED_FROM])),
        at=int(facts.get(FORKED_AT, 1)),
        other_message=bool(facts.get(FORKED_MESSAGE, False)),
    )


def served_of(record: RunRecord, at: int) -> list[RunStep]:
    """Return the steps of a run that a fork of it at a step is served."""
    return [
        replace(step, origin=step.origin or str(record.task.id))
        for step in record.last.steps
        if step.number < at
    ]


def _run_step(number: int, step: Step) -> RunStep:
    return RunStep(
        number=number,
        step=step,
        intent=line_body(step.intent),
        result=None if step.result is None else line_body(step.result),
    )
