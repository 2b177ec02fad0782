"""`Mcp-Param-*`: arguments that a client repeats in headers must be what the body says.

The body decides what is called; a header that says something else is refused, because somebody on the way
may have decided by it. Only properties that the tool's schema marks with `x-mcp-header` have such a header.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from hive.core.json import Json
from hive.protocols.mcp.front.heads import McpHead
from hive.protocols.mcp.ports import McpObject

PREFIX: Final = "Mcp-Param-"
_MARK: Final = "x-mcp-header"
_ENCODED: Final = re.compile(r"=\?base64\?(?P<payload>.*)\?=")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL: Final = re.compile(r"(-?[0-9]{1,400})(?:\.0{1,400})?")
_PRIMITIVES: Final = ("string", "integer", "boolean")
_SINGLE: Final = frozenset(
    {
        "items",
        "contains",
        "unevaluatedItems",
        "additionalProperties",
        "propertyNames",
        "unevaluatedProperties",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    }
)
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})
_NODES_MAX: Final = 10_000

_KNOWN_MAX: Final = 4096

Marks: TypeAlias = tuple[tuple[tuple[str, ...], str, Json], ...]
_KNOWN: Final[dict[int, tuple[Mapping[str, Json], Marks]]] = {}
Position: TypeAlias = tuple[tuple[str, ...] | None, Mapping[str, Json]]


def wrong_parameter(schema: Mapping[str, Json], arguments: McpObject, head: McpHead) -> str | None:
    """Return what disagrees between headers and arguments, None if all is well.

    A schema whose marks break the rules has no such headers: clients leave its tool out.
    """
    for path, token, kind in _marks_of(schema):
        name = PREFIX + token
        wrong = _compare(head, name, _at(arguments, path), kind)
        if wrong:
            return f"{name} {wrong} ({'.'.join(path)})"
    return None


def decode_header(value: str | None) -> str | None:
    """Read a header's value, which may be wrapped in base64; None for one that is malformed."""
    if value is None:
        return None
    wrapped = _ENCODED.fullmatch(value)
    if wrapped is None:
        return value
    payload = wrapped["payload"]
    try:
        raw = base64.b64decode(payload, validate=True)
        # Only the canonical form: two spellings of one value could be read as two values.
        if base64.b64encode(raw).decode("ascii") != payload:
            return None
        return raw.decode()
    except (binascii.Error, ValueError):
        return None


def _compare(head: McpHead, name: str, value: Json, kind: Json) -> str:
    key = name.lower()
    raw = head.headers.get(key)
    if raw is not None and key in head.twice:
        return "stands there twice"
    shown = _shown(value)
    if shown is None:
        return "" if raw is None else "has no argument in the body"
    if raw is None:
        return "is missing although the body has the argument"
    said = decode_header(raw)
    if said is None:
        return "is malformed base64"
    if said == shown or (kind == "integer" and _same_number(said, value)):
        return ""
    return "does not agree with the body"


def _shown(value: Json) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        return None
    try:
        return str(value)
    except ValueError:  # a number of more digits than Python writes
        return None


def _same_number(said: str, value: Json) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    whole = _DECIMAL.fullmatch(said)
    return whole is not None and int(whole[1]) == value


def _at(arguments: Json, path: tuple[str, ...]) -> Json:
    for key in path:
        if not isinstance(arguments, dict):
            return None
        arguments = arguments.get(key)
    return arguments


def _marks_of(schema: Mapping[str, Json]) -> Marks:
    """Return the marks of a schema, which is walked through once: its service keeps and never changes it."""
    known = _KNOWN.get(id(schema))
    if known is not None and known[0] is schema:
        return known[1]
    marked = tuple(_marked(schema))
    marks = marked if _well_marked(schema, marked) else ()
    if len(_KNOWN) >= _KNOWN_MAX:
        _KNOWN.clear()
    _KNOWN[id(schema)] = (schema, marks)
    return marks


def _marked(schema: Mapping[str, Json]) -> Iterator[tuple[tuple[str, ...], str, Json]]:
    for path, node in _positions(schema):
        token = node.get(_MARK)
        if path and isinstance(token, str):
            yield path, token, node.get("type")


def _well_marked(schema: Mapping[str, Json], marked: Marks) -> bool:
    every = sum(1 for _, node in _positions(schema) if _MARK in node)
    tokens = {token.lower() for _, token, _ in marked}
    return (
        every == len(marked) == len(tokens)
        and all(_TOKEN.fullmatch(token) for token in tokens)
        and all(kind in _PRIMITIVES for _, _, kind in marked)
    )


def _positions(schema: Mapping[str, Json]) -> Iterator[Position]:
    """Yield every place of a schema with its path of property names, None behind any other keyword."""
    stack: list[tuple[tuple[str, ...] | None, Json]] = [((), dict(schema))]
    for _ in range(_NODES_MAX):
        if not stack:
            return
        path, node = stack.pop()
        if isinstance(node, dict):
            yield path, node
            stack += _below(path, node)


def _below(
    path: tuple[str, ...] | None, node: McpObject
) -> Iterator[tuple[tuple[str, ...] | None, Json]]:
    for keyword, value in node.items():
        if keyword == "properties" and isinstance(value, dict):
            for name, part in value.items():
                yield (None if path is None else (*path, name)), part
        elif keyword in _SINGLE:
            yield None, value
        elif keyword in _LISTS and isinstance(value, list):
            yield from ((None, part) for part in value)
        elif keyword in _MAPS and isinstance(value, dict):
            yield from ((None, part) for part in value.values())
