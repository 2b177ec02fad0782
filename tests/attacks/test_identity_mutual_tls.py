"""The port for peers: whoever shows no SVID, a foreign one, two names or a revoked one gets no byte of an answer."""

import asyncio
import ssl
from datetime import UTC, datetime

import anyio
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hive.core.call import Principal, PrincipalKind
from hive.core.ids import AgentId, NodeId, SandboxId, name
from hive.node.http import SANDBOX_KEY, bind_port
from hive.node.http_mutual import MutualServer, peer_bearer
from hive.security.identity.certificates import SeenLeaf, new_key
from hive.security.identity.mutual import NodeSvids, PeerJudge, tls_svid
from hive.security.identity.ports import SpiffeId
from hive.security.tokens import PEER_KEY
from hive_a2a.identity.spiffe_transport import SpiffeTransport
from hive_a2a.identity.svid import GivenSvids
from hive_a2a.identity.tls import client_context
from tests.attacks.test_identity_forged import signed
from tests.identity_rig import Authority
from tests.workload_rig import DOMAIN, opened_service

pytestmark = pytest.mark.anyio
REQUEST = b"GET /a2a HTTP/1.1\r\nhost: x\r\n\r\n"


async def app(scope, receive, send):
    """Answer who the request is from."""
    bearer = scope.get(PEER_KEY)
    body = str(bearer.principal if bearer else "nobody").encode()
    assert SANDBOX_KEY not in scope
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Stage:
    """A service, its node's port, and what clients need."""

    def __init__(self, service, port, own, server):
        self.service, self.port, self.own, self.server = service, port, own, server
        self.url = f"https://127.0.0.1:{port}"
        self.node_id = own.current().spiffe_id
        self._count = 0

    async def agent(self, called="reader"):
        self._count += 1
        enrolment = self.service.enrol(SandboxId(f"s{self._count}"), AgentId(called))
        svid = await self.service.x509(enrolment)
        return enrolment, svid, tls_svid(svid, await self.service.bundle())


@pytest.fixture
async def stage(anyio_backend):
    async with opened_service() as service:
        own = NodeSvids(service, NodeId("node-1"))
        await own.renew()
        server = MutualServer(app, PeerJudge(service))
        sock = bind_port("127.0.0.1", 0)
        port = sock.getsockname()[1]
        async with server.serving(sock, own.server_context()):
            yield Stage(service, port, own, server)


async def answer(stage, context) -> bytes:
    """Return what comes back of a connection: with TLS 1.3 a refused client learns it only by reading."""
    with anyio.fail_after(20):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, ssl=context)
            try:
                writer.write(REQUEST)
                await writer.drain()
                return await reader.read(65536)
            finally:
                writer.close()
        except (ssl.SSLError, ConnectionError):
            return b""


async def test_an_agents_svid_says_who_calls(stage):
    _, _, svid = await stage.agent()
    transport = SpiffeTransport(GivenSvids(svid), stage.node_id)
    async with httpx.AsyncClient(transport=transport) as client:
        found = await client.get(f"{stage.url}/a2a")
    assert found.text == f"client:spiffe://{DOMAIN}/agent/reader"


async def test_without_a_certificate_nothing_comes_back(stage):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert await answer(stage, context) == b""


async def test_another_authority_of_the_same_name_is_nobody(stage):
    forged = Authority(DOMAIN).svid("/agent/reader")
    mixed = forged.__class__(
        forged.spiffe_id,
        forged.chain_pem,
        forged.key_pem,
        stage.own.current().bundle_pem,
        forged.ends_at,
    )
    assert await answer(stage, client_context(GivenSvids(mixed))) == b""


async def test_a_certificate_with_two_names_is_nobody_although_the_root_vouches(stage, monkeypatch):
    """The authority's own key is misused here, so that TLS itself has nothing against the certificate."""
    key, mint = new_key(), stage.service.issuer._ready()
    uris = (f"spiffe://{DOMAIN}/agent/reader", f"spiffe://{DOMAIN}/agent/admin")
    context = _context(stage, signed(mint.signer, mint.above, *uris, key=key), key)
    assert await answer(stage, context) == b""
    at = datetime(2100, 1, 1, tzinfo=UTC)
    first = SeenLeaf(SpiffeId(uris[0]), "1", "", at, at)
    monkeypatch.setattr(PeerJudge, "of", lambda _self, _ssl_object: first)
    monkeypatch.setattr(PeerJudge, "again", lambda _self, _leaf: None)
    assert b"agent/reader" in await answer(stage, context), "the judge alone kept it out"


async def test_a_revoked_peer_is_cut_off_in_the_middle_of_its_connection(stage):
    enrolment, svid, made = await stage.agent()
    context = client_context(GivenSvids(made))
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, ssl=context)
    writer.write(REQUEST)
    with anyio.fail_after(20):
        assert b"client:spiffe" in await reader.read(65536)
        await stage.service.revoke(svid.serial)
        assert await _rest(reader) == b""
    assert await answer(stage, context) == b""
    writer.close()
    assert not stage.server.peers
    assert enrolment.current is None


async def test_the_end_of_a_sandbox_cuts_its_connections(stage):
    enrolment, _, made = await stage.agent()
    context = client_context(GivenSvids(made))
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, ssl=context)
    writer.write(REQUEST)
    with anyio.fail_after(20):
        assert b"client:spiffe" in await reader.read(65536)
        stage.service.leave(enrolment)
        assert await _rest(reader) == b""
    writer.close()
    assert await answer(stage, context) == b""


async def test_a_rotation_needs_no_restart_of_the_port(stage):
    _, _, before = await stage.agent()
    shown = stage.own.current()
    await stage.service.rotate(root=True)
    await stage.own.renew()
    assert stage.own.current().chain_pem != shown.chain_pem
    _, _, after = await stage.agent("writer")
    for svid in (before, after):
        transport = SpiffeTransport(GivenSvids(svid), stage.node_id)
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get(f"{stage.url}/a2a")).status_code == 200


async def _rest(reader) -> bytes:
    try:
        return await reader.read(65536)
    except (ssl.SSLError, ConnectionError):
        return b""


def _context(stage, chain, key):
    pem = b"".join(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in chain)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own = stage.own.current()
    return client_context(GivenSvids(own.__class__("", pem, key_pem, own.bundle_pem, 0.0)))


async def test_a_servers_certificate_calls_nobody(stage):
    """What a bus shows lies in a file of its own; whoever copies it must not be a caller."""
    made = await stage.service.for_service("nats", 86_400.0)
    shown = tls_svid(made, await stage.service.bundle())
    assert shown.spiffe_id == f"spiffe://{DOMAIN}/service/nats"
    assert await answer(stage, client_context(GivenSvids(shown))) == b""


def test_two_ids_never_share_what_is_theirs():
    """Who may read a task is decided by its owner, so two ids must not become one."""
    at = datetime(2100, 1, 1, tzinfo=UTC)
    ids = ("agent/node", "hive/node", "node/node", "agent/a-b", "x/a.b", "x/a_b", "x/A-b", "x/a/b",
           f"agent/{'a' * 63}", f"agent/{'a' * 62}b")  # fmt: skip
    leaves = [SeenLeaf(SpiffeId(f"spiffe://{DOMAIN}/{one}"), "1", "", at, at) for one in ids]
    owners = {peer_bearer(leaf).principal.owner for leaf in leaves}
    assert len(owners) == len(ids)
    assert all(name(one, what="owner") for one in owners)


@pytest.mark.parametrize("path", ["agent/reader", "node/node-1", "hive/node"])
def test_a_peer_is_neither_this_node_nor_a_person(path):
    """The node itself may read every run, and a person's words may steer tools: a certificate gives neither."""
    at = datetime(2100, 1, 1, tzinfo=UTC)
    leaf = SeenLeaf(SpiffeId(f"spiffe://{DOMAIN}/{path}"), "1", "", at, at)
    found = peer_bearer(leaf).principal
    assert found.kind not in (PrincipalKind.NODE, PrincipalKind.OPERATOR)
    assert found.is_workload
    assert not found.is_person
    # The ledger keeps kind and name; whoever is made of them again is the same.
    kind, _, kept = str(found).partition(":")
    again = Principal(kind=PrincipalKind(kind), name=kept, owner=found.owner)
    assert (again.is_workload, again.is_person) == (True, False)
