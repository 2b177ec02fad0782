"""Answers on their way through the router: one that comes, one that is already whole."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Final

import anyio
import msgspec

from hive.core.errors import EngineError, EngineTimeoutError
from hive.protocols.models.ports import Dialect, ModelAnswer, ModelHead, ModelRequest
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.routing.live import LiveUpstream

ERROR_MAX_BYTES: Final = 1 << 20
_ENCODER: Final = msgspec.json.Encoder()


class RoutedModelAnswer:
    """A provider's answer while it comes, and who that provider is."""

    def __init__(
        self, answer: ModelAnswer, *, live: LiveUpstream, model: str, unsure: int, until: float
    ) -> None:
        self._answer = answer
        self._live = live
        self._until = until
        self.head: ModelHead = answer.head
        self.upstream: str = live.name
        self.model: str = model
        self.unsure: int = unsure

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body; each piece within the provider's limits of time."""
        live = self._live
        idle_s = live.row.options.idle_s
        async with aclosing(self._answer.chunks()) as chunks:
            while True:
                left_s = min(idle_s, self._until - live.clock.monotonic())
                try:
                    with anyio.fail_after(max(0.0, left_s)):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                except EngineError:
                    live.breaker.failed()
                    raise
                except TimeoutError as error:
                    live.breaker.failed()
                    raise EngineTimeoutError(
                        "The model provider stopped in the middle of its answer."
                    ) from error
                yield chunk


class WholeAnswer:
    """An answer that is already here: a provider's error, or the router's own."""

    def __init__(
        self, head: ModelHead, body: bytes, *, upstream: str = "", model: str = "", unsure: int = 0
    ) -> None:
        self._body = body
        self.head: ModelHead = head
        self.upstream: str = upstream
        self.model: str = model
        self.unsure: int = unsure

    @classmethod
    def of(
        cls, error: ModelError, dialect: Dialect, *, upstream: str = "", model: str = ""
    ) -> "WholeAnswer":
        """Return the router's own error in a wire's words."""
        body = error.body(dialect)
        return cls(error.head(length_bytes=len(body)), body, upstream=upstream, model=model)

    @classmethod
    def passed_on(cls, head: ModelHead, body: bytes, *, upstream: str, model: str) -> "WholeAnswer":
        """Return a provider's error as it came."""
        kept = [pair for pair in head.headers if pair[0].lower() != "content-length"]
        headers = (*kept, ("content-length", str(len(body))))
        return cls(replace(head, headers=headers), body, upstream=upstream, model=model)

    @property
    def body(self) -> bytes:
        """Return the whole body."""
        return self._body

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body."""
        yield self._body


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAnswer:
    """An answer with what must be closed after it."""

    answer: RoutedModelAnswer | WholeAnswer
    stack: AsyncExitStack


async def read_error(answer: ModelAnswer, timeout_s: float) -> bytes:
    """Read an error's body, as far as anybody reads one.

    Raises:
        EngineError: it broke off.
        TimeoutError: it did not come in time.

    """
    body = bytearray()
    with anyio.fail_after(timeout_s):
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > ERROR_MAX_BYTES:
                    break
    return bytes(body[:ERROR_MAX_BYTES])


def renamed(request: ModelRequest, model: str) -> ModelRequest:
    """Return a request for the model's name at the provider; everything else stays in its order.

    A Gemini request holds the name in its path, so its body is left as it is.
    """
    if model == request.model:
        return request
    document, body = request.document, request.body
    if "model" in document and request.dialect is not Dialect.GEMINI:
        document = {**document, "model": model}
        body = _ENCODER.encode(document)
    return replace(request, model=model, document=document, body=body)
