"""Connections that dawdle, flood or pretend, on real sockets."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from hive_a2a.call import CALL_KEY
from hive_a2a.errors import A2AError
from hive_a2a.identity.mtls import SpiffeMtls
from hive_a2a.policy import WireLimits
from hive_a2a.wire.serve import serving
from tests.identity_rig import Authority
from tests.wire_rig import V1, EchoAgent, call, endpoint, message, plain_official

pytestmark = pytest.mark.anyio
LIMITS = WireLimits(head_timeout_s=0.2, connections_max=3)


async def is_closed(stream, within_s: float) -> bool:
    with anyio.move_on_after(within_s):
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return True
    return False


async def test_a_head_that_never_ends_is_not_waited_for():
    begun = b"POST / HTTP/1.1\r\nhost: a\r\n"
    async with (
        plainly(plain_official()) as port,
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        await stream.send(begun)
        assert not await is_closed(stream, 0.6)
    async with serving(endpoint(), limits=LIMITS) as port:
        for sent in (b"\r\n", begun):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(sent)
                assert await is_closed(stream, 3)


@asynccontextmanager
async def plainly(app):
    """Serve with uvicorn as it comes."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}),
        "127.0.0.1",
        0,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_a_head_without_end_is_not_read_to_its_end():
    slow = WireLimits(head_timeout_s=30)
    for server, cut in (
        (plainly(plain_official()), False),
        (serving(endpoint(), limits=slow), True),
    ):
        async with server as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"POST / HTTP/1.1\r\nhost: a\r\n")
            with anyio.fail_after(10):
                assert await is_cut_while_sending(stream) is cut


async def is_cut_while_sending(stream) -> bool:
    """Send two megabytes of header lines."""
    try:
        for _ in range(250):
            await stream.send(b"x: " + b"y" * 8000 + b"\r\n")
    except (anyio.BrokenResourceError, anyio.EndOfStream):
        return True
    return False


async def test_no_more_connections_than_the_limit_says():
    async with serving(endpoint(), limits=LIMITS) as port:
        async with anyio.create_task_group() as tasks:
            streams = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(4)]
            tasks.cancel_scope.cancel()
        assert await is_closed(streams[3], 0.15)
        for stream in streams:
            await stream.aclose()


async def test_a_port_in_use_is_said():
    async with serving(endpoint()) as port:
        with pytest.raises(A2AError, match="cannot be opened"):
            async with serving(endpoint(), port=port):
                pass


def contexts(authority, tmp_path, client_svid):
    """Return TLS contexts of a server that asks for certificates, and of a client that shows one."""
    paths = {}
    for name, svid in (("server", authority.svid("/server")), ("client", client_svid)):
        paths[name] = tmp_path / f"{name}.pem"
        paths[name].write_bytes(svid.chain_pem + svid.key_pem)
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(authority.svid("/server").bundle_pem)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(bundle))
    server.verify_mode = ssl.CERT_OPTIONAL
    server.load_cert_chain(paths["server"])
    client = ssl.create_default_context(cafile=str(bundle))
    client.check_hostname = False
    client.load_cert_chain(paths["client"])
    return server, client, bundle


async def test_the_certificate_of_the_connection_says_who_calls_and_no_header_does(tmp_path):
    authority = Authority()
    svid = authority.svid("/ann")
    server, client, bundle = contexts(authority, tmp_path, svid)
    agent = EchoAgent()
    domain = svid.spiffe_id.removeprefix("spiffe://").partition("/")[0]
    app = endpoint(agent, authenticators=[SpiffeMtls(domain)])
    body = call("SendMessage", {"message": message()})
    async with serving(app, tls=server) as port:
        url = f"https://127.0.0.1:{port}/"
        async with httpx.AsyncClient(verify=client, headers=V1) as shown:
            for _ in range(2):  # the second one on the same connection
                assert "result" in (await shown.post(url, json=body)).json()
        bare = ssl.create_default_context(cafile=str(bundle))
        bare.check_hostname = False
        forged = {**V1, "x-forwarded-client-cert": svid.spiffe_id, "spiffe": svid.spiffe_id}
        async with httpx.AsyncClient(verify=bare, headers=forged) as hidden:
            assert (await hidden.post(url, json=body)).status_code == 401
    call_seen = agent.seen[0].call_context.state[CALL_KEY]
    assert call_seen.caller.name == f"mtls:{svid.spiffe_id}"
    assert call_seen.head.spiffe_id == svid.spiffe_id
    assert len(call_seen.head.certificate_sha256) == 32
    assert call_seen.head.scope["extensions"]["spiffe"] == {"id": svid.spiffe_id}
    assert len(agent.seen) == 2
