"""Attacks on the seal by somebody on the way who also is a client of his own."""

import httpx
import pytest

from hive_a2a.cards.noise_params import HANDSHAKE_PATH, NoiseParams, noise_of, put_noise
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.noise.errors import ReplayedError
from hive_a2a.policy import WireLimits
from hive_a2a.sealed.binding import InnerRequest, read_inner_request
from hive_a2a.sealed.errors import DowngradeError, SealError, SealFault, SealRefusedError
from hive_a2a.sealed.extension import ERROR_TYPE
from hive_a2a.sealed.http_server import always
from hive_a2a.sealed.memory import PeersInMemory, SpokenNoise
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.responder import Responder, ResponderLimits, SealedAgent
from tests.noise_rig import StillClock, two_sessions
from tests.sealed_rig import card_of, events_of, official_client, sealed_place

pytestmark = pytest.mark.anyio
LOST = httpx.Response(409, headers={"content-type": ERROR_TYPE}, content=b"session-unknown")


class Liar(httpx.AsyncBaseTransport):
    """Delivers the first sealed request, has others fill the server's memory, and says that it was not opened."""

    def __init__(self, place, fill) -> None:
        self.inner = httpx.ASGITransport(place.app)
        self.fill = fill
        self.lied = False

    async def handle_async_request(self, request):
        answer = await self.inner.handle_async_request(request)
        if request.url.path == HANDSHAKE_PATH or self.lied:
            return answer
        self.lied = True
        await answer.aread()
        await self.fill()
        return httpx.Response(409, headers=dict(LOST.headers), stream=_Bytes(b"session-unknown"))


class _Bytes(httpx.AsyncByteStream):
    def __init__(self, data):
        self.data = data

    async def __aiter__(self):
        yield self.data


async def test_a_request_happens_twice_once_others_have_filled_what_is_remembered():
    place = sealed_place(responder=Responder(limits=ResponderLimits(opened_max=4)))

    async def fill():
        async with official_client(place, streaming=False) as other:
            for _ in range(5):
                await events_of(other, "filler")

    async with official_client(place, inner=Liar(place, fill), streaming=False) as victim:
        with pytest.raises(SealRefusedError, match="replayed"):
            await events_of(victim, "pay once")
    assert place.parrot.heard.count("pay once") == 1


async def test_handshakes_of_one_address_are_without_end():
    clock = StillClock()
    responder = Responder(clock=clock, wire=WireLimits(handshakes_per_s=1.0, handshakes_burst=3))
    place = sealed_place(responder=responder)

    async def shake() -> None:
        async with official_client(place, streaming=False) as client:
            await events_of(client, "hello")

    for _ in range(3):
        await shake()
    with pytest.raises(SealError, match="too-many"):
        await shake()
    clock.seconds += 1.5
    await shake()
    with pytest.raises(SealError, match="too-many"):
        await shake()


async def spoken_with(place, memory, *, address: str) -> None:
    peers = PinnedPeers(static=new_exchange_pair(), memory=memory)
    await peers.pin(place.card, address=address)
    async with official_client(place, peers=peers, pin=False, streaming=False) as client:
        await events_of(client, "hello")


async def test_an_agent_that_lists_the_address_of_another_locks_everybody_out_of_it():
    memory = PeersInMemory()
    villain = sealed_place("http://villain.test")
    villain.card.supported_interfaces.add(
        url="http://agent.test/", protocol_binding="HTTP+JSON", protocol_version="1.0"
    )
    put_noise(villain.card, NoiseParams(static_key=villain.static.public, epoch=2**52))
    params = noise_of(villain.card)
    villain = sealed_place_of(villain, params)
    await spoken_with(villain, memory, address="http://villain.test/")
    assert await memory.recall("http://villain.test") is not None
    assert await memory.recall("http://agent.test/") is None
    await spoken_with(sealed_place("http://agent.test/"), memory, address="http://agent.test/")


def sealed_place_of(place, params):
    """Serve the card of a place as it has become."""
    agent = SealedAgent.of_card(place.card, params, place.static)
    place.app._agents_of = always(agent)
    place.agent = agent
    return place


async def test_a_card_without_a_key_takes_the_epoch_back():
    memory = PeersInMemory()
    await memory.remember("http://agent.test/", SpokenNoise(static_key=b"k" * 32, epoch=5))
    for key in (None, b"k" * 32, b"o" * 32):
        card = card_of("http://agent.test/")
        put_noise(card, NoiseParams(static_key=key, epoch=4))
        with pytest.raises(DowngradeError):
            await PinnedPeers(static=new_exchange_pair(), memory=memory).pin(card)


async def test_one_forgotten_name_hides_that_another_shows_a_strange_key():
    memory = PeersInMemory()
    place = sealed_place("http://agent.test/", names_key=False)
    here = SpokenNoise(static_key=place.static.public, epoch=1)
    await memory.remember("http://agent.test/", here)
    await memory.remember("http://agent.test/card", SpokenNoise(static_key=b"k" * 32, epoch=1))
    with pytest.raises(DowngradeError):
        await spoken_with(place, memory, address="http://agent.test/card")


@pytest.mark.parametrize(
    "line", [(b"a2a-extensions", b"," * 70_000), (b"proxy-identity", b"boss"), (b"via", b"x")]
)
def test_what_is_inside_has_headers_that_no_head_outside_could_have(line):
    sealed = InnerRequest(body=b"", headers=(line,)).encode()
    with pytest.raises(SealFault):
        read_inner_request(sealed)
    assert read_inner_request(InnerRequest(body=b"", headers=((b"x", b"y"),)).encode())


def test_a_number_is_claimed_once_and_its_text_opens_no_more():
    one, other = two_sessions()
    first, second = one.seal(b"a", b""), one.seal(b"b", b"")
    assert other.open(first.nonce, first.data, b"") == b"a"
    assert not other.claim(first.nonce)
    assert other.claim(second.nonce)
    assert not other.claim(second.nonce)
    with pytest.raises(ReplayedError):
        other.open(second.nonce, second.data, b"")
    assert not other.claim(1 << 60)
    assert other.claim(1 << 20)
    other.close()
    assert not other.claim(5)
