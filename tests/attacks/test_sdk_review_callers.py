"""Who calls: a key that anybody can make, and a relay that lends its certificate to what it carries."""

import grpc
import httpx
import pytest
from a2a.types.a2a_pb2_grpc import A2AServiceStub

from hive_a2a.call import Binding
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.policies import Tofu
from hive_a2a.client import SecureA2AClient
from hive_a2a.grpc_server import serving_grpc
from hive_a2a.identity.mtls import SpiffeMtls
from hive_a2a.identity.svid import TLS_PEER, TlsPeer
from hive_a2a.policy import Policy
from hive_a2a.sealed.extension import NOISE_SCOPE, TLS_ID_HEADER
from hive_a2a.sealed.memory import PeersInMemory
from hive_a2a.server import SecureA2AServer
from hive_a2a.wire.authenticate import identify
from hive_a2a.wire.request import head_of
from tests.sealed_rig import events_of, message_request
from tests.wire_rig import EchoAgent, WordAuthenticator, card_of, endpoint

pytestmark = pytest.mark.anyio
RELAY = "spiffe://home.test/relay"
CALLER = "spiffe://home.test/caller"


def agent_behind(tmp_path, *authenticators, policy=None) -> SecureA2AServer:
    card = card_of("http://127.0.0.1")
    card.capabilities.push_notifications = False
    return SecureA2AServer(
        card,
        EchoAgent(),
        folder=tmp_path,
        authenticators=authenticators,
        keys=AgentKeys.ephemeral(),
        policy=policy,
    )


class OverTls(httpx.AsyncBaseTransport):
    """Carries requests into an app as our own protocol would: with the TLS peer beside them."""

    def __init__(self, app, carrier: str, *, shows: str = "") -> None:
        async def with_peer(scope, receive, send):
            peer = TlsPeer(spiffe_id=carrier, certificate_sha256=b"c" * 32, ends_at=4e9)
            await app({**scope, "extensions": {TLS_PEER: peer}}, receive, send)

        self._inner = httpx.ASGITransport(app=with_peer)
        if shows:
            self.spiffe_id = shows

    async def handle_async_request(self, request):
        return await self._inner.handle_async_request(request)


def client_over(transport, auth=None):
    return SecureA2AClient.connect(
        "http://127.0.0.1",
        trust=Tofu(),
        keys=AgentKeys.ephemeral(),
        memory=PeersInMemory(),
        transport=transport,
        auth=auth,
    )


class Ann(httpx.Auth):
    """Shows a word that the authenticator knows."""

    def auth_flow(self, request):
        request.headers["authorization"] = "Bearer ann"
        yield request


async def answer_of(server, transport, auth=None) -> str:
    """Return the text of the echo, or what was said instead."""
    async with server.running(), client_over(transport, auth) as client:
        try:
            events = await events_of(client, "hello")
        except Exception as error:  # noqa: BLE001 - the client's words for a refusal
            return str(error)
        return "answered" if events else "nothing"


async def test_a_key_of_a_moment_ago_stands_for_the_credential_that_is_asked_for(tmp_path):
    server = agent_behind(tmp_path, WordAuthenticator())
    app = httpx.ASGITransport(app=server.asgi())
    assert await answer_of(server, app, Ann()) == "answered"
    assert await answer_of(server, app) != "answered"


async def test_where_nothing_else_is_asked_for_the_key_is_the_caller(tmp_path):
    server = agent_behind(tmp_path)
    assert await answer_of(server, httpx.ASGITransport(app=server.asgi())) == "answered"


async def test_a_relay_becomes_the_caller_of_what_it_carries_sealed(tmp_path):
    for carrier, shows, expected in (
        (RELAY, "", False),
        (RELAY, CALLER, False),
        (CALLER, CALLER, True),
    ):
        server = agent_behind(tmp_path, SpiffeMtls("home.test"))
        answer = await answer_of(server, OverTls(server.asgi(), carrier, shows=shows))
        assert (answer == "answered") is expected, answer


async def test_a_name_in_the_scope_passes_for_an_svid():
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [],
        "extensions": {"spiffe": {"id": CALLER}, "tls": {"certificate_sha256": b"x" * 32}},
    }
    head = head_of(scope, Binding.JSONRPC)
    assert (head.spiffe_id, head.certificate_sha256) == ("", b"")
    assert not (await identify(head, [SpiffeMtls("home.test")])).known
    peer = TlsPeer(spiffe_id=CALLER, certificate_sha256=b"x" * 32, ends_at=4e9)
    for sealed, named, expected in ((False, "", CALLER), (True, "", ""), (True, CALLER, CALLER)):
        scope["extensions"] = {TLS_PEER: peer}
        scope["headers"] = [(TLS_ID_HEADER.encode(), named.encode())]
        scope[NOISE_SCOPE] = (b"k" * 32, b"h" * 32) if sealed else None
        assert head_of(scope, Binding.JSONRPC).spiffe_id == expected


async def test_two_credentials_in_one_grpc_call():
    door = endpoint()
    async with (
        serving_grpc(door.guarded, policy=Policy(), authenticators=[WordAuthenticator()]) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub, ann = A2AServiceStub(channel), ("authorization", "Bearer ann")
        assert (await stub.SendMessage(message_request(), metadata=(ann,))).task.id
        metadata = (ann, ("authorization", "Bearer bob"))
        with pytest.raises(grpc.aio.AioRpcError) as twice:
            await stub.SendMessage(message_request(), metadata=metadata)
        assert twice.value.code() is grpc.StatusCode.INVALID_ARGUMENT
