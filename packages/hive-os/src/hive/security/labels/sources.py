"""What entered a run, kept by source: the user's words, and what came from outside.

Both are looked up, never trusted to say what they are. A value that the user's words name may be used. A record of
an answer (an object with short fields) that the user's words name may lend its other fields: "mail Dana" names the
record `{"name": "Dana Ito", "email": "dana@example.org"}`. Running text from outside lends nothing, and what it
mentions is under suspicion.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hive.core.json import Json
from hive.security.labels.rows import fields_of
from hive.security.labels.text import (
    POINTERS,
    named_in,
    normalized,
    pointers,
    segments_of,
    squeezed,
    tokens,
    uncovered,
)
from hive.security.labels.vocabulary import parts_of, stems, vocabulary

TEXT_MAX_CHARS: Final = 2 << 20
RECORDS_MAX: Final = 20_000
PIECES_MAX: Final = 20_000
DEPTH_MAX: Final = 24
SHORT_MAX_CHARS: Final = 160
SHORT_MAX_WORDS: Final = 14
TOKEN_MIN_CHARS: Final = 3
SQUEEZED_MIN_CHARS: Final = 8
NUMBER_MIN_CHARS: Final = 10
_IDENTIFIER: Final = re.compile(r"[A-Za-z]+(?:[_-][A-Za-z]+)+")
_COMPOUND: Final = re.compile(r"[\w.-]+(?:/[\w.-]+){1,3}")
_NUMBERED: Final = re.compile(r"[a-z]{0,2}\+?\d[\da-z ()/.-]*\d")


class Words:
    """What the user said, in every message of the conversation."""

    def __init__(self) -> None:
        self.text = ""
        self._tokens: set[str] = set()
        self._newest = ""
        self._segments: set[str] = set()
        self.acts: frozenset[str] = frozenset()

    def add(self, text: str) -> None:
        """Hear the user say something."""
        said = normalized(text)
        room = TEXT_MAX_CHARS - len(self.text)
        self.text = f"{self.text}\n{said[:room]}"
        self._newest = said[:room].strip()
        self._segments.update(
            part for word in said[:room].split() if "/" in word for part in segments_of(word)
        )
        found = tokens(said[:room])
        self._tokens.update(stem for word in found for stem in stems(word))
        self.acts |= vocabulary().acts_of(found)

    def lend(self, answer: Json) -> None:
        """Take in what somebody said whom the operator trusts as the user: its values may be used, it asks for nothing."""
        said = normalized("\n".join(_texts_of(answer)))
        self.text = f"{self.text}\n{said[: TEXT_MAX_CHARS - len(self.text)]}"

    def name(self, value: str) -> bool:
        """Tell whether a value stands in the user's words as a whole; a long number may be written with spaces."""
        shown = normalized(value)
        if named_in(shown, self.text):
            return True
        # The parts of a path or an address that the user wrote: `owner/project`, `https://host/owner/project`.
        if shown in self._segments and POINTERS.fullmatch(value) is None:
            return True
        if _IDENTIFIER.fullmatch(value) and named_in(" ".join(parts_of(value)), self.text):
            return True
        bare = squeezed(shown)
        spaced = len(bare) >= NUMBER_MIN_CHARS and _NUMBERED.fullmatch(shown) is not None
        return spaced and bare in squeezed(self.text)

    def share(self, text: str) -> set[str]:
        """Return the telling words that a short text has in common with the user's words."""
        plain = vocabulary().plain
        return {
            word
            for word in tokens(normalized(text))
            if (len(word) >= TOKEN_MIN_CHARS or word.isdigit())
            and word not in plain
            and not self._tokens.isdisjoint(stems(word))
        }

    def ask_to(self, verb: str) -> bool:
        """Tell whether the user used the very verb of a tool's name."""
        return len(verb) >= TOKEN_MIN_CHARS and not self._tokens.isdisjoint(stems(verb))

    @property
    def only_asks(self) -> bool:
        """Tell whether the newest words are a question, so that nothing is to be done."""
        known = vocabulary()
        found = tokens(self._newest)
        if not found or found[0] in known.polite:
            return False
        return found[0] in known.questions or self._newest.endswith("?")

    def want_pointers(self) -> bool:
        """Tell whether the user asked for addresses, links or numbers to be passed on."""
        return not self._tokens.isdisjoint(vocabulary().pointing)


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One object of an answer: its short fields, and whether it carries running text besides.

    A `row` is a line of prose that lists things: it helps to pick one of them, and says nobody's address.
    """

    fields: tuple[str, ...]
    authored: bool
    row: bool = False


class Origin(StrEnum):
    """Where a value was found, from the safest to the least known."""

    USER = "user"
    NAMED_RECORD = "named record"
    TOLD_RECORD = "record with text"
    RECORD = "record"
    TEXT = "text from outside"
    NOWHERE = "nowhere"


class HeardText:
    """A piece of running text, and the forms in which it is searched: made once, by whoever asks first."""

    __slots__ = ("_shown", "raw")

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self._shown: str | None = None

    @property
    def shown(self) -> str:
        """Return what it says, with what it hides in other alphabets and encodings."""
        if self._shown is None:
            self._shown = normalized(self.raw) + "\n" + normalized(uncovered(self.raw))
        return self._shown


@dataclass(slots=True)
class Outside:
    """What came from outside during a run: records by their values, running text, and from which sources.

    Nothing is kept twice, however often pages of tasks that call each other are merged, and all of it is bounded: what no
    longer fits is not kept, and from then on a value that is not known counts as told by a stranger (`overflowed`).
    """

    sources: set[str] = field(default_factory=set)
    overflowed: bool = False
    text: str = ""
    bare_text: str = ""
    heard: dict[str, HeardText] = field(default_factory=dict)
    heard_chars: int = 0
    pending: list[HeardText] = field(default_factory=list)
    records: dict[str, list[AnswerRecord]] = field(default_factory=dict)
    known: dict[AnswerRecord, None] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.sources) or self.overflowed

    def hear(self, source: str, answer: Json, *, listed: bool = False) -> None:
        """Take an answer in: a JSON document, or text as a string. `listed`: its lines are things that were found."""
        self.sources.add(source)
        found = self._rows(answer) if listed and isinstance(answer, str) else self._walk(answer, 0)
        for text in found:
            self._take(HeardText(text))

    def _take(self, piece: HeardText) -> None:
        """Keep a piece of running text that is not known yet, as long as there is room."""
        if not piece.raw or piece.raw in self.heard:
            return
        room = TEXT_MAX_CHARS - self.heard_chars
        if len(piece.raw) > room or len(self.heard) >= PIECES_MAX:
            self.overflowed = True
            if room <= 0 or len(self.heard) >= PIECES_MAX:
                return
            piece = HeardText(piece.raw[:room])
        self.heard[piece.raw] = piece
        self.heard_chars += len(piece.raw)
        self.pending.append(piece)

    def _rows(self, text: str) -> Iterator[str]:
        """Keep the lines that are rows; yield all others."""
        for line in text.splitlines():
            fields = fields_of(line)
            if fields:
                self._keep(AnswerRecord(fields, authored=True, row=True))
                yield from pointers(line)
            else:
                yield line

    def merge(self, other: "Outside") -> None:
        """Take over what somebody else has heard."""
        if other is self or not other:
            return
        self.sources |= other.sources
        self.overflowed |= other.overflowed
        for piece in other.heard.values():
            self._take(piece)
        for record in other.known:
            self._keep(record)
        if len(self.keys) < RECORDS_MAX:
            self.keys |= other.keys

    def origin(self, value: str, words: Words, *, points: bool = True) -> Origin:
        """Tell where a value comes from. `points`: it says who or where, so that no row of prose vouches for it."""
        if words.name(value):
            return Origin.USER
        self._read_pending()
        best = Origin.NOWHERE
        for record in self.records.get(normalized(value), ()):
            if record.row and points:
                return Origin.TEXT
            found = self._of_record(record, value, words, points=points)
            best = min(best, found, key=_ORDER.index)
            if best is Origin.NAMED_RECORD:
                return best
        if best is Origin.NOWHERE and value in self.keys:
            best = Origin.RECORD
        told = self._tells(value)
        if best is Origin.TOLD_RECORD and not told:
            return Origin.NAMED_RECORD
        unseen = best is Origin.NOWHERE and self.overflowed
        if unseen or (best in (Origin.NOWHERE, Origin.RECORD) and told):
            return Origin.TEXT
        return best

    def named_by(self, value: str, words: Words) -> str:
        """Return by which field of its record the user named a value; empty where by none."""
        for record in self.records.get(normalized(value), ()):
            for one in record.fields:
                if words.share(one):
                    return one
        return ""

    @staticmethod
    def _of_record(record: AnswerRecord, value: str, words: Words, *, points: bool) -> Origin:
        """Tell what a record lends: one with running text only what no text from outside mentions.

        A name is named by a part of it; an address is not, for anybody may have one that begins with "dana".
        """
        own = normalized(value)
        if not any(
            words.share(one) for one in record.fields if not points or normalized(one) != own
        ):
            return Origin.RECORD
        return Origin.TOLD_RECORD if record.authored else Origin.NAMED_RECORD

    def _tells(self, value: str) -> bool:
        """Tell whether running text from outside mentions a value, in whatever disguise we know."""
        shown = normalized(value)
        if not shown:
            return False
        if named_in(shown, self.text):
            return True
        bare = squeezed(shown)
        return len(bare) >= SQUEEZED_MIN_CHARS and bare in self.bare_text

    def _read_pending(self) -> None:
        if self.pending:
            shown = [piece.shown for piece in self.pending]
            self.text = "\n".join((self.text, *shown))
            self.bare_text = "\n".join((self.bare_text, *map(squeezed, shown)))
            self.pending.clear()

    def _walk(self, value: Json, depth: int) -> Iterator[str]:
        """Keep the records of an answer; yield its running text."""
        if depth > DEPTH_MAX:
            self.overflowed = True
        elif isinstance(value, dict):
            yield from self._walk_object(value, depth)
        elif isinstance(value, list):
            yield from self._walk_list(value, depth)
        elif isinstance(value, str):
            yield value

    def _walk_object(self, value: dict[str, Json], depth: int) -> Iterator[str]:
        fields: list[str] = []
        texts = [key for key in value if _is_running(key)]
        if len(self.keys) < RECORDS_MAX:
            self.keys.update(value)
        for inner in value.values():
            for one in _scalars(inner):
                (texts if _is_running(one) else fields).append(one)
            if _nested(inner):
                yield from self._walk(inner, depth + 1)
        yield from texts
        self._keep(AnswerRecord(tuple(fields), authored=bool(texts)))

    def _walk_list(self, value: list[Json], depth: int) -> Iterator[str]:
        for inner in value:
            if isinstance(inner, dict | list):
                yield from self._walk(inner, depth + 1)
                continue
            for one in _scalars(inner):
                if _is_running(one):
                    yield one
                else:
                    self._keep(AnswerRecord((one,), authored=False))

    def _keep(self, record: AnswerRecord) -> None:
        if record in self.known:
            return
        if len(self.known) >= RECORDS_MAX:
            self.overflowed = True
            return
        self.known[record] = None
        for one in record.fields:
            self.records.setdefault(normalized(one), []).append(record)
            if _COMPOUND.fullmatch(one):
                for part in segments_of(one):
                    self.records.setdefault(normalized(part), []).append(record)


_ORDER: Final = tuple(Origin)


def _scalars(value: Json) -> list[str]:
    """Return the texts and numbers directly in a field, those of a plain list included."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, int | float):
        return [str(value)]
    if isinstance(value, list):
        return [
            one for inner in value if not isinstance(inner, dict | list) for one in _scalars(inner)
        ]
    return []


def _texts_of(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts_of(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts_of(inner)]
    return _scalars(value)


def _nested(value: Json) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(one, dict | list) for one in value)
    )


def _is_running(text: str) -> bool:
    """Tell running text from the short fields of a record: long, or it embeds what points somewhere."""
    if len(text) > SHORT_MAX_CHARS or "\n" in text.strip():
        return True
    if len(text.split()) > SHORT_MAX_WORDS:
        return True
    found = POINTERS.search(text)
    return found is not None and found.group(0).strip() != text.strip()
