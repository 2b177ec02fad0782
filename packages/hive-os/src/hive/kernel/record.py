"""How calls look in the ledger: what an intent, a result and a refusal carry, and how frames are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from hive.core.call import Admitted, Call, Label, Outcome, Refused
from hive.core.clock import Clock
from hive.core.ids import CallId, OwnerId, TaskId, plain_text
from hive.core.json import Json
from hive.core.task import TaskMove
from hive.ledger.entry import Draft, EntryKind
from hive.security.capability.record import write_warrant
from hive.security.capability.warrant import Warrant

FRAMES_KEPT_MAX_BYTES: Final = 16 << 20
NOTE_MAX_CHARS: Final = 2000
PARKED: Final = "effect.parked"
TARGET_MAX_CHARS: Final = 512
SOURCES_MAX: Final = 16
_FRAMES: Final = msgspec.msgpack.Encoder()
_UNFRAMES: Final = msgspec.msgpack.Decoder(list[bytes])


def intent(
    call: Call,
    admitted: Admitted,
    *,
    agent: str,
    task: TaskId | None,
    moves: tuple[TaskMove, ...] = (),
    warrant: Warrant | None = None,
) -> Draft:
    """Return the line that must be durable before anything acts; `warrant` is that of the turn it opens."""
    body = _body(call)
    if warrant is not None:
        body["minted"] = write_warrant(warrant)
    body["decision"] = "admitted"
    body["claims"] = [
        {"kind": c.kind, "scope": c.scope, "amount": c.amount, "limit": c.limit}
        for c in admitted.claims
        if c.kind != "rate"
    ]
    body["obligations"] = [
        {"kind": o.kind, "check": o.check, **({"detail": o.detail} if o.detail else {})}
        for o in admitted.obligations
    ]
    return _draft(EntryKind.INTENT, call, body, agent=agent, task=task, moves=moves)


def refusal(call: Call, refused: Refused, *, agent: str) -> Draft:
    """Return the line of a call that was refused."""
    call = replace(call, target=_writable(call.target))
    body = _body(call)
    body |= {
        "decision": "refused",
        "check": refused.check,
        "reason": refused.reason,
        "detail": refused.detail,
    }
    return _draft(EntryKind.INTENT, call, body, agent=agent, task=call.task)


def result(
    call: Call,
    outcome: Outcome,
    *,
    clock: Clock,
    agent: str,
    task: TaskId | None,
    frames: Sequence[bytes] | None = None,
    cost: Mapping[str, Json] | None = None,
    note: str = "",
    paid: Mapping[str, Json] | None = None,
    moves: tuple[TaskMove, ...] = (),
) -> Draft:
    """Return the line that says how an admitted call ended, and what was `paid` by whom."""
    now = clock.now()
    body: dict[str, Json] = {
        "verb": call.verb.value,
        "target": call.target,
        "outcome": outcome.value,
        "duration_ms": round((now - call.at).total_seconds() * 1000, 3),
        "cost": dict(cost or {}),
        "note": note[:NOTE_MAX_CHARS],
        **(paid or {}),
    }
    return Draft(
        kind=EntryKind.RESULT,
        name=f"{call.verb.value} {call.target}",
        body=body,
        at=now,
        owner=call.principal.owner,
        call=call.id,
        task=task,
        agent=agent,
        trace=call.trace,
        content=None if frames is None else _FRAMES.encode(list(frames)),
        moves=moves,
    )


def hold(
    job_call: Call, held: CallId, reason: str, *, clock: Clock, agent: str, task: TaskId
) -> Draft:
    """Return the line that says which effect waits for a person's decision."""
    return Draft(
        kind=EntryKind.HOLD,
        name=PARKED,
        body={"call": held, "turn_of": job_call.id, "reason": reason[:NOTE_MAX_CHARS]},
        at=clock.now(),
        owner=job_call.principal.owner,
        call=held,
        task=task,
        agent=agent,
        trace=job_call.trace,
    )


def event(
    name: str,
    body: dict[str, Json],
    *,
    clock: Clock,
    agent: str = "",
    owner: OwnerId | None = None,
    task: TaskId | None = None,
    moves: tuple[TaskMove, ...] = (),
) -> Draft:
    """Return a line about something that happened without being a call."""
    return Draft(
        kind=EntryKind.EVENT,
        name=name,
        body=body,
        at=clock.now(),
        owner=owner or OwnerId(""),
        agent=agent,
        task=task,
        moves=moves,
    )


def frames_of(content: bytes) -> tuple[bytes, ...]:
    """Return recorded frames.

    Raises:
        ValueError: they are not what `result` wrote.

    """
    try:
        return tuple(_UNFRAMES.decode(content))
    except msgspec.MsgspecError as error:
        message = "recorded frames cannot be read"
        raise ValueError(message) from error


def _writable(target: str) -> str:
    """Return as much of a target as can be written, whatever a stranger put there."""
    return plain_text(target[:TARGET_MAX_CHARS]).encode("utf-8", "replace").decode()


def _body(call: Call) -> dict[str, Json]:
    labels: list[Json] = [_label(label) for label in call.labels]
    return {
        "verb": call.verb.value,
        "target": call.target,
        "effect": call.effect.value,
        "argument_hash": call.argument_hash,
        "principal": str(call.principal),
        "sandbox": call.principal.sandbox,
        "parent": call.parent,
        "deadline": call.deadline.isoformat(),
        "size_bytes": call.size_bytes,
        "warrant": call.warrant,
        "facts": call.facts,
        **({"labels": labels} if labels else {}),
    }


def _label(label: Label) -> Json:
    sources: list[Json] = [*sorted(label.sources)[:SOURCES_MAX]]
    return {"integrity": label.integrity.value, "sources": sources}


def _draft(
    kind: EntryKind,
    call: Call,
    body: dict[str, Json],
    *,
    agent: str,
    task: TaskId | None,
    moves: tuple[TaskMove, ...] = (),
) -> Draft:
    return Draft(
        kind=kind,
        name=f"{call.verb.value} {call.target}",
        body=body,
        at=call.at,
        owner=call.principal.owner,
        call=call.id,
        task=task,
        agent=agent,
        trace=call.trace,
        moves=moves,
    )
