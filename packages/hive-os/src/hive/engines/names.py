"""Names of buckets, keys and streams, and how a subject matches a pattern: the same for every driver."""

import re
from typing import Final

from hive.core.errors import InvalidIdError
from hive.core.ids import printable

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_KEY: Final = re.compile(r"[A-Za-z0-9_=/-]+(?:\.[A-Za-z0-9_=/-]+)*")
_SUBJECT_CHARACTERS: Final = re.compile(r"[^\s\x00-\x1f\x7f]+")
KEY_MAX_CHARS: Final = 512
SUBJECT_MAX_CHARS: Final = 1024


def plain_name(text: str, *, what: str) -> str:
    """Return the name of a bucket or stream.

    Raises:
        InvalidIdError: it holds anything but letters, digits, `_` and `-`, or is too long.

    """
    if not _PLAIN.fullmatch(text):
        raise InvalidIdError(
            f"{printable(text)} cannot name a {what}.",
            why="Such a name has 1 to 128 letters, digits, '_' and '-'.",
            fix="Choose another one.",
        )
    return text


def key_name(text: str) -> str:
    """Return the key of an entry.

    Raises:
        InvalidIdError: it holds a wildcard, a space, an empty part, or is too long.

    """
    if len(text) > KEY_MAX_CHARS or not _KEY.fullmatch(text):
        raise InvalidIdError(
            f"{printable(text)} cannot be a key.",
            why="A key has letters, digits and '_=/-', in parts separated by single dots.",
            fix="Encode it, or choose another one.",
        )
    return text


def subject(text: str, *, pattern: bool = False) -> str:
    """Return a subject (`pattern`: it may hold the wildcards `*` and a last `>`).

    Raises:
        InvalidIdError: an empty part, a space, a control character, or a wildcard out of place.

    """
    parts = text.split(".")
    sound = len(text) <= SUBJECT_MAX_CHARS and _SUBJECT_CHARACTERS.fullmatch(text) and all(parts)
    if sound and pattern:
        sound = all(part == "*" or "*" not in part for part in parts) and ">" not in "".join(
            parts[:-1] if parts[-1] == ">" else parts
        )
    elif sound:
        sound = "*" not in text and ">" not in text
    if not sound:
        raise InvalidIdError(
            f"{printable(text)} is not a subject.",
            why="A subject has parts separated by single dots; wildcards stand alone, '>' at the end.",
            fix="Build subjects with hive.mesh.subjects.",
        )
    return text


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject falls under a pattern, as NATS does it."""
    wanted, parts = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(parts) <= len(wanted):
            return False
        parts = parts[: len(wanted)]
    return len(wanted) == len(parts) and all(
        want in ("*", part) for want, part in zip(wanted, parts, strict=True)
    )
