"""The door for model calls, as an ASGI app on a sandbox's own socket.

In order: who calls (by the handle, bound to the socket), how large, what it says, then the gate. Only an
admitted request reaches the provider, and the real key is put in only there.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
from starlette.types import Receive, Scope, Send

from hive.core.call import EffectClass, Outcome, Principal, Refused, Verb
from hive.core.clock import Clock
from hive.core.errors import EngineError, HiveError
from hive.core.ids import SandboxId
from hive.core.json import encode
from hive.core.settings import Settings
from hive.kernel.ports import Attempt, Frames, Gate, Passage
from hive.protocols.models.frames import head_frame, read_head_frame
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest, Upstream
from hive.protocols.models.refusals import ModelError, broken, refused
from hive.protocols.models.requests import (
    HttpHead,
    RequestRefusedError,
    canonical,
    parse_request,
    read_body,
)
from hive.protocols.models.usage import UsageMeter

log = logging.getLogger(__name__)

ANSWER_MAX_BYTES: Final = 32 << 20
ANSWER_TIMEOUT_S: Final = 300.0
MODELS_PATH: Final = "/v1/models"


@dataclass(slots=True)
class _ModelExchange:
    """One HTTP exchange: what the client reads, and whether it has begun."""

    send: Send
    head: HttpHead
    dialect: Dialect | None
    begun: bool = False

    async def begin(self, head: ModelHead) -> None:
        self.begun = True
        await self.send(
            {
                "type": "http.response.start",
                "status": head.status,
                "headers": [
                    (key.encode("latin-1"), value.encode("latin-1")) for key, value in head.headers
                ],
            }
        )

    async def write(self, body: bytes, *, more: bool) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def fail(self, error: ModelError) -> None:
        """Answer with an error: as a document, or as the last event of a stream."""
        if self.begun:
            event = error.event(self.dialect) if self.dialect else b""
            await self.write(event, more=False)
            return
        body = error.body(self.dialect)
        await self.begin(error.head(length_bytes=len(body)))
        await self.write(b"" if self.head.method == "HEAD" else body, more=False)


class ModelsDoor:
    """Let agents ask models: `/v1/chat/completions`, `/v1/responses`, `/v1/messages`, `/v1/models`.

    The server that mounts it sets `scope["hive.sandbox"]` to the id of the sandbox whose socket the
    connection came through.
    """

    def __init__(self, *, gate: Gate, upstream: Upstream, settings: Settings, clock: Clock) -> None:
        self._gate = gate
        self._upstream = upstream
        self._settings = settings
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        head = HttpHead.of(scope)
        dialect = next((one for one in Dialect if one.value == head.path), None)
        exchange = _ModelExchange(send=send, head=head, dialect=dialect)
        try:
            principal = self._principal(scope, head)
            if head.path.startswith(MODELS_PATH):
                await self._list(exchange)
                return
            request = await self._request(exchange, receive)
        except RequestRefusedError as no:
            await exchange.fail(no.error)
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
            await self._deliver(exchange, principal, request)
            tasks.cancel_scope.cancel()

    def _principal(self, scope: Scope, head: HttpHead) -> Principal:
        sandbox = SandboxId(str(scope.get("hive.sandbox", "")))
        if not sandbox or not head.handle:
            raise RequestRefusedError(
                ModelError(
                    status=401,
                    code="hive.handle",
                    message="Send the API key that stands in the sandbox's environment, once.",
                )
            )
        found = self._gate.resolve_handle(sandbox, head.handle)
        if isinstance(found, Refused):
            no = refused(found)
            raise RequestRefusedError(ModelError(status=401, code=no.code, message=no.message))
        return found

    async def _request(self, exchange: _ModelExchange, receive: Receive) -> ModelRequest:
        head, dialect = exchange.head, exchange.dialect
        if dialect is None or dialect not in self._upstream.dialects:
            raise RequestRefusedError(
                ModelError(
                    status=404,
                    code="hive.unknown_path",
                    message=f"This node's model provider does not serve {head.path[:100]}.",
                )
            )
        if head.method != "POST":
            raise RequestRefusedError(
                ModelError(status=405, code="hive.method", message="Use POST.")
            )
        body = await read_body(
            receive,
            head,
            limit_bytes=self._settings.body_max_bytes,
            timeout_s=self._settings.request_timeout_s,
        )
        return parse_request(dialect, head, body, depth_max=self._settings.depth_max)

    async def _list(self, exchange: _ModelExchange) -> None:
        """Answer with the names that the node itself learned; no agent's call goes out for it."""
        if exchange.head.method not in ("GET", "HEAD") or exchange.head.path != MODELS_PATH:
            await exchange.fail(
                ModelError(status=404, code="hive.unknown_path", message="Only GET /v1/models.")
            )
            return
        names = await self._upstream.models()
        body = encode(
            {
                "object": "list",
                "data": [
                    {
                        "id": name,
                        "object": "model",
                        "type": "model",
                        "display_name": name,
                        "created": 0,
                        "created_at": "1970-01-01T00:00:00Z",
                        "owned_by": "hive",
                    }
                    for name in names
                ],
                "has_more": False,
                "first_id": names[0] if names else None,
                "last_id": names[-1] if names else None,
            }
        )
        length = ("content-length", str(len(body)))
        await exchange.begin(
            ModelHead(status=200, headers=(("content-type", "application/json"), length))
        )
        await exchange.write(b"" if exchange.head.method == "HEAD" else body, more=False)

    async def _deliver(
        self, exchange: _ModelExchange, principal: Principal, request: ModelRequest
    ) -> None:
        attempt = Attempt(
            principal=principal,
            verb=Verb.ASK,
            target=request.model,
            # Asking again costs but harms nobody, so a crash in between may repeat it.
            effect=EffectClass.IDEMPOTENT,
            arguments=canonical(request),
            size_bytes=len(request.body),
            timeout_s=ANSWER_TIMEOUT_S,
            traceparent=exchange.head.traceparent,
            facts={
                "model": request.model,
                "stream": request.stream,
                "dialect": request.dialect.name.lower(),
            },
        )
        try:
            async with self._gate.deliver(attempt, lambda: self._act(request)) as passage:
                if isinstance(passage, Refused):
                    await exchange.fail(refused(passage))
                else:
                    await self._pass(exchange, passage)
        except (HiveError, TimeoutError) as error:
            log.warning(
                "model.failed", extra={"error": type(error).__name__, "model": request.model}
            )
            await exchange.fail(broken(error))

    async def _act(self, request: ModelRequest) -> Frames:
        async with self._upstream.ask(request) as answer:
            yield head_frame(answer.head)
            async with aclosing(answer.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _pass(self, exchange: _ModelExchange, passage: Passage) -> None:
        async with _opened(passage) as frames:
            head = read_head_frame(await anext(frames, b""))
            meter = UsageMeter(streams=head.streams)
            whole = bytearray()
            if head.streams:
                await exchange.begin(head)
            try:
                async for frame in frames:
                    meter.feed(frame)
                    if head.streams:
                        await exchange.write(frame, more=True)
                    else:
                        _collect(whole, frame)
            except (EngineError, TimeoutError):
                passage.settle(Outcome.FAILED, cost=meter.cost())
                raise
        passage.settle(Outcome.OK if head.status < 400 else Outcome.FAILED, cost=meter.cost())
        if not head.streams:
            # Held back until it is whole, so a provider that breaks gives an error, not a torn
            # answer.
            await exchange.begin(head)
        await exchange.write(bytes(whole), more=False)


@asynccontextmanager
async def _opened(passage: Passage) -> AsyncIterator[AsyncIterator[bytes]]:
    """Iterate a passage so that leaving early ends the deed at once."""
    frames = aiter(passage)
    try:
        yield frames
    finally:
        if isinstance(frames, AsyncGenerator):
            with anyio.move_on_after(2, shield=True):
                await frames.aclose()


def _collect(whole: bytearray, frame: bytes) -> None:
    whole += frame
    if len(whole) > ANSWER_MAX_BYTES:
        raise EngineError(
            "The model provider's answer is too large.",
            why=f"It is over {ANSWER_MAX_BYTES} bytes.",
            fix="Ask for a shorter answer, or for a stream.",
        )


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
