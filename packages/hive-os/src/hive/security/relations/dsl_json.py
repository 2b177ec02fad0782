"""The JSON form of the same language, as the API of OpenFGA takes and gives it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from hive.core.json import Json, encode
from hive.security.relations.dsl import MODEL_MAX_BYTES, SCHEMA, model_from_text
from hive.security.relations.model import (
    NESTING_MAX,
    AllOf,
    AnyOf,
    Computed,
    Direct,
    Except,
    RelationModel,
    Rule,
    SubjectType,
    Through,
    broken,
    direct_types,
    model_of,
)

_KEYS: Final = frozenset(
    {"this", "computedUserset", "tupleToUserset", "union", "intersection", "difference"}
)


class _Reference(msgspec.Struct, frozen=True):
    relation: str
    object: str = ""


class _Link(msgspec.Struct, frozen=True):
    tupleset: _Reference
    computedUserset: _Reference  # noqa: N815  the standard's name


class _Several(msgspec.Struct, frozen=True):
    child: list[dict[str, object]]


class _Difference(msgspec.Struct, frozen=True):
    base: dict[str, object]
    subtract: dict[str, object]


class _Related(msgspec.Struct, frozen=True):
    type: str
    relation: str = ""
    wildcard: dict[str, object] | None = None
    condition: str = ""


class _RelationData(msgspec.Struct, frozen=True):
    directly_related_user_types: list[_Related] = []


class _Metadata(msgspec.Struct, frozen=True):
    relations: dict[str, _RelationData] | None = None


class _TypeLine(msgspec.Struct, frozen=True):
    type: str
    relations: dict[str, dict[str, object]] | None = None
    metadata: _Metadata | None = None


class _Document(msgspec.Struct, frozen=True):
    schema_version: str
    type_definitions: list[_TypeLine]
    conditions: dict[str, object] | None = None


def read_model(source: str) -> RelationModel:
    """Read a model in either form. Raises BadInputError."""
    if not source.lstrip().startswith("{"):
        return model_from_text(source)
    if len(source.encode()) > MODEL_MAX_BYTES:
        raise broken(f"It has more than {MODEL_MAX_BYTES} bytes.")
    try:
        document = msgspec.json.decode(source, type=_Document)
        if document.schema_version != SCHEMA or document.conditions:
            raise broken(f"It has another schema than {SCHEMA}, or conditions.")
        names = [one.type for one in document.type_definitions]
        if len(set(names)) != len(names):
            raise broken("A type stands twice.")
        return model_of({one.type: _rules(one) for one in document.type_definitions})
    except (msgspec.MsgspecError, RecursionError) as error:
        raise broken(str(error)) from error


def json_of(model: RelationModel) -> bytes:
    """Write a model in its JSON form."""
    definitions: list[Json] = [
        {
            "type": kind,
            "relations": {name: _written(rule) for name, rule in relations.items()},
            "metadata": {
                "relations": {
                    name: {"directly_related_user_types": [*map(_related, direct_types(rule))]}
                    for name, rule in relations.items()
                }
            },
        }
        for kind, relations in model.types.items()
    ]
    return encode({"schema_version": SCHEMA, "type_definitions": definitions})


def _rules(line: _TypeLine) -> Mapping[str, Rule]:
    told = {} if line.metadata is None else line.metadata.relations or {}
    made: dict[str, Rule] = {}
    for name, written in (line.relations or {}).items():
        related = told.get(name, _RelationData()).directly_related_user_types
        made[name] = _rule(written, tuple(map(_subject, related)), NESTING_MAX)
    return made


def _subject(one: _Related) -> SubjectType:
    if one.condition:
        raise broken(f"{one.type}: conditions are not known here.")
    return SubjectType(one.type, one.relation, one.wildcard is not None)


def _rule(written: Mapping[str, object], types: tuple[SubjectType, ...], left: int) -> Rule:
    keys = [key for key, value in written.items() if value is not None]
    if len(keys) != 1 or keys[0] not in _KEYS or left == 0:
        raise broken(f"A rule has one of {', '.join(sorted(_KEYS))}, and does not nest too deeply.")
    key, value = keys[0], written[keys[0]]
    if key == "this":
        return Direct(types)
    if key == "computedUserset":
        return Computed(msgspec.convert(value, _Reference).relation)
    if key == "tupleToUserset":
        link = msgspec.convert(value, _Link)
        return Through(link.computedUserset.relation, link.tupleset.relation)
    if key == "difference":
        found = msgspec.convert(value, _Difference)
        return Except(_rule(found.base, types, left - 1), _rule(found.subtract, types, left - 1))
    parts = tuple(_rule(one, types, left - 1) for one in msgspec.convert(value, _Several).child)
    if not parts:
        raise broken("A union or intersection is empty.")
    return AnyOf(parts) if key == "union" else AllOf(parts)


def _written(rule: Rule) -> Json:
    if isinstance(rule, Direct):
        return {"this": {}}
    if isinstance(rule, Computed):
        return {"computedUserset": {"relation": rule.relation}}
    if isinstance(rule, Through):
        link: Json = {"relation": rule.link}
        return {
            "tupleToUserset": {"tupleset": link, "computedUserset": {"relation": rule.relation}}
        }
    if isinstance(rule, Except):
        return {"difference": {"base": _written(rule.base), "subtract": _written(rule.without)}}
    kind = "union" if isinstance(rule, AnyOf) else "intersection"
    return {kind: {"child": [_written(one) for one in rule.parts]}}


def _related(one: SubjectType) -> Json:
    told: dict[str, Json] = {"type": one.type}
    if one.relation:
        told["relation"] = one.relation
    if one.everybody:
        told["wildcard"] = {}
    return told
