"""The arguments of a call as a warrant names them: leaves by their path, items of a list under one name.

`{"to": {"name": "x"}, "rows": [{"id": 1}, {"id": 2}]}` has `to.name` and `rows.id`; a condition on `rows.id` holds for
both rows. What a warrant does not name is refused as much as what it forbids.
"""

import re
from typing import Final

from hive.core.ids import printable
from hive.core.json import Json
from hive.security.capability.constraints import ANY_VALUE, Matcher, compiled
from hive.security.capability.names import spelling
from hive.security.capability.places import path_under

LEAVES_MAX: Final = 512
DEPTH_MAX: Final = 24
REST: Final = "*"
OPTIONAL: Final = "?"
PATH_WORDS: Final = frozenset(
    {"path", "paths", "file", "files", "filename", "dir", "directory", "folder", "cwd", "root"}
    | {"source", "destination", "src", "dst", "uri"}
    | {"filepath", "filepaths", "pathname", "dirname", "dirpath", "basedir", "workdir", "rootdir"}
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN: Final = re.compile(r"[^a-z]+")


class TooManyArgumentsError(Exception):
    """There are more leaves, or deeper ones, than a warrant could name."""


def leaves(arguments: Json) -> list[tuple[str, Json]]:
    """Return every leaf with its name.

    Raises:
        TooManyArgumentsError: more than can be judged.

    """
    if arguments is None:
        return []
    if not isinstance(arguments, dict):
        return [("", arguments)]
    found: list[tuple[str, Json]] = []
    for name, value in arguments.items():
        if isinstance(value, dict | list):
            _walk(found, name, value, DEPTH_MAX)
        else:
            found.append((name, value))
    if len(found) > LEAVES_MAX:
        raise TooManyArgumentsError
    return found


def _walk(found: list[tuple[str, Json]], name: str, value: Json, depth_left: int) -> None:
    if depth_left == 0 or len(found) > LEAVES_MAX:
        raise TooManyArgumentsError
    if isinstance(value, dict) and value:
        for key, one in value.items():
            _walk(found, f"{name}.{key}", one, depth_left - 1)
    elif isinstance(value, list) and value:
        for one in value:
            _walk(found, name, one, depth_left - 1)
    else:
        found.append((name, value))


class ArgumentsMatcher:
    """The conditions of one capability, compiled. A name ending in `?` may be missing; `*` is all others."""

    __slots__ = ("_named", "_needed", "_opened", "_rest", "_spellings", "_spoken")

    def __init__(self, conditions: tuple[tuple[str, str], ...]) -> None:
        self._named: dict[str, tuple[Matcher, ...]] = {}
        self._needed: set[str] = set()
        self._rest: tuple[Matcher, ...] | None = None
        for given, text in conditions:
            name = given.removesuffix(OPTIONAL)
            made = compiled(text)
            more = () if made is None else (made,)
            if name == REST:
                self._rest = (*(self._rest or ()), *more)
                continue
            self._named[name] = (*self._named.get(name, ()), *more)
            if name == given:
                self._needed.add(name)
        # `any` of an object lets everything below it pass; every other condition is about a leaf.
        self._opened = tuple(f"{name}." for name, made in self._named.items() if not made)
        self._spellings = {spelling(name) for name in self._named}

    def objection(self, found: list[tuple[str, Json]]) -> str:
        """Say what is wrong with arguments; empty where nothing is."""
        missing = self._needed
        for name, value in found:
            made = self._named.get(name)
            if made is None:
                if self._needed:
                    missing = missing - _above(name)
                made = self._unnamed(name)
                if made is None:
                    return f"its warrant does not name the argument {printable(name[:80])}"
            elif name in missing:
                missing = missing - {name}
            for one in made:
                if not one(value):
                    return f"its warrant does not allow this {printable(name[:80])}"
        if missing:
            return f"its warrant demands the argument {min(missing)}"
        return ""

    def _unnamed(self, name: str) -> tuple[Matcher, ...] | None:
        if self._opened and name.startswith(self._opened):
            return ()
        # A second spelling of a named argument is no other argument.
        if self._rest is None or spelling(name) in self._spellings:
            return None
        return self._rest


def _above(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}


def outside_of(paths: tuple[str, ...], found: list[tuple[str, Json]]) -> str:
    """Return the name of the first argument that is a path outside of all `paths`; empty where none is."""
    for name, value in found:
        if not isinstance(value, str):
            continue
        if _is_path(name, value) and not any(path_under(value, one) for one in paths):
            return name
    return ""


def _is_path(name: str, value: str) -> bool:
    if value[:1] in ("/", "~", "\\") or ".." in value or value[:7].lower() == "file://":
        return " " not in value or _named_as_path(name)
    return _named_as_path(name)


def _named_as_path(name: str) -> bool:
    last = _HUMP.sub("_", name.rpartition(".")[2]).lower()
    return not PATH_WORDS.isdisjoint(_BETWEEN.split(last))


def fits(text: str) -> bool:
    """Tell whether a text may be the name of an argument in a warrant."""
    name = text.removesuffix(OPTIONAL)
    return name == REST or (
        name.isascii() and name.isprintable() and 0 < len(name) <= 200 and " " not in name
    )


__all__ = (
    "ANY_VALUE",
    "ArgumentsMatcher",
    "TooManyArgumentsError",
    "fits",
    "leaves",
    "outside_of",
)
