"""`SecureA2AServer`: an official `AgentExecutor` behind every stage, on every binding.

    server = SecureA2AServer(card, executor)      # policy=Policy.secure()
    server.run(port=8000)                         # or server.asgi(), server.grpc(address)

The card that is served is the given one, with what the server really does written into it (security
schemes, Noise, what is weakened), signed by the server's keys. Where JSON-RPC and HTTP+JSON are mounted
follows from the interfaces in the card.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.tasks import InMemoryPushNotificationConfigStore
from a2a.types.a2a_pb2 import AgentCard

from hive_a2a.application import ServerApplication, serve_until_stopped
from hive_a2a.asgi import AsgiApp, Scope
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.noise_params import NOISE_URI
from hive_a2a.errors import needs_extra
from hive_a2a.handler import FastRequestHandler
from hive_a2a.handler.memory import MemoryTaskStore
from hive_a2a.home import folder_of
from hive_a2a.policy import Policy, Strangers
from hive_a2a.ports import Authenticator, Stage
from hive_a2a.push.configs import SafePushConfigStore, push_url_validator
from hive_a2a.push.screen import DestinationScreen
from hive_a2a.push.sender import SafePushSender
from hive_a2a.push.sign import NotificationSigner
from hive_a2a.sealed.http_server import NoiseMiddleware, always
from hive_a2a.sealed.responder import Responder
from hive_a2a.served_card import ServedCard
from hive_a2a.server_parts import (
    ServerParts,
    admitted_peers,
    audit_key,
    declared_tenants,
    no_limits,
    owner_in_tenant,
)
from hive_a2a.stages.audit import AuditSink
from hive_a2a.stages.audit_file import FileAudit
from hive_a2a.stages.chain import ChainParts, StagedChain
from hive_a2a.wire.card_page import CardPage
from hive_a2a.wire.endpoint import WireEndpoint
from hive_a2a.wire.limits import OpenRequests

if TYPE_CHECKING:
    import ssl


AUDIT_FOLDER: Final = "audit"


class SecureA2AServer:
    """An agent that is served. One changed line: the executor, the stores and the types are the official ones."""

    def __init__(
        self,
        card: AgentCard,
        executor: AgentExecutor,
        *,
        policy: Policy | None = None,
        parts: ServerParts | None = None,
        **given: Any,  # noqa: ANN401 - the fields of ServerParts
    ) -> None:
        self.policy = policy or Policy.secure()
        self.parts = replace(parts or ServerParts(), **given)
        self.limits = self.policy.limits if self.policy.on(Stage.LIMITS) else no_limits()
        self._folder = Path(self.parts.folder or folder_of(card.name))
        self.served = ServedCard(
            card,
            policy=self.policy,
            authenticators=self.parts.authenticators,
            keys=self.parts.keys or AgentKeys.load_or_make(self._folder),
            clock=self.parts.clock,
            public_url=self.parts.public_url,
            extended=self.parts.extended_card,
            hybrid=self.parts.hybrid,
        )
        self._executor = executor
        self._responder = Responder(clock=self.parts.clock, wire=self.limits)
        self._open_requests = OpenRequests(self.limits)
        self._running = 0
        self._audit = self._make_audit()
        self._push = self._make_push()
        self.handler = self._make_handler()
        self._endpoint = self._make_endpoint()

    def asgi(self) -> AsgiApp:
        """Return the ASGI application: both HTTP bindings, the card, the key set, Noise."""
        return ServerApplication(self, self._sealed(self._endpoint))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send push notifications and keep the record while the context is open.

        Entered while it is open, it joins; entered after its end, the server begins again with what its stores hold.
        """
        if self._running:
            self._running += 1
            try:
                yield
            finally:
                self._running -= 1
            return
        async with AsyncExitStack() as stack:
            if isinstance(self._audit, FileAudit):
                await stack.enter_async_context(self._audit)
            if self._push is not None:
                await stack.enter_async_context(self._push.running())
            close = getattr(self.handler, "aclose", None)
            if close is not None:
                if isinstance(self.handler, FastRequestHandler):
                    self.handler.live_tasks.reopen()
                stack.push_async_callback(close)
            self._running = 1
            try:
                yield
            finally:
                self._running = 0

    @asynccontextmanager
    async def serving(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: "ssl.SSLContext | None" = None,
        grpc_port: int | None = None,
        grpc_credentials: Any = None,  # noqa: ANN401 - grpc names no type
    ) -> AsyncIterator[int]:
        """Serve HTTP, and gRPC where a port is given, while the context is open; gives the HTTP port.

        Raises:
            A2AError: a port cannot be opened.

        """
        with needs_extra("serve", "uvicorn", "httptools"):
            from hive_a2a.wire.serve import bound, serving

        async with AsyncExitStack() as stack:
            # The port first: of two starts of one server, the second is told what it can change.
            sock = stack.enter_context(bound(host, port))
            await stack.enter_async_context(self.running())
            if grpc_port is not None:
                await stack.enter_async_context(
                    self.grpc(host=host, port=grpc_port, credentials=grpc_credentials)
                )
            yield await stack.enter_async_context(
                serving(
                    self.asgi(),
                    sock=sock,
                    tls=tls,
                    limits=self.limits,
                    admits=admitted_peers(self._authenticators()),
                )
            )

    @asynccontextmanager
    async def grpc(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        credentials: Any = None,  # noqa: ANN401 - grpc names no type
    ) -> AsyncIterator[int]:
        """Serve gRPC, 1.0 and 0.3, behind the same stages while the context is open; gives the port.

        Raises:
            A2AError: the port cannot be opened.

        """
        with needs_extra("grpc", "grpc", "google"):
            from hive_a2a.grpc_server import serving_grpc
            from hive_a2a.sealed.grpc_server import NoiseInterceptor

        described_policy = replace(self.served.policy, limits=self.limits)
        noise = NoiseInterceptor(
            responder=self._responder,
            agents_of=lambda _metadata: self.served.agents,
            policy=described_policy,
            refusal_log=self._audit,
        )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        async with (
            self.running(),
            serving_grpc(
                self._endpoint.guarded,
                policy=self._effective_policy(),
                authenticators=self._authenticators(),
                address=address,
                credentials=credentials,
                open_requests=self._open_requests,
                refusal_log=self._audit,
                interceptors=(noise,),
            ) as opened,
        ):
            yield opened

    def run(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        tls: "ssl.SSLContext | None" = None,
        grpc_port: int | None = None,
        grpc_credentials: Any = None,  # noqa: ANN401
    ) -> None:
        """Serve until interrupted; needs the extra `serve`, and `grpc` for a gRPC port.

        Says in one line on standard error where it serves; what keeps it from that is told there too.

        Raises:
            SystemExit: it cannot be served.

        """
        serving = self.serving(
            host=host,
            port=port,
            tls=tls,
            grpc_port=grpc_port,
            grpc_credentials=grpc_credentials,
        )
        serve_until_stopped(self, serving, scheme="https" if tls else "http", host=host)

    def rotate_keys(self) -> None:
        """Make new keys: the card is signed by old and new, and sessions by the old Noise key go on.

        Raises:
            CardError: the keys cannot be written.

        """
        self.served.take(self.served.keys.rotate())
        if self._push is not None:
            self._push.sign_with(self._signer())

    def open_record(self) -> None:
        """Open the record where nobody lives through the server's start, as under some ASGI servers.

        Raises:
            A2AError: it cannot be opened.

        """
        if not self._running and isinstance(self._audit, FileAudit):
            self._running = 1
            self._audit.open()

    @property
    def card(self) -> AgentCard:
        """Return the card as it is served now."""
        return self.served.card

    @property
    def audit_key(self) -> bytes | None:
        """Return the public key that verifies the record on disk, if this server keeps one itself."""
        return self._audit.public_key if isinstance(self._audit, FileAudit) else None

    @property
    def audit_folder(self) -> Path:
        """Return where the record lies."""
        return self._folder / AUDIT_FOLDER

    def _make_audit(self) -> AuditSink | None:
        if self.parts.chain is not None or not self.policy.on(Stage.AUDIT):
            return None
        if self.parts.audit is not None:
            return self.parts.audit
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return FileAudit(self.audit_folder, audit_key(self._folder), clock=self.parts.clock)

    def _make_push(self) -> SafePushSender | None:
        if not self.card.capabilities.push_notifications:
            return None
        self._screen = DestinationScreen(allow_private=self.policy.push.private)
        self._push_configs = SafePushConfigStore(
            self.parts.push_config_store
            or InMemoryPushNotificationConfigStore(owner_resolver=owner_in_tenant),
            screen=self._screen,
            limits=self.policy.push,
        )
        return SafePushSender(
            self._push_configs,
            limits=self.policy.push,
            screen=self._screen,
            signer=self._signer(),
        )

    def _signer(self) -> NotificationSigner:
        return NotificationSigner(
            key=self.served.keys.signing[0],
            issuer=self.card.supported_interfaces[0].url,
            clock=self.parts.clock,
        )

    def _make_handler(self) -> RequestHandler:
        parts = self.parts
        push: dict[str, Any] = {}
        if self._push is not None:
            push = {
                "push_config_store": self._push_configs,
                "push_sender": self._push,
                "push_url_validator": push_url_validator(self._screen),
            }
        return parts.handler(
            agent_executor=self._executor,
            task_store=parts.task_store or MemoryTaskStore(owner_in_tenant),
            agent_card=self.card,
            request_context_builder=parts.request_context_builder,
            extended_agent_card=self.served.extended_card,
            extended_card_modifier=parts.extended_card_modifier,
            validate_input_modes=parts.validate_input_modes,
            event_stream=parts.event_stream,
            interrupted_task_timeout=parts.interrupted_task_timeout_s,
            **push,
        )

    def _make_endpoint(self) -> WireEndpoint:
        return WireEndpoint(
            self.handler,
            policy=self._effective_policy(),
            authenticators=self._authenticators(),
            chain=self.parts.chain or self._staged(),
            card=self._card_of,
            tenant_of=self.parts.tenant_of
            or declared_tenants(self.card, self.served.extended_card),
            declared=frozenset(one.uri for one in self.card.capabilities.extensions),
            rpc_path=self._path_of("JSONRPC") or "/",
            rest_prefix=self._path_of("HTTP+JSON"),
            public_url=self.parts.public_url,
            refusal_log=self._audit,
            open_requests=self._open_requests,
        )

    def _authenticators(self) -> Sequence[Authenticator]:
        return self.parts.authenticators if self.policy.on(Stage.AUTHENTICATION) else ()

    def _effective_policy(self) -> Policy:
        policy = replace(self.policy, limits=self.limits)
        if not policy.on(Stage.AUTHENTICATION):
            policy = replace(policy, strangers=Strangers.SHARED)
        return policy

    def _staged(self) -> StagedChain:
        parts = self.parts
        return StagedChain(
            self.policy,
            self.card,
            ChainParts(
                audit=self._audit,
                warrants=parts.warrants,
                audience=parts.public_url or self.card.supported_interfaces[0].url,
                schemas=parts.schemas,
                guards=parts.guards,
                extensions_met_by_seal=(NOISE_URI,),
                clock=parts.clock,
            ),
        )

    def _sealed(self, app: AsgiApp) -> AsgiApp:
        return NoiseMiddleware(
            app,
            responder=self._responder,
            agents_of=lambda scope: always(*self.served.agents)(scope),
            policy=replace(self.served.policy, limits=self.limits),
            refusal_log=self._audit,
        )

    async def _card_of(self, _scope: Scope) -> CardPage:
        return self.served.page

    def _path_of(self, binding: str) -> str:
        for offered in self.card.supported_interfaces:
            if offered.protocol_binding == binding:
                return urlsplit(offered.url).path
        return ""
