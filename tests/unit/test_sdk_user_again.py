"""What a user does again: begin a server after its end, forget an agent, show a warrant, fetch a private card."""

import json

import anyio
import httpx
import pytest
import tenuo_core
from a2a.types import a2a_pb2 as pb

from hive_a2a.cards.errors import CardError
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.client import SecureA2AClient, _CardAuth
from hive_a2a.command.entry import run_command
from hive_a2a.crypto import new_signing_pair
from hive_a2a.home import home
from hive_a2a.policy import Policy, Sealing
from hive_a2a.sealed.memory import PeersInFile, SpokenNoise
from hive_a2a.sealed.pins import own_names_of
from hive_a2a.server import SecureA2AServer
from hive_a2a.stages.show_warrant import METHOD_OF, ShowWarrant
from hive_a2a.stages.tenuo_warrants import TenuoWarrants, mint
from hive_a2a.wire.calls import REQUEST_OF
from tests.server_rig import FREE, NEW, SECURE, card_for, free_port, secure
from tests.wire_rig import EchoAgent

KNOWN = {"authenticators": []}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_A2A_HOME", str(tmp_path / "home"))


def a_message(text: str = "hello", skill: str = "") -> pb.SendMessageRequest:
    said = pb.SendMessageRequest()
    said.message.message_id, said.message.role = "m", pb.ROLE_USER
    said.message.parts.add(text=text)
    if skill:
        said.message.metadata["skillId"] = skill
    return said


async def send(client, said=None) -> list:
    return [one async for one in client.send_message(said or a_message())]


def test_a_server_begins_again_after_its_end_and_knows_its_tasks(tmp_path):
    port = free_port()
    card = card_for(port, free_port())
    server = SecureA2AServer(card, EchoAgent(), policy=SECURE, folder=tmp_path)

    async def life(task: str) -> str:
        async with (
            server.serving(port=port),
            server.running(),
            SecureA2AClient.connect(f"http://127.0.0.1:{port}") as client,
        ):
            if task:
                assert (await client.get_task(pb.GetTaskRequest(id=task))).id == task
            return (await send(client))[0].task.id

    first = anyio.run(life, "")
    assert anyio.run(life, first) != first


@pytest.mark.anyio
async def test_forgetting_an_agent_forgets_its_keys_and_its_noise(tmp_path):
    port, grpc_port = free_port(), free_port()
    card = card_for(port, grpc_port)
    url = f"http://127.0.0.1:{port}"
    peers = PeersInFile(home() / "peers.json")
    other = SpokenNoise(static_key=b"k" * 32, epoch=1)

    def agent(folder):
        server = SecureA2AServer(card, EchoAgent(), policy=SECURE, folder=folder)
        return server.serving(port=port, grpc_port=grpc_port)

    async def meet() -> None:
        for binding in ("JSONRPC", "GRPC"):
            async with SecureA2AClient.connect(url, bindings=[binding]) as client:
                assert await send(client)

    async with agent(tmp_path / "first"):
        await meet()
    await peers.remember("https://other.example/", other)
    known = json.loads((home() / "peers.json").read_bytes())
    assert len(known) > 2
    async with agent(tmp_path / "second"):  # it began anew, with other keys
        with pytest.raises(CardError):
            await meet()
        words = ["card", "verify", url, "--forget", "--quiet"]
        assert await anyio.to_thread.run_sync(run_command, words) == 0
        left = json.loads((home() / "peers.json").read_bytes())
        assert list(left) == ["https://other.example/"]
        await meet()


def test_a_card_has_no_say_in_what_is_remembered_of_another_agent():
    card = card_for(8000, 9000)
    card.supported_interfaces.add(url="https://other.example/", protocol_binding="JSONRPC")
    names = own_names_of(card, "http://127.0.0.1:8000/.well-known/agent-card.json")
    assert "127.0.0.1:9000" in names
    assert not [one for one in names if "other" in one]


@pytest.mark.anyio
async def test_a_card_that_only_offers_noise_now_is_refused_with_what_to_do(tmp_path):
    port = free_port()
    keys = AgentKeys.ephemeral()
    card = card_for(port, free_port())

    async def meet(sealing: Sealing) -> CardError | None:
        policy = Policy(rate=FREE, sealing=sealing)
        parts = {"keys": keys, "folder": tmp_path / sealing.name}
        if sealing is Sealing.OFFERED:
            from tests.wire_rig import WordAuthenticator

            parts["authenticators"] = [WordAuthenticator()]
        server = SecureA2AServer(card, EchoAgent(), policy=policy, **parts)
        async with server.serving(port=port):
            try:
                async with SecureA2AClient.connect(f"http://127.0.0.1:{port}"):
                    return None
            except CardError as error:
                return error

    assert await meet(Sealing.REQUIRED) is None
    refused = await meet(Sealing.OFFERED)
    assert "required Noise before, and offers it only now" in refused.why
    assert "card verify URL --forget" in refused.fix


def test_every_method_of_the_official_client_has_its_name():
    assert set(METHOD_OF.values()) == set(REQUEST_OF)


@pytest.mark.anyio
@pytest.mark.parametrize("binding", NEW)
async def test_a_warrant_is_shown_with_every_call(tmp_path, binding):
    root, holder, thief = (new_signing_pair() for _ in range(3))
    tools = {
        "a2a.SendMessage": {},
        "a2a.SendStreamingMessage": {"text_bytes": tenuo_core.Range(0, 5)},
        "a2a.GetTask": {},
        "echo": {},
    }
    held = mint(root.private, holder=holder.public, tools=tools, ttl_s=60)
    policy = Policy(rate=FREE, warrants_required=True)
    check = TenuoWarrants([root.public])
    async with secure(tmp_path, policy=policy, warrants=check, authenticators=[]) as ours:
        shown = ShowWarrant(held, holder_private=holder.private)

        def connect(*interceptors, **more):
            return SecureA2AClient.connect(
                ours.url, bindings=[binding], interceptors=interceptors, **more
            )

        async with connect(shown) as client:
            task = (await send(client))[0].task.id
            assert (await client.get_task(pb.GetTaskRequest(id=task))).id == task
            assert await send(client, a_message("long, but of a skill", skill="echo"))
            with pytest.raises(Exception, match="does not allow|403"):
                await send(client, a_message("much too long"))
            with pytest.raises(Exception, match="arrant|403"):
                await client.list_tasks(pb.ListTasksRequest())
        async with connect(shown, policy=_unstreamed()) as client:
            assert await send(client, a_message("long, but in one piece"))
        for none in ((), (ShowWarrant(held, holder_private=thief.private),)):
            async with connect(*none) as client:
                with pytest.raises(Exception, match="arrant|proof|403"):
                    await send(client)


def _unstreamed():
    from hive_a2a.policy import ClientPolicy

    return ClientPolicy(streaming=False)


class _Basic(httpx.BasicAuth):
    """What httpx brings: it knows no origins."""


@pytest.mark.anyio
async def test_a_private_card_is_fetched_by_its_own_credential_and_nobody_else_sees_it(tmp_path):
    seen = []

    class Watching(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            seen.append((request.method, request.url.path, "authorization" in request.headers))
            if request.method == "GET" and "authorization" not in request.headers:
                return httpx.Response(401)
            return await super().handle_async_request(request)

    auth = _Basic("ada", "secret")
    async with secure(tmp_path, **KNOWN) as ours:
        with pytest.raises(CardError):
            await SecureA2AClient.connect(ours.url, transport=Watching())
        seen.clear()
        connecting = SecureA2AClient.connect(ours.url, transport=Watching(), card_auth=auth)
        async with connecting as client:
            assert await send(client)
    assert ("GET", "/.well-known/agent-card.json", True) in seen
    assert [one for one in seen if one[0] == "POST"]
    assert not [one for one in seen if one[0] == "POST" and one[2]]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "shown"), [("http://a.example/jwks", True), ("http://b.example/", False)]
)
async def test_the_credential_of_a_card_stays_at_its_origin(url, shown):
    def answer(request):
        return httpx.Response(200, json="authorization" in request.headers)

    auth = _CardAuth(_Basic("ada", "secret"), "http://a.example/card.json")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), auth=auth) as http:
        assert (await http.get(url)).json() is shown
