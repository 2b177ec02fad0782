"""A2A over gRPC, on a port of its own: the SDK's server in front of the same guarded handler as over HTTP.

One port serves every agent, so the standard's `tenant` says which one is called, as its card tells
clients. Import this module lazily: it needs the extra `hive-os[grpc]`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from hive.core.errors import ConfigError
from hive.core.settings import Settings
from hive.protocols.a2a.routes import A2ADoor
from hive_a2a.errors import A2AError
from hive_a2a.grpc_server import serving_grpc
from hive_a2a.sealed.grpc_server import NoiseInterceptor


@asynccontextmanager
async def serve_grpc(door: A2ADoor, settings: Settings) -> AsyncIterator[int]:
    """Serve gRPC on the host and port of the settings; give the port (a free one for -1).

    Raises:
        ConfigError: the port cannot be opened.

    """
    service = await door.service()
    noise = NoiseInterceptor(
        responder=service.responder,
        agents_of=lambda _metadata: service.sealed_everywhere(),
        policy=service.policy,
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{max(settings.grpc_port, 0)}"
    serving = serving_grpc(
        service.endpoint.guarded,
        policy=service.policy,
        authenticators=(service.check,),
        address=address,
        credentials=_credentials(settings),
        open_requests=service.endpoint.open_requests,
        interceptors=(noise,),
    )
    try:
        port = await serving.__aenter__()
    except A2AError as error:
        raise ConfigError(
            f"The gRPC port {address} cannot be opened.",
            why=error.why,
            fix="Choose another HIVE_GRPC_PORT, or 0 to leave it closed.",
        ) from error
    try:
        yield port
    finally:
        await serving.__aexit__(None, None, None)


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if not settings.tls_cert:
        return None
    pair = (Path(settings.tls_key).read_bytes(), Path(settings.tls_cert).read_bytes())
    return grpc.ssl_server_credentials([pair])
