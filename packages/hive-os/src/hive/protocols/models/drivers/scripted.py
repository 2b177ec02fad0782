"""A model that is none: deterministic answers by rules, for tests, demonstrations and first steps."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import anyio

from hive.core.clock import Clock
from hive.core.errors import BadInputError
from hive.core.secret import Secret
from hive.protocols.models.conversation import Conversation
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.script import ScriptedReply, ScriptFile, decide, load_script
from hive.protocols.models.scripted_numbers import is_numbers, numbers
from hive.protocols.models.scripted_wires import ScriptedWire, conversation_of


class ScriptedAnswer:
    """One answer of the rules: whole, or the events of a stream with a pause before each."""

    def __init__(
        self, head: ModelHead, *, body: bytes = b"", events: Iterator[bytes] | None = None
    ) -> None:
        self._body = body
        self._events = events
        self._delay_s = 0.0
        self.head: ModelHead = head

    @classmethod
    def whole(cls, body: bytes) -> "ScriptedAnswer":
        """Return a document."""
        length = ("content-length", str(len(body)))
        headers = (("content-type", "application/json"), length)
        return cls(ModelHead(status=200, headers=headers), body=body)

    @classmethod
    def stream(cls, events: Iterator[bytes], *, delay_ms: float) -> "ScriptedAnswer":
        """Return a stream."""
        headers = (
            ("content-type", "text/event-stream; charset=utf-8"),
            ("cache-control", "no-cache"),
        )
        answer = cls(ModelHead(status=200, headers=headers), events=events)
        answer._delay_s = delay_ms / 1000
        return answer

    @classmethod
    def failure(cls, status: int, message: str, dialect: Dialect) -> "ScriptedAnswer":
        """Return an error in the words of a wire."""
        error = ModelError(status=status, code="scripted", message=message)
        body = error.body(dialect)
        return cls(error.head(length_bytes=len(body)), body=body)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body."""
        if self._events is None:
            yield self._body
            return
        for event in self._events:
            if self._delay_s:
                await anyio.sleep(self._delay_s)
            yield event


class ScriptedUpstream:
    """Answer by rules, in all dialects."""

    def __init__(self, script: ScriptFile) -> None:
        self._script = script
        self.dialects: frozenset[Dialect] = frozenset(Dialect)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, key: Secret, clock: Clock, timeout_s: float
    ) -> AsyncIterator["ScriptedUpstream"]:
        """Open the rules behind `scripted:` or `scripted:/path/rules.toml`.

        Raises:
            ConfigError: the rules cannot be read.

        """
        del key, clock, timeout_s
        yield cls(load_script(url.partition(":")[2]))

    @asynccontextmanager
    async def ask(self, request: ModelRequest) -> AsyncIterator[ScriptedAnswer]:
        """Answer a request."""
        try:
            if is_numbers(request):
                yield ScriptedAnswer.whole(numbers(request))
                return
            conversation = conversation_of(request)
        except BadInputError as error:
            yield ScriptedAnswer.failure(400, str(error), request.dialect)
            return
        form = conversation.answer_format
        schema = form.schema if form is not None and form.kind == "schema" else None
        if form is not None and schema is None:
            schema = {"type": "object"}
        reply = decide(self._script, request, schema)
        if reply.delay_s:
            await anyio.sleep(reply.delay_s)
        yield _answer(request, reply, conversation)

    async def models(self) -> Sequence[str]:
        """Return the names that the rules list."""
        return self._script.models


def _answer(
    request: ModelRequest, reply: ScriptedReply, conversation: Conversation
) -> ScriptedAnswer:
    error = reply.error
    if error is not None and not (request.stream and error.after_words):
        return ScriptedAnswer.failure(error.status, error.message, request.dialect)
    wire = ScriptedWire(request, reply, conversation)
    if request.stream:
        return ScriptedAnswer.stream(wire.events(), delay_ms=reply.delay_ms)
    return ScriptedAnswer.whole(wire.whole())
