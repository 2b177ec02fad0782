"""How much work a JSON Schema can make of one value: reckoned before it is used, for its server wrote it.

A few lines of references can double themselves at each step, so that a small value is looked at 2^40 times.
What may apply to one place of a value is summed along every way through the schema; places beside each
other count once, for the value pays for those with its own size.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import unquote

from hive.core.json import Json

DEPTH_MAX: Final = 16
SCHEMA_DEPTH_MAX: Final = 32
WORK_MAX: Final = 20_000
STEPS_MAX: Final = 200_000
PATH_MAX: Final = 150
METASCHEMAS: Final = ("http://json-schema.org/", "https://json-schema.org/")
_SAME_ONE: Final = ("not", "if", "then", "else", "contentSchema")
_SAME_LIST: Final = ("allOf", "anyOf", "oneOf")
_SAME_TABLE: Final = ("dependentSchemas", "dependencies")
_ITEMS: Final = ("items", "additionalItems", "contains", "unevaluatedItems")
_MEMBERS: Final = ("additionalProperties", "propertyNames", "unevaluatedProperties")
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")

Work: TypeAlias = tuple[int, int]
"""Looks at a value that is a list, and at one that is an object."""


class SchemaRefusedError(ValueError):
    """A schema that is not used: it asks for too much, or for another document."""


def admit_schema(schema: Mapping[str, Json]) -> None:
    """Let a schema pass whose work is bounded and which needs nothing but itself.

    Raises:
        SchemaRefusedError: it does not.

    """
    _admit_depth(schema)
    reckoning = _Reckoning(schema)
    if max(reckoning.work(dict_of(schema), DEPTH_MAX)) > WORK_MAX:
        raise SchemaRefusedError("its references multiply without a bound")


def _admit_depth(schema: Mapping[str, Json]) -> None:
    level: list[Json] = [dict(schema)]
    for _ in range(SCHEMA_DEPTH_MAX):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise SchemaRefusedError(f"it is nested deeper than {SCHEMA_DEPTH_MAX} levels")


def _inside(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


class _Reckoning:
    """The work of each subschema, reckoned once for each depth of the value that is left."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        self._root = root
        self._known: dict[tuple[int, int], Work] = {}
        self._open: set[tuple[int, int]] = set()
        self._steps = 0
        self._anchors: dict[str, Json] | None = None

    def work(self, schema: Json, depth: int) -> Work:
        """Return the work of a subschema for a value of this depth."""
        if not isinstance(schema, Mapping) or depth < 0:
            return (1, 1)
        key = (id(schema), depth)
        known = self._known.get(key)
        if known is not None:
            return known
        self._steps += 1
        if key in self._open:
            raise SchemaRefusedError("a reference in it leads to itself")
        if self._steps > STEPS_MAX or len(self._open) > PATH_MAX:
            raise SchemaRefusedError("it is too large")
        if "$id" in schema and schema is not self._root and isinstance(schema["$id"], str):
            raise SchemaRefusedError("it has another document inside")
        self._open.add(key)
        lists, objects = 1, 1
        for one in self._same_place(schema):
            more = self.work(one, depth)
            lists, objects = lists + more[0], objects + more[1]
        lists += self._of_items(schema, depth)
        objects += self._of_members(schema, depth)
        self._open.discard(key)
        self._known[key] = found = (min(lists, WORK_MAX + 1), min(objects, WORK_MAX + 1))
        return found

    def _same_place(self, schema: Mapping[str, Json]) -> Iterator[Json]:
        for name in _REFERENCES:
            reference = schema.get(name)
            if isinstance(reference, str):
                yield self._target(reference)
        for name in _SAME_ONE:
            if name in schema:
                yield schema[name]
        for name in _SAME_LIST:
            inner = schema.get(name)
            if isinstance(inner, list):
                yield from inner
        for name in _SAME_TABLE:
            inner = schema.get(name)
            if isinstance(inner, dict):
                yield from inner.values()

    def _of_items(self, schema: Mapping[str, Json], depth: int) -> int:
        total = 0
        for name in _ITEMS:
            inner = schema.get(name)
            total += self._most(inner if isinstance(inner, list) else [inner], depth)
        prefix = schema.get("prefixItems")
        return total + (self._most(prefix, depth) if isinstance(prefix, list) else 0)

    def _of_members(self, schema: Mapping[str, Json], depth: int) -> int:
        named = schema.get("properties")
        total = self._most(list(named.values()), depth) if isinstance(named, dict) else 0
        patterns = schema.get("patternProperties")
        if isinstance(patterns, dict):
            total += sum(max(self.work(one, depth - 1)) for one in patterns.values())
        return total + sum(self._most([schema.get(name)], depth) for name in _MEMBERS)

    def _most(self, several: Sequence[Json], depth: int) -> int:
        return max(
            (max(self.work(one, depth - 1)) for one in several if isinstance(one, Mapping)),
            default=0,
        )

    def _target(self, reference: str) -> Json:
        if reference.startswith(METASCHEMAS):
            return True
        own = self._root.get("$id")
        if isinstance(own, str) and own and reference.startswith(own):
            reference = reference[len(own) :] or "#"
        if not reference.startswith("#"):
            raise SchemaRefusedError("it refers to another document")
        place = unquote(reference[1:])
        if not place:
            return dict_of(self._root)
        if not place.startswith("/"):
            return self._anchored(place)
        found: Json = dict_of(self._root)
        for step in place[1:].split("/"):
            found = _step(found, step.replace("~1", "/").replace("~0", "~"))
        return found

    def _anchored(self, name: str) -> Json:
        if self._anchors is None:
            self._anchors = dict(_anchors_in(dict_of(self._root)))
        if name not in self._anchors:
            raise SchemaRefusedError("a reference in it leads nowhere")
        return self._anchors[name]


def dict_of(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Return the same object, known as a dict."""
    return schema if isinstance(schema, dict) else dict(schema)


def _step(value: Json, step: str) -> Json:
    if isinstance(value, dict) and step in value:
        return value[step]
    if isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    raise SchemaRefusedError("a reference in it leads nowhere")


def _anchors_in(value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict):
        for name in ("$anchor", "$dynamicAnchor"):
            anchor = value.get(name)
            if isinstance(anchor, str):
                yield anchor, value
    for inner in _inside(value):
        yield from _anchors_in(inner)
