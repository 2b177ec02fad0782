"""Which relationships a bundle wants looked up for a call, before its rules are asked: `relations.json`.

    {"invoke": {"may_read": {"target": "docs.*", "object": "document:{arguments.id}",
                             "relation": "viewer", "subject": "agent:{agent}"}}}

The answer stands in `input.relations.may_read`. Where there is none, the call is refused before a rule could take
silence for a no. What stands in braces comes from the call: it may be an id, never a type, a relation or a star.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from hive.core.call import Verb
from hive.core.errors import PolicyError

RELATED: Final = "relations.json"
QUESTIONS_MAX: Final = 16
FIELDS: Final = ("agent", "kind", "owner", "principal", "spiffe_id", "target")
HOLE: Final = re.compile(r"\{([a-z_]+(?:\.[A-Za-z0-9_-]{1,64})?)\}")
_TEMPLATE: Final = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_.-]{0,49}|\{kind\}):[^*#\s]+")
_SUBJECT: Final = re.compile(rf"{_TEMPLATE.pattern}(?:#[A-Za-z_][A-Za-z0-9_.-]{{0,49}})?")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


class RelationQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question, with holes in braces; asked for calls whose target is like `target`."""

    object: str
    relation: str
    subject: str
    target: str = "*"


RelationQuestions: TypeAlias = Mapping[str, Mapping[str, RelationQuestion]]
"""By verb and by the name of the answer."""


@lru_cache(maxsize=16)
def related_in(data: bytes) -> RelationQuestions:
    """Read the questions of a bundle. Raises PolicyError."""
    try:
        found = msgspec.json.decode(data, type=dict[Verb, dict[str, RelationQuestion]])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _unusable(str(error)) from error
    for several in found.values():
        if len(several) > QUESTIONS_MAX:
            raise _unusable(f"At most {QUESTIONS_MAX} questions stand under a verb.")
        for name, one in several.items():
            _check(name, one)
    return {verb.value: several for verb, several in found.items()}


def questions_for(data: bytes, verb: str, target: str) -> Mapping[str, RelationQuestion]:
    """Return the questions that a call raises."""
    several = related_in(data).get(verb, {})
    return {name: one for name, one in several.items() if fnmatchcase(target, one.target)}


def _check(name: str, one: RelationQuestion) -> None:
    if _NAME.fullmatch(name) is None:
        raise _unusable("A question is named in small letters, digits and _.")
    if _TEMPLATE.fullmatch(one.object) is None or _SUBJECT.fullmatch(one.subject) is None:
        raise _unusable(f"{name}: an object and a subject begin with their type and a colon.")
    for text in (one.object, one.subject):
        for hole in HOLE.findall(text):
            if hole not in FIELDS and not hole.startswith("arguments."):
                raise _unusable(f"{name}: {{{hole}}} is not known.")
        if "{" in HOLE.sub("", text) or "}" in HOLE.sub("", text):
            raise _unusable(f"{name}: a brace is not closed, or holds what is not known.")
    if "{" in one.relation:
        raise _unusable(f"{name}: a relation is written out.")


def _unusable(why: str) -> PolicyError:
    return PolicyError("The policy bundle cannot be used.", why=f"{RELATED}: {why}")
