"""How a layer adds paths to the operator API without the API knowing it.

A chapter is a table of routes whose handlers get a question and return a value: an object to be written as
JSON, or an async iterator of objects to be written line by line. On the control socket they run on the
node's own loop, so a handler may touch whatever the node holds.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from hive.core.errors import BadInputError

StructT = TypeVar("StructT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiQuestion:
    """One request to a chapter: `rest` is what stands in the path after the noun."""

    rest: tuple[str, ...]
    query: Mapping[str, str]
    body: bytes

    def read(self, kind: type[StructT]) -> StructT:
        """Read the body.

        Raises:
            BadInputError: it is not what `kind` says.

        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadInputError("The request's body does not fit.", why=str(error)) from error


RouteKey: TypeAlias = tuple[str, str, int]
"""Method, noun, number of segments after it."""
Answer: TypeAlias = Callable[[ApiQuestion], Awaitable[object]]
Lines: TypeAlias = Callable[[ApiQuestion], AsyncIterator[object]]


class Chapter(Protocol):
    """A layer's part of the operator API. Errors are `HiveError`."""

    answers: Mapping[RouteKey, Answer]
    """The routes that give one object."""
    streams: Mapping[RouteKey, Lines]
    """The routes that give one object a line."""
