"""TLS of SVIDs, for uvicorn, httpx and gRPC: TLS 1.3, both sides verified, keys never on disk.

Each new connection asks the source for the SVID, so a rotated certificate is shown at once and a withdrawn root
is trusted no longer. Sessions are not resumed: a resumed one would skip the check of the certificate.

The one difference is the TLS of a gRPC server, which also speaks 1.2 and cannot be told not to; the client of
`grpc_spiffe` uses Python's.
"""

import os
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hive_a2a.errors import A2AError
from hive_a2a.identity.svid import Svid, SvidSource

if TYPE_CHECKING:
    import grpc

HTTP_1: Final = ("http/1.1",)
HTTP_2: Final = ("h2",)


def server_context(source: SvidSource, *, client_required: bool = True) -> ssl.SSLContext:
    """Return a context for a server that always shows the newest SVID and trusts the newest roots.

    For uvicorn: `Config(..., ssl_context_factory=lambda config, default: server_context(source))`. With
    `client_required=False` a client without a certificate gets in, and is a stranger unless it shows
    another proof; a certificate that is shown must be valid all the same.

    Raises:
        A2AError: there is no SVID now.

    """
    made: dict[str, tuple[Svid, ssl.SSLContext]] = {}

    def newest() -> ssl.SSLContext:
        svid = source.current()
        if "last" not in made or made["last"][0] is not svid:
            made["last"] = (svid, _context(svid, server=True, client_required=client_required))
        return made["last"][1]

    def choose(connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> int | None:
        try:
            connection.context = newest()
        except Exception:  # noqa: BLE001 - whatever fails here, the connection must not go on
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        return None

    first = _context(source.current(), server=True, client_required=client_required)
    # Called for every ClientHello, with or without a server name.
    first.sni_callback = choose
    return first


def client_context(source: SvidSource, *, alpn: Sequence[str] = HTTP_1) -> ssl.SSLContext:
    """Return a context for one new connection of a client.

    It verifies the server's chain and not its name: compare the SPIFFE id (`spiffe_transport` does).

    Raises:
        A2AError: there is no SVID now.

    """
    context = _context(source.current(), server=False, client_required=True)
    context.set_alpn_protocols(list(alpn))
    return context


def grpc_server_credentials(source: SvidSource) -> "grpc.ServerCredentials":
    """Return credentials for a gRPC server that wants a client certificate and follows rotation.

    Raises:
        A2AError: there is no SVID now.

    """
    import grpc

    first = _GrpcConfiguration(source)
    return grpc.dynamic_ssl_server_credentials(
        first.of(source.current()), first.newest, require_client_authentication=True
    )


class _GrpcConfiguration:
    """What a gRPC server shows and trusts; asked by gRPC, on a thread of its own, for each connection."""

    def __init__(self, source: SvidSource) -> None:
        self._source = source
        self._last: Svid | None = None

    def of(self, svid: Svid) -> Any:  # noqa: ANN401 - grpc names no type
        import grpc

        self._last = svid
        return grpc.ssl_server_certificate_configuration(
            [(svid.key_pem, svid.chain_pem)], root_certificates=svid.bundle_pem
        )

    def newest(self) -> Any:  # noqa: ANN401
        svid = self._source.current()
        return None if svid is self._last else self.of(svid)


def _context(svid: Svid, *, server: bool, client_required: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if client_required else ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if server:
        context.num_tickets = 0
    context.set_alpn_protocols(list(HTTP_1))
    context.load_verify_locations(cadata=svid.bundle_pem.decode("ascii"))
    if not hasattr(os, "memfd_create"):
        raise A2AError(
            "A private key cannot be given to TLS without a file here.",
            why="This system has no memory files (memfd), and a key does not go to disk.",
            fix="Run on Linux.",
        )
    held = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        _write(held, svid.key_pem.rstrip() + b"\n" + svid.chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{held}")
    except ssl.SSLError as error:
        raise A2AError("The SVID cannot be used for TLS.", why=str(error.reason)) from None
    finally:
        os.close(held)
    return context


def _write(held: int, data: bytes) -> None:
    with open(held, "wb", closefd=False) as file:
        file.write(data)
