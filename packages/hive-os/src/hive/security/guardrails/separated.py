"""Messages between agents: what is asked and what is only shown are kept apart, each message counts once.

The extension `urn:hive:separated:v1` of A2A says of each part whether it is an `instruction` or `data`. The node writes
it and believes only what lowers: a sender may call its own words data, never data an instruction. What does not come
from the user's side is data. The id of a message is its nonce, taken once.

This is structure, not proof: it holds as long as the receiver keeps `data` out of its plans. An agent that joins both
into one prompt has undone it, so the calls it makes are still judged by warrants and labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from hive.core.call import Refused
from hive.core.json import Json
from hive.core.task import Message, Part
from hive.security.guardrails.text import cleaned

EXTENSION: Final = "urn:hive:separated:v1"
CHECK: Final = "message"
INSTRUCTION: Final = "instruction"
DATA: Final = "data"
PARTS_MAX: Final = 100
TEXT_MAX_CHARS: Final = 1 << 20
MARK_FIELDS: Final = frozenset({"role"})
REMOVED_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Separated:
    """A message in which the node has marked each part, and how many hidden signs it took out."""

    message: Message
    removed: int = 0


def separate(message: Message, *, sender: str, trusted: bool) -> Separated | Refused:
    """Return a message of an agent as its receiver gets it, or why it cannot be passed on.

    `trusted` says that nothing from outside the user's side has gone into it, as far as the node knows.
    """
    if not 0 < len(message.parts) <= PARTS_MAX:
        return Refused(check=CHECK, reason=f"a message has 1 to {PARTS_MAX} parts")
    if sum(len(part.text or "") for part in message.parts) > TEXT_MAX_CHARS:
        return Refused(check=CHECK, reason=f"a message has at most {TEXT_MAX_CHARS} characters")
    parts: list[Part] = []
    removed = 0
    for part in message.parts:
        role = _role_of(part, declared=EXTENSION in message.extensions, trusted=trusted)
        if isinstance(role, Refused):
            return role
        shown, hidden = _shown(part)
        removed += hidden
        parts.append(replace(shown, metadata={**shown.metadata, EXTENSION: {"role": role}}))
    if removed > REMOVED_MAX:
        return Refused(
            check=CHECK, reason="the message carries hidden signs", detail=f"{removed} of them"
        )
    said: dict[str, Json] = {"from": sender, "nonce": message.id, "removed": removed}
    metadata = {**_cleaned_object(message.metadata), EXTENSION: said}
    return Separated(
        message=replace(message, parts=tuple(parts), metadata=metadata), removed=removed
    )


def without_marks(message: Message) -> Message:
    """Return a message of a person or client: what it says of parts may stay where it calls them data."""
    marked = EXTENSION in message.metadata or any(
        EXTENSION in one.metadata for one in message.parts
    )
    if not marked:
        return message
    parts = tuple(
        one
        if _given(one) == DATA
        else replace(one, metadata={k: v for k, v in one.metadata.items() if k != EXTENSION})
        for one in message.parts
    )
    metadata = {name: one for name, one in message.metadata.items() if name != EXTENSION}
    return replace(message, parts=parts, metadata=metadata)


def nonce_scope(sender: str, message_id: str) -> str:
    """Return what the id of a message takes once: ids of different senders are different."""
    return f"message:{sender} {message_id}"


def _role_of(part: Part, *, declared: bool, trusted: bool) -> str | Refused:
    mark = part.metadata.get(EXTENSION)
    if mark is not None or declared:
        fits = isinstance(mark, dict) and set(mark) == MARK_FIELDS
        if not fits or _given(part) not in (INSTRUCTION, DATA):
            return Refused(
                check=CHECK, reason=f"each part says with {EXTENSION} whether it is data"
            )
        if part.text is None and _given(part) == INSTRUCTION:
            return Refused(check=CHECK, reason="an instruction is text")
        return DATA if not trusted else str(_given(part))
    return INSTRUCTION if trusted and part.text is not None else DATA


def _given(part: Part) -> Json:
    mark = part.metadata.get(EXTENSION)
    return mark.get("role") if isinstance(mark, dict) else None


def _shown(part: Part) -> tuple[Part, int]:
    """Take hidden signs out of every text that a part holds."""
    counted: list[int] = []
    shown = replace(
        part,
        text=None if part.text is None else _text(part.text, counted),
        url=None if part.url is None else _text(part.url, counted),
        data=_value(part.data, counted) if part.has_data else part.data,
        filename=_text(part.filename, counted),
        metadata=_cleaned_object(part.metadata),
    )
    return shown, sum(counted)


def _text(text: str, counted: list[int]) -> str:
    found = cleaned(text)
    counted.append(found.removed)
    return found.text


def _value(value: Json, counted: list[int]) -> Json:
    if isinstance(value, str):
        return _text(value, counted)
    if isinstance(value, dict):
        return {_text(name, counted): _value(one, counted) for name, one in value.items()}
    if isinstance(value, list):
        return [_value(one, counted) for one in value]
    return value


def _cleaned_object(metadata: dict[str, Json]) -> dict[str, Json]:
    counted: list[int] = []
    return {_text(name, counted): _value(one, counted) for name, one in metadata.items()}


def texts_of(message: Message) -> Iterator[str]:
    """Yield the texts of a message."""
    for part in message.parts:
        if part.text:
            yield part.text
