"""Conditions on arguments, compiled once: what a warrant says of `path`, `amount` or `url`.

    any               every value; none  no value at all
    =VALUE            this value; in:A,B,C  one of them
    range:LOW..HIGH   a number; either end may be left out
    under:/a,/b       a path there or below; traversal-safe, as `places` has it
    url:https://h/p   a URL of that scheme, host and port, at that path or below
    host:h,*.h        a host name
    prefix:a/b        a name there or below, on a border of segments (`/`, `.` or `:`)
    max:N             a text of at most N characters

A list satisfies a condition when every item does. There is no pattern: a pattern over text is what lets
`/data/../etc` pass.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias

from hive.core.errors import BadInputError
from hive.core.ids import printable
from hive.core.json import Json
from hive.security.capability.names import plain_name
from hive.security.capability.places import (
    UrlPlace,
    host_within,
    lexical_path,
    path_under,
    plain_host,
    url_place,
)

Matcher: TypeAlias = Callable[[Json], bool]
ANY_VALUE: Final = "any"
NO_VALUE: Final = "none"
CONSTRAINT_MAX_CHARS: Final = 4096
CHOICES_MAX: Final = 256
_BORDERS: Final = ("/", ".", ":")
_NUMBER_MAX: Final = 1e300


@lru_cache(maxsize=4096)
def compiled(text: str) -> Matcher | None:
    """Return what tells whether a value satisfies a condition; None where every value does.

    Raises:
        BadInputError: it is no condition.

    """
    if text == ANY_VALUE:
        return None
    if text == NO_VALUE:
        return lambda _value: False
    if len(text) > CONSTRAINT_MAX_CHARS:
        raise _wrong(text, "It is too long.")
    if text.startswith("="):
        return _among(frozenset((text[1:],)))
    kind, colon, rest = text.partition(":")
    make = _KINDS.get(kind) if colon else None
    if make is None:
        known = ", ".join(("any", "=VALUE", *(f"{one}:" for one in _KINDS)))
        raise _wrong(text, f"Known kinds: {known}.")
    if not rest:
        raise _wrong(text, "Nothing follows the colon.")
    return make(rest)


def scalar_text(value: Json) -> str | None:
    """Return a value as a condition would write it; None where it is a list or an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return "null" if value is None else None


def _among(known: frozenset[str]) -> Matcher:
    return lambda value: scalar_text(value) in known


def _one_of(rest: str) -> Matcher:
    return _among(frozenset(_choices(rest)))


def _range(rest: str) -> Matcher:
    low_text, dots, high_text = rest.partition("..")
    try:
        low = float(low_text) if low_text else -_NUMBER_MAX
        high = float(high_text) if high_text else _NUMBER_MAX
    except ValueError:
        low = high = math.nan
    if not dots or not low <= high:
        raise _wrong(f"range:{rest}", "A range is LOW..HIGH, the lower end first.")

    def within(value: Json) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and low <= value <= high  # type: ignore[operator]

    return within


def _under(rest: str) -> Matcher:
    roots = []
    for one in _choices(rest):
        root = lexical_path(one)
        if root is None or "%" in root:
            raise _wrong(f"under:{rest}", "A path is plain: no `..`, no percent sign, no `~`.")
        roots.append(root)
    known = tuple(roots)
    if len(known) == 1:
        only = known[0]
        return lambda value: isinstance(value, str) and path_under(value, only)
    return lambda value: isinstance(value, str) and any(path_under(value, one) for one in known)


def _url(rest: str) -> Matcher:
    places = []
    for one in _choices(rest):
        wild = "://*." in one
        place = url_place(one.replace("://*.", "://", 1) if wild else one)
        if place is None or "?" in one or "#" in one:
            raise _wrong(f"url:{rest}", "A URL has a scheme and a host, and no query.")
        places.append((place, f"*.{place.host}" if wild else place.host))
    known = tuple(places)

    def leads_there(value: Json) -> bool:
        place = url_place(value) if isinstance(value, str) else None
        return place is not None and any(_leads(place, one, host) for one, host in known)

    return leads_there


def _leads(place: UrlPlace, root: UrlPlace, host: str) -> bool:
    return (
        place.scheme == root.scheme
        and place.port == root.port
        and host_within(place.host, host)
        and path_under(place.path, root.path)
    )


def _host(rest: str) -> Matcher:
    patterns = []
    for one in _choices(rest):
        bare = one.removeprefix("*.")
        if one != "*" and plain_host(bare) != bare:
            raise _wrong(f"host:{rest}", "A host is a name in ASCII, or `*.` and a name.")
        patterns.append(one)
    known = tuple(patterns)

    def named(value: Json) -> bool:
        host = plain_host(value) if isinstance(value, str) else ""
        return bool(host) and any(host_within(host, one) for one in known)

    return named


def _prefix(rest: str) -> Matcher:
    roots = []
    for one in _choices(rest):
        if not one.isascii() or not plain_name(one) or ".." in one:
            raise _wrong(f"prefix:{rest}", "A name is plain ASCII text.")
        roots.append(one.rstrip("/.:"))
    known = tuple(roots)

    def below(value: Json) -> bool:
        if not isinstance(value, str) or not plain_name(value) or ".." in value or "%" in value:
            return False
        return any(
            value == one or (value.startswith(one) and value[len(one)] in _BORDERS) for one in known
        )

    return below


def _max(rest: str) -> Matcher:
    if not (rest.isascii() and rest.isdigit() and len(rest) <= 9):
        raise _wrong(f"max:{rest}", "It is a number of characters.")
    limit = int(rest)
    return lambda value: isinstance(value, str) and len(value) <= limit


_KINDS: Final[Mapping[str, Callable[[str], Matcher]]] = MappingProxyType(
    {
        "in": _one_of,
        "range": _range,
        "under": _under,
        "url": _url,
        "host": _host,
        "prefix": _prefix,
        "max": _max,
    }
)


def _choices(rest: str) -> list[str]:
    found = rest.split(",")
    if len(found) > CHOICES_MAX or "" in found:
        raise _wrong(rest[:80], f"Between commas stand 1 to {CHOICES_MAX} values, none empty.")
    return found


def _wrong(text: str, why: str) -> BadInputError:
    return BadInputError(
        f"{printable(text[:120])} is no condition on an argument.",
        why=why,
        fix="For example under:/data, in:a,b, range:1..10, url:https://api.example.org/v1 or any.",
    )
