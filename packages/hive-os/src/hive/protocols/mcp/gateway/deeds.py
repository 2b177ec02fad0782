"""One request to a server of the hub, through the gate: admitted, recorded, done, recorded again.

What a server answers is kept as one frame, an error and a failure as well, so that a turn that runs again is
told the same. A frame is `{"result"}`, `{"error"}` or `{"failed"}`, the last in words of ours.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, cast

import anyio
import msgspec
from anyio.abc import TaskGroup

from hive.core.call import EffectClass, Outcome, Refused, Verb
from hive.core.errors import EngineTimeoutError, EngineUnavailableError, HiveError, TooLargeError
from hive.core.ids import plain_text
from hive.core.json import Json, decode, encode
from hive.kernel.ports import Attempt, Frames, Gate
from hive.protocols.mcp.gateway.couriers import LOG_LEVEL_KEY, level_of
from hive.protocols.mcp.ports import Courier, McpError, McpObject, ServerLink, ToolHub, Visitor
from hive.security.guardrails import redact

log: Final = logging.getLogger(__name__)
ADMIT_MAX_S: Final = 60.0
_KEPT: Final = frozenset({"name", "requestState", "_meta"})
MESSAGE_MAX_CHARS: Final = 4000
INTERNAL: Final = -32603
CUT_OFF: Final = (
    "The call was cut off before an answer came; whether it did something is not known."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest:
    """What is asked of which server; `target`, `effect`, `arguments` and `facts` are what the gate reads.

    `aside` leaves with it and is no argument: what a client answers to the server's own question.
    """

    server: str
    method: str
    params: McpObject
    target: str
    effect: EffectClass
    arguments: bytes
    timeout_s: float
    result_max_bytes: int
    facts: Mapping[str, Json] = field(default_factory=dict)
    progress: Json = None
    aside: bytes = b""


@dataclass(frozen=True, slots=True)
class ServerReply:
    """How a server answered: one of the three."""

    result: McpObject | None = None
    error: McpError | None = None
    failed: str = ""


Look: TypeAlias = Callable[[ServerReply], tuple[ServerReply, bool]]
"""Look at a reply before it is passed on; return what is, and whether the call went well."""
Exchange: TypeAlias = Callable[[ServerLink, ServerRequest, McpObject], Awaitable[McpObject]]
"""Ask a server over its link what may be asked of it, with what goes into `_meta`."""


class ServerDoor:
    """The way from a visitor to a server.

    Inside `running` an answer goes out in the moment it is there, while the line that says how the call
    ended is being written; the intent is durable before anything is sent.
    """

    def __init__(self, hub: ToolHub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make calls in tasks of their own; leaving cuts them off and writes that."""
        async with anyio.create_task_group() as self._group:
            try:
                yield
            finally:
                self._group.cancel_scope.cancel()
                self._group = None

    async def ask(
        self,
        visitor: Visitor,
        request: ServerRequest,
        courier: Courier | None,
        *,
        look: Look,
        exchange: Exchange | None = None,
    ) -> Refused | ServerReply:
        """Ask a server through the gate."""
        deed = _Deed(self._hub, visitor, request, courier, exchange)
        answer = _Answer()
        if self._group is None:
            await self._pass(deed, look, answer)
        else:
            self._group.start_soon(self._pass_aside, deed, look, answer)
            try:
                await answer.there.wait()
            except BaseException:
                # Whoever waited for it has gone: so has the reason to go on.
                answer.scope.cancel()
                raise
        if answer.error is not None:
            raise answer.error
        return answer.reply

    async def _pass_aside(self, deed: "_Deed", look: Look, answer: "_Answer") -> None:
        with answer.scope:
            try:
                await self._pass(deed, look, answer)
            except HiveError as error:
                answer.error = error
                log.warning("mcp.call_broke", extra={"error": type(error).__name__})
            except Exception as error:  # whoever waits raises it; the other calls go on
                log.exception("mcp.call_crashed")
                answer.error = error
            finally:
                answer.there.set()

    async def _pass(self, deed: "_Deed", look: Look, answer: "_Answer") -> None:
        request = deed.request
        attempt = Attempt(
            principal=deed.visitor.principal,
            verb=Verb.INVOKE,
            target=request.target,
            effect=request.effect,
            arguments=request.arguments,
            size_bytes=len(request.arguments),
            timeout_s=request.timeout_s + ADMIT_MAX_S,
            traceparent=deed.visitor.traceparent,
            facts=request.facts,
            warrant=deed.visitor.warrant,
            aside=request.aside,
        )
        async with self._gate.deliver(attempt, deed.act) as passage:
            if isinstance(passage, Refused):
                answer.reply = passage
                return
            deed.traceparent = passage.call.trace.traceparent
            deed.redact = passage.redact
            frames = [frame async for frame in passage]
            heard = deed.reply or _read(b"".join(frames))
            answer.reply, went_well = look(heard)
            passage.settle(Outcome.OK if went_well else Outcome.FAILED)
            answer.there.set()


@dataclass(slots=True, eq=False)
class _Answer:
    """What becomes of a call, for whoever waits for it; until then, that nobody knows."""

    reply: Refused | ServerReply = field(default_factory=lambda: ServerReply(failed=CUT_OFF))
    error: Exception | None = None
    there: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


@dataclass(slots=True)
class _Deed:
    hub: ToolHub
    visitor: Visitor
    request: ServerRequest
    courier: Courier | None
    exchange: Exchange | None
    traceparent: str = ""
    redact: frozenset[str] = frozenset()
    reply: ServerReply | None = None

    async def act(self) -> Frames:
        frame, self.reply = await self._done()
        yield frame

    async def _done(self) -> tuple[bytes, ServerReply]:
        try:
            result = await self._asked()
        except McpError as error:
            shown = McpError(error.code, plain_text(error.message[:MESSAGE_MAX_CHARS]), error.data)
            told: Json = {"code": shown.code, "message": shown.message, "data": shown.data}
            return encode({"error": told}), ServerReply(error=shown)
        except HiveError as error:
            log.warning(
                "mcp.call_failed",
                extra={"server": self.request.server, "error": type(error).__name__},
            )
            return self._failed(failure_text(error, self.request))
        # In the server's own order: an answer that is served again has to read the same.
        frame = msgspec.json.encode({"result": result})
        if len(frame) > self.request.result_max_bytes:
            return self._failed(_too_large(self.request))
        return frame, ServerReply(result=result)

    def _failed(self, text: str) -> tuple[bytes, ServerReply]:
        return encode({"failed": text}), ServerReply(failed=text)

    async def _asked(self) -> McpObject:
        request = without(self.request, self.redact)
        # Of what the client sent along, only its progress token and from which level on it hears log lines
        # go on: no key, no cookie, no span.
        meta: McpObject = {"traceparent": self.traceparent}
        if request.progress is not None and self.courier is not None:
            meta["progressToken"] = request.progress
        if self.courier is not None and (level := level_of(self.courier)):
            meta[LOG_LEVEL_KEY] = level
        principal = self.visitor.principal
        async with self.hub.link(request.server, principal, courier=self.courier) as link:
            if self.exchange is not None:
                return await self.exchange(link, request, meta)
            return await link.request(
                request.method,
                {**request.params, "_meta": meta},
                timeout_s=request.timeout_s,
                courier=self.courier,
            )


def without(request: ServerRequest, kinds: frozenset[str]) -> ServerRequest:
    """Return a request without what is of these kinds; which tool is asked stays as it was."""
    if not kinds:
        return request
    changed, _ = redact({k: one for k, one in request.params.items() if k not in _KEPT}, kinds)
    return replace(request, params={**request.params, **cast("McpObject", changed)})


def failure_text(error: HiveError, request: ServerRequest) -> str:
    """Say in words of ours how a server failed, and whether it may have done something."""
    name = request.server
    if isinstance(error, EngineTimeoutError):
        return (
            f"The tool server {name} did not answer within {request.timeout_s:g} s; "
            "whether it did something is not known."
        )
    if isinstance(error, TooLargeError):
        return _too_large(request)
    if isinstance(error, EngineUnavailableError):
        if error.__cause__ is None:
            return f"The tool server {name} cannot be reached now; nothing was done."
        return (
            f"The connection to the tool server {name} broke; "
            "whether it did something is not known."
        )
    return " ".join(filter(None, (f"The tool server {name} cannot be used:", error.what)))


def _too_large(request: ServerRequest) -> str:
    return (
        f"The answer of the tool server {request.server} is over its limit of "
        f"{request.result_max_bytes} bytes, so it was not passed on."
    )


def _read(frame: bytes) -> ServerReply:
    """Read a frame of the record; a call that was cut off left none."""
    kept = decode(frame) if frame else None
    if not isinstance(kept, dict):
        return ServerReply(failed=CUT_OFF)
    result, error = kept.get("result"), kept.get("error")
    if isinstance(result, dict):
        return ServerReply(result=result)
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
        known = code if isinstance(code, int) else INTERNAL
        return ServerReply(error=McpError(known, str(message), error.get("data")))
    return ServerReply(failed=str(kept.get("failed") or CUT_OFF))
