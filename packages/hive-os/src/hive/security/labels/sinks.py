"""May this call leave the run? Every argument that steers has to come from where the user's wish can be seen."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from hive.core.json import Json
from hive.security.labels.sources import Origin, Outside, Words
from hive.security.labels.text import POINTERS, normalized, pointers
from hive.security.labels.traits import ArgumentRole, Leaf, ToolTraits

_KNOWN: Final = frozenset({Origin.USER, Origin.NAMED_RECORD})
_LENT: Final = frozenset({*_KNOWN, Origin.RECORD})
PATH_PART_MAX_CHARS: Final = 48


class FlowAnswer(StrEnum):
    """What the labels say to a call."""

    PASS = "pass"  # noqa: S105  a word, not a secret
    ASK = "ask"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The answer, and what a person needs to see: which argument, its value, where it comes from, which rule."""

    answer: FlowAnswer
    rule: str = ""
    path: str = ""
    value: str = ""
    origin: Origin = Origin.USER

    @property
    def reason(self) -> str:
        """Say it so that it may stand in the ledger: which argument, never its value."""
        place = self.path.lstrip("/") or "the call"
        return f"{_RULES[self.rule]}: {place} comes from {_WHERE[self.origin]}"


PASSES: Final = Flow(answer=FlowAnswer.PASS)
_RULES: Final = {
    "": "allowed",
    "unasked": "the user did not ask for an action of this kind",
    "destination": "what came from outside may not say where something goes",
    "selector": "what came from outside may not choose what is changed",
    "pointer": "an address from outside would be passed on",
    "leak": "an address was put together after reading from outside",
    "lure": "a text from outside wants an address to be opened",
}
_WHERE: Final = {
    Origin.USER: "the user's words",
    Origin.NAMED_RECORD: "a record that the user named",
    Origin.TOLD_RECORD: "a record that the user named, and a text from outside mentions it",
    Origin.RECORD: "a record that the user did not name",
    Origin.TEXT: "a text from outside",
    Origin.NOWHERE: "nowhere that the node has seen",
}


def judge(
    traits: ToolTraits,
    arguments: Json,
    *,
    words: Words,
    outside: Outside,
    allowed: frozenset[str] = frozenset(),
) -> Flow:
    """Judge a call of a tool. `allowed` are values that the operator lets through (normalized).

    Nothing is asked before anything came from outside: until then all values are the user's or the agent's own.
    """
    if not outside:
        return PASSES
    leaves = [one for one in traits.leaves(arguments) if one.role is not ArgumentRole.TYPED]
    if traits.reads:
        return _judge_reading(leaves, words, outside, allowed)
    steering = [one for one in leaves if one.role is not ArgumentRole.CONTENT]
    origins = [(one, _origin(one, words, outside, allowed)) for one in steering]
    asked_for = bool(traits.acts & words.acts) or words.ask_to(traits.verb)
    worst = Flow(answer=FlowAnswer.PASS)
    for leaf, origin in origins:
        worst = _worse(worst, _judge_leaf(leaf, origin, asked_for=asked_for))
    if not asked_for:
        worst = _worse(worst, _judge_unasked(origins, words, outside))
    if worst.answer is not FlowAnswer.REFUSE:
        for leaf in leaves:
            if leaf.role is ArgumentRole.CONTENT:
                worst = _worse(worst, _judge_content(leaf, words, outside, allowed))
    return worst


def _origin(leaf: Leaf, words: Words, outside: Outside, allowed: frozenset[str]) -> Origin:
    if normalized(leaf.value) in allowed:
        return Origin.USER
    points = POINTERS.fullmatch(leaf.value.strip()) is not None
    return outside.origin(leaf.value, words, points=points)


def _judge_leaf(leaf: Leaf, origin: Origin, *, asked_for: bool) -> Flow:
    if origin in _KNOWN:
        return PASSES
    rule = "destination" if leaf.role is ArgumentRole.DESTINATION else "selector"
    if origin is Origin.RECORD and leaf.role is ArgumentRole.SELECTOR and asked_for:
        return PASSES
    soft = origin is Origin.TOLD_RECORD or (asked_for and origin is Origin.RECORD)
    if leaf.role is ArgumentRole.SELECTOR and asked_for and origin is Origin.NOWHERE:
        soft = True
    return Flow(
        answer=FlowAnswer.ASK if soft else FlowAnswer.REFUSE,
        rule=rule,
        path=leaf.path,
        value=leaf.value,
        origin=origin,
    )


def _judge_unasked(origins: list[tuple[Leaf, Origin]], words: Words, outside: Outside) -> Flow:
    """An action that no word of the user asks for: a person may allow it where it is about what the user named.

    Where the user only asked a question, nothing is to be done.
    """
    for leaf, origin in origins:
        if words.only_asks or origin not in _KNOWN:
            return Flow(
                answer=FlowAnswer.REFUSE,
                rule="unasked",
                path=leaf.path,
                value=leaf.value,
                origin=origin,
            )
    for leaf, origin in origins:
        if origin is Origin.NAMED_RECORD:
            shown = outside.named_by(leaf.value, words) or leaf.value
            return Flow(
                answer=FlowAnswer.ASK, rule="unasked", path=leaf.path, value=shown, origin=origin
            )
    answer = FlowAnswer.ASK if origins else FlowAnswer.REFUSE
    return Flow(answer=answer, rule="unasked")


def _judge_content(leaf: Leaf, words: Words, outside: Outside, allowed: frozenset[str]) -> Flow:
    for pointer in pointers(leaf.value):
        if normalized(pointer) in allowed or words.name(pointer):
            continue
        origin = outside.origin(pointer, words)
        if origin in (Origin.TEXT, Origin.TOLD_RECORD, Origin.RECORD):
            answer = FlowAnswer.ASK if words.want_pointers() else FlowAnswer.REFUSE
            return Flow(answer=answer, rule="pointer", path=leaf.path, value=pointer, origin=origin)
    return PASSES


def _judge_reading(
    leaves: list[Leaf], words: Words, outside: Outside, allowed: frozenset[str]
) -> Flow:
    """Reading changes nothing here, but an address that is fetched tells its owner whatever stands in it."""
    for leaf in leaves:
        for pointer in pointers(leaf.value):
            if "://" not in pointer or normalized(pointer) in allowed:
                continue
            origin = outside.origin(pointer, words)
            if origin in _LENT or words.name(urlsplit(pointer).hostname or ""):
                continue
            # A page that a text mentions may be opened where the user asked for such a thing, and as it stands there.
            plain = origin is Origin.TEXT and not _carries(pointer)
            if plain and words.want_pointers():
                continue
            rule = "leak" if origin is Origin.NOWHERE else "lure"
            return Flow(
                answer=FlowAnswer.REFUSE, rule=rule, path=leaf.path, value=pointer, origin=origin
            )
    return PASSES


def _carries(address: str) -> bool:
    """Tell whether an address has room for a message: a query, a fragment, a name of a user, a long path."""
    parts = urlsplit(address)
    rest = parts.query or parts.fragment or parts.username or parts.password
    return bool(rest) or any(len(one) > PATH_PART_MAX_CHARS for one in parts.path.split("/"))


def _worse(one: Flow, other: Flow) -> Flow:
    order = (FlowAnswer.PASS, FlowAnswer.ASK, FlowAnswer.REFUSE)
    return other if order.index(other.answer) > order.index(one.answer) else one
