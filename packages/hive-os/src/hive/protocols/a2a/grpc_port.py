"""A2A over gRPC, on a port of its own: the same callers, operations and limits as over HTTP.

One port serves every agent, so the standard's `tenant` says which one is called, as its card tells
clients. Import this module lazily: it needs the extra `hive-os[grpc]`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.grpc_handler import GrpcHandler, GrpcServerCallContextBuilder
from a2a.types.a2a_pb2_grpc import add_A2AServiceServicer_to_server
from a2a.utils import errors as sdk

from hive.core.errors import ConfigError
from hive.core.settings import Settings
from hive.protocols.a2a.auth import bearer_of
from hive.protocols.a2a.official import CALLER_KEY, HiveRequestHandler, SpokenFault, official_error
from hive.protocols.a2a.operations import Caller
from hive.protocols.a2a.routes import A2ADoor
from hive_a2a.faults import WireFault

GRACE_S: Final = 1.0
TRACEPARENT_MAX_CHARS: Final = 64


class GrpcCallerBuilder(GrpcServerCallContextBuilder):
    """Finds out who calls, before a handler is entered."""

    def __init__(self, door: A2ADoor) -> None:
        self._door = door

    def build(self, context: grpc.aio.ServicerContext) -> ServerCallContext:  # type: ignore[type-arg]
        """Build the official context of a call. Raises the official error where nobody is known."""
        metadata = dict(context.invocation_metadata() or ())
        shown = str(metadata.get("authorization", "")).encode("latin-1", "replace")
        try:
            bearer = self._door.callers.recognise(bearer_of(shown))
            self._door.admit_wire(
                version=str(metadata.get("a2a-version", "1.0")),
                extensions=str(metadata.get("a2a-extensions", "")),
            )
        except WireFault as fault:
            raise official_error(fault) from fault
        trace = str(metadata.get("traceparent", ""))[:TRACEPARENT_MAX_CHARS]

        def caller(tenant: str) -> Caller:
            found = self._door.caller_of(bearer, tenant)
            return replace(found, traceparent=trace)

        return ServerCallContext(state={CALLER_KEY: caller})


class GrpcDoorHandler(GrpcHandler):
    """The official handler, with a word for every fault of ours."""

    async def abort_context(
        self,
        error: sdk.A2AError,
        context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    ) -> None:
        """End a call with the status that fits."""
        if isinstance(error, SpokenFault):
            fault = error.fault
            await context.abort(grpc.StatusCode[fault.kind.grpc], fault.message)
        await super().abort_context(error, context)


@asynccontextmanager
async def serve_grpc(door: A2ADoor, settings: Settings) -> AsyncIterator[int]:
    """Serve gRPC on the host and port of the settings; give the port (a free one for -1).

    Raises:
        ConfigError: the port cannot be opened.

    """
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", settings.body_max_bytes),
            ("grpc.max_concurrent_streams", 100),
            ("grpc.so_reuseport", 0),
        ),
        maximum_concurrent_rpcs=settings.tasks_in_flight_max,
    )
    handler = HiveRequestHandler(door.operations, door.extended_card)
    add_A2AServiceServicer_to_server(  # type: ignore[no-untyped-call]
        GrpcDoorHandler(handler, GrpcCallerBuilder(door)), server
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{max(settings.grpc_port, 0)}"
    try:
        port = _open(server, address, settings)
    except RuntimeError as error:
        raise ConfigError(
            f"The gRPC port {address} cannot be opened.",
            why=str(error),
            fix="Choose another HIVE_GRPC_PORT, or 0 to leave it closed.",
        ) from error
    await server.start()
    try:
        yield port
    finally:
        await server.stop(GRACE_S)


def _open(server: grpc.aio.Server, address: str, settings: Settings) -> int:
    if not settings.tls_cert:
        return server.add_insecure_port(address)
    pair = (Path(settings.tls_key).read_bytes(), Path(settings.tls_cert).read_bytes())
    return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
