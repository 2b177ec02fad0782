"""Wrong certificates against real TLS: uvicorn, our httpx transport and gRPC, over loopback.

With TLS 1.3 a client learns that its certificate was refused only after `connect()`; so what counts is that no data
came back, and that the application was never asked.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest
import uvicorn
from anyio.abc import TaskStatus
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hive_a2a.base64url import to_base64url_text
from hive_a2a.errors import A2AError
from hive_a2a.identity.bearer import JwtBearer
from hive_a2a.identity.credentials import ApiKeyAuth, credentialed_client
from hive_a2a.identity.grpc_spiffe import _Pipe, spiffe_channel
from hive_a2a.identity.mtls import SpiffeMtls, with_tls_peer
from hive_a2a.identity.spiffe_transport import SpiffeTransport
from hive_a2a.identity.svid import TLS_PEER, GivenSvids, Svid, TlsPeer, grpc_peer, svid_from_pem
from hive_a2a.identity.tls import (
    client_context,
    grpc_server_credentials,
    server_context,
)
from tests.identity_rig import (
    AUDIENCE,
    DOMAIN,
    ISSUER,
    JWKS,
    Authority,
    StandingClock,
    head,
    refusal,
    token,
)

pytestmark = pytest.mark.anyio
SERVER_ID = f"spiffe://{DOMAIN}/server"
CLIENT_ID = f"spiffe://{DOMAIN}/client"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def server_svids(authority):
    return GivenSvids(authority.svid("/server"))


@pytest.fixture
def client_svids(authority):
    return GivenSvids(authority.svid("/client"))


class Agent:
    """An ASGI application that keeps who asked."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[TlsPeer | None] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        self.peers.append(scope["extensions"][TLS_PEER])
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
        )
        await send({"type": "http.response.body", "body": b"hello"})


@contextlib.asynccontextmanager
async def served(svids, *, admits=lambda peer: True, client_required=True) -> AsyncIterator[Agent]:
    agent = Agent()
    config = uvicorn.Config(
        agent,
        http=with_tls_peer(HttpToolsProtocol, admits),
        ssl_context_factory=lambda _config, _default: server_context(
            svids, client_required=client_required
        ),
        lifespan="off",
        log_config=None,
        ws="none",
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    agent.port = listening.getsockname()[1]
    config.load()
    server.lifespan = config.lifespan_class(config)

    async def run(*, task_status: TaskStatus) -> None:
        await server.startup(sockets=[listening])
        task_status.started()
        try:
            await server.main_loop()
        finally:
            with anyio.CancelScope(shield=True):
                server.force_exit = True
                await server.shutdown(sockets=[listening])
                listening.close()

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        try:
            yield agent
        finally:
            server.should_exit = True


async def ask(port: int, context: ssl.SSLContext) -> bytes:
    """Send a request as any client would, and return all that comes back."""
    request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    answer = b""
    with anyio.fail_after(10):
        try:
            stream = await anyio.connect_tcp(
                "127.0.0.1", port, ssl_context=context, tls_standard_compatible=False
            )
            async with stream:
                await stream.send(request)
                while True:
                    answer += await stream.receive()
        except (ssl.SSLError, anyio.EndOfStream, anyio.BrokenResourceError, OSError):
            return answer


async def test_two_svids_talk(server_svids, client_svids):
    async with served(server_svids) as agent:
        assert (await ask(agent.port, client_context(client_svids))).endswith(b"hello")
        transport = SpiffeTransport(client_svids, SERVER_ID)
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.post(f"https://127.0.0.1:{agent.port}/", content=b"x")
            again = await client.get(f"https://localhost:{agent.port}/")
    assert (answer.text, again.text) == ("hello", "hello")
    assert {peer.spiffe_id for peer in agent.peers} == {CLIENT_ID}
    assert all(len(peer.certificate_sha256) == 32 for peer in agent.peers)


def bad_client(kind: str, authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if kind == "nothing":
        return context
    if kind == "expired":
        svid = authority.svid("/client", ends_in_s=-60)
    elif kind == "of another authority":
        svid = Authority().svid("/client")
    else:
        svid = authority.svid("/client")
    shown = client_context(GivenSvids(svid))
    shown.verify_mode = ssl.CERT_NONE
    if kind == "tls 1.2":
        shown.minimum_version = ssl.TLSVersion.TLSv1_2
        shown.maximum_version = ssl.TLSVersion.TLSv1_2
    return shown


@pytest.mark.parametrize("kind", ["nothing", "expired", "of another authority", "tls 1.2"])
async def test_a_client_without_a_good_certificate_gets_no_data(server_svids, authority, kind):
    async with served(server_svids) as agent:
        assert await ask(agent.port, bad_client(kind, authority)) == b""
        assert agent.peers == []
        assert await ask(agent.port, bad_client("good", authority))


@pytest.mark.parametrize("kind", ["nothing", "expired", "of another authority"])
async def test_without_the_check_the_same_client_gets_its_answer(server_svids, authority, kind):
    def lax():
        context = server_context(server_svids)
        context.sni_callback = None
        context.verify_mode = ssl.CERT_NONE
        return context

    async def serve(stream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"hello")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    wrapped = anyio.streams.tls.TLSListener(listener, lax(), standard_compatible=False)
    async with wrapped, anyio.create_task_group() as tasks:
        tasks.start_soon(wrapped.serve, serve)
        assert await ask(port, bad_client(kind, authority)) == b"hello"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "uris", [(), ("https://agent.example",), (CLIENT_ID, f"spiffe://{DOMAIN}/admin")]
)
async def test_a_certificate_that_is_no_svid_has_no_id(server_svids, authority, uris):
    chain, key = authority.leaf(*uris)
    context = client_context(GivenSvids(authority.svid("/client")))
    held = os.memfd_create("x")
    os.write(held, key + chain)
    context.load_cert_chain(f"/proc/self/fd/{held}")
    os.close(held)
    guard = SpiffeMtls(DOMAIN)
    admits = lambda peer: peer is not None and guard.allows(peer.spiffe_id)  # noqa: E731
    async with served(server_svids, admits=admits) as agent:
        assert await ask(agent.port, context) == b""
        assert agent.peers == []
    async with served(server_svids) as agent:
        assert (await ask(agent.port, context)).endswith(b"hello")
    (peer,) = agent.peers
    assert peer.spiffe_id == ""
    request = head(certificate_sha256=peer.certificate_sha256)
    assert "not an SVID" in (await refusal(guard.identify(request))).message


async def test_an_id_that_may_not_call_is_cut_off_before_its_request_is_read(
    server_svids, authority
):
    guard = SpiffeMtls(DOMAIN, allowed=[f"spiffe://{DOMAIN}/ops/*"])
    admits = lambda peer: peer is not None and guard.allows(peer.spiffe_id)  # noqa: E731
    async with served(server_svids, admits=admits) as agent:
        refused = client_context(GivenSvids(authority.svid("/client")))
        assert await ask(agent.port, refused) == b""
        assert agent.peers == []
        allowed = client_context(GivenSvids(authority.svid("/ops/one")))
        assert (await ask(agent.port, allowed)).endswith(b"hello")


async def test_a_stranger_may_come_in_where_that_is_wanted_and_has_no_id(server_svids, authority):
    async with served(server_svids, client_required=False) as agent:
        assert (await ask(agent.port, bad_client("nothing", authority))).endswith(b"hello")
        assert agent.peers == [None]
        assert await ask(agent.port, bad_client("of another authority", authority)) == b""


@contextlib.asynccontextmanager
async def listener_that_counts(context: ssl.SSLContext) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Take TLS connections and keep every byte that comes through them."""
    got: list[bytes] = []

    async def serve(stream) -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
            async with stream:
                got.append(b"")
                while True:
                    got[-1] += await stream.receive()
                    await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    wrapped = anyio.streams.tls.TLSListener(listener, context, standard_compatible=False)
    async with wrapped, anyio.create_task_group() as tasks:
        tasks.start_soon(wrapped.serve, serve)
        yield port, got
        tasks.cancel_scope.cancel()


async def test_a_server_with_another_id_gets_no_byte(authority, client_svids):
    impostor = GivenSvids(authority.svid("/impostor"))
    async with listener_that_counts(server_context(impostor)) as (port, got):
        auth = ApiKeyAuth("secret", f"https://127.0.0.1:{port}")
        transport = SpiffeTransport(client_svids, SERVER_ID)
        async with credentialed_client(auth, transport) as client:
            with pytest.raises(httpx.ConnectError, match="another SPIFFE id"):
                await client.post(f"https://127.0.0.1:{port}/", content=b"private")
        assert got in ([], [b""])
        # The same server and certificate, without the comparison: it gets request and key.
        plain = httpx.AsyncHTTPTransport(verify=client_context(client_svids))
        async with credentialed_client(auth, plain) as client:
            await client.post(f"https://127.0.0.1:{port}/", content=b"private")
        assert b"secret" in got[-1]


@pytest.mark.parametrize("kind", ["expired", "of another authority", "without an id"])
async def test_a_server_without_a_good_certificate_gets_no_byte(authority, client_svids, kind):
    svids = {
        "expired": lambda: authority.svid("/server", ends_in_s=-60),
        "of another authority": lambda: Authority().svid("/server"),
        "without an id": lambda: authority.svid("/server"),
    }
    context = server_context(GivenSvids(svids[kind]()))
    context.sni_callback = None
    if kind == "without an id":
        chain, key = authority.leaf()
        held = os.memfd_create("x")
        os.write(held, key + chain)
        context.load_cert_chain(f"/proc/self/fd/{held}")
        os.close(held)
    context.verify_mode = ssl.CERT_NONE
    async with listener_that_counts(context) as (port, got):
        transport = SpiffeTransport(client_svids, SERVER_ID)
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ConnectError):
                await client.post(f"https://127.0.0.1:{port}/", content=b"private")
    assert got in ([], [b""])


async def test_plain_http_is_not_spoken(client_svids):
    async with httpx.AsyncClient(transport=SpiffeTransport(client_svids, SERVER_ID)) as client:
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("http://127.0.0.1:1/")
    for ids in ([], ["spiffe://elsewhere.example/server"]):
        with pytest.raises(A2AError):
            SpiffeTransport(client_svids, ids)


async def test_a_withdrawn_root_is_trusted_no_longer(authority, server_svids):
    fresh = Authority()
    old_client = client_context(GivenSvids(authority.svid("/client")))
    old_client.verify_mode = ssl.CERT_NONE
    async with served(server_svids) as agent:
        assert await ask(agent.port, old_client)
        # One generation of overlap, then only the new root.
        both = authority.bundle + fresh.bundle
        server_svids.put(svid_from_pem(*fresh.leaf(SERVER_ID), both))
        assert await ask(agent.port, old_client)
        new_client = client_context(GivenSvids(fresh.svid("/client")))
        assert (await ask(agent.port, new_client)).endswith(b"hello")
        server_svids.put(fresh.svid("/server"))
        assert await ask(agent.port, old_client) == b""
        assert (await ask(agent.port, new_client)).endswith(b"hello")


async def test_a_session_is_not_resumed(server_svids, client_svids):
    async with served(server_svids) as agent:
        context = client_context(client_svids)
        before = await anyio.to_thread.run_sync(_session, agent.port, context)
    assert before is None or not before.has_ticket


def _session(port: int, context: ssl.SSLContext):
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain) as secured,
    ):
        secured.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        secured.recv(1000)
        return secured.session


async def test_a_client_whose_identity_is_gone_connects_no_more(server_svids, client_svids):
    class Broken:
        def __init__(self, source) -> None:
            self.source = source

        def current(self):
            if self.source is None:
                raise A2AError("There is no identity now.")
            return self.source.current()

    mine, theirs = Broken(client_svids), Broken(server_svids)
    async with served(theirs) as agent:
        transport = SpiffeTransport(mine, SERVER_ID)
        async with httpx.AsyncClient(transport=transport) as client:
            url = f"https://127.0.0.1:{agent.port}/"
            assert (await client.get(url, headers={"connection": "close"})).text == "hello"
            mine.source = None
            with pytest.raises(httpx.ConnectError, match="no identity"):
                await client.get(url)
        theirs.source = None
        assert await ask(agent.port, client_context(client_svids)) == b""


async def test_a_connection_does_not_outlive_the_certificate_that_opened_it():
    clock = StandingClock()
    guard = SpiffeMtls(DOMAIN, clock=clock)
    peer = TlsPeer(CLIENT_ID, b"c" * 32, clock.now().timestamp() + 10)
    request = head(
        spiffe_id=CLIENT_ID,
        certificate_sha256=b"c" * 32,
        scope={"extensions": {TLS_PEER: peer}},
    )
    assert (await guard.identify(request)).name == f"mtls:{CLIENT_ID}"
    clock.passed_s = 10
    assert "expired" in (await refusal(guard.identify(request))).message


async def test_a_stolen_token_is_refused_on_the_connection_of_the_thief(
    server_svids, client_svids, authority
):
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=StandingClock())
    async with served(server_svids) as agent:
        await ask(agent.port, client_context(client_svids))
        await ask(agent.port, client_context(GivenSvids(authority.svid("/thief"))))
    owner, thief = (peer.certificate_sha256 for peer in agent.peers)
    stolen = f"Bearer {token(cnf={'x5t#S256': to_base64url_text(owner)})}"
    assert await bearer.identify(head(stolen, certificate_sha256=owner))
    assert (await refusal(bearer.identify(head(stolen, certificate_sha256=thief)))).status == 401


def _without_the_pollers_noise():
    """Ignore that gRPC's poller sometimes settles a future of its own twice; every other error counts."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def heard(loop, context):
        if isinstance(context.get("exception"), asyncio.InvalidStateError):
            return
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    loop.set_exception_handler(heard)


@contextlib.asynccontextmanager
async def grpc_served(svids) -> AsyncIterator[tuple[int, list[TlsPeer | None]]]:
    import grpc

    _without_the_pollers_noise()
    peers: list[TlsPeer | None] = []

    async def echo(request, context):
        peers.append(grpc_peer(context.auth_context()))
        return request

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(echo)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_secure_port("127.0.0.1:0", grpc_server_credentials(svids))
    await server.start()
    try:
        yield port, peers
    finally:
        await server.stop(0)


async def grpc_ask(port: int, svids, server_id: str = SERVER_ID) -> bytes:
    import grpc

    async with spiffe_channel(svids, server_id, f"127.0.0.1:{port}") as channel:
        try:
            return await channel.unary_unary("/a/b")(b"hello", timeout=5)
        except grpc.aio.AioRpcError:
            return b""


async def test_two_svids_talk_over_grpc(server_svids, client_svids):
    async with grpc_served(server_svids) as (port, peers):
        assert await grpc_ask(port, client_svids) == b"hello"
    (peer,) = peers
    assert peer.spiffe_id == CLIENT_ID
    assert len(peer.certificate_sha256) == 32


async def test_a_grpc_client_without_a_good_certificate_gets_no_data(
    server_svids, client_svids, authority
):
    async with grpc_served(server_svids) as (port, peers):
        for bad in (
            authority.svid("/client", ends_in_s=-60),
            svid_from_pem(*Authority().leaf(CLIENT_ID), authority.bundle),
        ):
            assert await grpc_ask(port, GivenSvids(bad)) == b""
        assert peers == []
        assert await grpc_ask(port, client_svids) == b"hello"


async def test_a_grpc_server_with_another_id_is_never_asked(authority, client_svids):
    async with grpc_served(GivenSvids(authority.svid("/impostor"))) as (port, peers):
        assert await grpc_ask(port, client_svids) == b""
        assert peers == []
        assert await grpc_ask(port, client_svids, f"spiffe://{DOMAIN}/impostor") == b"hello"


async def test_grpc_follows_rotation(authority, server_svids, client_svids):
    fresh = Authority()
    async with grpc_served(server_svids) as (port, _):
        assert await grpc_ask(port, client_svids) == b"hello"
        server_svids.put(fresh.svid("/server"))
        assert await grpc_ask(port, client_svids) == b""
        assert await grpc_ask(port, GivenSvids(fresh.svid("/client"))) == b"hello"


async def test_a_grpc_server_of_another_trust_domain_is_not_even_dialled(client_svids):
    with pytest.raises(A2AError):
        await grpc_ask(1, client_svids, "spiffe://elsewhere.example/server")
    assert grpc_peer({}) is None


async def test_another_process_does_not_get_into_the_channel(server_svids, client_svids, tmp_path):
    path = tmp_path / "channel"
    code = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.settimeout(5); s.sendall(b'x'); print(s.recv(4))"
    )
    async with listener_that_counts(server_context(server_svids)) as (port, got):
        pipe = _Pipe(client_svids, SERVER_ID, "127.0.0.1", port)
        listener = await anyio.create_unix_listener(path)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, pipe.carry)
            done = await anyio.run_process([sys.executable, "-c", code, str(path)], check=False)
            assert done.stdout.strip() in (b"b''", b"")
            assert got == []
            async with await anyio.connect_unix(path) as own:
                await own.send(b"x")
                with anyio.fail_after(5):
                    assert await own.receive(4) == b"HTTP"
            tasks.cancel_scope.cancel()


async def test_a_channel_to_nobody_ends(authority, client_svids):
    assert await grpc_ask(1, client_svids) == b""
    chain, key = authority.leaf()
    nameless = Svid("", chain, key, authority.bundle, 0)
    async with grpc_served(GivenSvids(nameless)) as (port, peers):
        assert await grpc_ask(port, client_svids) == b""
    assert peers == []
