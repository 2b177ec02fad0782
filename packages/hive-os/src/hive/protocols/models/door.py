"""The door for model calls, as an ASGI app on a sandbox's own socket.

In order: who calls (by the handle, bound to the socket), how large, what it says, then the gate. Only an
admitted request reaches the provider, and the real key is put in only there.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
from starlette.types import Receive, Scope, Send

from hive.core.call import EffectClass, Outcome, Principal, Refused, Verb
from hive.core.clock import Clock
from hive.core.errors import EngineError, EngineUnavailableError, HiveError
from hive.core.ids import SandboxId
from hive.core.settings import Settings
from hive.kernel.ports import PROVIDER_TOOLS, Attempt, Frames, Gate, Passage
from hive.protocols.models.arrays import ArrayWriter
from hive.protocols.models.cut import StreamCut
from hive.protocols.models.frames import head_frame, read_head_frame
from hive.protocols.models.heads import HttpHead
from hive.protocols.models.listing import write_listing
from hive.protocols.models.paths import ListingPath, listing_of, path_of, speech_of, wants_array
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest, Upstream
from hive.protocols.models.refusals import (
    BUDGET_CHECKS,
    ModelError,
    broken,
    refused,
    unknown_path,
)
from hive.protocols.models.requests import (
    RequestRefusedError,
    beside,
    canonical,
    parse_request,
    read_body,
    without,
)
from hive.protocols.models.spending import PaidQuestion, Purse
from hive.protocols.models.usage import UsageMeter

log = logging.getLogger(__name__)

ANSWER_MAX_BYTES: Final = 32 << 20
ANSWER_TIMEOUT_S: Final = 300.0


@dataclass(slots=True)
class _ModelExchange:
    """One HTTP exchange: what the client reads, and whether it has begun."""

    send: Send
    head: HttpHead
    dialect: Dialect | None
    begun: bool = False
    array: ArrayWriter | None = None

    async def begin(self, head: ModelHead) -> None:
        self.begun = True
        if self.array is not None and head.streams:
            head = self.array.head(head)
        else:
            self.array = None
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
        if self.array is not None:
            body = self.array.feed(body) + (b"" if more else self.array.end())
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
    """Let agents ask models in the words of OpenAI, Anthropic and Gemini, and list the models.

    The server that mounts it sets `scope["hive.sandbox"]` to the id of the sandbox whose socket the
    connection came through.
    """

    def __init__(self, *, gate: Gate, upstream: Upstream, settings: Settings, clock: Clock) -> None:
        self._gate = gate
        self._upstream = upstream
        self._settings = settings
        self._clock = clock
        self._purse = Purse(upstream=upstream, settings=settings, now=clock.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        head = HttpHead.of(scope)
        exchange = _ModelExchange(send=send, head=head, dialect=speech_of(head))
        try:
            principal = self._principal(scope, head)
            listing = listing_of(head)
            if listing is not None:
                await self._list(exchange, listing)
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
        head, asked = exchange.head, path_of(exchange.head)
        if asked is None or asked.dialect not in self._upstream.dialects:
            raise RequestRefusedError(unknown_path(head.path))
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
        request = parse_request(asked.dialect, head, body, depth_max=self._settings.depth_max)
        if wants_array(head, request):
            exchange.array = ArrayWriter()
        return request

    async def _list(self, exchange: _ModelExchange, listing: ListingPath) -> None:
        """Answer with the names that the node itself learned; no agent's call goes out for it."""
        if exchange.head.method not in ("GET", "HEAD"):
            await exchange.fail(unknown_path(exchange.head.path))
            return
        names = await self._upstream.models()
        body = write_listing(listing, names, query=exchange.head.query)
        if isinstance(body, ModelError):
            await exchange.fail(body)
            return
        length = ("content-length", str(len(body)))
        await exchange.begin(
            ModelHead(status=200, headers=(("content-type", "application/json"), length))
        )
        await exchange.write(b"" if exchange.head.method == "HEAD" else body, more=False)

    async def _deliver(
        self, exchange: _ModelExchange, principal: Principal, request: ModelRequest
    ) -> None:
        question = self._purse.question(request, self._gate.room(principal))
        if isinstance(question, Refused):
            await exchange.fail(refused(question))
            return
        try:
            no = await self._ask(exchange, principal, request, question)
            if no is not None and no.check in BUDGET_CHECKS and question.limit_is_ours:
                # Others took the room meanwhile, or there was too little: once more with what is left.
                smaller = self._purse.question(request, self._gate.room(principal))
                if isinstance(smaller, PaidQuestion) and smaller.output < question.output:
                    no = await self._ask(exchange, principal, request, smaller)
            if no is not None:
                await exchange.fail(refused(no))
        except (HiveError, TimeoutError) as error:
            log.warning(
                "model.failed", extra={"error": type(error).__name__, "model": request.model}
            )
            await exchange.fail(broken(error))

    async def _ask(
        self,
        exchange: _ModelExchange,
        principal: Principal,
        request: ModelRequest,
        question: PaidQuestion,
    ) -> Refused | None:
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
                **({PROVIDER_TOOLS: True} if question.bound.fees else {}),
            },
            reserve=question.reserve,
            aside=beside(request),
        )
        redact: set[str] = set()
        async with self._gate.deliver(attempt, lambda: self._act(question, redact)) as passage:
            if isinstance(passage, Refused):
                return passage
            redact |= passage.redact
            await self._pass(exchange, passage, question)
        return None

    async def _act(self, question: PaidQuestion, redact: Collection[str]) -> Frames:
        request = without(question.request, redact)
        async with self._upstream.ask(request) as answer:
            question.heard(answer)
            yield head_frame(answer.head)
            size_bytes = 0
            async with aclosing(answer.chunks()) as chunks:
                async for chunk in chunks:
                    size_bytes += len(chunk)
                    if size_bytes > ANSWER_MAX_BYTES:
                        raise _too_large()
                    yield chunk

    async def _pass(
        self, exchange: _ModelExchange, passage: Passage, question: PaidQuestion
    ) -> None:
        async with _opened(passage) as frames:
            try:
                head = read_head_frame(await anext(frames, b""))
            except EngineUnavailableError as error:
                if _nobody_had_it(error):
                    passage.settle(Outcome.FAILED, spent={})
                raise
            meter = UsageMeter(streams=head.streams)
            try:
                whole = await self._body(exchange, head, frames, meter, question)
            except BaseException as error:
                outcome = Outcome.FAILED if isinstance(error, Exception) else Outcome.CANCELED
                spent = question.spent(meter, ended=False) if head.status < 400 else {}
                passage.settle(outcome, cost=question.cost(meter, spent, ended=False), spent=spent)
                raise
        answered = head.status < 400
        bills = answered or question.unsure or meter.usage()
        spent = question.spent(meter, ended=True) if bills else {}
        passage.settle(
            Outcome.OK if answered else Outcome.FAILED,
            cost=question.cost(meter, spent, ended=True),
            spent=spent,
        )
        if not head.streams:
            # Held back until it is whole, so a provider that breaks gives an error, not a torn
            # answer.
            await exchange.begin(head)
        await exchange.write(whole, more=False)

    async def _body(
        self,
        exchange: _ModelExchange,
        head: ModelHead,
        frames: AsyncIterator[bytes],
        meter: UsageMeter,
        question: PaidQuestion,
    ) -> bytes:
        """Pass a stream on, up to what is returned: its last bytes, or a whole answer."""
        if not head.streams:
            whole = bytearray()
            async for frame in frames:
                meter.feed(frame)
                _collect(whole, frame)
            return bytes(whole)
        await exchange.begin(head)
        cut = None
        if question.hides_usage or question.ceiling:
            request = question.request
            cut = StreamCut(request.dialect, model=request.model, usage_hidden=question.hides_usage)
        async for frame in frames:
            meter.feed(frame)
            question.saw(meter, self._clock.monotonic())
            if cut is not None and question.passed(meter):
                return cut.ending(question.output)
            piece = frame if cut is None else cut.feed(frame)
            if piece:
                await exchange.write(piece, more=True)
        return b"" if cut is None else cut.rest()


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


def _nobody_had_it(error: EngineUnavailableError) -> bool:
    """Tell whether a question never reached its provider, so that nobody bills it."""
    from hive.protocols.models.forward import never_sent

    return error.__cause__ is None or never_sent(error)


def _collect(whole: bytearray, frame: bytes) -> None:
    whole += frame
    if len(whole) > ANSWER_MAX_BYTES:
        raise _too_large()


def _too_large() -> EngineError:
    return EngineError(
        "The model provider's answer is too large.",
        why=f"It is over {ANSWER_MAX_BYTES} bytes.",
        fix="Ask for a shorter answer.",
    )


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
