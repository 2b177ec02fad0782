"""Ask a provider of another wire: the client's request in its words, its answer in the client's.

Nothing of the provider's head goes on but what the client's wire knows. What cannot be said is refused
before anybody is asked; what cannot be understood becomes an error in the client's own words.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Final

import anyio
from msgspec import structs

from hive.core.errors import BadInputError, EngineError, UntranslatableError
from hive.core.json import Json, decode, depth_exceeds
from hive.protocols.models.conversation import (
    Conversation,
    EventReader,
    EventWriter,
    Reply,
    ReplyEnded,
    ReplyEvent,
    ReplyFailed,
    Wire,
)
from hive.protocols.models.paths import COUNTS, ESTIMATED, GEMINI_EMBEDS
from hive.protocols.models.ports import Dialect, ModelAnswer, ModelHead, ModelRequest, Upstream
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.wires import wire_of
from hive.protocols.models.wires.assembly import Assembly, events_of
from hive.protocols.models.wires.fields import compact, untranslatable
from hive.protocols.models.wires.sse import sse_event

ANSWER_MAX_BYTES: Final = 32 << 20
ERROR_MAX_BYTES: Final = 256 << 10
TOLD_MAX_CHARS: Final = 2000
DRAIN_TIMEOUT_S: Final = 1.0
DRAIN_MAX_CHUNKS: Final = 64
BYTES_PER_TOKEN: Final = 4
ANTHROPIC_VERSION: Final = "2023-06-01"
UNREADABLE: Final = "The model provider's answer cannot be read."
_CODE: Final = re.compile(r"[a-z][a-z0-9_.]{2,63}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")
# Gemini's own client reads no comments.
_ALIVE: Final = {
    Dialect.CHAT: b": alive\n\n",
    Dialect.RESPONSES: b": alive\n\n",
    Dialect.MESSAGES: sse_event(b'{"type":"ping"}', "ping"),
}
_QUESTIONS: Final = frozenset({"", "generateContent", "streamGenerateContent"})


def translated(
    upstream: Upstream, request: ModelRequest, into: Dialect, *, provider: Wire | None = None
) -> AbstractAsyncContextManager[ModelAnswer]:
    """Ask `upstream` in the wire `into`, and answer in the request's own.

    `provider` is the wire to ask in where this provider's differs from the standard one, such as
    `ChatWire(OLD_LIMIT_FIELD)`.

    A count of tokens asks nobody: it is estimated from the size of what would be sent, and says so.

    Entering raises:
        UntranslatableError: the other wire has no words for the request; nobody was asked.
        EngineUnavailableError: the provider cannot be reached.
        EngineTimeoutError: it did not answer in time.
    """
    if request.action in COUNTS:
        return _counted(request)
    if Dialect.EMBEDDINGS in (request.dialect, into) or request.action in GEMINI_EMBEDS:
        from hive.protocols.models.wires.embeddings import translate_embeddings

        return translate_embeddings(upstream, request, into)
    return _translated(upstream, request, provider or wire_of(into))


@asynccontextmanager
async def _counted(request: ModelRequest) -> AsyncIterator["TranslatedAnswer"]:
    tokens = -(-len(request.body) // BYTES_PER_TOKEN)
    name = "totalTokens" if request.dialect is Dialect.GEMINI else "input_tokens"
    body = compact({name: tokens})
    length = ("content-length", str(len(body)))
    headers = (("content-type", "application/json"), length, (ESTIMATED, "true"))
    yield TranslatedAnswer(ModelHead(status=200, headers=headers), body)


@asynccontextmanager
async def _translated(
    upstream: Upstream, request: ModelRequest, provider: Wire
) -> AsyncIterator[ModelAnswer]:
    exchange = _Exchange.of(request, provider)
    if isinstance(exchange, TranslatedAnswer):
        yield exchange
        return
    async with upstream.ask(exchange.outgoing) as answer:
        yield await exchange.answered(answer)


class TranslatedAnswer:
    """An answer that is whole before it goes out."""

    def __init__(self, head: ModelHead, body: bytes) -> None:
        self._body = body
        self.head: ModelHead = head

    @classmethod
    def of(cls, error: ModelError, dialect: Dialect) -> "TranslatedAnswer":
        """Return an error in the client's words."""
        body = error.body(dialect)
        return cls(error.head(length_bytes=len(body)), body)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body."""
        if self._body:
            yield self._body


class TranslatedStream:
    """An answer that is translated event by event, while it comes."""

    def __init__(
        self,
        head: ModelHead,
        answer: ModelAnswer,
        reader: EventReader,
        writer: EventWriter,
        *,
        alive: bytes,
    ) -> None:
        self._answer = answer
        self._reader = reader
        self._writer = writer
        self._alive = alive
        self._over = False
        self.head: ModelHead = head

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the client's events; a stream that breaks off ends with the client's own error event."""
        async with aclosing(self._answer.chunks()) as chunks:
            async for chunk in chunks:
                if written := self._taken(chunk):
                    yield written
                if self._over:
                    await _drain(chunks)
                    return
        if written := self._closed():
            yield written

    def _taken(self, chunk: bytes) -> bytes:
        try:
            events = list(self._reader.feed(chunk))
            if not events and (chunk.startswith(b":") or b"ping" in chunk):
                # A provider that only shows that it lives must not look silent to the client.
                return self._alive
            return self._written(events)
        except BadInputError as error:
            return self._failed(error)

    def _closed(self) -> bytes:
        try:
            return self._written(list(self._reader.close()))
        except BadInputError as error:
            return self._failed(error)

    def _written(self, events: list[ReplyEvent]) -> bytes:
        written = bytearray()
        for event in events:
            written += self._writer.write(event)
            self._over = self._over or isinstance(event, ReplyEnded | ReplyFailed)
        return bytes(written)

    def _failed(self, error: BadInputError) -> bytes:
        self._over = True
        return self._writer.write(ReplyFailed(status=502, message=f"{UNREADABLE} {error}"))


async def _drain(chunks: AsyncGenerator[bytes, None]) -> None:
    """Read what a provider still sends after its last event, so that its connection can be used again."""
    with anyio.move_on_after(DRAIN_TIMEOUT_S):
        for _ in range(DRAIN_MAX_CHUNKS):
            if await anext(chunks, None) is None:
                return


class _Exchange:
    """One request on its way over, and what must be known to bring its answer back."""

    def __init__(
        self, client: Wire, provider: Wire, conversation: Conversation, outgoing: ModelRequest
    ) -> None:
        self._client = client
        self._provider = provider
        self._conversation = conversation
        self.outgoing: ModelRequest = outgoing

    @classmethod
    def of(cls, request: ModelRequest, provider: Wire) -> "_Exchange | TranslatedAnswer":
        """Translate a request, or answer it where it is not what its own wire says.

        Raises:
            UntranslatableError: the other wire has no words for it.

        """
        if request.action not in _QUESTIONS:
            untranslatable(request.action.strip("/"), "only questions for an answer in words are")
        client = wire_of(request.dialect)
        try:
            conversation = client.read_request(
                request.document, model=request.model, stream=request.stream
            )
            if conversation.sampling.answers > 1:
                untranslatable("n", "other wires give one answer to a question")
            # The count of tokens is always asked for: budgets are settled with it.
            asked = structs.replace(conversation, include_usage=conversation.stream)
            document = provider.write_request(asked)
        except UntranslatableError:
            raise
        except BadInputError as error:
            wrong = ModelError(status=400, code="hive.bad_request", message=str(error))
            return TranslatedAnswer.of(wrong, request.dialect)
        return cls(client, provider, conversation, _outgoing(request, provider.dialect, document))

    async def answered(self, answer: ModelAnswer) -> TranslatedAnswer | TranslatedStream:
        """Return the provider's answer in the client's words."""
        if not 200 <= answer.head.status < 300:
            return self._error(answer.head, await _body(answer, ERROR_MAX_BYTES))
        if answer.head.streams and self._conversation.stream:
            return TranslatedStream(
                _stream_head(answer.head, self._client.dialect),
                answer,
                self._provider.event_reader(),
                self._client.event_writer(self._conversation),
                alive=_ALIVE.get(self._client.dialect, b""),
            )
        try:
            reply = await self._reply(answer)
            if self._conversation.stream:
                return self._as_stream(answer.head, reply)
            body = compact(self._client.write_reply(reply, self._conversation))
        except BadInputError as error:
            return self._unreadable(error)
        return TranslatedAnswer(_whole_head(answer.head, self._client.dialect, body), body)

    def _as_stream(self, head: ModelHead, reply: Reply) -> TranslatedAnswer:
        writer = self._client.event_writer(self._conversation)
        body = b"".join(writer.write(event) for event in events_of(reply))
        return TranslatedAnswer(_stream_head(head, self._client.dialect), body)

    async def _reply(self, answer: ModelAnswer) -> Reply:
        """Read a whole answer, also where the provider streams what was not asked for as a stream.

        Raises:
            BadInputError: it is not what its wire says, or too large.

        """
        if answer.head.streams:
            reader, assembly = self._provider.event_reader(), Assembly()
            async with aclosing(answer.chunks()) as chunks:
                async for chunk in chunks:
                    for event in reader.feed(chunk):
                        assembly.take(event)
            for event in reader.close():
                assembly.take(event)
            return assembly.reply()
        body = await _body(answer, ANSWER_MAX_BYTES + 1)
        if len(body) > ANSWER_MAX_BYTES:
            raise BadInputError("It is too large.", why=f"It has over {ANSWER_MAX_BYTES} bytes.")
        document = _object(body)
        try:
            return self._provider.read_reply(document)
        except EngineError as error:
            raise BadInputError("It says that the provider failed.", why=error.why) from error

    def _unreadable(self, error: BadInputError) -> TranslatedAnswer:
        wrong = ModelError(status=502, code="hive.upstream_answer", message=f"{UNREADABLE} {error}")
        return TranslatedAnswer.of(wrong, self._client.dialect)

    def _error(self, head: ModelHead, body: bytes) -> TranslatedAnswer:
        try:
            document = _object(body)
            words = self._provider.error_message(document)
        except BadInputError:
            document, words = {}, ""
        told = words or f"The model provider answered with the status {head.status} and no reason."
        dialect = self._client.dialect
        status = error_status(head.status, dialect)
        error = ModelError(status=status, code=_code(document), message=told[:TOLD_MAX_CHARS])
        written = error.body(dialect)
        whole = _whole_head(head, dialect, written)
        return TranslatedAnswer(
            ModelHead(status=status, headers=(*whole.headers, *_when_again(head))), written
        )


def error_status(status: int, client: Dialect) -> int:
    """Return the status that the client's wire has for a provider's: overload is 529 at one, 503 elsewhere."""
    if not 400 <= status <= 599:
        return 502
    if client is Dialect.MESSAGES:
        return 529 if status == 503 else status
    return 503 if status == 529 else status


def _outgoing(request: ModelRequest, into: Dialect, document: dict[str, Json]) -> ModelRequest:
    headers = [("content-type", "application/json")]
    if into is Dialect.MESSAGES:
        headers.append(("anthropic-version", ANTHROPIC_VERSION))
    action = query = ""
    if into is Dialect.GEMINI:
        action = "streamGenerateContent" if request.stream else "generateContent"
        query = "alt=sse" if request.stream else ""
    return replace(
        request,
        dialect=into,
        body=compact(document),
        document=document,
        headers=tuple(headers),
        query=query,
        action=action,
    )


async def _body(answer: ModelAnswer, limit_bytes: int) -> bytes:
    """Read a body as far as its limit.

    Raises:
        EngineUnavailableError: it broke off.

    """
    body = bytearray()
    async with aclosing(answer.chunks()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) >= limit_bytes:
                break
    return bytes(body[:limit_bytes])


def _object(body: bytes) -> Mapping[str, Json]:
    if depth_exceeds(body):
        raise BadInputError("It is nested too deeply.")
    try:
        document = decode(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise BadInputError("It is no JSON object.")
    return document


def _code(document: Mapping[str, Json]) -> str:
    """Return the provider's own code where it is a plain word: clients look for some of them."""
    error = document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "hive.upstream_error"


def _whole_head(head: ModelHead, client: Dialect, body: bytes) -> ModelHead:
    headers = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        *_request_id(head, client),
    )
    return ModelHead(status=head.status, headers=headers)


def _stream_head(head: ModelHead, client: Dialect) -> ModelHead:
    headers = (
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        *_request_id(head, client),
    )
    return ModelHead(status=200, headers=headers)


def _request_id(head: ModelHead, client: Dialect) -> tuple[tuple[str, str], ...]:
    found = head.header("x-request-id") or head.header("request-id")
    if client is Dialect.GEMINI or not _REQUEST_ID.fullmatch(found):
        return ()
    return (("request-id" if client is Dialect.MESSAGES else "x-request-id", found),)


def _when_again(head: ModelHead) -> tuple[tuple[str, str], ...]:
    kept = [
        (name, value)
        for name in ("retry-after", "retry-after-ms")
        if _SECONDS.fullmatch(value := head.header(name))
    ]
    should = head.header("x-should-retry")
    if should in ("true", "false"):
        kept.append(("x-should-retry", should))
    return tuple(kept)
