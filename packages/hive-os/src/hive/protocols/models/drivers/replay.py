"""Recorded answers from a file: the same agent again without a provider, a key or a network."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from anyio import to_thread

from hive.core.clock import Clock
from hive.core.secret import Secret
from hive.protocols.models.cassette import Cassette, load_cassette
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.refusals import ModelError


class ReplayedAnswer:
    """One recorded answer, in the pieces in which it came."""

    def __init__(self, head: ModelHead, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.head: ModelHead = head

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body."""
        for piece in self._pieces:
            yield piece


class ReplayUpstream:
    """Answer from a cassette, on the wires that it was recorded on; what it does not hold is refused."""

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette
        self.dialects: frozenset[Dialect] = cassette.dialects

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, key: Secret, clock: Clock, timeout_s: float
    ) -> AsyncIterator["ReplayUpstream"]:
        """Open the cassette behind `replay:/path/cassette.json`.

        Raises:
            ConfigError: it cannot be read, or is no cassette.

        """
        del key, clock, timeout_s
        yield cls(await to_thread.run_sync(load_cassette, url.partition(":")[2]))

    @asynccontextmanager
    async def ask(self, request: ModelRequest) -> AsyncIterator[ReplayedAnswer]:
        """Answer a request."""
        found = self._cassette.find(request)
        if not isinstance(found, str):
            yield ReplayedAnswer(found.head, found.body)
            return
        where = f" The next recorded one differs at `{found}`." if found else ""
        refusal = ModelError(
            status=404,
            code="hive.not_recorded",
            message=f"The cassette holds no answer to this request.{where}",
        )
        body = refusal.body(request.dialect)
        yield ReplayedAnswer(refusal.head(length_bytes=len(body)), (body,))

    async def models(self) -> Sequence[str]:
        """Return the models that the cassette has answers of."""
        return self._cassette.models
