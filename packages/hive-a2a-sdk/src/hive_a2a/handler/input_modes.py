"""Which media types an agent takes, by its card; a part that states another one is refused.

The official check compares words. Cards in the wild say `text`, `image/*` or `text/plain; charset=utf-8`, and
clients say `text/plain` to them: such a part is what the card means, and passes here.
"""

from functools import lru_cache
from typing import Final

from a2a.types.a2a_pb2 import AgentCard, Message
from a2a.utils.errors import ContentTypeNotSupportedError

_FAMILIES: Final = frozenset({"text", "image", "audio", "video"})
_SHORT: Final = {"json": "application/json", "data": "application/json"}
_ANY: Final = "*/*"
DECLARATIONS_MAX: Final = 64


def admit_input_modes(message: Message, card: AgentCard) -> None:
    """Refuse a message with a part of a media type that neither the card nor a skill of it takes.

    Parts that state no type pass, and so does all where nothing is declared.

    Raises:
        ContentTypeNotSupportedError: a part states another type.

    """
    stated = {part.media_type for part in message.parts if part.media_type}
    if not stated:
        return
    declared = {*card.default_input_modes, *(one for s in card.skills for one in s.input_modes)}
    patterns = _patterns(frozenset(declared))
    for media_type in sorted(stated):
        if patterns and not _fits(media_type, patterns):
            known = ", ".join(sorted(declared))
            raise ContentTypeNotSupportedError(
                message=f"Media type {media_type} is not supported. Supported input modes: {known}"
            )


@lru_cache(maxsize=DECLARATIONS_MAX)
def _patterns(declared: frozenset[str]) -> frozenset[str]:
    return frozenset(_pattern(word) for word in declared)


def _pattern(word: str) -> str:
    plain = _essence(word)
    if "/" in plain:
        return plain
    if plain in _FAMILIES:
        return f"{plain}/*"
    # A word of the card's own, such as "file": nobody but the agent knows what it leaves out.
    return _SHORT.get(plain, _ANY)


def _fits(media_type: str, patterns: frozenset[str]) -> bool:
    essence = _essence(media_type)
    family = essence.partition("/")[0]
    return not patterns.isdisjoint((essence, f"{family}/*", _ANY))


def _essence(word: str) -> str:
    return word.partition(";")[0].strip().lower()
