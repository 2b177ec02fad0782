"""Names of objects, relations and subjects: ASCII in one form, so that two that look alike are two that are alike.

A colon ends the type, a hash sign begins a relation, and a star is everybody of a type: none of them may get into an
id, or whoever chooses an id would choose what it means.
"""

import re
from typing import Final

from hive.core.errors import BadInputError
from hive.core.ids import printable
from hive.security.relations.ports import Relationship

_WORD: Final = r"[A-Za-z_][A-Za-z0-9_.-]{0,49}"
_ID: Final = r"[A-Za-z0-9_.@/:+=|~%,&!$'()-]{1,200}"
WORD: Final = re.compile(_WORD)
ID: Final = re.compile(_ID)
_OBJECT: Final = re.compile(rf"({_WORD}):({_ID})")
_SUBJECT: Final = re.compile(rf"({_WORD}):(?:(\*)|({_ID})(?:#({_WORD}))?)")


def checked(one: Relationship) -> Relationship:
    """Return a relationship whose three names have their form.

    Raises:
        BadInputError: one has not.

    """
    object_type(one.object)
    subject_parts(one.subject)
    word(one.relation, "relation")
    return one


def word(text: str, what: str) -> str:
    """Return a name of a type or relation. Raises BadInputError."""
    if WORD.fullmatch(text) is None:
        raise _unusable(text, what, "Letters, digits and _ . - make it, up to 50.")
    return text


def object_type(text: str) -> str:
    """Return the type of an object `type:id`. Raises BadInputError."""
    found = _OBJECT.fullmatch(text)
    if found is None:
        raise _unusable(text, "object", "It has a type, a colon and an id in plain ASCII.")
    return found[1]


def subject_parts(text: str) -> tuple[str, str, bool]:
    """Return a subject's type, its relation (mostly empty), and whether it is everybody. Raises BadInputError."""
    found = _SUBJECT.fullmatch(text)
    if found is None:
        raise _unusable(
            text, "subject", "Write `type:id`, `type:*` or `type:id#relation`, in plain ASCII."
        )
    return found[1], found[4] or "", found[2] is not None


def _unusable(text: str, what: str, why: str) -> BadInputError:
    return BadInputError(f"{printable(text)} is no {what} of a relationship.", why=why)
