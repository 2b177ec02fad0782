"""Gemini takes every field in two spellings, `systemInstruction` and `system_instruction`; here it becomes one.

What a user wrote inside a field (a tool's arguments, a schema's properties) is theirs and stays as it is.
Both spellings of one field in one object are refused: the gate could read the one, the provider the other.
"""

import re
from collections.abc import Mapping
from typing import Final

from hive.core.json import Json

# Fields whose inside is the user's own, not the wire's.
_THEIRS: Final = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "labels",
    }
)
_UNDERSCORE: Final = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")


class TwoNamesError(ValueError):
    """A field stands twice in one object; its text is the field's name."""


def camel_case(document: Mapping[str, Json]) -> dict[str, Json]:
    """Return a body with every field of the wire in its first spelling.

    Raises:
        TwoNamesError: a field stands twice.

    """
    plain: dict[str, Json] = {}
    for key, value in document.items():
        name = _UNDERSCORE.sub(lambda found: found[1].upper(), key)
        if name in plain:
            raise TwoNamesError(name)
        plain[name] = value if name in _THEIRS else _inside(value)
    return plain


def _inside(value: Json) -> Json:
    if isinstance(value, dict):
        return camel_case(value)
    if isinstance(value, list):
        return [_inside(one) for one in value]
    return value


def other_models(document: Mapping[str, Json], model: str) -> list[Json]:
    """Return the models that a body names besides the one in its path."""
    batch = document.get("requests")
    inner = [
        document,
        document.get("generateContentRequest"),
        document.get("embedContentRequest"),
        *(batch if isinstance(batch, list) else []),
    ]
    named = [one["model"] for one in inner if isinstance(one, dict) and "model" in one]
    return [one for one in named if one not in (model, f"models/{model}")]
