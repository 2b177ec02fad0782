"""What a tool does and what its arguments are for, derived from its name, its schema and its annotations."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from hive.core.json import Json
from hive.security.labels.text import POINTERS
from hive.security.labels.vocabulary import parts_of, stems, vocabulary

DEPTH_MAX: Final = 12
LEAVES_MAX: Final = 512
DESTINATION_KEY: Final = "x-hive-destination"
_TYPED_FORMATS: Final = frozenset({"date", "date-time", "time", "duration"})
_POINTING_FORMATS: Final = frozenset(
    {"email", "idn-email", "uri", "url", "iri", "hostname", "uri-reference"}
)
_NUMBER: Final = re.compile(r"[+-]?\d{1,9}(?:[.,]\d+)?%?")
_PICKING: Final = frozenset(
    {"id", "ids", "uid", "uuid", "key", "no", "nr", "ref", "reference", "code"}
)
_COUNTED: Final = frozenset(
    {
        "page",
        "line",
        "row",
        "column",
        "max",
        "min",
        "total",
        "chapter",
        "week",
        "phone",
        "telephone",
    }
)
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")
_NONE: Final[Mapping[str, Json]] = {}


class ArgumentRole(StrEnum):
    """What an argument is for.

    TYPED values (numbers, dates, one of a closed list) carry no wish. CONTENT is prose that is passed on. A SELECTOR
    picks something that exists, a DESTINATION says who gets it or where it goes.
    """

    TYPED = "typed"
    CONTENT = "content"
    SELECTOR = "selector"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar of the arguments: its path, its value, its role."""

    path: str
    value: str
    role: ArgumentRole


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTraits:
    """`reads`: it changes nothing. `acts`: the classes of action; empty if its name says none.

    `quotes`: it answers with somebody's document (a page, a file), so nothing in its answer counts as a record.
    `lists`: where it answers in prose, each line is one of the things that it found. `verb`: the first word of its name.
    """

    name: str
    reads: bool
    acts: frozenset[str]
    verb: str = ""
    quotes: bool = False
    lists: bool = False
    schema: dict[str, Json] = field(default_factory=dict)

    @property
    def overwrites(self) -> bool:
        """Tell whether it replaces what stands under a name: a text to write, and no id that finds it."""
        fields = self.schema.get("properties")
        known = vocabulary()
        if self.verb not in known.overwrites or not isinstance(fields, dict):
            return self.verb in known.overwrites and "create" in self.acts
        lasts = {parts_of(name)[-1] for name in fields if parts_of(name)}
        written = not known.content.isdisjoint(lasts - known.titles)
        return written and not any(_picks(name) for name in fields)

    def leaves(self, arguments: Json) -> Iterator[Leaf]:
        """Yield the scalars of the arguments; a key of an object counts as content."""
        yield from _leaves(arguments, self.schema, "", self)


def traits_of(
    name: str,
    description: str = "",
    schema: Mapping[str, Json] = _NONE,
    annotations: Mapping[str, Json] = _NONE,
) -> ToolTraits:
    """Derive a tool's traits. Only the annotations of a definition that an operator has approved belong here."""
    known = vocabulary()
    words = _from_the_verb(parts_of(name.rpartition(".")[2]))
    acts = _acts_of(words)
    leads_to_read = bool(words) and words[0] in known.reads
    hint = annotations.get("readOnlyHint")
    if hint is True:
        reads = True
    elif hint is False:
        reads = False
    else:
        reads = leads_to_read or (not acts and bool(known.reads.intersection(words)))
    if not acts and not reads:
        acts = known.acts_of(parts_of(description.partition(".")[0])[:3])
    if reads:
        acts = frozenset()
    elif annotations.get("destructiveHint") is True and not acts:
        acts = frozenset({"delete"})
    quotes = bool(words) and (words[0] in known.quoting or bool(known.quoted.intersection(words)))
    many = words[-1:] != words[:1] and words[-1].endswith("s") if words else False
    lists = reads and not quotes and bool(words) and (words[0] in known.lists or many)
    return ToolTraits(
        name=name,
        reads=reads,
        acts=acts,
        verb="" if reads or not words else words[0],
        quotes=quotes,
        lists=lists,
        schema=dict(schema),
    )


def _from_the_verb(words: list[str]) -> list[str]:
    """Drop what stands before the verb of a name: a product, or a thing (`shop_list_orders`, `mail_delete`).

    A deed goes before a reading wherever the name begins with neither: `price_list_update` changes something.
    """
    known = vocabulary()
    reading = known.reads | known.quoting
    if words and (words[0] in reading or (known.acts_of(words[:1]) and not _is_thing(words[0]))):
        return words
    deeds = [at for at, one in enumerate(words) if known.acts_of([one])]
    for found in (
        [at for at in deeds if not _is_thing(words[at])],
        [at for at, one in enumerate(words) if one in reading],
        deeds,
    ):
        if found:
            return words[found[0] :]
    return words


def _is_thing(word: str) -> bool:
    known = vocabulary()
    several = word.endswith("s") and word not in known.acts
    return several or not known.things.isdisjoint(stems(word))


def _acts_of(words: list[str]) -> frozenset[str]:
    """Return what a tool's name says that it does: its first word, and all where that says little."""
    known = vocabulary()
    first = known.acts_of(words[:1])
    if words and words[0] in known.generic:
        return known.acts_of(words)
    if not first:
        return known.acts_of(words)
    # Who may do what: whatever the verb, that is what changes.
    return first | (known.acts_of(words[1:]) & {"permit"})


def _leaves(
    value: Json, schema: Json, path: str, traits: ToolTraits, depth: int = 0
) -> Iterator[Leaf]:
    if depth > DEPTH_MAX:
        yield Leaf(path, "", ArgumentRole.DESTINATION)
        return
    shape = schema if isinstance(schema, dict) else {}
    if isinstance(value, dict):
        fields = shape.get("properties")
        for key, inner in value.items():
            below = fields.get(key) if isinstance(fields, dict) else None
            yield from _leaves(inner, below, f"{path}/{key}", traits, depth + 1)
            if below is None and path:
                yield Leaf(f"{path}/{key}", key, ArgumentRole.CONTENT)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, shape.get("items"), path, traits, depth + 1)
    elif isinstance(value, str):
        if value:
            yield Leaf(path, value, _role(value, shape, path, traits))
    elif isinstance(value, int | float) and not isinstance(value, bool) and _picks(path):
        # Other numbers, truth values and nothing are typed: they carry no wish.
        yield Leaf(path, str(value), _role(str(value), shape, path, traits))


def _role(value: str, shape: Mapping[str, Json], path: str, traits: ToolTraits) -> ArgumentRole:
    words = parts_of(path.rpartition("/")[2])
    return _role_by_schema(value, shape, path, words) or _role_by_name(value, words, traits)


def _role_by_schema(
    value: str, shape: Mapping[str, Json], path: str, words: list[str]
) -> ArgumentRole | None:
    marked = shape.get(DESTINATION_KEY)
    if marked is not None:
        return ArgumentRole.DESTINATION if marked else ArgumentRole.CONTENT
    if "enum" in shape or "const" in shape or shape.get("format") in _TYPED_FORMATS:
        return ArgumentRole.TYPED
    if shape.get("format") in _POINTING_FORMATS:
        return ArgumentRole.DESTINATION
    steers = _picks(path) or vocabulary().destination.intersection(words)
    if (_is_typed(value) and not steers) or ("currency" in words and len(value) == 3):
        return ArgumentRole.TYPED
    return None


def _role_by_name(value: str, words: list[str], traits: ToolTraits) -> ArgumentRole:
    known, last = vocabulary(), words[-1] if words else ""
    if last in known.titles and traits.overwrites:
        return ArgumentRole.SELECTOR
    whole = POINTERS.fullmatch(value.strip()) is not None
    if last in known.content or (not whole and known.content.intersection(words)):
        return ArgumentRole.CONTENT
    if whole or known.destination.intersection(words):
        return ArgumentRole.DESTINATION
    makes = "create" in traits.acts and not {"update", "delete"} & traits.acts
    if value.casefold() in known.usual:
        return ArgumentRole.TYPED
    named = makes and last in known.names and not _PICKING.intersection(words)
    return ArgumentRole.CONTENT if named else ArgumentRole.SELECTOR


def _picks(path: str) -> bool:
    words = parts_of(path.rpartition("/")[2])
    if words[-1:] == ["number"]:
        # `issue_number` finds an issue, `page_number` only counts.
        return len(words) > 1 and words[-2] not in _COUNTED
    return bool(words) and (words[-1] in _PICKING or "id" in words)


def _is_typed(value: str) -> bool:
    if len(value) > 40:
        return False
    if _NUMBER.fullmatch(value) or _CLOCK.fullmatch(value):
        return True
    text = value.strip().replace("Z", "+00:00")
    for read in (date.fromisoformat, datetime.fromisoformat):
        try:
            read(text)
        except ValueError:
            continue
        return True
    return False
