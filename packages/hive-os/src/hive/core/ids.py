"""Typed identifiers: an agent id is not a task id, and none of them may carry a separator.

Ids are used as bus subjects, file names and URL segments, so the alphabet is the intersection of the
three: lower-case letters, digits and `-`, at most 63 characters, beginning with a letter or digit.
"""

import re
from typing import Final, NewType

from hive.core.clock import Clock
from hive.core.errors import InvalidIdError
from hive.core.randomness import Randomness

AgentId = NewType("AgentId", str)
CallId = NewType("CallId", str)
ContextId = NewType("ContextId", str)
MessageId = NewType("MessageId", str)
NodeId = NewType("NodeId", str)
OwnerId = NewType("OwnerId", str)
SandboxId = NewType("SandboxId", str)
SpanId = NewType("SpanId", str)
TaskId = NewType("TaskId", str)
TraceId = NewType("TraceId", str)
TurnId = NewType("TurnId", str)

NAME_MAX_CHARS: Final = 63
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FOREIGN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")


def new_id(clock: Clock, randomness: Randomness) -> str:
    """Make a UUID of version 7 (RFC 9562, 5.7): sortable by time, unguessable in its last 74 bits."""
    milliseconds = int(clock.now().timestamp() * 1000)
    tail = int.from_bytes(randomness.token(10), "big")
    value = (milliseconds << 80) | tail
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def agent_id(text: str) -> AgentId:
    """Accept a name as an agent id.

    Raises:
        InvalidIdError: it is empty, too long, or holds a wildcard, separator or capital letter.

    """
    return AgentId(name(text, what="agent name"))


def name(text: str, *, what: str) -> str:
    """Return `text` if it is a name that is safe as subject, file name and URL segment.

    Raises:
        InvalidIdError: it is not.

    """
    if not _NAME.fullmatch(text):
        raise InvalidIdError(
            f"{printable(text)} is not a valid {what}.",
            why=f"It has 1 to {NAME_MAX_CHARS} lower-case letters, digits and '-'.",
            fix="Choose a name such as `invoice-reader`.",
        )
    return text


def foreign_id(text: str, *, what: str) -> str:
    """Return `text` if a stranger's id (a task, context or message id) is safe to keep and to print.

    Raises:
        InvalidIdError: it is empty, over 128 characters, or holds a wildcard, space or separator.

    """
    if not _FOREIGN.fullmatch(text):
        raise InvalidIdError(
            f"{printable(text)} is not a valid {what}.",
            why="An id has 1 to 128 letters, digits and the characters . _ : @ -",
            fix="Send another id, or none and let the node choose.",
        )
    return text


def printable(text: str, *, limit_chars: int = 80) -> str:
    """Quote untrusted text for people: no control, escape or bidirectional character survives."""
    return repr(plain_text(text[: limit_chars + 1])[:limit_chars])


_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ANSI: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[@-Z\\-_])"
)


def plain_text(text: str, *, keep: str = "") -> str:
    """Strip ANSI sequences, control and bidirectional characters (those in `keep` stay)."""
    if text.isprintable():  # by far the usual case, and an agent may print a great deal
        return text
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else "", _ANSI.sub("", text))
