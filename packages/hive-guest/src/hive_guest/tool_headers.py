"""Headers that repeat arguments of a tool call where the tool's input schema marks them (`x-mcp-header`).

Whoever stands between may decide by such a header without reading the body, so one that is missing or says
something else is refused. The marks of a tool are known from a listing; they are kept for calls that follow.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final, TypeAlias

    Marks: TypeAlias = Mapping[tuple[str, ...], str]

PREFIX: Final = "mcp-param-"
MARK: Final = "x-mcp-header"
PLACES_MAX: Final = 10_000
KNOWN_MAX: Final = 4096
_HEADER_TEXT: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_NOTHING: Final[dict[tuple[str, ...], str]] = {}


class KnownMarks:
    """Which arguments of which tool are repeated in which header, as the last listing said."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Marks] = {}

    def of(self, server: str, tool: str) -> Marks:
        """Return the marks of a tool, none where nothing is known of it."""
        return self._known.get((server, tool), _NOTHING)

    def learn(self, server: str, listed: list[Any]) -> None:
        """Take what was listed."""
        for one in listed:
            name = one.get("name") if isinstance(one, dict) else None
            if not isinstance(name, str):
                continue
            marks = marks_of(one.get("inputSchema"))
            if marks and (len(self._known) < KNOWN_MAX or (server, name) in self._known):
                self._known[server, name] = marks
            elif not marks:
                self._known.pop((server, name), None)


def marks_of(schema: Any) -> dict[tuple[str, ...], str]:
    """Return the header of each property that a schema marks, by the path of its names."""
    found: dict[tuple[str, ...], str] = {}
    places: list[tuple[tuple[str, ...], Any]] = [((), schema)]
    for _ in range(PLACES_MAX):
        if not places:
            break
        path, part = places.pop()
        if not isinstance(part, dict):
            continue
        token = part.get(MARK)
        if path and isinstance(token, str) and _TOKEN.fullmatch(token):
            found[path] = token
        below = part.get("properties")
        if isinstance(below, dict):
            places += [((*path, name), one) for name, one in below.items()]
    return found


def headers_for(marks: Marks, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a call; an argument that is not given has none."""
    found = {}
    for path, token in marks.items():
        text = _written(_at(arguments, path))
        if text is not None:
            found[PREFIX + token.lower()] = header_value(text)
    return found


def header_value(text: str) -> str:
    """Return a text as a header may hold it; what it may not hold is written in base64."""
    if _HEADER_TEXT.fullmatch(text) and not text.startswith("=?"):
        return text
    from base64 import b64encode

    return f"=?base64?{b64encode(text.encode()).decode()}?="


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _written(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
