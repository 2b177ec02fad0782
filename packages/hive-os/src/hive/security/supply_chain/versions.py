"""Which of two versions is the later one; enough of the usual schemes to see that somebody went back.

Numbers between dots count as numbers; what follows (`-rc.1`, `a2`, `.dev3`) makes a version earlier than the same
one without it, except after a plus sign or `post`, which make it later.
"""

import re
from typing import Final, TypeAlias

NUMBERS_MAX: Final = 8
_VERSION: Final = re.compile(r"v?(?P<release>\d{1,18}(?:\.\d{1,18})*)(?P<rest>.*)", re.DOTALL)
_PIECE: Final = re.compile(r"\d{1,18}|[A-Za-z]+")
Rank: TypeAlias = tuple[tuple[int, ...], int, tuple[tuple[int, int, str], ...]]


def rank(version: str) -> Rank:
    """Return what orders versions; a text that is no version comes before all that are."""
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        return ((), 0, ((0, 0, version),))
    numbers = [int(one) for one in found["release"].split(".")][:NUMBERS_MAX]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rest = found["rest"].lstrip(".-_").lower()
    pieces = tuple(
        (1, int(one), "") if one.isdigit() else (0, 0, one) for one in _PIECE.findall(rest)
    )
    kind = 1 if not rest else 2 if found["rest"].startswith("+") or rest.startswith("post") else 0
    return (tuple(numbers), kind, pieces)
