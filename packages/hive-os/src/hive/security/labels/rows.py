"""Lines of an answer that lists things: "- Draft speech, document, 2026-09-20, id: 19277". Each is a small record."""

import re
from typing import Final

ROW_MAX_CHARS: Final = 160
FIELD_MAX_WORDS: Final = 8
_BULLET: Final = re.compile(r"^\s*(?:[-*•+]|\d{1,3}[.)])\s+")
_BETWEEN: Final = re.compile(r"[,;|\t()]|\s[-–—·•]\s|:\s|\s=\s|\s{2,}")  # noqa: RUF001  as people type them
_NO_ROW: Final = re.compile(r"[\[\]{}<>\"`]")


def fields_of(line: str) -> tuple[str, ...]:
    """Return the short fields of a line, or nothing where it is prose or may hold more than it shows."""
    if len(line) > ROW_MAX_CHARS or _NO_ROW.search(line):
        return ()
    fields = tuple(one.strip() for one in _BETWEEN.split(_BULLET.sub("", line)) if one.strip())
    if len(fields) < 2 or any(len(one.split()) > FIELD_MAX_WORDS for one in fields):
        return ()
    return fields
