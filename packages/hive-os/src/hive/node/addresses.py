"""Under which addresses a node is reached, and with what TLS, by its settings."""

import ssl
from urllib.parse import urlsplit

from hive.core.settings import Settings


def address_of(settings: Settings, port: int) -> str:
    """Return the address under which this node is reached."""
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url or f"{scheme}://{host}:{port}"


def grpc_address_of(settings: Settings) -> str:
    """Return what a card says of the gRPC port: nothing while it is closed.

    Host and port without a scheme: clients hand it to gRPC as it stands, and gRPC knows no `http://`.
    """
    if not settings.grpc_port:
        return ""
    host = urlsplit(settings.public_url).hostname or settings.host
    return f"[{host}]:{settings.grpc_port}" if ":" in host else f"{host}:{settings.grpc_port}"


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the settings, None without."""
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context
