"""Lines of the ledger read back as what they were written from: calls, claims, how a call ended."""

from datetime import datetime
from typing import cast

import msgspec

from hive.core.call import (
    Call,
    Claim,
    EffectClass,
    Outcome,
    Principal,
    PrincipalKind,
    TraceContext,
    Verb,
)
from hive.core.errors import LedgerError
from hive.core.ids import CallId, SpanId, TaskId, TraceId
from hive.core.json import Json
from hive.core.task import Message, Role, Task
from hive.kernel.record import frames_of
from hive.kernel.replay import RecordedCall
from hive.ledger.entry import Entry
from hive.ledger.journal import Step
from hive.security.capability.record import read_warrant
from hive.security.capability.warrant import Warrant


class ClaimLine(msgspec.Struct, frozen=True):
    """A claim as an intent's body holds it."""

    kind: str
    scope: str
    amount: int = 1
    limit: int = 1


class Body(msgspec.Struct, frozen=True):
    """The parts of an entry's body that recovery and replays read."""

    verb: str = "send"
    target: str = ""
    effect: str = "once"
    argument_hash: str = ""
    principal: str = "node:hive"
    parent: str | None = None
    decision: str = ""
    outcome: str = ""
    call: str = ""
    deadline: str = ""
    claims: list[ClaimLine] = []
    facts: dict[str, object] = {}
    check: str = ""
    reason: str = ""
    duration_ms: float = 0.0
    cost: dict[str, object] = {}
    note: str = ""
    source: str = ""
    minted: dict[str, object] | None = None


def newest_turn(task: Task, steps: list[Step]) -> Step:
    """Return the call that opened or last continued a task; each message to it is a turn of its own."""
    turns = [step for step in steps if line_body(step.intent).verb == Verb.SEND]
    if not turns:
        raise LedgerError(
            f"Task {task.id} cannot be taken up.",
            why="The ledger holds no call that opened it.",
            fix="Run `hive audit verify`.",
        )
    return turns[-1]


def newest_message(task: Task) -> Message:
    """Return the message that a task's newest turn answers. Raises LedgerError."""
    for one in reversed(task.history):
        if one.role is Role.USER:
            return one
    raise LedgerError(
        f"Task {task.id} cannot be taken up.",
        why="Its messages cannot be read: the owner's key is gone.",
        fix="Cancel it.",
    )


def admitted(step: Step) -> bool:
    """Tell whether a call was allowed."""
    return line_body(step.intent).decision == "admitted"


def recorded_call(step: Step) -> RecordedCall:
    """Return a call as it can be served again."""
    body = line_body(step.intent)
    child = step.intent.task if body.verb == Verb.SEND else None
    frames = frames_of(step.content) if step.content is not None else ()
    return RecordedCall(
        id=CallId(str(step.intent.call)),
        key=(body.verb, body.target, body.argument_hash),
        effect=EffectClass(body.effect),
        outcome=known_outcome(step, frames),
        frames=frames,
        task=None if child is None else TaskId(child),
        target=body.target,
    )


def known_outcome(step: Step, frames: tuple[bytes, ...]) -> Outcome | None:
    """Return how a call ended, None where its record cannot stand for it.

    What was cut off, or was too large to keep, is as good as open: it is done again where it may be.
    """
    if step.result is None:
        return None
    outcome = Outcome(line_body(step.result).outcome)
    if line_body(step.intent).verb == Verb.SEND:
        return outcome
    if step.content is None or (outcome is not Outcome.OK and not frames):
        return None
    return None if outcome is Outcome.CANCELED else outcome


def call_of(entry: Entry) -> Call:
    """Return the call that an intent was written for."""
    body = line_body(entry)
    kind, _, name = body.principal.partition(":")
    return Call(
        id=CallId(str(entry.call)),
        principal=Principal(kind=PrincipalKind(kind), name=name, owner=entry.owner),
        verb=Verb(body.verb),
        target=body.target,
        effect=EffectClass(body.effect),
        argument_hash=body.argument_hash,
        at=entry.at,
        deadline=datetime.fromisoformat(body.deadline),
        trace=TraceContext(trace_id=TraceId(entry.trace_id), span_id=SpanId(entry.span_id)),
        parent=None if body.parent is None else CallId(body.parent),
        task=entry.task,
        # Who speaks through whom is among them: without, an agent of another node would come back as a person.
        facts=cast("dict[str, Json]", body.facts),
    )


def warrant_of(entry: Entry) -> Warrant | None:
    """Return the warrant of the turn that an intent opens; None for one of before there were any."""
    minted = line_body(entry).minted
    return None if minted is None else read_warrant(minted)


def claims_of(entry: Entry) -> list[Claim]:
    """Return the claims that an intent took."""
    return [
        Claim(kind=one.kind, scope=one.scope, amount=one.amount, limit=one.limit)
        for one in line_body(entry).claims
    ]


def line_body(entry: Entry) -> Body:
    """Return the body of an entry."""
    return msgspec.json.decode(entry.body.encode(), type=Body)
