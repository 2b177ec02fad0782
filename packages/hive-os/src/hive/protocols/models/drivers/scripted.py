"""A model that is none: deterministic answers by rules, for tests, demonstrations and first steps."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from hive.core.clock import Clock
from hive.core.secret import Secret
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.script import ScriptedReply, ScriptFile, decide, load_script
from hive.protocols.models.scripted_wires import ScriptedWire


class ScriptedAnswer:
    """One answer of the rules."""

    def __init__(self, request: ModelRequest, reply: ScriptedReply) -> None:
        self._stream = request.stream and reply.error is None
        self._wire = ScriptedWire(request, reply)
        if reply.error is not None:
            failure = ModelError(
                status=reply.error.status, code="scripted", message=reply.error.message
            )
            self._body = failure.body(request.dialect)
            self.head: ModelHead = failure.head(length_bytes=len(self._body))
        elif self._stream:
            self._body = b""
            self.head = ModelHead(
                status=200,
                headers=(
                    ("content-type", "text/event-stream; charset=utf-8"),
                    ("cache-control", "no-cache"),
                ),
            )
        else:
            self._body = self._wire.whole()
            self.head = ModelHead(
                status=200,
                headers=(
                    ("content-type", "application/json"),
                    ("content-length", str(len(self._body))),
                ),
            )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body."""
        if not self._stream:
            yield self._body
            return
        for event in self._wire.events():
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
        reply = decide(self._script, request)
        if reply.delay_s:
            await anyio.sleep(reply.delay_s)
        yield ScriptedAnswer(request, reply)

    async def models(self) -> Sequence[str]:
        """Return the names that the rules list."""
        return self._script.models
