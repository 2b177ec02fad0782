"""Who calls a real server: SVIDs over HTTP and gRPC, proofs of possession plain and sealed, API keys."""

import ssl

import grpc
import grpc.aio
import httpx
import pytest
from a2a.client.errors import A2AClientError
from a2a.types import a2a_pb2 as pb

from hive_a2a.client import SecureA2AClient
from hive_a2a.clock import MachineClock
from hive_a2a.identity.api_key import ApiKeys, new_api_key
from hive_a2a.identity.bearer import JwtBearer
from hive_a2a.identity.credentials import ApiKeyAuth, BearerToken, Dpop
from hive_a2a.identity.dpop import DpopVerifier
from hive_a2a.identity.grpc_spiffe import spiffe_channel
from hive_a2a.identity.mtls import SpiffeMtls
from hive_a2a.identity.proof import DpopKey
from hive_a2a.identity.spiffe_transport import SpiffeTransport
from hive_a2a.identity.svid import GivenSvids
from hive_a2a.identity.tls import grpc_server_credentials, server_context
from hive_a2a.policy import Policy, Sealing
from tests.identity_rig import AUDIENCE, DOMAIN, ISSUER, JWKS, Authority, token
from tests.server_rig import FREE, SECURE, card_for, free_port, secure, sending
from tests.wire_rig import call, message

pytestmark = pytest.mark.anyio
SERVER_ID = f"spiffe://{DOMAIN}/server"


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": False})


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_A2A_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def authority():
    return Authority()


def request(text: str = "hello") -> pb.SendMessageRequest:
    said = pb.SendMessageRequest()
    said.message.message_id, said.message.role = "m", pb.ROLE_USER
    said.message.parts.add(text=text)
    return said


async def send(client) -> list:
    return [one async for one in client.send_message(request())]


def body() -> dict:
    return call("SendMessage", {"message": message()})


async def test_svids_over_http_and_grpc(tmp_path, authority):
    svids = GivenSvids(authority.svid("/server"))
    mine = GivenSvids(authority.svid("/client"))
    foreign = GivenSvids(authority.svid("/mallory"))
    known = SpiffeMtls(DOMAIN, allowed=[f"spiffe://{DOMAIN}/client"])
    async with secure(
        tmp_path,
        authenticators=[known],
        tls=server_context(svids),
        grpc_credentials=grpc_server_credentials(svids),
    ) as ours:
        url = f"https://127.0.0.1:{ours.port}/"
        async with httpx.AsyncClient(transport=SpiffeTransport(mine, SERVER_ID)) as client:
            answer = await client.post(url, json=body(), headers={"a2a-version": "1.0"})
            assert "result" in answer.json(), answer.text
        [attempt] = ours.records("attempt")
        assert attempt.caller == f"mtls:spiffe://{DOMAIN}/client"
        # Not even the card: the connection is cut before its first request is read.
        async with httpx.AsyncClient(transport=SpiffeTransport(foreign, SERVER_ID)) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(url + ".well-known/agent-card.json")
        for source, taken in ((mine, True), (foreign, False)):
            async with spiffe_channel(source, SERVER_ID, f"127.0.0.1:{ours.grpc_port}") as channel:
                from tests.server_rig import grpc_ask

                for method in ("SendMessage", "SendStreamingMessage"):
                    got = await grpc_ask(channel, method, request(), {})
                    assert got.ok is taken, got
                    assert taken or got.word == "UNAUTHENTICATED"
        assert {one.caller for one in ours.records("attempt")} == {attempt.caller}


async def test_a_client_without_a_certificate_may_show_something_else(tmp_path, authority):
    key, digest = new_api_key()
    svids = GivenSvids(authority.svid("/server"))
    known = [SpiffeMtls(DOMAIN), ApiKeys({"ann": digest})]
    tls = server_context(svids, client_required=False)
    trusting = ssl.create_default_context(cadata=authority.bundle.decode())
    trusting.check_hostname = False
    async with secure(tmp_path, authenticators=known, tls=tls) as ours:
        url = f"https://127.0.0.1:{ours.port}/"
        async with httpx.AsyncClient(verify=trusting) as client:
            said = {"a2a-version": "1.0"}
            assert (await client.post(url, json=body(), headers=said)).status_code == 401
            bad = {**said, "x-api-key": "no"}
            assert (await client.post(url, json=body(), headers=bad)).status_code == 401
            answer = await client.post(url, json=body(), headers={**said, "x-api-key": key})
            assert "result" in answer.json()
        assert [one.caller for one in ours.records("attempt")] == ["key:ann"]
        assert set(ours.server.card.security_schemes) == {"mtls", "apiKey"}


def bound(key: DpopKey) -> str:
    at = int(MachineClock().now().timestamp())
    return token(iat=at, exp=at + 300, cnf={"jkt": key.jkt})


@pytest.mark.parametrize("sealing", [Sealing.OFF, Sealing.REQUIRED])
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_proofs_of_possession_plain_and_sealed(tmp_path, sealing, binding):
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(), bound=True)
    policy = Policy(rate=FREE, sealing=sealing)
    key = DpopKey()
    async with secure(tmp_path, authenticators=[bearer], policy=policy) as ours:
        auth = Dpop(bound(key), key, ours.url)
        async with SecureA2AClient.connect(ours.url, auth=auth, bindings=[binding]) as client:
            for _ in range(2):
                assert await send(client)
            await client.list_tasks(pb.ListTasksRequest())
        assert {one.caller for one in ours.records("attempt")} == {f"bearer:{ISSUER}#alice"}
        assert {one.sealed for one in ours.records("attempt")} == {sealing is Sealing.REQUIRED}
        stolen = BearerToken(bound(key), ours.url)
        seen = len(ours.agent.seen)
        async with SecureA2AClient.connect(ours.url, auth=stolen, bindings=[binding]) as client:
            with pytest.raises(Exception, match="(?i)proof|401|credential|token"):
                await send(client)
        assert len(ours.agent.seen) == seen


async def test_the_address_in_a_proof_is_the_public_one(tmp_path):
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(), bound=True)
    key = DpopKey()
    async with secure(
        tmp_path, authenticators=[bearer], public_url="https://agent.example"
    ) as ours:
        auth = Dpop(bound(key), key, "https://agent.example")
        said = {"a2a-version": "1.0"}
        async with httpx.AsyncClient() as client:
            for url, status in (("https://agent.example/", 200), (f"{ours.url}/", 401)):
                shown = await auth.headers_for("POST", "https://agent.example/")
                if status == 401:
                    shown = await Dpop(bound(key), key, ours.url).headers_for("POST", url)
                answer = await client.post(f"{ours.url}/", json=body(), headers={**said, **shown})
                assert answer.status_code == status, answer.text


async def test_a_credential_travels_over_grpc_to_its_own_place_only(tmp_path):
    key, digest = new_api_key()
    async with secure(tmp_path, authenticators=[ApiKeys({"ann": digest})]) as ours:
        target = f"http://127.0.0.1:{ours.grpc_port}"
        for origins, taken in ((target, True), (ours.url, False)):
            auth = ApiKeyAuth(key, origins)
            async with SecureA2AClient.connect(ours.url, auth=auth, bindings=["GRPC"]) as client:
                if taken:
                    assert await send(client)
                    continue
                with pytest.raises(A2AClientError, match="UNAUTHENTICATED"):
                    await send(client)
        assert [one.caller for one in ours.records("attempt")] == ["key:ann"]


async def test_a_card_with_a_second_grpc_place_gets_no_credential(tmp_path):
    key, digest = new_api_key()
    port, grpc_port = free_port(), free_port()
    card = card_for(port, grpc_port)
    card.supported_interfaces.add(
        url="127.0.0.1:1", protocol_binding="GRPC", protocol_version="1.0"
    )
    from hive_a2a.server import SecureA2AServer
    from tests.wire_rig import EchoAgent

    agent = EchoAgent()
    known = [ApiKeys({"ann": digest})]
    server = SecureA2AServer(card, agent, policy=SECURE, authenticators=known, folder=tmp_path)
    async with server.serving(port=port, grpc_port=grpc_port):
        auth = ApiKeyAuth(key, f"http://127.0.0.1:{grpc_port}")
        url = f"http://127.0.0.1:{port}"
        async with SecureA2AClient.connect(url, auth=auth, bindings=["GRPC"]) as client:
            with pytest.raises(A2AClientError, match="UNAUTHENTICATED"):
                await send(client)
    assert agent.seen == []


async def test_grpc_over_tls_says_https(tmp_path, authority):
    certificate, private = authority.leaf()
    credentials = grpc.ssl_server_credentials([(private, certificate)])
    trusting = grpc.ssl_channel_credentials(authority.bundle)
    async with secure(tmp_path, grpc_credentials=credentials) as ours:
        from tests.server_rig import grpc_ask

        target = f"127.0.0.1:{ours.grpc_port}"
        async with grpc.aio.secure_channel(target, trusting) as channel:
            said = {"authorization": "Bearer ann"}
            assert (await grpc_ask(channel, "SendMessage", request(), said)).ok
            assert (await grpc_ask(channel, "SendStreamingMessage", request(), said)).events
    call_of = ours.agent.seen[0].call_context.state["hive_a2a.call"]
    assert call_of.head.url.startswith("https://")
    assert sending()
