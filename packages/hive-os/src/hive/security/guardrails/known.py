"""Values that may never leave: found as they are, encoded, hidden among other signs, or in pieces over several calls.

Looked for are the values themselves, not shapes: the node's own secrets and the key of the calling sandbox. Nothing
else is refused for what it contains. Each value is looked for in one form: letters and digits only, in small letters,
so that what is put between, quotes, and the escapes of URLs and JSON hide nothing; and as base64 (at each of its three
places), base32, hexadecimal, character codes, reversed and rotated. Blocks that decode are opened, some levels deep.

Pieces: the beginning of a text says little, but pieces of one random value add up. `Leaks` counts which places of a
value a caller has sent so far, and refuses the call that brings too many. Whoever encrypts a value first, or sends it
by fewer than eight characters (ten of hexadecimal) at a time, is not seen here: an agent that never reads a secret cannot send it, and that is the
wall (keys stay in the vault).
"""

import base64
import codecs
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from hive.core.json import Json
from hive.security.guardrails.checksums import entropy
from hive.security.guardrails.text import cleaned, folded, opened_blocks, unescaped

VALUE_MIN_CHARS: Final = 8
WORD_MAX_CHARS: Final = 12
VALUE_MAX_CHARS: Final = 16384
GRAM: Final = 6
STRIDE: Final = 3
RANDOM_MIN_CHARS: Final = 16
CALLERS_MAX: Final = 4096
_KEPT: Final = b"0123456789abcdefghijklmnopqrstuvwxyz"
_DROPPED: Final = bytes(one for one in range(256) if one not in _KEPT)


@dataclass(frozen=True, slots=True, repr=False)
class Needle:
    """One form of one value; `random` forms are also looked for in pieces."""

    name: str
    form: str
    letters: bytes
    random: bool

    @property
    def run_min(self) -> int:
        """Return how long a piece has to be to be no accident; texts are full of hexadecimal digits."""
        return 10 if self.letters.strip(b"0123456789abcdef") == b"" else 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A value that was found: its name, in which form, and whether in pieces. Never the value."""

    name: str
    form: str
    pieces: bool = False


class KnownValues:
    """A set of values and their forms; it does not print."""

    def __init__(self, values: Mapping[str, str]) -> None:
        kept = [
            (name, text)
            for name, text in values.items()
            if VALUE_MIN_CHARS <= len(text) <= VALUE_MAX_CHARS
        ]
        self._count = len(kept)
        # Of hardly any letters and digits: only as they are.
        self._exact = tuple(one for one in kept if len(squeezed(one[1])) < VALUE_MIN_CHARS)
        self._needles = tuple(one for name, text in kept for one in _forms(name, text))
        # A view is looked at every third place, so a whole form in it shows one of its first three pieces.
        self._heads: dict[bytes, list[int]] = {}
        for number, needle in enumerate(self._needles):
            for place in range(STRIDE):
                self._heads.setdefault(needle.letters[place : place + GRAM], []).append(number)
        self._grams: dict[bytes, list[tuple[int, int]]] = {}
        for number, needle in enumerate(self._needles):
            if needle.random:
                for place in range(len(needle.letters) - GRAM + 1):
                    gram = needle.letters[place : place + GRAM]
                    self._grams.setdefault(gram, []).append((number, place))

    def __repr__(self) -> str:
        return f"KnownValues({self._count} values)"

    def __bool__(self) -> bool:
        return bool(self._count)

    def found(self, views: "Views") -> Leak | None:
        """Return the first value that stands in a text as a whole, in any form."""
        for name, text in self._exact:
            if text in views.text:
                return Leak(name=name, form="plain")
        for view in views.squeezed:
            maybe = {number for gram in views.grams(view) for number in self._heads.get(gram, ())}
            for needle in (self._needles[number] for number in sorted(maybe)):
                if needle.letters in view:
                    return Leak(name=needle.name, form=needle.form)
        return None

    def pieces(self, views: "Views") -> Iterator[tuple[Needle, set[int]]]:
        """Yield which places of which value stand in a text."""
        if not self._grams:
            return
        found: dict[int, set[int]] = {}
        for view in views.squeezed:
            # Not by `isdisjoint`: that would walk through all pieces of all values.
            known = self._grams
            if not any(gram in known for gram in views.grams(view)):
                continue
            # A run of eight has a gram at every third place of the view.
            for start in range(0, len(view) - GRAM + 1, STRIDE):
                for number, place in known.get(view[start : start + GRAM], ()):
                    needle = self._needles[number]
                    begin, length = _run(view, start, needle.letters, place)
                    if length >= needle.run_min:
                        found.setdefault(number, set()).update(range(begin, begin + length))
        for number, places in found.items():
            yield self._needles[number], places


class Views:
    """One text as it is searched: as it is, and its letters and digits, also of what it says behind escapes and codes."""

    __slots__ = ("_grams", "squeezed", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        views = [squeezed(text)]
        plain = unescaped(text)
        if plain != text:
            views.append(squeezed(plain))
        if not text.isascii():
            shown = cleaned(text)
            views += [squeezed(folded(shown.text)), squeezed(shown.spelled)]
        views += [squeezed(said) for _, _, said in opened_blocks(text)]
        if "0x" in text or "\\" in text or "&#" in text:
            views.append(squeezed(text.replace("0x", "").replace("\\x", "").replace("&#x", "")))
        self.squeezed = tuple(dict.fromkeys(view for view in views if view))
        self._grams: dict[bytes, frozenset[bytes]] = {}

    @classmethod
    def of(cls, value: Json, raw: bytes = b"") -> "Views":
        """Return the views of a document: all of its values one after the other, its names, then bytes beside it."""
        names: list[str] = []
        said = "".join(_texts(value, names))
        return cls("\n".join((said, *names, raw.decode("utf-8", "replace"))))

    def grams(self, view: bytes) -> frozenset[bytes]:
        """Return pieces of a view, some places apart: any longer piece of a value has one of them."""
        known = self._grams.get(view)
        if known is None:
            places = range(0, max(0, len(view) - GRAM + 1), STRIDE)
            known = self._grams[view] = frozenset(view[one : one + GRAM] for one in places)
        return known


@dataclass(slots=True)
class Leaks:
    """What callers have sent of known values so far, in pieces; bounded, kept while the node runs."""

    _sent: OrderedDict[str, dict[str, set[int]]] = field(default_factory=OrderedDict)

    def look(self, caller: str, views: Views, known: Iterable[KnownValues]) -> Leak | None:
        """Return what a text gives away, by itself or together with what its caller sent before."""
        for values in known:
            whole = values.found(views)
            if whole is not None:
                return whole
            for needle, places in values.pieces(views):
                sent = self._of(caller).setdefault(_form_id(needle), set())
                sent |= places
                if len(sent) >= allowed_places(len(needle.letters)):
                    return Leak(name=needle.name, form=needle.form, pieces=True)
        return None

    def _of(self, caller: str) -> dict[str, set[int]]:
        known = self._sent.setdefault(caller, {})
        self._sent.move_to_end(caller)
        while len(self._sent) > CALLERS_MAX:
            self._sent.popitem(last=False)
        return known


def allowed_places(length: int) -> int:
    """Return at how many sent places of a value its caller is stopped: two fifths, at most 96, at least 14."""
    return min(96, max(14, length * 2 // 5))


def squeezed(text: str) -> bytes:
    """Return the letters and digits of a text, in small letters."""
    return text.encode("utf-8", "replace").lower().translate(None, _DROPPED)


def _run(view: bytes, start: int, letters: bytes, place: int) -> tuple[int, int]:
    """Return the piece of a value around a place: where in the value it begins, and its length.

    The length is zero where the look one stride before has found the same piece.
    """
    before = min(start, place, STRIDE)
    back = next((n for n in range(before) if view[start - n - 1] != letters[place - n - 1]), before)
    if back == STRIDE:
        return place, 0
    most = min(len(view) - start, len(letters) - place)
    on = next((n for n in range(GRAM, most) if view[start + n] != letters[place + n]), most)
    return place - back, back + on


def _form_id(needle: Needle) -> str:
    """Name a form of a value so that another value under the same name begins anew."""
    return hashlib.sha256(needle.letters).hexdigest()[:16]


def _texts(value: Json, names: list[str]) -> Iterator[str]:
    """Yield the values of a document, in their order; its depth was bounded when it was read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        names += value
        for one in value.values():
            yield from _texts(one, names)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, names)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)


def _forms(name: str, text: str) -> Iterator[Needle]:
    data = text.encode()
    random = _random(text)
    plain = squeezed(text)
    shown: list[tuple[str, bytes, bool]] = []
    if not _ordinary(plain):
        shown = [("plain", plain, random), ("reversed", plain[::-1], False)]
        shown.append(("rot13", squeezed(codecs.encode(text, "rot13")), False))
    shown += [("base64", one, random) for one in _base_forms(base64.b64encode, data, 3, 8, 6)]
    shown += [("base32", one, False) for one in _base_forms(base64.b32encode, data, 5, 8, 5)]
    shown += [
        ("base64 of it reversed", one, False)
        for one in _base_forms(base64.b64encode, data[::-1], 3, 8, 6)
    ]
    shown += [
        ("hexadecimal", data.hex().encode(), random),
        ("reversed hexadecimal", data[::-1].hex().encode(), False),
        ("decimal codes", "".join(map(str, data)).encode(), False),
        ("octal codes", "".join(f"{one:03o}" for one in data).encode(), False),
        ("binary", "".join(f"{one:08b}" for one in data).encode(), False),
        ("base85", squeezed(base64.b85encode(data).decode()), False),
        ("ascii85", squeezed(base64.a85encode(data).decode()), False),
    ]
    for form, letters, pieces in shown:
        if len(letters) >= VALUE_MIN_CHARS:
            yield Needle(name, form, letters, pieces)


def _ordinary(plain: bytes) -> bool:
    """Tell whether a value is a word or a number that any text may hold; then only its codes are looked for."""
    return len(plain) < WORD_MAX_CHARS and (plain.isalpha() or plain.isdigit())


def _base_forms(encode: object, data: bytes, places: int, byte: int, bits: int) -> Iterator[bytes]:
    """Yield what is certain of an encoding, wherever the value begins within a longer text."""
    for offset in range(places):
        whole = encode(bytes(offset) + data)  # type: ignore[operator]
        start = -(-offset * byte // bits)
        end = (offset + len(data)) * byte // bits
        yield squeezed(whole[start:end].decode())


def _random(text: str) -> bool:
    """Tell whether a value is irregular enough that a piece of it is no accident."""
    plain = squeezed(text).decode()
    digits = sum(map(str.isdigit, plain))
    return (
        len(plain) >= RANDOM_MIN_CHARS
        and digits >= 2
        and digits < len(plain)
        and entropy(plain) >= 3.0
        and " " not in text.strip()
        and "://" not in text
    )
