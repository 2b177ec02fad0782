"""The same agent behind the plain official server and behind `SecureA2AServer`, on real sockets."""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

# First, for the official package's client and server import each other: else it has no gRPC of 0.3.
import a2a.client  # noqa: F401
import grpc
import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc as old_grpc
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
)
from a2a.types import a2a_pb2 as pb
from a2a.types import a2a_pb2_grpc as new_grpc
from starlette.applications import Starlette

from hive.testing.loopback import serve_app
from hive_a2a.policy import Policy
from hive_a2a.server import SecureA2AServer

REST = "/a2a/rest"
BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")
WAYS = [(binding, version) for version in ("1.0", "0.3") for binding in BINDINGS]


@dataclass
class Served:
    """A server that runs."""

    card: pb.AgentCard
    port: int
    grpc_port: int
    server: SecureA2AServer | None = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def only(self, binding, version="1.0"):
        """Return the card with this one interface."""
        card = pb.AgentCard()
        card.CopyFrom(self.card)
        fit = [
            one
            for one in card.supported_interfaces
            if (one.protocol_binding, one.protocol_version) == (binding, version)
        ]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(fit)
        return card


def free_port():
    """Return a port that was free a moment ago: a card names its ports before they are opened."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def card_at(port, grpc_port, *, versions=("1.0", "0.3"), **capabilities):
    """Return a card that offers all bindings, each in these versions."""
    wanted = {"streaming": True, "push_notifications": True, **capabilities}
    card = pb.AgentCard(
        name="peer",
        description="Talks with everybody.",
        version="1.0.0",
        capabilities=pb.AgentCapabilities(**wanted),
        default_input_modes=["text"],
        default_output_modes=["text"],
        skills=[pb.AgentSkill(id="talk", name="Talk", description="Talks.", tags=["talk"])],
    )
    places = (
        f"http://127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}{REST}",
        f"127.0.0.1:{grpc_port}",
    )
    for version in versions:
        for binding, url in zip(BINDINGS, places, strict=True):
            card.supported_interfaces.add(
                url=url, protocol_binding=binding, protocol_version=version
            )
    return card


@asynccontextmanager
async def official(executor, *, task_store=None, event_stream=None, **offered):
    """Serve an executor as the official samples do."""
    made = []

    async def app(scope, receive, send):
        await made[0](scope, receive, send)

    server = grpc.aio.server()
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_app(app))
        port = int(url.rpartition(":")[2])
        card = card_at(port, grpc_port, **offered)
        configs = InMemoryPushNotificationConfigStore()
        sender = BasePushNotificationSender(
            httpx_client=await stack.enter_async_context(httpx.AsyncClient()),
            config_store=configs,
        )
        handler = DefaultRequestHandler(
            agent_executor=executor,
            task_store=task_store or InMemoryTaskStore(),
            agent_card=card,
            push_config_store=configs,
            push_sender=sender,
            event_stream=event_stream,
        )
        routes = [
            *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
            *create_agent_card_routes(card),
            *create_rest_routes(handler, path_prefix=REST, enable_v0_3_compat=True),
        ]
        made.append(Starlette(routes=routes))
        new_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), server)
        old_grpc.add_A2AServiceServicer_to_server(CompatGrpcHandler(handler), server)
        stack.push_async_callback(_end_leftovers, asyncio.all_tasks())
        await server.start()
        stack.push_async_callback(server.stop, 0)
        yield Served(card, port, grpc_port)


async def _end_leftovers(before):
    """End what the official handler leaves running: it keeps a task's loops while the task is open."""
    names = ("ActiveTask.", "EventQueueSource.", "EventQueueSink.")
    for task in asyncio.all_tasks() - before:
        if getattr(task.get_coro(), "__qualname__", "").startswith(names):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


@asynccontextmanager
async def secured(executor, folder, *, policy=None, public_url="", card=None, **parts):
    """Serve an executor behind `SecureA2AServer`; `card` changes what it is made of."""
    port, grpc_port = free_port(), free_port()
    plain = card_at(port, grpc_port, **(card or {}))
    server = SecureA2AServer(
        plain,
        executor,
        policy=policy or Policy.open(),
        folder=folder,
        public_url=public_url,
        **parts,
    )
    async with server.serving(port=port, grpc_port=grpc_port) as opened:
        assert opened == port
        yield Served(server.card, port, grpc_port, server)


@asynccontextmanager
async def client_of(served, binding, version="1.0", *, streaming=True, headers=None):
    """Connect the official client to one interface."""
    shown = dict(headers or {})
    async with httpx.AsyncClient(headers=shown, timeout=20) as http:
        config = ClientConfig(
            httpx_client=http,
            streaming=streaming,
            supported_protocol_bindings=[binding],
            grpc_channel_factory=lambda target: grpc.aio.insecure_channel(
                target, interceptors=[ShowingOnce(shown), ShowingStreams(shown)]
            ),
        )
        client = ClientFactory(config).create(served.only(binding, version))
        try:
            yield client
        finally:
            await client.close()


class _Showing:
    def __init__(self, headers):
        self._headers = [(name.lower(), value) for name, value in headers.items()]

    def _with(self, details):
        metadata = grpc.aio.Metadata(*(details.metadata or ()), *self._headers)
        return details._replace(metadata=metadata)


class ShowingOnce(_Showing, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation, details, request):
        return await continuation(self._with(details), request)


class ShowingStreams(_Showing, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation, details, request):
        return await continuation(self._with(details), request)
