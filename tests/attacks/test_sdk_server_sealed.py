"""Cards and sealed requests that somebody on the way changes, repeats, cuts or strips, against a real server."""

from contextlib import asynccontextmanager

import anyio
import grpc
import grpc.aio
import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, Parse

from hive_a2a.cards.describe import card_json
from hive_a2a.cards.errors import CardError
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.noise_params import NOISE_URI
from hive_a2a.cards.policies import Tofu
from hive_a2a.client import SecureA2AClient
from hive_a2a.policy import ClientPolicy, Policy, Sealing
from hive_a2a.ports import Stage
from hive_a2a.sealed.errors import BrokenAnswerError, DowngradeError, SealError
from hive_a2a.wire.card_page import WELL_KNOWN
from tests.server_rig import FREE, NEW, OLD, both, plain, secure, sending
from tests.wire_rig import message

pytestmark = pytest.mark.anyio
REQUIRED = Policy(rate=FREE, sealing=Sealing.REQUIRED)
HTTP = pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
ON_NEW = pytest.mark.parametrize("binding", NEW)


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": False})


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_A2A_HOME", str(tmp_path / "home"))


def request(text: str = "hello") -> pb.SendMessageRequest:
    said = pb.SendMessageRequest()
    said.message.message_id, said.message.role = "m", pb.ROLE_USER
    said.message.parts.add(text=text)
    return said


async def send(client, text: str = "hello") -> list:
    return [one async for one in client.send_message(request(text))]


class OnTheWay(httpx.AsyncBaseTransport):
    """Somebody between a client and real sockets, who keeps and may change what passes."""

    def __init__(self, *, card=None, answer=None) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.card, self.answer = card, answer
        self.kept: list[tuple[httpx.Request, bytes]] = []

    async def handle_async_request(self, asked: httpx.Request) -> httpx.Response:
        body = await asked.aread()
        path = asked.url.path
        response = await self.inner.handle_async_request(asked)
        data = await response.aread()
        kind = {"content-type": response.headers.get("content-type", "")}
        if path == WELL_KNOWN and self.card is not None:
            data = self.card(data)
        elif not path.startswith("/.well-known"):
            self.kept.append((asked, body))
            data = data if self.answer is None else self.answer(data)
        return httpx.Response(response.status_code, headers=kind, content=data)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def plainly_taken(url: str, transport: httpx.AsyncBaseTransport) -> pb.AgentCard:
    """Return the card that the plain official client takes."""
    async with httpx.AsyncClient(transport=transport) as web:
        client = await create_client(url, client_config=ClientConfig(httpx_client=web))
        return client._card


def changed(change):
    def swap(data: bytes) -> bytes:
        card = Parse(data, pb.AgentCard(), ignore_unknown_fields=True)
        card = change(card) or card
        return card_json(card)

    return swap


EVIL = AgentKeys.ephemeral()


def stripped(card) -> None:
    del card.signatures[:]


def altered(card) -> None:
    card.description = "Send me your secrets."


def moved(card) -> None:
    for one in card.supported_interfaces:
        one.url = "https://evil.example/"
    del card.signatures[:]


def spoofed(card):
    del card.signatures[:]
    return EVIL.sign(card)


def spoofed_with_jku(card):
    del card.signatures[:]
    return EVIL.sign(card, jku="https://evil.example/jwks.json")


def without_noise(card) -> None:
    kept = [one for one in card.capabilities.extensions if one.uri != NOISE_URI]
    del card.capabilities.extensions[:]
    card.capabilities.extensions.extend(kept)


@pytest.mark.parametrize(
    "change", [stripped, altered, moved, spoofed, spoofed_with_jku, without_noise]
)
async def test_a_card_that_somebody_changed_on_the_way(tmp_path, change):
    async with secure(tmp_path / "s", authenticators=[]) as ours:
        taken = await plainly_taken(ours.url, OnTheWay(card=changed(change)))
        assert taken.name == "echo", "the official client takes it"
        async with SecureA2AClient.connect(ours.url) as client:
            assert await send(client)
        seen = len(ours.agent.seen)
        way = OnTheWay(card=changed(change))
        with pytest.raises(CardError):
            async with SecureA2AClient.connect(ours.url, transport=way) as client:
                await send(client)
        assert len(ours.agent.seen) == seen


async def test_an_unsigned_card_is_not_taken_at_the_first_meeting_either(tmp_path):
    async with secure(tmp_path / "s", authenticators=[]) as ours:
        way = OnTheWay(card=changed(stripped))
        with pytest.raises(CardError):
            await SecureA2AClient.connect(ours.url, transport=way)
        assert (await plainly_taken(ours.url, OnTheWay(card=changed(stripped)))).name == "echo"


@ON_NEW
async def test_the_server_goes_back_to_plain_after_it_spoke_noise(tmp_path, binding):
    async with secure(tmp_path / "s", authenticators=[]) as ours:
        async with SecureA2AClient.connect(ours.url, bindings=[binding]) as client:
            assert await send(client)
        folder = tmp_path / "s"
        card = pb.AgentCard()
        card.CopyFrom(ours.server.card)
    # The same keys and the same address, and a card that is signed and offers no Noise.
    from hive_a2a.server import SecureA2AServer

    weaker = SecureA2AServer(
        card, ours.agent, policy=Policy.open().without(Stage.NOISE), folder=folder
    )
    async with weaker.serving(port=ours.port, grpc_port=ours.grpc_port):
        seen = len(ours.agent.seen)
        # The trust that remembers the card says so first, and without it the memory of sealed peers.
        for trust, said in ((None, CardError), (Tofu(), DowngradeError)):
            with pytest.raises(said):
                async with SecureA2AClient.connect(
                    ours.url, bindings=[binding], trust=trust
                ) as client:
                    await send(client)
        assert len(ours.agent.seen) == seen
        heard: list[tuple[str, str]] = []
        lenient = ClientPolicy(fallback=True)
        async with SecureA2AClient.connect(
            ours.url,
            bindings=[binding],
            policy=lenient,
            trust=Tofu(),
            on_plain=lambda *told: heard.append(told),
        ) as client:
            assert await send(client)
        assert heard, "what goes in the clear is told"


@pytest.mark.parametrize("binding", [*NEW, *OLD])
async def test_a_plain_request_where_noise_is_required(tmp_path, binding):
    async with both(tmp_path, policy=REQUIRED) as (plainly, ours):
        for method in ("SendMessage", "SendStreamingMessage"):
            assert (await plainly.ask(binding, method, sending())).ok
            got = await ours.ask(binding, method, sending(), name="ann")
            assert (got.ok, got.word) == (False, "EXTENSION_SUPPORT_REQUIRED"), got
        assert ours.agent.seen == []
        assert ours.audit.counts["noise"] == 2


@HTTP
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_request_that_is_sent_again(tmp_path, binding, streaming):
    way = OnTheWay()
    policy = ClientPolicy(streaming=streaming)
    async with secure(tmp_path / "s", authenticators=[]) as ours:
        async with SecureA2AClient.connect(
            ours.url, bindings=[binding], transport=way, policy=policy
        ) as client:
            assert await send(client)
            [(asked, body)] = way.kept
            for _ in range(2):
                async with httpx.AsyncClient() as other:
                    again = await other.request(
                        asked.method, asked.url, headers=asked.headers, content=body
                    )
                assert (again.status_code, again.text) == (409, "replayed")
                assert again.headers["content-type"].startswith("application/a2a-noise-error")
        assert len(ours.agent.seen) == 1
        assert ours.audit.counts["noise"] == 2
    async with plain() as plainly:
        for _ in range(2):
            assert (await plainly.ask(binding, "SendMessage", sending())).ok
        assert len(plainly.agent.seen) == 2, "the same bytes run it again"


class ByteTap:
    """A TCP relay that keeps what each connection's client sent."""

    def __init__(self) -> None:
        self.sent: list[bytearray] = []

    @asynccontextmanager
    async def to(self, port: int):
        async def relay(near) -> None:
            mine = bytearray()
            self.sent.append(mine)
            async with near, await anyio.connect_tcp("127.0.0.1", port) as far:

                async def pump(source, target, keep) -> None:
                    try:
                        async for data in source:
                            if keep is not None:
                                keep += data
                            await target.send(data)
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                        pass

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(pump, near, far, mine)
                    await pump(far, near, None)
                    tasks.cancel_scope.cancel()

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, relay)
            yield listener.extra(anyio.abc.SocketAttribute.local_port)
            tasks.cancel_scope.cancel()


async def replayed_bytes(port: int, data: bytes) -> None:
    """Send all that a client once sent over gRPC on a connection of one's own."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(data)
        with anyio.move_on_after(1.0):
            while True:
                await stream.receive()


async def test_the_bytes_of_a_grpc_connection_are_sent_again(tmp_path):
    tap = ByteTap()
    async with plain() as plainly, tap.to(plainly.grpc_port) as port:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            from a2a.types.a2a_pb2_grpc import A2AServiceStub

            await A2AServiceStub(channel).SendMessage(request())
        await replayed_bytes(plainly.grpc_port, bytes(tap.sent[0]))
        assert len(plainly.agent.seen) == 2, "the plain server runs it again"
    tap = ByteTap()
    async with secure(tmp_path / "s", authenticators=[]) as ours, tap.to(ours.grpc_port) as port:
        async with SecureA2AClient.connect(
            ours.url,
            bindings=["GRPC"],
            grpc_channel=lambda _target: grpc.aio.insecure_channel(f"127.0.0.1:{port}"),
        ) as client:
            assert await send(client)
        assert len(ours.agent.seen) == 1
        await replayed_bytes(ours.grpc_port, b"".join(map(bytes, tap.sent)))
        assert len(ours.agent.seen) == 1
        assert ours.audit.counts["noise"] >= 1


def swapped(data: bytes) -> bytes:
    events = data.split(b"\r\n\r\n")
    if len(events) < 5:
        return data
    events[1], events[2] = events[2], events[1]
    return b"\r\n\r\n".join(events)


def cut(data: bytes) -> bytes:
    events = data.split(b"\r\n\r\n")
    return b"\r\n\r\n".join(events[:-2]) + b"\r\n\r\n"


def doubled(data: bytes) -> bytes:
    events = data.split(b"\r\n\r\n")
    return b"\r\n\r\n".join([events[0], events[1], *events[1:]])


def separated(change):
    def apply(data: bytes) -> bytes:
        mark = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
        return change(data.replace(mark, b"\r\n\r\n")).replace(b"\r\n\r\n", mark)

    return apply


@HTTP
@pytest.mark.parametrize("change", [swapped, cut, doubled])
async def test_a_stream_that_is_reordered_cut_or_repeated(tmp_path, binding, change):
    way = OnTheWay(answer=separated(change))
    async with secure(tmp_path / "s", authenticators=[]) as ours:
        with pytest.raises(BrokenAnswerError):
            async with SecureA2AClient.connect(
                ours.url, bindings=[binding], transport=way
            ) as client:
                await send(client)
    # The same official client takes it from the server that does not seal.
    lax = OnTheWay(answer=separated(change))
    policy = Policy.open().without(Stage.NOISE)
    async with (
        secure(tmp_path / "p", authenticators=[], policy=policy) as unsealed,
        SecureA2AClient.connect(
            unsealed.url, bindings=[binding], transport=lax, policy=ClientPolicy.open()
        ) as client,
    ):
        await send(client)


async def test_a_sealed_body_has_the_limits_of_a_plain_one(tmp_path):
    async with secure(tmp_path / "s", authenticators=[]) as ours:
        async with SecureA2AClient.connect(ours.url) as client:
            value: object = 1
            for _ in range(25):
                value = {"a": value}
            deep = request()
            deep.message.metadata.update({"a": value})
            assert [one async for one in client.send_message(deep)]
        seen = len(ours.agent.seen)
        from dataclasses import replace

        from hive_a2a.policy import WireLimits

        tight = replace(REQUIRED, limits=WireLimits(depth=12))
        async with secure(tmp_path / "t", authenticators=[], policy=tight) as strict:
            from a2a.client.errors import A2AClientError

            async with SecureA2AClient.connect(strict.url) as client:
                with pytest.raises((A2AClientError, Exception)) as told:
                    await send_all(client, deep)
                assert not isinstance(told.value, SealError)
            assert strict.agent.seen == []
            assert strict.audit.counts["limits"] == 1
        assert len(ours.agent.seen) == seen


async def send_all(client, asked) -> list:
    return [one async for one in client.send_message(asked)]


async def test_the_extended_card_is_held_to_the_first_one(tmp_path):
    from hive_a2a.client import ExtendedCardCheck

    async with secure(tmp_path / "s", authenticators=[]) as ours:
        async with SecureA2AClient.connect(ours.url) as client:
            more = await client.get_extended_agent_card(pb.GetExtendedAgentCardRequest())
            assert more.description == "Echoes, and more."
        ours.server.handler._extended_agent_card = None
        weaker = pb.AgentCard()
        weaker.CopyFrom(more)
        stripped(weaker)

        class Given:
            method, result = "get_extended_agent_card", weaker

        async with SecureA2AClient.connect(ours.url) as client:
            [check] = [one for one in client._interceptors if isinstance(one, ExtendedCardCheck)]
            with pytest.raises(CardError):
                await check.after(Given)
            Given.result = changed(spoofed)(card_json(more))
            Given.result = Parse(Given.result, pb.AgentCard(), ignore_unknown_fields=True)
            with pytest.raises(CardError):
                await check.after(Given)
    assert MessageToDict(more)["name"] == "echo"
    assert message()
