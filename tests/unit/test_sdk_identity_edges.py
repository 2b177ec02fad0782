"""The rare answers of TLS, HTTP and the Workload API that the other tests do not meet."""

import tempfile
from concurrent import futures
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import grpc
import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hive_a2a.errors import A2AError
from hive_a2a.identity.endpoint import ClientKey, ClientSecret
from hive_a2a.identity.fetch import IssuerLink
from hive_a2a.identity.jws import BadTokenError, VerifyKey, parse_compact, public_key
from hive_a2a.identity.mtls import with_tls_peer
from hive_a2a.identity.proof import public_jwk
from hive_a2a.identity.spiffe_transport import SpiffeTransport, _as_httpx
from hive_a2a.identity.svid import GivenSvids, Svid, WorkloadSvids, grpc_peer
from hive_a2a.identity.tls import _GrpcConfiguration, server_context
from tests.attacks.test_sdk_identity_tls import SERVER_ID
from tests.identity_rig import DOMAIN, KEY, OTHER_KEY, Authority, StandingClock, issuer, token

pytestmark = pytest.mark.anyio


async def test_a_link_uses_the_client_that_it_is_given():
    async with issuer(lambda *_: {"a": 1}) as there, httpx.AsyncClient() as client:
        link = IssuerLink(client)
        assert (await link.get(there.url)).document == {"a": 1}
        await link.aclose()
        assert not client.is_closed


async def test_a_client_authenticates_with_its_key_or_in_the_form():
    form, headers = ClientSecret("me", "s", in_form=True).authenticate("https://a/token")
    assert (form, headers) == ({"client_id": "me", "client_secret": "s"}, {})
    signing = ClientKey("me", OTHER_KEY, kid="c1", clock=StandingClock())
    first, second = (signing.authenticate("https://a/token")[0] for _ in range(2))
    read = parse_compact(first["client_assertion"])
    assert public_key(public_jwk(OTHER_KEY)).verifies(read, frozenset({"ES256"}))
    assert (read.kid, read.claims["aud"], read.claims["sub"]) == ("c1", "https://a/token", "me")
    assert read.claims["exp"] - read.claims["iat"] == 60
    assert read.claims["jti"] != parse_compact(second["client_assertion"]).claims["jti"]


async def test_the_transport_says_what_its_connection_knows():
    authority = Authority()
    wrong = SpiffeTransport(GivenSvids(authority.svid("/client")), SERVER_ID)
    sockets = []

    class Trace:
        async def __call__(self, name, info):
            if name == "connection.connect_tcp.complete":
                stream = info["return_value"]
                sockets.append(stream.get_extra_info("server_addr"))
                await stream.aclose()

    async with issuer(lambda *_: {}) as there:
        url = there.url.replace("http:", "https:")
        async with httpx.AsyncClient(transport=wrong) as client:
            with pytest.raises(anyio.ClosedResourceError):
                await client.get(url, extensions={"trace": Trace()})
    assert sockets[0][0] == "127.0.0.1"


async def test_a_token_that_is_too_long_is_not_read():
    with pytest.raises(BadTokenError, match="too long"):
        parse_compact("a" * 20_000)


async def test_a_key_that_breaks_verifies_nothing():
    class Odd:
        def verify(self, *_):
            raise ValueError("odd")

    key = VerifyKey("", frozenset({"RS256"}), Odd())
    read = parse_compact(token(header={"alg": "RS256"}))
    assert not key.verifies(read, frozenset({"RS256"}))


async def test_bytes_of_a_peer_that_was_not_admitted_are_not_parsed():
    read = []

    class Protocol:
        def connection_made(self, transport):
            pass

        def data_received(self, data):
            read.append(data)

    class Transport:
        aborted = False

        def get_extra_info(self, name):
            return None

        def abort(self):
            self.aborted = True

    for admitted in (False, True):
        protocol = with_tls_peer(Protocol, lambda _, admitted=admitted: admitted)()
        transport = Transport()
        protocol.connection_made(transport)
        protocol.data_received(b"x")
        assert (transport.aborted, read) == (not admitted, [b"x"] if admitted else [])


async def test_the_grpc_configuration_changes_with_the_svid_only():
    svids = GivenSvids(Authority().svid("/a"))
    configuration = _GrpcConfiguration(svids)
    assert configuration.newest() is not None
    assert configuration.newest() is None
    svids.put(Authority().svid("/a"))
    assert configuration.newest() is not None


async def test_a_body_that_is_not_asynchronous_is_refused():
    transport = SpiffeTransport(GivenSvids(Authority().svid("/client")), SERVER_ID)

    class Body(httpx.SyncByteStream):
        def __iter__(self):
            return iter([b"x"])

    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.handle_async_request(httpx.Request("POST", "https://a/", stream=Body()))


async def test_an_answer_that_breaks_off_is_an_error_of_httpx():
    authority = Authority()
    svids = GivenSvids(authority.svid("/server"))

    async def serve(stream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    wrapped = anyio.streams.tls.TLSListener(
        listener, server_context(svids), standard_compatible=False
    )
    async with wrapped, anyio.create_task_group() as tasks:
        tasks.start_soon(wrapped.serve, serve)
        transport = SpiffeTransport(GivenSvids(authority.svid("/client")), SERVER_ID)
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"https://127.0.0.1:{port}/")
        tasks.cancel_scope.cancel()


async def test_errors_below_become_those_of_httpx():
    request = httpx.Request("GET", "https://a/")
    assert isinstance(_as_httpx(httpcore.ReadTimeout("x"), request), httpx.ReadTimeout)
    other = RuntimeError("x")
    assert _as_httpx(other, request) is other


async def test_a_certificate_without_names_has_no_id():
    now = datetime.now(UTC)  # noqa: TID251 - a certificate's own time
    bare = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(KEY, hashes.SHA256())
    )
    peer = grpc_peer({"x509_pem_cert": [bare.public_bytes(Encoding.PEM)]})
    assert peer.spiffe_id == ""


class WorkloadApi:
    """A Workload API that sends SVIDs as they are put in; the client is the foreign one."""

    def __init__(self, svid: Svid) -> None:
        from spiffe._proto import workload_pb2

        self.words = workload_pb2
        self.waiting: list[Svid] = [svid]
        self.more = futures.thread.threading.Condition()
        self.ended = False

    def service(self, details):
        if details.method != "/SpiffeWorkloadAPI/FetchX509SVID":
            return None
        return grpc.unary_stream_rpc_method_handler(
            self.stream,
            request_deserializer=self.words.X509SVIDRequest.FromString,
            response_serializer=self.words.X509SVIDResponse.SerializeToString,
        )

    def stream(self, request, context):
        sent = 0
        while not self.ended:
            with self.more:
                self.more.wait_for(
                    lambda seen=sent: self.ended or len(self.waiting) > seen, timeout=10
                )
                ready = self.waiting[sent:]
            for svid in ready:
                sent += 1
                yield self.words.X509SVIDResponse(svids=[self.message(svid)])

    def message(self, svid: Svid):
        key = load_pem_private_key(svid.key_pem, None)
        return self.words.X509SVID(
            spiffe_id=svid.spiffe_id,
            x509_svid=ders(svid.chain_pem),
            x509_svid_key=key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            bundle=ders(svid.bundle_pem),
        )

    def put(self, svid: Svid) -> None:
        with self.more:
            self.waiting.append(svid)
            self.more.notify_all()

    def end(self) -> None:
        with self.more:
            self.ended = True
            self.more.notify_all()


def ders(pem: bytes) -> bytes:
    return b"".join(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem))


def test_svids_come_from_a_workload_api_and_rotate():
    pytest.importorskip("spiffe", reason="the package `spiffe` is not installed")
    authority = Authority()
    first, second = authority.svid("/agent"), authority.svid("/agent")
    api = WorkloadApi(first)
    with tempfile.TemporaryDirectory() as folder, futures.ThreadPoolExecutor(4) as pool:
        socket = f"unix:{Path(folder) / 'api'}"
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((api,))
        server.add_insecure_port(socket)
        server.start()
        source = WorkloadSvids(socket, timeout_s=10)
        try:
            assert source.current().spiffe_id == f"spiffe://{DOMAIN}/agent"
            assert source.current().chain_pem == first.chain_pem
            assert source.current() is source.current()
            rotated = futures.thread.threading.Event()
            source._source.subscribe_for_updates(rotated.set)
            api.put(second)
            assert rotated.wait(10)
            assert source.current().chain_pem == second.chain_pem
        finally:
            source.close()
            api.end()
            server.stop(0).wait(5)
        with pytest.raises(A2AError, match="no identity now"):
            source.current()


def test_without_a_workload_api_there_is_no_identity(tmp_path):
    pytest.importorskip("spiffe", reason="the package `spiffe` is not installed")
    with pytest.raises(A2AError, match="gave no identity"):
        WorkloadSvids(f"unix:{tmp_path / 'nobody'}", timeout_s=0.3)
