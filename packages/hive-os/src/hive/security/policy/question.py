"""How a call becomes a question, what of it is recorded, and how the question is made again from the record."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from hive.core.call import Call, Label, ObligationKind
from hive.core.json import Json
from hive.security.policy.ports import (
    PolicyDecision,
    PolicyQuestion,
    QuestionCounters,
    QuestionLabel,
    QuestionPrincipal,
)

QUESTION_MAX_BYTES: Final = 256 << 10
ANSWER_MAX_BYTES: Final = 64 << 10
REASONS_MAX: Final = 16
REASON_MAX_CHARS: Final = 300
OBLIGATIONS_MAX: Final = 32
RECORDED: Final = "policy"
"""Under this name an entry's body holds what `recorded` returns."""
_ENCODER: Final = msgspec.json.Encoder()


class OwedLine(msgspec.Struct, frozen=True):
    """An obligation as a policy writes it."""

    kind: ObligationKind
    detail: str = ""


class DecisionDocument(msgspec.Struct, frozen=True):
    """The decision as a policy writes it: `data.hive.policy.decision`."""

    allow: bool
    reasons: list[str] = []
    obligations: list[OwedLine] = []


class RecordedPolicy(msgspec.Struct, frozen=True):
    """What an entry keeps of a question beyond what its call says already."""

    version: str = ""
    allow: bool = False
    spiffe_id: str = ""
    owner: str = ""
    labels: list[QuestionLabel] = []
    grant: str = ""
    warrant: dict[str, object] = {}
    tier: str = ""
    reputation: float = 1.0
    counters: QuestionCounters = QuestionCounters()
    relations: dict[str, bool] = {}
    relations_at: str = ""
    owed: list[str] = []
    at: str = ""


def question_of(
    call: Call,
    *,
    arguments: Json = None,
    spiffe_id: str = "",
    grant: str = "",
    warrant: Mapping[str, Json] | None = None,
    tier: str = "",
    reputation: float = 1.0,
    counters: QuestionCounters | None = None,
    labels: Sequence[Label] = (),
    relations: Mapping[str, bool] | None = None,
    relations_at: str = "",
) -> PolicyQuestion:
    """Return the question that a call is; `labels` are those of the node, beside the call's own."""
    principal = call.principal
    return PolicyQuestion(
        principal=QuestionPrincipal(
            kind=principal.kind,
            name=principal.name,
            owner=principal.owner,
            agent=principal.agent or "",
            spiffe_id=spiffe_id,
        ),
        verb=call.verb,
        target=call.target,
        effect=call.effect,
        time=call.at,
        labels=tuple(map(_label, (*call.labels, *labels))),
        arguments=arguments,
        grant=grant,
        warrant=warrant or {},
        tier=tier,
        facts=call.facts,
        reputation=reputation,
        counters=counters or QuestionCounters(),
        relations=relations or {},
        relations_at=relations_at,
    )


def encoded(question: PolicyQuestion) -> bytes:
    """Return the one JSON form of a question.

    Raises:
        ValueError: it is too large for a policy to read.

    """
    document = _ENCODER.encode(question)
    if len(document) > QUESTION_MAX_BYTES:
        message = (
            f"the question has {len(document)} bytes; a policy reads up to {QUESTION_MAX_BYTES}"
        )
        raise ValueError(message)
    return document


def recorded(question: PolicyQuestion, decision: PolicyDecision) -> dict[str, Json]:
    """Return what the body of an intent or a refusal has to keep under `policy`.

    Together with the entry's own fields and the kept arguments it makes the question again. Arguments are not part of
    it: where they are kept, they lie sealed beside the entry, and the entry holds a keyed commitment to them.
    """
    kept: dict[str, Json] = {
        "version": decision.version,
        "allow": decision.allow,
        "at": question.time.isoformat(),
        "owner": question.principal.owner,
    }
    if decision.obligations:
        kept["owed"] = [*sorted({one.kind.value for one in decision.obligations})]
    if question.principal.spiffe_id:
        kept["spiffe_id"] = question.principal.spiffe_id
    if question.labels:
        kept["labels"] = msgspec.to_builtins(question.labels)
    for name in ("grant", "tier", "relations_at"):
        if text := getattr(question, name):
            kept[name] = text
    for name in ("warrant", "relations"):
        if table := getattr(question, name):
            kept[name] = dict(table)
    # A good record is what most callers have: it is said only where it is not.
    if question.reputation < 1:
        kept["reputation"] = question.reputation
    if question.counters != QuestionCounters():
        kept["counters"] = msgspec.to_builtins(question.counters)
    return kept


def question_again(
    body: Mapping[str, Json], *, agent: str, arguments: Json
) -> PolicyQuestion | None:
    """Make a question again from an entry's body; None where the entry holds none.

    `arguments` are those that lie beside the entry.

    Raises:
        ValueError: the body is not as `recorded` and the ledger write it.

    """
    kept = body.get(RECORDED)
    if not isinstance(kept, dict):
        return None
    known = msgspec.convert(kept, RecordedPolicy)
    kind, _, name = str(body.get("principal", "")).partition(":")
    facts = body.get("facts")
    return PolicyQuestion(
        principal=QuestionPrincipal(
            kind=kind,
            name=name,
            owner=known.owner,
            agent=agent,
            spiffe_id=known.spiffe_id,
        ),
        verb=str(body.get("verb", "")),
        target=str(body.get("target", "")),
        effect=str(body.get("effect", "")),
        time=datetime.fromisoformat(known.at),
        labels=tuple(known.labels),
        arguments=arguments,
        grant=known.grant,
        warrant=known.warrant,
        tier=known.tier,
        facts=facts if isinstance(facts, dict) else {},
        reputation=known.reputation,
        counters=known.counters,
        relations=known.relations,
        relations_at=known.relations_at,
    )


def _label(label: Label) -> QuestionLabel:
    return QuestionLabel(
        integrity=label.integrity,
        sources=tuple(sorted(label.sources)),
        readers=tuple(sorted(label.readers)),
    )
