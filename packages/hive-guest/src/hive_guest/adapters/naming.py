"""Which field of a framework's input takes the text of a message, and which of its output holds the answer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from hive_guest.shapes import Foreign

INPUT_NAMES: Final = ("message", "input", "question", "query", "prompt", "task", "text", "topic")
OUTPUT_NAMES: Final = ("answer", "output", "result", "response", "text", "final", "report")


def likely_input(names: Iterable[str]) -> str:
    """Return the field that a message's text belongs into."""
    known = list(names)
    for name in (*INPUT_NAMES, *known):
        if name in known:
            return name
    return INPUT_NAMES[0]


def likely_output(values: Foreign) -> Foreign:
    """Return the one field that holds the answer, or everything."""
    if isinstance(values, dict):
        for name in OUTPUT_NAMES:
            if isinstance(values.get(name), str):
                return values[name]
    return values
