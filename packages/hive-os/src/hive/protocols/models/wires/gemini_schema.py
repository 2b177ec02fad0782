"""Reads Gemini's schemas, a part of OpenAPI's, as JSON Schema; its own JSON Schema fields need no reading."""

import re
from collections.abc import Mapping
from typing import Final

from hive.core.json import Json
from hive.protocols.models.wires.fields import bad

SCHEMA_DEPTH_MAX: Final = 64
_UNDERSCORE: Final = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")
_NUMBERS: Final = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
_DROPPED: Final = frozenset({"nullable", "propertyOrdering", "example"})


def json_schema(schema: Mapping[str, Json], where: str, depth: int = 0) -> dict[str, Json]:
    """Return the JSON Schema that says what an OpenAPI schema says.

    Raises:
        BadInputError: it is none, or nested too deeply.

    """
    if depth > SCHEMA_DEPTH_MAX:
        raise bad(where, f"is nested deeper than {SCHEMA_DEPTH_MAX}")
    plain = {_UNDERSCORE.sub(lambda one: one[1].upper(), key): schema[key] for key in schema}
    found: dict[str, Json] = {}
    for key, value in plain.items():
        if key not in _DROPPED and value is not None:
            found[key] = _keyword(key, value, f"{where}.{key}", depth)
    order = plain.get("propertyOrdering")
    properties = found.get("properties")
    if isinstance(order, list) and isinstance(properties, dict):
        # Models answer in the order in which a schema names its properties.
        named = [key for key in order if isinstance(key, str) and key in properties]
        found["properties"] = {key: properties[key] for key in [*named, *properties]}
    if plain.get("nullable") is True:
        _allow_null(found)
    return found


def _keyword(key: str, value: Json, where: str, depth: int) -> Json:
    match key:
        case "type":
            if not isinstance(value, str):
                raise bad(where, "must be a string")
            return value.lower()
        case "properties" | "defs" | "$defs":
            if not isinstance(value, dict):
                raise bad(where, "must be an object")
            return {name: _schema(one, f"{where}.{name}", depth + 1) for name, one in value.items()}
        case "items" | "additionalProperties":
            return value if isinstance(value, bool) else _schema(value, where, depth + 1)
        case "anyOf":
            if not isinstance(value, list):
                raise bad(where, "must be a list")
            return [_schema(one, where, depth + 1) for one in value]
        case _ if key in _NUMBERS and isinstance(value, str) and value.isdigit():
            # 64-bit numbers are texts in Google's JSON.
            return int(value[:18])
        case _:
            return value


def _schema(value: Json, where: str, depth: int) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise bad(where, "must be an object")
    return json_schema(value, where, depth)


def _allow_null(schema: dict[str, Json]) -> None:
    if isinstance(kind := schema.get("type"), str):
        schema["type"] = [kind, "null"]
        if isinstance(values := schema.get("enum"), list) and None not in values:
            schema["enum"] = [*values, None]
    elif isinstance(choices := schema.get("anyOf"), list):
        schema["anyOf"] = [*choices, {"type": "null"}]
