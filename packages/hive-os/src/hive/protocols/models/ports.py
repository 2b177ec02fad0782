"""What a model provider must offer: bytes in one dialect for bytes in the same dialect."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from hive.core.clock import Clock
from hive.core.json import Json
from hive.core.secret import Secret


class Dialect(StrEnum):
    """The wires that agents' clients speak; each value is the path below the base URL.

    Gemini's value is the folder of its models: the model and what is asked of it stand in the path.
    """

    CHAT = "/v1/chat/completions"
    RESPONSES = "/v1/responses"
    MESSAGES = "/v1/messages"
    GEMINI = "/v1beta/models"
    EMBEDDINGS = "/v1/embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One admitted request: `body` goes on untouched, `document` is what it says.

    `headers` are the few that the dialect needs; the agent's handle is never among them. `action` is the
    Gemini verb (`generateContent`, `embedContent`, ...), or the path below the dialect's own
    (`/count_tokens`); empty for the plain question.
    """

    dialect: Dialect
    model: str
    stream: bool
    body: bytes
    document: Mapping[str, Json]
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHead:
    """Status and headers of an answer, hop-by-hop headers already gone."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def streams(self) -> bool:
        """Tell whether the body is an event stream."""
        return self.header("content-type").startswith("text/event-stream")

    def header(self, name: str) -> str:
        """Return one header's value, empty when it is missing."""
        return next((value for key, value in self.headers if key.lower() == name), "")


class ModelAnswer(Protocol):
    """An answer on its way."""

    @property
    def head(self) -> ModelHead:
        """Return status and headers."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes.

        Raises:
            EngineUnavailableError: the connection broke.
            EngineTimeoutError: nothing came in time.

        """
        ...


@runtime_checkable
class RoutedAnswer(Protocol):
    """What a router tells of an answer besides its bytes; ask with `isinstance`.

    `unsure` counts earlier tries of the same question that broke after a provider had it: each may be billed.
    """

    @property
    def upstream(self) -> str:
        """Return the name of the provider that answered."""
        ...

    @property
    def model(self) -> str:
        """Return the model as the provider knows it."""
        ...

    @property
    def unsure(self) -> int:
        """Return how many tries before this one may have been billed."""
        ...


class Upstream(Protocol):
    """A model provider."""

    @property
    def dialects(self) -> frozenset[Dialect]:
        """Return the wires it speaks."""
        ...

    def ask(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelAnswer]:
        """Send a request; leaving the context ends it, finished or not.

        Raises:
            EngineUnavailableError: it cannot be reached.
            EngineTimeoutError: it did not answer in time.

        """
        ...

    async def models(self) -> Sequence[str]:
        """Return the names it knows; empty when it cannot tell."""
        ...


class UpstreamOpener(Protocol):
    """What every row of the table has: the class opens itself from its URL."""

    @classmethod
    def open(
        cls, url: str, *, key: Secret, clock: Clock, timeout_s: float
    ) -> AbstractAsyncContextManager[Upstream]:
        """Open the provider behind `url`.

        Raises:
            ConfigError: the URL or what it names cannot be used.

        """
        ...
