"""Reads the fields of a stranger's JSON so that a wrong one is named, and writes JSON in the order it came.

`Fields` is one object of a document and the place where it stands. A null is the same as a missing field,
as all the wires have it.
"""

import base64
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NoReturn

import msgspec

from hive.core.errors import BadInputError, UntranslatableError
from hive.core.json import Json, decode
from hive.protocols.models.conversation import MediaPart

WHOLE_MAX: Final = 1 << 53
NUMBER_MAX: Final = 1e12
ITEMS_MAX: Final = 100_000
TOLD_MAX_CHARS: Final = 120
ANY_IMAGE: Final = "image/*"
INVALID_JSON: Final = "INVALID_JSON"
# Never sorted: models answer in the order in which a schema names its properties.
_IN_ORDER: Final = msgspec.json.Encoder()
_DATA_URL: Final = re.compile(
    r"data:([\w.+-]+/[\w.+*-]+)?((?:;[\w.+-]+=[^;,]*)*);base64,", re.ASCII
)
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IMAGE_ENDINGS: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


def compact(value: object) -> bytes:
    """Write JSON without spaces, keys in the order in which they stand."""
    return _IN_ORDER.encode(value)


def bad(place: str, why: str) -> NoReturn:
    """Refuse a field that is not what its standard says. Write `raise bad(...)`, which ends a branch for all.

    Raises:
        BadInputError: always.

    """
    raise BadInputError(
        f"`{place[:TOLD_MAX_CHARS]}` {why}.", fix="Send what the wire's standard says."
    )


def untranslatable(place: str, why: str) -> NoReturn:
    """Refuse a field that is right, but cannot be said on another wire.

    Raises:
        UntranslatableError: always.

    """
    raise UntranslatableError(
        f"`{place[:TOLD_MAX_CHARS]}` cannot be translated: {why}.",
        fix="Leave the field out, or route the model to a provider of the same wire.",
    )


class Fields:
    """One JSON object and its place in the document."""

    def __init__(self, document: Mapping[str, Json], where: str = "") -> None:
        self.document: Final = document
        self.where: Final = where

    @classmethod
    def of(cls, value: Json, where: str) -> "Fields":
        """Take a value that must be an object.

        Raises:
            BadInputError: it is none.

        """
        if not isinstance(value, dict):
            raise bad(where, "must be an object")
        return cls(value, where)

    def place(self, key: str) -> str:
        """Return the full name of a field."""
        return f"{self.where}.{key}" if self.where else key

    def has(self, key: str) -> bool:
        """Tell whether the field stands there and is not null."""
        return self.document.get(key) is not None

    def raw(self, key: str) -> Json:
        """Return a field as it is."""
        return self.document.get(key)

    def text(self, key: str, default: str = "") -> str:
        """Return a string, `default` where it is missing."""
        value = self.document.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise bad(self.place(key), "must be a string")
        return value

    def named(self, key: str) -> str:
        """Return a string that must not be missing or empty."""
        value = self.text(key)
        if not value:
            raise bad(self.place(key), "must be a string with at least one character")
        return value

    def flag(self, key: str) -> bool | None:
        """Return true, false or None where it is missing."""
        value = self.document.get(key)
        if value is not None and not isinstance(value, bool):
            raise bad(self.place(key), "must be true or false")
        return value

    def whole(self, key: str, *, least: int = 0) -> int | None:
        """Return a whole number, None where it is missing."""
        value = self.document.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= WHOLE_MAX:
            raise bad(self.place(key), f"must be a whole number of at least {least}")
        return value

    def number(self, key: str) -> float | None:
        """Return a number, None where it is missing."""
        value = self.document.get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise bad(self.place(key), "must be a number")
        if not -NUMBER_MAX <= value <= NUMBER_MAX:
            raise bad(self.place(key), "is out of range")
        return float(value)

    def inner(self, key: str) -> "Fields | None":
        """Return an object, None where it is missing."""
        value = self.document.get(key)
        return None if value is None else Fields.of(value, self.place(key))

    def mapping(self, key: str) -> dict[str, Json]:
        """Return an object as it is, an empty one where it is missing."""
        value = self.document.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise bad(self.place(key), "must be an object")
        return value

    def items(self, key: str) -> list[Json]:
        """Return a list, an empty one where it is missing."""
        value = self.document.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise bad(self.place(key), "must be a list")
        if len(value) > ITEMS_MAX:
            raise bad(self.place(key), f"has more than {ITEMS_MAX} items")
        return value

    def objects(self, key: str) -> "Iterator[Fields]":
        """Yield the objects of a list."""
        for index, value in enumerate(self.items(key)):
            yield Fields.of(value, f"{self.place(key)}[{index}]")

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; one string alone is a list of one."""
        value = self.document.get(key)
        if isinstance(value, str):
            return (value,)
        texts = []
        for index, item in enumerate(self.items(key)):
            if not isinstance(item, str):
                raise bad(f"{self.place(key)}[{index}]", "must be a string")
            texts.append(item)
        return tuple(texts)

    def one_of(self, key: str, choices: Sequence[str], default: str = "") -> str:
        """Return one of some words."""
        value = self.text(key, default)
        if value not in choices and value != default:
            raise bad(self.place(key), f"must be one of {', '.join(choices)}")
        return value

    def rest(self, known: Collection[str]) -> dict[str, Json]:
        """Return the fields that are set and not among the known ones."""
        return {
            key: value
            for key, value in self.document.items()
            if key not in known and value is not None
        }


def refuse_extras(extras: Mapping[str, Json], own: Collection[str], wire: str) -> dict[str, Json]:
    """Return the extras that a wire has words for.

    Raises:
        UntranslatableError: there are others.

    """
    for key in extras:
        if key not in own:
            raise untranslatable(key, f"the {wire} wire has no words for it")
    return dict(extras)


def data_url(part: MediaPart) -> str:
    """Return the media as a data URL."""
    return f"data:{part.media_type};base64,{part.data}"


def media_of_url(url: str, where: str, *, family: str = ANY_IMAGE) -> MediaPart:
    """Read an address or a data URL; `family` is the media type where the address does not tell.

    Raises:
        BadInputError: it is a data URL that is not base64, or empty.

    """
    if not url:
        raise bad(where, "must not be empty")
    if url[:5].lower() != "data:":
        path = url.partition("?")[0].lower()
        ending = next((kind for end, kind in _IMAGE_ENDINGS.items() if path.endswith(end)), family)
        return MediaPart(media_type=ending if family == ANY_IMAGE else family, url=url)
    head = _DATA_URL.match(url)
    if head is None:
        raise bad(where, "must be a base64 data URL or an address")
    return MediaPart(media_type=head.group(1) or "text/plain", data=url[head.end() :])


def web_address(part: MediaPart, where: str) -> str:
    """Return the address of media that lie on the web.

    Raises:
        UntranslatableError: the address is a provider's own.

    """
    if not part.url.startswith(("https://", "http://")):
        raise untranslatable(where, "its address is known to one provider only")
    return part.url


def plain_words(part: MediaPart, where: str) -> str:
    """Return the text of a text file.

    Raises:
        BadInputError: it is not base64 of UTF-8.

    """
    try:
        return base64.b64decode(part.data, validate=True).decode("utf-8")
    except ValueError:
        raise bad(where, "must be base64 of text in UTF-8") from None


def encoded_words(text: str) -> str:
    """Return text as a text file's base64."""
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def arguments_object(text: str) -> dict[str, Json]:
    """Return a tool call's arguments as an object.

    A model can write arguments that are no JSON. They are kept under one key, so that it still reads what it
    wrote when the tool's complaint comes back.
    """
    if not text.strip():
        return {}
    try:
        value = decode(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {INVALID_JSON: text}


def arguments_text(value: Mapping[str, Json]) -> str:
    """Return an arguments object as the text of a tool call."""
    if len(value) == 1 and isinstance(text := value.get(INVALID_JSON), str):
        return text
    return compact(value).decode()


def plain_id(text: str, prefix: str) -> str:
    """Return a call's id, or one that stands for it where a wire would not take its characters."""
    if _IDENTIFIER.fullmatch(text):
        return text
    return prefix + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


def put(document: dict[str, Json], **fields: Json) -> dict[str, Json]:
    """Set the fields that are not None."""
    document.update({key: value for key, value in fields.items() if value is not None})
    return document
