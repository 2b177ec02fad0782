"""Syntax trees of Rego as the engine gives them: how to walk them, and how to read references off them."""

from collections.abc import Iterator, Mapping
from typing import Final

from hive.core.json import Json

_NODES_MAX: Final = 2_000_000
_FIELD: Final = "field"
_OF_FIELD: Final = "of field"


def expressions(tree: Json) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Yield every node; `InputAlone` where `input` stands without a field that can be read off."""
    left: list[tuple[Json, str]] = [(tree, "")]
    for _ in range(_NODES_MAX):
        if not left:
            return
        node, place = left.pop()
        if isinstance(node, list):
            left += [(one, "") for one in node]
        elif isinstance(node, dict):
            for key, value in node.items():
                if not isinstance(value, dict):
                    left.append((value, ""))
                    continue
                yield key, value
                if key == "Var" and value.get("value") == "input" and place != _OF_FIELD:
                    yield "InputAlone", value
                left.append((value, _place_in(key, value, place)))
    message = "the rules are too large to be looked through"
    raise ValueError(message)


def _place_in(key: str, value: Mapping[str, Json], place: str) -> str:
    """Tell whether what stands below is a reference whose field is known, or what that field is taken of."""
    if key == "RefDot" or (key == "RefBrack" and "String" in table(value.get("index"))):
        return _FIELD
    return _OF_FIELD if key == "refr" and place == _FIELD else ""


def body_of(rule: Json) -> Json:
    """Return what a rule asks: its conditions, and the value and key in its head."""
    spec = table(table(rule).get("Spec"))
    head = [
        {name: part for name, part in table(shape).items() if name != "refr"}
        for shape in table(spec.get("head")).values()
    ]
    return [*head, table(table(rule).get("Default")).get("value"), spec.get("bodies")]


def head_of(rule: Json) -> Json:
    """Return the reference that a rule defines."""
    whole = table(rule)
    if "Default" in whole:
        return table(whole["Default"]).get("refr")
    head = table(table(whole.get("Spec")).get("head"))
    for shape in head.values():
        return table(shape).get("refr")
    return None


def dotted(node: Json) -> list[str] | None:
    """Return a reference as names, as far as it is made of names."""
    names: list[str] = []
    while isinstance(node, dict):
        if "Var" in node:
            names.append(str(table(node["Var"]).get("value")))
            return names[::-1]
        if "RefDot" in node:
            inner = table(node["RefDot"])
            named = inner.get("field")
            names.append(str(named[-1]) if isinstance(named, list) else "")
        elif "RefBrack" in node:
            inner = table(node["RefBrack"])
            index = table(inner.get("index"))
            # What is looked up under a name that is only known later ends what can be read off.
            if "String" in index:
                names.append(str(table(index["String"]).get("value")))
            else:
                names.clear()
        else:
            return None
        node = inner.get("refr")
    return None


def table(node: Json) -> dict[str, Json]:
    """Return an object, an empty one for anything else."""
    return node if isinstance(node, dict) else {}


def listed(node: Json) -> list[Json]:
    """Return a list, an empty one for anything else."""
    return node if isinstance(node, list) else []
