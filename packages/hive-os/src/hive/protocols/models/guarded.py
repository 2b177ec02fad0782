"""Fields that decide what a question costs and whom it reaches: each is said once, and in one way only.

Providers read a body less strictly than the node: some take `"8"` and `8.0` for a number, some any case of a
name (`Model`), some a second limit or a list of other models. What two readers could read in two ways goes
no further.
"""

from collections.abc import Mapping
from typing import Final

from hive.core.json import Json
from hive.protocols.models.ports import Dialect

ANSWERS_MAX: Final = 128
LIMITS: Final = {
    Dialect.CHAT: ("max_completion_tokens", "max_tokens"),
    Dialect.RESPONSES: ("max_output_tokens",),
    Dialect.MESSAGES: ("max_tokens",),
    Dialect.GEMINI: ("maxOutputTokens",),
}
_COUNTS: Final = {Dialect.CHAT: ("n", "best_of"), Dialect.GEMINI: ("candidateCount",)}
# Other models, other addresses or another limit, for servers that look for them in a body.
_NEVER: Final = frozenset(
    {
        "api_base",
        "api_key",
        "base_url",
        "content_policy_fallbacks",
        "context_window_fallbacks",
        "extra_body",
        "fallbacks",
        "model_list",
        "models",
        "n_predict",
    }
)
_ONE_SPELLING: Final = frozenset(
    {"model", "stream", "tools", *_NEVER, *_COUNTS[Dialect.CHAT]}
    | {name for names in LIMITS.values() for name in names if name.islower()}
)


def unclear(dialect: Dialect, document: Mapping[str, Json]) -> str:
    """Return what is wrong with a body's decisive fields; empty where each can be read in one way only."""
    place: Mapping[str, Json] = document
    if dialect is Dialect.GEMINI:
        config = document.get("generationConfig")
        place = config if isinstance(config, dict) else {}
    else:
        for key in document:
            plain = key.casefold()
            if plain in _NEVER or (plain != key and plain in _ONE_SPELLING):
                return f"`{key[:40]}` is not known here."
    for name in _COUNTS.get(dialect, ()):
        value = place.get(name)
        number = _whole(value)
        if value is not None and (number is None or not 1 <= number <= ANSWERS_MAX):
            return f"`{name}` must be a whole number from 1 to {ANSWERS_MAX}."
    names = LIMITS.get(dialect, ())
    given = [place[name] for name in names if place.get(name) is not None]
    numbers = [one for one in map(_whole, given) if one is not None]
    if len(numbers) != len(given) or len({one > 0 for one in numbers}) > 1:
        return f"`{names[0]}` must be a whole number."
    return ""


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
