"""Warrants that others minted, in the engine's own vocabulary, read as terms.

A capability of theirs is a tool with conditions on its arguments. What has no safe counterpart here (a glob, an expression)
allows nothing: a tool under such a condition is left out.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from hive.core.call import Verb
from hive.core.errors import BadInputError
from hive.security.capability.constraints import ANY_VALUE
from hive.security.capability.ports import Capability, Terms
from hive.security.capability.terms_check import check_of
from hive_a2a.stages.tenuo_warrants import OF_METHODS, STANDING_ARGUMENTS
from hive_a2a.stages.warrant import TOOL_PREFIX

Given: TypeAlias = Any
_STANDING: Final = frozenset((*STANDING_ARGUMENTS, *OF_METHODS))
_DATA: Final = "data."


def native_terms(capabilities: Mapping[str, Mapping[str, Given]]) -> Terms:
    """Return what a link of the engine's own allows here."""
    found: list[Capability] = []
    for tool, conditions in capabilities.items():
        if tool.startswith(TOOL_PREFIX):
            # How messages are sent: the engine judges that at the door, here it names whom they may reach.
            found.append(Capability(verb=Verb.SEND, target="*"))
            continue
        one = _capability(tool, conditions)
        if one is not None:
            found.append(one)
    return Terms(capabilities=tuple(dict.fromkeys(found)))


def _capability(tool: str, conditions: Mapping[str, Given]) -> Capability | None:
    if "." not in tool and tool != "*":
        return None  # a skill of an agent; no tool server is meant by it
    pairs = []
    for name, given in conditions.items():
        if name in _STANDING:
            continue
        text = _condition(given)
        if text is None:
            return None
        pairs.append((name.removeprefix(_DATA), text))
    made = Capability(verb=Verb.INVOKE, target=tool, arguments=tuple(pairs) or None)
    try:
        check_of(Terms(capabilities=(made,)))
    except BadInputError:
        return None
    return made


def _condition(given: Given) -> str | None:
    """Return a condition of the engine as one of ours; None where there is none that is safe."""
    match type(given).__name__:
        case "Wildcard":
            return ANY_VALUE
        case "Exact":
            return f"={given.value}"
        case "OneOf":
            values = [str(one) for one in given.values]
            return None if any("," in one for one in values) else f"in:{','.join(values)}"
        case "Range":
            return f"range:{_end(given.min)}..{_end(given.max)}"
        case "Subpath":
            return f"under:{given.root}" if given.case_sensitive and given.allow_equal else None
        case _:
            return None


def _end(number: float | None) -> str:
    return "" if number is None else repr(number)
