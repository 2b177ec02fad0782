"""The ASGI middleware that opens sealed requests, and seals their answers, in front of any A2A app.

A sealed request reaches the app as the request that was sealed: its headers and body are the inner
ones, and nothing that somebody on the way wrote beside the seal is mixed in, but what the way itself is
spoken with (Host, Forwarded, ...). `scope["hive_a2a.noise"]` holds the initiator's static key and the
handshake hash. What is not sealed passes untouched where the policy offers sealing, and is refused with the
standard's error where the policy requires it.
"""

import re
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from typing import Final

import anyio
import msgspec

from hive_a2a.asgi import WHOLE_KEY, AsgiApp, Event, Receive, Scope, Send
from hive_a2a.base64url import from_base64url
from hive_a2a.call import Binding, RequestHead
from hive_a2a.cards.noise_params import NOISE_URI
from hive_a2a.faults import EXTENSION, WireFault
from hive_a2a.policy import Policy, Sealing, WireLimits
from hive_a2a.ports import RefusalLog, Stage
from hive_a2a.sealed.answers import AnswerSealer, event_of
from hive_a2a.sealed.binding import Header, InnerHead, RequestBinding, is_outside
from hive_a2a.sealed.errors import STATUS_OF, SealCode, SealFault
from hive_a2a.sealed.extension import (
    ERROR_TYPE,
    HANDSHAKE_TYPE,
    NOISE_SCOPE,
    PUBLIC_PATHS,
    SEAL_HEADER,
    SEALED_TYPE,
)
from hive_a2a.sealed.responder import (
    HANDSHAKE_BYTES_MAX,
    Agents,
    OpenedRequest,
    Responder,
    SealedAgent,
)

AgentsOf = Callable[[Scope], Agents]
"""Says which agent a request is for: the cards that are honoured for it, or none."""

_SEAL_HEADER: Final = SEAL_HEADER.encode()
_SEALED_TYPE: Final = SEALED_TYPE.encode()
_EVENTS: Final = b"text/event-stream"
_RESOURCE: Final = re.compile(r"/(message:(send|stream)|tasks(/.*)?|extendedAgentCard|card)")
_NOT_IN_ANSWERS: Final = frozenset(
    {b"content-length", b"transfer-encoding", b"connection", b"date", b"server"}
)


def always(*agents: SealedAgent) -> AgentsOf:
    """Serve one agent on every path; its earlier cards, still honoured, stand after the current one."""
    return lambda _: agents


class _ClientGoneError(Exception):
    """The client went away while it was still sending."""


class NoiseMiddleware:
    """Opens what is sealed, answers handshakes, and refuses plain requests where sealing is required."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        responder: Responder,
        agents_of: AgentsOf,
        policy: Policy,
        refusal_log: RefusalLog | None = None,
    ) -> None:
        self._app = app
        self._responder = responder
        self._agents_of = agents_of
        self._policy = policy
        self._log = refusal_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        # Nobody but this middleware says that a request was sealed.
        scope.pop(NOISE_SCOPE, None)
        sealing = self._policy.sealing
        if scope["type"] != "http" or sealing is Sealing.OFF:
            await self._app(scope, receive, send)
            return
        agents = self._agents_of(scope)
        if not agents:
            await self._app(scope, receive, send)
            return
        kind, seal = _seal_of(scope["headers"])
        try:
            if _is_handshake(scope, agents):
                await self._shake(scope, receive, send, agents)
            elif kind == _SEALED_TYPE or seal:
                await self._sealed(scope, receive, send, agents, seal)
            elif sealing is Sealing.REQUIRED and not _is_public(scope):
                await self._refuse_plain(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except SealFault as fault:
            self._tell(scope, fault.code.value)
            await _send_fault(send, fault.code)
        except _ClientGoneError:
            return

    async def _shake(self, scope: Scope, receive: Receive, send: Send, agents: Agents) -> None:
        kind, _ = _seal_of(scope["headers"])
        if kind != HANDSHAKE_TYPE.encode():
            raise SealFault(SealCode.MALFORMED)
        body = await _read(scope, receive, HANDSHAKE_BYTES_MAX, self._policy.limits)
        client = scope.get("client")
        address = client[0] if client else ""
        answer = self._responder.shake(body, agents, address=address)
        await _send_whole(send, 200, HANDSHAKE_TYPE.encode(), answer)

    async def _sealed(
        self, scope: Scope, receive: Receive, send: Send, agents: Agents, seal: bytes
    ) -> None:
        if seal:
            frame = _frame_in_header(seal)
        else:
            limits = self._policy.limits
            frame = await _read(scope, receive, limits.body_bytes, limits)
        opened = self._responder.open(frame, _binding_of(scope), agents)
        answer = _SealedSend(send, opened.sealer)
        await self._app(_inner_scope(scope, opened), _given(opened.inner.body, receive), answer)

    async def _refuse_plain(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._tell(scope, "plain request, and sealing is required")
        fault = WireFault(
            EXTENSION,
            "This agent is spoken to end-to-end encrypted only; see the extension in its card.",
            metadata={"check": Stage.NOISE.value, "extension": NOISE_URI},
        )
        if _binding_name(scope) is Binding.JSONRPC:
            limits = self._policy.limits
            body = await _read(scope, receive, limits.body_bytes, limits)
            answer, status = fault.json_rpc(_request_id(body)), fault.json_rpc_status
        else:
            answer, status = fault.rest(), fault.status
        await _send_whole(send, status, b"application/json", answer)

    def _tell(self, scope: Scope, reason: str) -> None:
        if self._log is not None:
            self._log.refused(_head_of(scope), Stage.NOISE, reason)


class _SealedSend:
    """Takes an app's answer and sends it sealed: in one frame, or a frame an event where it streams."""

    __slots__ = ("_body", "_head", "_sealer", "_send", "_streams")

    def __init__(self, send: Send, sealer: AnswerSealer) -> None:
        self._send = send
        self._sealer = sealer
        self._head: InnerHead | None = None
        self._body: list[bytes] = []
        self._streams = False

    async def __call__(self, event: Event) -> None:
        """Take one event of the app."""
        if event["type"] == "http.response.start":
            await self._start(event["status"], event.get("headers", ()))
        elif event["type"] == "http.response.body" and self._head is not None:
            await self._piece(event.get("body", b""), more=event.get("more_body", False))

    async def _start(self, status: int, headers: Iterable[Header]) -> None:
        kept = [
            (name.lower(), value)
            for name, value in headers
            if name.lower() not in _NOT_IN_ANSWERS and not is_outside(name.lower())
        ]
        self._head = InnerHead(status, b"", tuple(kept))
        kind = next((value for name, value in kept if name == b"content-type"), b"")
        self._streams = kind.lower().startswith(_EVENTS)
        if self._streams:
            headers = [(b"content-type", _EVENTS), (b"cache-control", b"no-store")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send_frame(self._head.encode(), more=True)

    async def _piece(self, body: bytes, *, more: bool) -> None:
        if self._streams:
            if body or not more:
                await self._send_frame(body, more=more)
            return
        self._body.append(body)
        if not more and self._head is not None:
            whole = self._head._replace(body=b"".join(self._body))
            frame = self._sealer.frame(whole.encode(), final=True)
            await _send_whole(self._send, 200, _SEALED_TYPE, frame)

    async def _send_frame(self, plaintext: bytes, *, more: bool) -> None:
        event = event_of(self._sealer.frame(plaintext, final=not more))
        await self._send({"type": "http.response.body", "body": event, "more_body": more})


def _seal_of(headers: Iterable[Header]) -> tuple[bytes, bytes]:
    """Return the media type and the seal that travels in a header, if any."""
    kind = seal = b""
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif name == _SEAL_HEADER:
            seal = value
    return kind, seal


def _frame_in_header(seal: bytes) -> bytes:
    try:
        return from_base64url(seal)
    except Base64Error:
        raise SealFault(SealCode.MALFORMED) from None


def _binding_of(scope: Scope) -> RequestBinding:
    target: bytes = scope.get("raw_path") or scope["path"].encode()
    if scope.get("query_string"):
        target = target + b"?" + scope["query_string"]
    headers = scope["headers"]
    return RequestBinding(
        method=scope["method"].encode(),
        target=target,
        version=b",".join([value for name, value in headers if name == b"a2a-version"]),
        extensions=b",".join([value for name, value in headers if name == b"a2a-extensions"]),
    )


def _inner_scope(scope: Scope, opened: OpenedRequest) -> Scope:
    inner = opened.inner
    headers = [
        line
        for line in scope["headers"]
        if is_outside(line[0])
        and line[0] not in (_SEAL_HEADER, b"content-length", b"transfer-encoding")
    ]
    headers += inner.headers
    if inner.body:
        headers.append((b"content-length", b"%d" % len(inner.body)))
    return {
        **scope,
        "headers": headers,
        "query_string": inner.query,
        WHOLE_KEY: True,
        NOISE_SCOPE: (opened.initiator, opened.handshake_hash),
    }


def _given(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the opened body, then what the client does next."""
    given = False

    async def again() -> Event:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        while (event := await receive())["type"] == "http.request":
            pass  # the rest of a body that a sealed GET has no use for
        return event

    return again


async def _read(scope: Scope, receive: Receive, bytes_max: int, limits: WireLimits) -> bytes:
    if WHOLE_KEY in scope:
        return await _gathered(receive, bytes_max)
    with anyio.move_on_after(limits.body_timeout_s):
        return await _gathered(receive, bytes_max)
    raise SealFault(SealCode.TOO_SLOW)


async def _gathered(receive: Receive, bytes_max: int) -> bytes:
    chunks: list[bytes] = []
    size_bytes = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _ClientGoneError
        chunks.append(event.get("body", b""))
        size_bytes += len(chunks[-1])
        if size_bytes > bytes_max:
            raise SealFault(SealCode.TOO_LARGE)
        if not event.get("more_body", False):
            return b"".join(chunks)


def _is_handshake(scope: Scope, agents: Agents) -> bool:
    return scope["method"] == "POST" and any(one.handshake_path == scope["path"] for one in agents)


def _is_public(scope: Scope) -> bool:
    """Tell whether everybody may ask: cards and keys, which are read before anything can be sealed.

    Whole names, since a tenant may be called `.well-known`, and then its tasks lie under it.
    """
    return scope["method"] in ("GET", "HEAD") and scope["path"].endswith(PUBLIC_PATHS)


def _binding_name(scope: Scope) -> Binding:
    if scope["method"] != "POST" or _RESOURCE.search(scope["path"]):
        return Binding.REST
    return Binding.JSONRPC


def _request_id(body: bytes) -> str | int | None:
    try:
        found = msgspec.json.decode(body, type=_WithId).id
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return found


class _WithId(msgspec.Struct, frozen=True):
    """The one thing of a refused request that its answer repeats."""

    id: str | int | None = None


def _head_of(scope: Scope) -> RequestHead:
    client = scope.get("client")
    return RequestHead(
        binding=_binding_name(scope),
        http_method=scope["method"],
        url=scope["path"],
        headers={
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        },
        peer_address=client[0] if client else "",
        scope=scope,
    )


async def _send_fault(send: Send, code: SealCode) -> None:
    await _send_whole(send, STATUS_OF[code], ERROR_TYPE.encode(), code.value.encode())


async def _send_whole(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
