"""A SpiceDB server, by its HTTP gateway; its tokens (zedtokens) are the revisions.

Its schema is made of the model: what may be written down becomes a relation `<name>_direct` where the relation has a
rule besides, and the rule a permission of the relation's own name. Names must be of three letters at least there, and
ids know fewer characters: others are written as `=` and their code. A group of everybody cannot be shared there, so such
models are refused. The model itself stands in a comment of the schema.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from hive.core.errors import BadInputError, ConflictError, EngineError
from hive.core.ids import plain_text
from hive.core.json import Json, encode
from hive.security.relations.drivers.asked_http import RelationServer, text_in
from hive.security.relations.dsl import text_of
from hive.security.relations.dsl_json import read_model
from hive.security.relations.model import (
    AllOf,
    AnyOf,
    Computed,
    Direct,
    Except,
    RelationModel,
    Rule,
    SubjectType,
    Through,
    direct_types,
)
from hive.security.relations.names import checked, object_type, subject_parts, word
from hive.security.relations.ports import (
    LISTED_MAX,
    RelatedObjects,
    RelationChange,
    RelationDecision,
    RelationExplanation,
    RelationFilter,
    RelationOpening,
    Relations,
    Relationship,
)

DIRECT: Final = "_direct"
EVERYBODY: Final = "*"
YES: Final = "PERMISSIONSHIP_HAS_PERMISSION"
INVALID, NOT_FOUND, EXHAUSTED, PRECONDITION = 3, 5, 8, 9
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,54}[a-z0-9]")
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9/_|+-]")
_ESCAPED: Final = re.compile(r"=([0-9A-F]{2})")
_KEPT: Final = re.compile(r"/\*\*[\s*]*hive\n(.*?)\*/", re.DOTALL)


class SpiceDbRelations:
    """One server."""

    def __init__(self, server: RelationServer) -> None:
        self._server = server

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: RelationOpening) -> AsyncIterator[Relations]:
        """Open the connections."""
        server = RelationServer(opening.url, timeout_s=opening.timeout_s)
        try:
            yield cls(server)
        finally:
            await server.aclose()

    async def check(self, asked: Relationship, *, at: str = "") -> RelationDecision:
        """Tell whether a relation holds."""
        checked(asked)
        body = {
            "consistency": _consistency(at),
            "resource": _object(asked.object),
            "permission": asked.relation,
            "subject": _subject(asked.subject),
        }
        status, told = await self._server.ask("/v1/permissions/check", body)
        fault = _fault(status, told)
        if fault:
            return RelationDecision(allowed=False, revision="", fault=fault)
        answer = _answers(status, told)[0]
        return RelationDecision(
            allowed=answer.get("permissionship") == YES,
            revision=text_in(answer, "checkedAt", "token"),
        )

    async def write(self, change: RelationChange) -> str:
        """Add and remove relationships."""
        if change.at:
            raise BadInputError("SpiceDB binds no write to a revision.")
        model = await self._model()
        for one in change.added:
            model.admit(checked(one))
        updates = [_update("OPERATION_TOUCH", model, one) for one in change.added]
        updates += [_update("OPERATION_DELETE", model, checked(one)) for one in change.removed]
        demands = [_demand("OPERATION_MUST_MATCH", model, one) for one in change.present]
        demands += [_demand("OPERATION_MUST_NOT_MATCH", model, one) for one in change.absent]
        body = {"updates": updates, "optionalPreconditions": demands}
        answer = _answers(*await self._server.ask("/v1/relationships/write", body))[0]
        return text_in(answer, "writtenAt", "token")

    async def objects(
        self, kind: str, relation: str, subject: str, *, limit: int = LISTED_MAX
    ) -> RelatedObjects:
        """List the objects of a type to which a subject has a relation."""
        checked(Relationship(f"{word(kind, 'type')}:_", relation, subject))
        body = {
            "consistency": _consistency(""),
            "resourceObjectType": kind,
            "permission": relation,
            "subject": _subject(subject),
            "optionalLimit": LISTED_MAX,
        }
        told = _answers(*await self._server.ask("/v1/permissions/resources", body))
        found = sorted({f"{kind}:{_read(text_in(one, 'resourceObjectId'))}" for one in told})
        revision = text_in(told[0], "lookedUpAt", "token") if told else ""
        return RelatedObjects(
            objects=tuple(found[:limit]),
            complete=len(told) < LISTED_MAX and len(found) <= limit,
            revision=revision,
        )

    async def explain(self, asked: Relationship) -> RelationExplanation:
        """Answer a question and give the server's tree."""
        decision = await self.check(asked)
        body = {
            "consistency": _consistency(""),
            "resource": _object(asked.object),
            "permission": asked.relation,
        }
        answer = _answers(*await self._server.ask("/v1/permissions/expand", body))[0]
        return RelationExplanation(
            decision=decision, lines=(encode(answer.get("treeRoot")).decode(),)
        )

    async def tuples(
        self, wanted: RelationFilter, *, limit: int = LISTED_MAX
    ) -> Sequence[Relationship]:
        """List what was written down."""
        kind, _, name = wanted.object.partition(":")
        kinds = [kind] if kind else [*(await self._model()).types]
        found: list[Relationship] = []
        for one in kinds:
            body = {
                "consistency": _consistency(""),
                "relationshipFilter": {"resourceType": one, "optionalResourceId": _written(name)},
                "optionalLimit": LISTED_MAX,
            }
            told = _answers(*await self._server.ask("/v1/relationships/read", body))
            found += [_relationship(line.get("relationship")) for line in told]
        return sorted(
            one
            for one in found
            if wanted.relation in ("", one.relation) and wanted.subject in ("", one.subject)
        )[:limit]

    async def load_model(self, source: str) -> str:
        """Let a model count."""
        model = read_model(source)
        body = {"schema": schema_of(model)}
        answer = _answers(*await self._server.ask("/v1/schema/write", body))[0]
        return text_in(answer, "writtenAt", "token")

    async def model(self) -> str:
        """Return the model that counts."""
        status, told = await self._server.ask("/v1/schema/read", {})
        if status == 404:
            return ""
        schema = text_in(_answers(status, told)[0], "schemaText")
        kept = _KEPT.search(schema)
        if kept is None:
            raise EngineError(
                "The schema there was not made here.", fix="hive relation model load FILE"
            )
        # Comments come back with their lines moved in or out; the language does not mind.
        return text_of(read_model("\n".join(one.strip(" \t*") for one in kept[1].splitlines())))

    async def _model(self) -> RelationModel:
        text = await self.model()
        if not text:
            raise BadInputError("There is no model.", fix="hive relation model load FILE")
        return read_model(text)


def schema_of(model: RelationModel) -> str:
    """Return a model as a schema of SpiceDB. Raises BadInputError."""
    lines = ["/** hive", text_of(model).rstrip(), "*/"]
    for kind, relations in model.types.items():
        lines.append(f"definition {_named(kind)} {{")
        for name, rule in relations.items():
            if types := direct_types(rule):
                written = " | ".join(_type(one) for one in types)
                lines.append(f"  relation {_named(_place(rule, name))}: {written}")
            if not isinstance(rule, Direct):
                lines.append(f"  permission {_named(name)} = {_expression(rule, name)}")
        lines.append("}")
    return "\n".join(lines) + "\n"


def _place(rule: Rule, name: str) -> str:
    """Return under which name what is written down of a relation stands."""
    return name if isinstance(rule, Direct) else f"{name}{DIRECT}"


def _type(one: SubjectType) -> str:
    if one.everybody:
        return f"{one.type}:{EVERYBODY}"
    return f"{one.type}#{one.relation}" if one.relation else one.type


def _expression(rule: Rule, name: str) -> str:
    if isinstance(rule, Direct):
        return f"{name}{DIRECT}"
    if isinstance(rule, Computed):
        return rule.relation
    if isinstance(rule, Through):
        return f"{rule.link}->{rule.relation}"
    if isinstance(rule, Except):
        return f"({_expression(rule.base, name)} - {_expression(rule.without, name)})"
    sign = {AnyOf: " + ", AllOf: " & "}[type(rule)]
    return f"({sign.join(_expression(one, name) for one in rule.parts)})"


def _named(text: str) -> str:
    if _NAME.fullmatch(text) is None or (text.endswith(DIRECT) and text.count(DIRECT) > 1):
        raise BadInputError(
            f"SpiceDB takes no type or relation {text}.",
            why="A name has 3 to 56 small letters, digits and _, and begins with a letter.",
        )
    return text


def _consistency(at: str) -> dict[str, Json]:
    return {"atLeastAsFresh": {"token": at}} if at else {"fullyConsistent": True}


def _written(name: str) -> str:
    return _FOREIGN.sub(lambda found: f"={ord(found[0]):02X}", name)


def _read(name: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)


def _object(text: str) -> dict[str, Json]:
    kind, _, name = text.partition(":")
    return {"objectType": kind, "objectId": _written(name)}


def _subject(text: str) -> dict[str, Json]:
    kind, related, everybody = subject_parts(text)
    if everybody:
        return {"object": {"objectType": kind, "objectId": EVERYBODY}}
    return {"object": _object(text.partition("#")[0]), "optionalRelation": related}


def _line(model: RelationModel, one: Relationship) -> dict[str, Json]:
    rule = model.rule(object_type(one.object), one.relation)
    return {
        "resource": _object(one.object),
        "relation": _place(rule, one.relation),
        "subject": _subject(one.subject),
    }


def _update(operation: str, model: RelationModel, one: Relationship) -> dict[str, Json]:
    return {"operation": operation, "relationship": _line(model, one)}


def _demand(operation: str, model: RelationModel, one: Relationship) -> dict[str, Json]:
    kind, related, everybody = subject_parts(checked(one).subject)
    name = one.subject.partition("#")[0].partition(":")[2]
    rule = model.rule(object_type(one.object), one.relation)
    return {
        "operation": operation,
        "filter": {
            "resourceType": object_type(one.object),
            "optionalResourceId": _written(one.object.partition(":")[2]),
            "optionalRelation": _place(rule, one.relation),
            "optionalSubjectFilter": {
                "subjectType": kind,
                "optionalSubjectId": EVERYBODY if everybody else _written(name),
                "optionalRelation": {"relation": related},
            },
        },
    }


def _relationship(told: Json) -> Relationship:
    line = told if isinstance(told, dict) else {}
    of = f"{text_in(line, 'resource', 'objectType')}:{_read(text_in(line, 'resource', 'objectId'))}"
    kind = text_in(line, "subject", "object", "objectType")
    name = _read(text_in(line, "subject", "object", "objectId"))
    related = text_in(line, "subject", "optionalRelation")
    subject = f"{kind}:{name}#{related}" if related else f"{kind}:{name}"
    return Relationship(of, text_in(line, "relation").removesuffix(DIRECT), subject)


def _fault(status: int, told: Sequence[dict[str, Json]]) -> str:
    """Return why a question has no answer, empty where it has one or was no question."""
    if status == 200 or not told:
        return ""
    message = text_in(told[0], "message")
    deep = told[0].get("code") == EXHAUSTED or "max depth" in message or "maximum depth" in message
    return "too deep to be followed" if deep else ""


def _answers(status: int, told: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
    """Return what was answered. Raises BadInputError, ConflictError, EngineError."""
    errors = [told[0]] if status != 200 and told else [one for one in told if "error" in one]
    if errors:
        inner = errors[0].get("error")
        error = inner if isinstance(inner, dict) else errors[0]
        why, code = plain_text(text_in(error, "message"))[:400], error.get("code")
        if code == PRECONDITION and "precondition" in why:
            raise ConflictError("The relationships are not what the write asks for.", why=why)
        if code in (INVALID, NOT_FOUND, PRECONDITION):
            raise BadInputError("The relation server does not take that.", why=why)
        raise EngineError("The relation server did not answer.", why=f"Status {status}. {why}")
    if status != 200:
        raise EngineError("The relation server did not answer.", why=f"Status {status}.")
    results = [one.get("result", one) for one in told]
    return [one for one in results if isinstance(one, dict)]
