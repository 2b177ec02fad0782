"""`WireEndpoint`: the ASGI application of one handler, on both HTTP bindings, 1.0 and 0.3.

    /.well-known/agent-card.json   the card
    {rpc_path}                     JSON-RPC
    {rest_prefix}/...              HTTP+JSON (`message:send`, `tasks/...`, also under a tenant; 0.3 under `v1/`)

The order is fixed: how many requests are open, who calls, the body within its limits, JSON that means one
thing, then the guarded handler with its chain. A platform with many agents splits the path itself,
hands on a scope with what is left of it (and `hive_a2a.url`), and says in `tenant_of` who is meant.
"""

import logging
from collections.abc import Sequence
from typing import Final

from a2a.server.request_handlers.request_handler import RequestHandler

from hive_a2a.asgi import Disconnected, Event, Receive, Scope, Send, replay
from hive_a2a.call import Binding, CallerIdentity, RequestHead
from hive_a2a.errors import WireLimitError
from hive_a2a.faults import INTERNAL, WIRE_LIMIT, WireFault
from hive_a2a.policy import Policy, Strangers
from hive_a2a.ports import Authenticator, CallChain, RefusalLog, Stage
from hive_a2a.wire.authenticate import challenge_of, identify, unauthenticated
from hive_a2a.wire.card_page import CARD_PATHS, CardSource, send_card
from hive_a2a.wire.guarded import GuardedHandler, TenantOf, any_tenant
from hive_a2a.wire.json_rpc import Exchange, JsonRpcBinding, id_of, say_json_rpc
from hive_a2a.wire.limits import OpenRequests, admit_method, limit_fault, read_body
from hive_a2a.wire.official import OldProtocol, OwnWords
from hive_a2a.wire.old_bodies import admit_old_body
from hive_a2a.wire.request import REQUEST_KEY, V03, WireRequest, extensions_of, head_of
from hive_a2a.wire.rest import RestBinding, say_rest
from hive_a2a.wire.strict_json import Json

log: Final = logging.getLogger(__name__)


class WireEndpoint:
    """The ASGI application.

    `declared` are the extensions that the card declares; `public_url` is the origin that clients use, where a
    proxy stands in front. `open_requests` may be shared with a gRPC server, so that the bounds hold for both.
    """

    def __init__(
        self,
        handler: RequestHandler,
        *,
        policy: Policy | None = None,
        authenticators: Sequence[Authenticator] = (),
        chain: CallChain | None = None,
        card: CardSource | None = None,
        tenant_of: TenantOf = any_tenant,
        declared: frozenset[str] = frozenset(),
        rpc_path: str = "/",
        rest_prefix: str = "",
        public_url: str = "",
        refusal_log: RefusalLog | None = None,
        open_requests: OpenRequests | None = None,
    ) -> None:
        self._policy = policy or Policy.secure()
        self._limits = self._policy.limits
        self._authenticators = tuple(authenticators)
        self._challenge = challenge_of(self._authenticators)
        self._card = card
        self._rpc_path, self._rest_prefix = rpc_path, rest_prefix.rstrip("/")
        self._public_url = public_url
        self._refusals = refusal_log
        self.open_requests = open_requests or OpenRequests(self._limits)
        self.guarded = GuardedHandler(
            handler,
            chain=chain,
            strangers=self._policy.strangers,
            tenant_of=tenant_of,
            declared=declared,
            refusal_log=refusal_log,
        )
        self._old = OldProtocol(self.guarded)
        self._json_rpc = JsonRpcBinding(self.guarded, self._answer_old)
        self._rest = RestBinding(self.guarded, self._answer_old)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _decline(scope, receive, send)
            return
        path: str = scope["path"]
        rpc = path == self._rpc_path and scope["method"] == "POST"
        answer = _Answer(send)
        try:
            if path in CARD_PATHS:
                await send_card(scope, answer, self._card)
            else:
                await self._call(scope, receive, answer, path, rpc=rpc)
        except Disconnected:
            return
        except WireFault as fault:
            await self._say(send, fault, rpc=rpc)
        except Exception:
            log.exception("a2a.request_crashed")
            if answer.begun:
                raise
            crash = WireFault(INTERNAL, "The agent could not do that now.")
            await self._say(send, crash, rpc=rpc)

    async def _call(
        self, scope: Scope, receive: Receive, send: Send, path: str, *, rpc: bool
    ) -> None:
        head = head_of(scope, Binding.JSONRPC if rpc else Binding.REST, public_url=self._public_url)
        stage = Stage.LIMITS
        try:
            with self.open_requests.one_more():
                admit_method(scope["method"])
                stage = Stage.AUTHENTICATION
                caller = await self._identify(head)
                stage = Stage.LIMITS
                with self.open_requests.one_more_of(caller.name or f"@{head.peer_address}"):
                    body = b""
                    if scope["method"] == "POST":
                        body = await read_body(scope, receive, self._limits)
                    exchange = self._exchange(scope, receive, send, head, caller, body)
                    if rpc:
                        await self._json_rpc.answer(exchange)
                    else:
                        await self._rest.answer(exchange, self._resource_path(path))
                    if exchange.unread is not None:
                        self._refused(head, stage, exchange.unread.message)
        except WireLimitError as error:
            self._refused(head, stage, str(error))
            raise limit_fault(error) from None
        except WireFault as fault:
            self._refused(head, stage, fault.message)
            raise

    async def _identify(self, head: RequestHead) -> CallerIdentity:
        caller = await identify(head, self._authenticators)
        if not caller.known and self._policy.strangers is Strangers.REFUSED:
            raise unauthenticated()
        return caller

    def _exchange(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        head: RequestHead,
        caller: CallerIdentity,
        body: bytes,
    ) -> Exchange:
        request = WireRequest(
            head=head,
            caller=caller,
            version=head.headers.get("a2a-version", ""),
            extensions=extensions_of(head.headers),
            body_bytes=len(body),
        )
        return Exchange(
            scope=scope,
            receive=receive,
            send=send,
            request=request,
            body=body,
            challenge=self._challenge,
            send_timeout_s=self._limits.send_timeout_s,
        )

    def _resource_path(self, path: str) -> str:
        if path == self._rpc_path:
            raise WireFault(
                WIRE_LIMIT,
                "JSON-RPC is sent with POST.",
                status=405,
                headers=((b"allow", b"POST"),),
            )
        if self._rest_prefix and not path.startswith(self._rest_prefix + "/"):
            return ""
        return path[len(self._rest_prefix) :]

    async def _answer_old(self, exchange: Exchange, value: Json) -> None:
        """Answer a request of protocol 0.3 through the official adapters."""
        admit_old_body(value)
        request, scope = exchange.request, exchange.scope
        request.version = V03
        request.extensions = extensions_of(request.head.headers, old=True)
        rpc = request.head.binding is Binding.JSONRPC
        path = "/" if rpc else self._resource_path(scope["path"])
        inner = {
            **scope,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            REQUEST_KEY: request,
        }
        own = OwnWords(exchange.send, request)
        routes = await self._old.routes()
        await routes(inner, replay(exchange.body, exchange.receive), own)
        if own.unsaid is not None and rpc:
            await say_json_rpc(exchange.send, own.unsaid, id_of(value), self._challenge)
        elif own.unsaid is not None:
            await say_rest(exchange.send, own.unsaid, self._challenge)

    async def _say(self, send: Send, fault: WireFault, *, rpc: bool) -> None:
        if rpc:
            await say_json_rpc(send, fault, None, self._challenge)
        else:
            await say_rest(send, fault, self._challenge)

    def _refused(self, head: RequestHead, stage: Stage, reason: str) -> None:
        if self._refusals is not None:
            self._refusals.refused(head, stage, reason)


class _Answer:
    """A `send` that knows whether an answer has begun."""

    __slots__ = ("_send", "begun")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, event: Event) -> None:
        self.begun = True
        await self._send(event)


async def _decline(scope: Scope, receive: Receive, send: Send) -> None:
    """Say what ASGI wants to hear of what is no HTTP request."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    while scope["type"] == "lifespan":
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
