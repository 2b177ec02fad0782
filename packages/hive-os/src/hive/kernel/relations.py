"""Relationships that the policy wants to know of a call: asked before it decides, and handed to it as facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from hive.core.call import Call, Refused
from hive.core.errors import HiveError
from hive.core.json import Json
from hive.security.policy.related import HOLE, RelationQuestion
from hive.security.relations import RelationDecision, Relationship
from hive.security.relations.names import ID

CHECK: Final = "policy"


class AskedRelations(Protocol):
    """Who knows relationships."""

    async def check(self, asked: Relationship, *, at: str = "") -> RelationDecision:
        """Tell whether a relation holds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedFacts:
    """What was found, and at which revision of relationships."""

    holds: Mapping[str, bool]
    revision: str = ""


NOTHING_ASKED: Final = RelatedFacts(holds={})


async def related_facts(
    relations: AskedRelations | None,
    questions: Mapping[str, RelationQuestion],
    call: Call,
    arguments: Json,
    spiffe_id: str,
) -> RelatedFacts | Refused:
    """Ask all questions; refuse where one has no answer, for neither yes nor no would be true."""
    if not questions:
        return NOTHING_ASKED
    if relations is None:
        return _refused("no relationships are kept here")
    values = _values(call, arguments, spiffe_id)
    holds: dict[str, bool] = {}
    revision = ""
    for name, question in questions.items():
        asked = _filled(question, values)
        if asked is None:
            return _refused(f"the call does not say what {name} asks for")
        try:
            # All answers of a call are at least as new as the first: none may come from before a removal.
            found = await relations.check(asked, at=revision)
        except HiveError as error:
            return _refused(f"{name}: {error.what} {error.why}".strip())
        if found.fault:
            return _refused(f"{name}: {found.fault}")
        holds[name], revision = found.allowed, found.revision
    return RelatedFacts(holds=holds, revision=revision)


def _filled(question: RelationQuestion, values: Mapping[str, str]) -> Relationship | None:
    """Fill the holes; None where the call has no value for one, or one that is no id."""
    wanted = {*HOLE.findall(question.object), *HOLE.findall(question.subject)}
    if any(ID.fullmatch(values.get(hole, "")) is None for hole in wanted):
        return None
    made = (
        HOLE.sub(lambda hole: values[hole[1]], one) for one in (question.object, question.subject)
    )
    of, subject = made
    return Relationship(of, question.relation, subject)


def _values(call: Call, arguments: Json, spiffe_id: str) -> dict[str, str]:
    principal = call.principal
    values = {
        "agent": principal.agent or "",
        "kind": principal.kind.value,
        "owner": principal.owner,
        "principal": principal.name,
        "spiffe_id": spiffe_id,
        "target": call.target,
    }
    if isinstance(arguments, dict):
        for name, value in arguments.items():
            if isinstance(value, str):
                values[f"arguments.{name}"] = value
    return values


def _refused(detail: str) -> Refused:
    return Refused(
        check=CHECK, reason="a relationship that the policy asks for is not known", detail=detail
    )
