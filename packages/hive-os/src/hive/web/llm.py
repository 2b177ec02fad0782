"""Model providers and routes on the operator's wire: `/api/llm` and `/api/routes`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hive.core.errors import NotFoundError
from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class LlmOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider to be added: `url` empty where the name says it, `key` itself or `secret` by its name."""

    name: str
    url: str = ""
    key: str = ""
    secret: str = ""
    options: dict[str, int | float | str] = {}

    def __repr__(self) -> str:
        return f"LlmOrder(name={self.name!r}, url={self.url!r}, secret={self.secret!r})"


class LlmProvider(msgspec.Struct, frozen=True, kw_only=True):
    """One provider and how it does. `state`: ready, resting, trying, broken."""

    name: str
    url: str
    state: str
    origin: str
    secret: str = ""
    problem: str = ""
    rest_s: float = 0.0
    wires: list[str] = []
    models: list[str] = []
    options: dict[str, int | float | str] = {}
    under_way: int = 0
    waiting: int = 0
    answered: int = 0
    failed: int = 0
    first_byte_ms: float | None = None
    added_at: datetime | None = None


class LlmRoute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One name and where it leads, first to last; no target at all takes the route away."""

    alias: str
    targets: list[str] = []


class LlmOverview(msgspec.Struct, frozen=True, kw_only=True):
    """All providers and routes."""

    providers: list[LlmProvider]
    routes: list[LlmRoute]


class LlmQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask a provider something tiny; of a model of its own where none is named."""

    model: str = ""


class LlmTried(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider answered."""

    name: str
    ok: bool
    model: str = ""
    wire: str = ""
    status: int = 0
    took_ms: float = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    problem: str = ""
    fix: str = ""


class ModelDesk(Protocol):
    """Who keeps providers and routes."""

    async def overview(self) -> LlmOverview:
        """Tell of all providers and routes."""
        ...

    async def add(self, order: LlmOrder) -> LlmProvider:
        """Add a provider. Raises ConfigError, ConflictError, NotFoundError."""
        ...

    async def remove(self, name: str) -> None:
        """Take a provider away. Raises NotFoundError, StateError."""
        ...

    async def try_one(self, name: str, model: str) -> LlmTried:
        """Really ask a provider. Raises NotFoundError."""
        ...

    async def use(self, route: LlmRoute) -> None:
        """Lead a name somewhere, or nowhere. Raises NotFoundError, BadInputError."""
        ...

    async def names(self) -> Sequence[str]:
        """Return the names that an agent may ask for."""
        ...


class LlmChapter(Chapter):
    """The paths of model providers."""

    def __init__(self, desk: ModelDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "llm", 0): self._overview,
            ("POST", "llm", 0): self._add,
            ("GET", "llm", 1): self._names,
            ("DELETE", "llm", 1): self._remove,
            ("POST", "llm", 2): self._try,
            ("POST", "routes", 0): self._use,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _overview(self, _question: ApiQuestion) -> object:
        return await self._desk.overview()

    async def _add(self, question: ApiQuestion) -> object:
        return await self._desk.add(question.read(LlmOrder))

    async def _names(self, question: ApiQuestion) -> object:
        if question.rest[0] != "models":
            raise NotFoundError("The operator API has no such path.")
        return list(await self._desk.names())

    async def _remove(self, question: ApiQuestion) -> object:
        await self._desk.remove(question.rest[0])
        return {"removed": question.rest[0]}

    async def _try(self, question: ApiQuestion) -> object:
        if question.rest[1] != "test":
            raise NotFoundError("The operator API has no such path.")
        asked = question.read(LlmQuestion)
        return await self._desk.try_one(question.rest[0], asked.model)

    async def _use(self, question: ApiQuestion) -> object:
        route = question.read(LlmRoute)
        await self._desk.use(route)
        return route
