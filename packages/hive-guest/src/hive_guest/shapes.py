"""What an agent looks like once it is loaded, and what its adapter yields while a turn runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any, TypeAlias

    from hive_guest.api import GuestTurn

    Foreign: TypeAlias = Any
    """An object of the agent or its framework: nothing is known of it but its shape."""


class Answer:
    """The whole answer of a turn, in place of the chunks that were streamed before it."""

    __slots__ = ("value",)

    def __init__(self, value: Foreign) -> None:
        self.value = value


class Question:
    """The agent asks its client; the turn ends here."""

    __slots__ = ("value",)

    def __init__(self, value: Foreign) -> None:
        self.value = value


class Failure:
    """The turn failed in a way that is the answer of something else, with no traceback here."""

    __slots__ = ("canceled", "error")

    def __init__(self, error: str, *, canceled: bool = False) -> None:
        self.error = error
        self.canceled = canceled


class Made:
    """An artifact as something else made it: already in the shape of A2A 1.0."""

    __slots__ = ("append", "artifact", "last")

    def __init__(self, artifact: dict[str, Any], *, append: bool, last: bool) -> None:
        self.artifact = artifact
        self.append = append
        self.last = last


class Loaded:
    """An agent that can run turns.

    `run` takes a turn and yields text (a chunk of the answer), `Answer`, `Question`, `Failure` or
    `Made`. `waits` tells that it is an asynchronous generator.
    """

    __slots__ = ("close", "detail", "run", "shape", "skills", "streams", "waits")

    def __init__(
        self,
        shape: str,
        run: Callable[[GuestTurn], Iterator[Any] | AsyncIterator[Any]],
        *,
        streams: bool,
        waits: bool,
        detail: str = "",
        skills: list[dict[str, Any]] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.shape = shape
        self.run = run
        self.streams = streams
        self.waits = waits
        self.detail = detail
        self.skills = skills or []
        self.close = close
