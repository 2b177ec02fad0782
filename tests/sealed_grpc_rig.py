"""A sealed agent behind the official gRPC service, on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import grpc.aio
from a2a.client import ClientConfig, create_client
from a2a.client.client import Client
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import a2a_pb2_grpc

from hive_a2a.crypto import new_exchange_pair
from hive_a2a.policy import Policy, Sealing
from hive_a2a.sealed.grpc_client import SealedChannels
from hive_a2a.sealed.grpc_server import NoiseInterceptor
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.responder import Responder
from tests.sealed_rig import Parrot, SealedPlace, sealed_place


class Noting(GrpcHandler):
    """The official service, which also writes down the contexts that it is called with."""

    def __init__(self, handler) -> None:
        super().__init__(handler)
        self.contexts = []

    async def SendMessage(self, request, context):  # noqa: N802
        self.contexts.append(context)
        return await super().SendMessage(request, context)


@dataclass
class GrpcPlace:
    """Where it listens, and what it heard."""

    place: SealedPlace
    port: int
    parrot: Parrot
    responder: Responder
    service: Noting


@asynccontextmanager
async def grpc_place(
    *,
    sealing: Sealing = Sealing.REQUIRED,
    address: str = "",
    service=Noting,
    refusal_log=None,
) -> AsyncIterator[GrpcPlace]:
    responder = Responder()
    agents = []
    interceptor = NoiseInterceptor(
        responder=responder,
        agents_of=lambda _: tuple(agents),
        policy=Policy(sealing=sealing),
        refusal_log=refusal_log,
    )
    server = grpc.aio.server(interceptors=[interceptor])
    port = server.add_insecure_port("127.0.0.1:0")
    place = sealed_place(address or f"127.0.0.1:{port}", bindings=("GRPC",), sealing=sealing)
    agents.append(place.agent)
    parrot = Parrot()
    handler = DefaultRequestHandler(
        agent_executor=parrot, task_store=InMemoryTaskStore(), agent_card=place.card
    )
    serving = service(handler)
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(serving, server)
    await server.start()
    try:
        yield GrpcPlace(place, port, parrot, responder, serving)
    finally:
        await server.stop(0)


@asynccontextmanager
async def grpc_client(
    place: SealedPlace,
    *,
    open_channel=grpc.aio.insecure_channel,
    peers: PinnedPeers | None = None,
    streaming: bool = True,
    pin: bool = True,
) -> AsyncIterator[Client]:
    peers = peers or PinnedPeers(static=new_exchange_pair())
    if pin:
        await peers.pin(place.card)
    config = ClientConfig(
        grpc_channel_factory=SealedChannels(open_channel, peers=peers),
        supported_protocol_bindings=["GRPC"],
        streaming=streaming,
    )
    client = await create_client(place.card, client_config=config)
    try:
        yield client
    finally:
        await client.close()
