"""The smallest JSON that fits a schema: what a scripted model says where structured output is demanded."""

from collections.abc import Mapping
from typing import Final

from hive.core.json import Json

DEPTH_MAX: Final = 32
ITEMS_MAX: Final = 100
CHARS_MAX: Final = 1000
_FORMATS: Final = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "someone@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def smallest(schema: Json, root: Mapping[str, Json] | None = None, depth: int = 0) -> Json:
    """Return the smallest value that fits a schema, null where the schema says too little."""
    if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
        return None
    top = schema if root is None else root
    if isinstance(reference := schema.get("$ref"), str):
        return smallest(_found(top, reference), top, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "anyOf", "oneOf"):
        if isinstance(choices := schema.get(key), list) and choices:
            return choices[0] if key == "enum" else smallest(choices[0], top, depth + 1)
    if isinstance(parts := schema.get("allOf"), list) and parts:
        return smallest(_joined(schema, parts, top), top, depth + 1)
    return _typed(schema, top, depth)


def _found(root: Mapping[str, Json], reference: str) -> Json:
    place: Json | Mapping[str, Json] = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not name:
            continue
        place = place.get(name) if isinstance(place, Mapping) else None
    return dict(place) if isinstance(place, Mapping) else None


def _joined(schema: Mapping[str, Json], parts: list[Json], root: Mapping[str, Json]) -> Json:
    joined = {key: value for key, value in schema.items() if key != "allOf"}
    properties: dict[str, Json] = {}
    required: list[Json] = []
    for part in [dict(schema), *parts]:
        whole = part
        if isinstance(part, dict) and isinstance(reference := part.get("$ref"), str):
            whole = _found(root, reference)
        if not isinstance(whole, dict):
            continue
        joined |= {key: value for key, value in whole.items() if key != "allOf"}
        if isinstance(inner := whole.get("properties"), dict):
            properties |= inner
        if isinstance(names := whole.get("required"), list):
            required += names
    return joined | ({"properties": properties, "required": required} if properties else {})


def _typed(schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> Json:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "null"
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            count = min(_number(schema, "minItems"), ITEMS_MAX)
            return [smallest(schema.get("items"), root, depth + 1) for _ in range(int(count))]
        case "string":
            text = _FORMATS.get(str(schema.get("format")), "")
            return text.ljust(int(min(_number(schema, "minLength"), CHARS_MAX)), "x")
        case "integer" | "number":
            return _least(schema, whole=kind == "integer")
        case "boolean":
            return False
        case _:
            return None


def _object(schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> Json:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {}
    wanted = [name for name in properties if name in required]
    return {name: smallest(properties[name], root, depth + 1) for name in wanted}


def _least(schema: Mapping[str, Json], *, whole: bool) -> Json:
    step = _number(schema, "multipleOf") or 1
    least = _number(schema, "minimum")
    if "exclusiveMinimum" in schema:
        least = max(least, _number(schema, "exclusiveMinimum") + (1 if whole else step / 2))
    for key, slack in (("maximum", 0), ("exclusiveMaximum", 1)):
        if key in schema:
            least = min(least, _number(schema, key) - slack)
    if schema.get("multipleOf"):
        least = -(-least // step) * step
    return int(least) if whole or float(least).is_integer() else least


def _number(schema: Mapping[str, Json], key: str) -> float:
    value = schema.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
