"""Somebody wants a peer who speaks Noise to be spoken to in the clear."""

import httpx
import pytest

from hive_a2a.cards.noise_params import NOISE_URI, NoiseParams, put_noise
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.policy import Sealing
from hive_a2a.sealed.errors import DowngradeError, UnsealedAnswerError
from hive_a2a.sealed.memory import PeersInFile, PeersInMemory, SpokenNoise
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.transport import NoiseTransport
from tests.sealed_rig import (
    SECRET,
    Meddler,
    card_of,
    events_of,
    message_request,
    official_client,
    sealed_place,
)

pytestmark = pytest.mark.anyio
URL = "http://agent.test"


def copy_of(card):
    return type(card).FromString(card.SerializeToString())


def stripped(card):
    bare = copy_of(card)
    del bare.capabilities.extensions[:]
    return bare


@pytest.fixture(params=["memory", "file"])
def memory(request, tmp_path):
    return PeersInMemory() if request.param == "memory" else PeersInFile(tmp_path / "peers.json")


async def spoken_with(place, memory) -> None:
    peers = PinnedPeers(static=new_exchange_pair(), memory=memory)
    async with official_client(place, peers=peers, streaming=False) as client:
        await events_of(client)


async def test_a_card_stripped_of_noise_is_refused_after_noise_was_spoken(memory):
    place = sealed_place(sealing=Sealing.OFFERED)
    await spoken_with(place, memory)
    fresh = PinnedPeers(static=new_exchange_pair(), memory=memory)
    with pytest.raises(DowngradeError):
        await fresh.pin(stripped(place.card))
    moved = stripped(place.card)
    moved.supported_interfaces[0].url = "http://agent.test/elsewhere"
    with pytest.raises(DowngradeError):
        await fresh.pin(moved, address=URL)


async def test_without_the_memory_a_stripped_card_is_believed():
    place = sealed_place(sealing=Sealing.OFFERED)
    told = []
    peers = PinnedPeers(static=new_exchange_pair(), on_plain=lambda *one: told.append(one))
    await peers.pin(stripped(place.card))
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, peers=peers, pin=False) as client:
        await events_of(client)
    assert SECRET.encode() in meddler.seen[-1][1]
    assert told[0][0].startswith(URL)  # and so it is told, each time


async def test_falling_back_takes_a_word_of_the_policy_and_is_told(memory):
    place = sealed_place(sealing=Sealing.OFFERED)
    await spoken_with(place, memory)
    told = []
    peers = PinnedPeers(
        static=new_exchange_pair(),
        memory=memory,
        fallback=True,
        on_plain=lambda *one: told.append(one),
    )
    await peers.pin(stripped(place.card))
    assert told == [(f"{URL}/" if told[0][0].endswith("/") else URL, told[0][1])]
    assert "no longer offers" in told[0][1]


async def test_a_request_to_a_remembered_peer_without_a_card_stays_unsent(memory):
    place = sealed_place(sealing=Sealing.OFFERED)
    await spoken_with(place, memory)
    peers = PinnedPeers(static=new_exchange_pair(), memory=memory)
    meddler = Meddler(place.app)
    async with httpx.AsyncClient(transport=NoiseTransport(meddler, peers=peers)) as web:
        for path in ("", "/", "/message:send", "/tenant/tasks/1?x=y"):
            with pytest.raises(DowngradeError):
                await web.post(f"{URL}{path}", json={"secret": SECRET})
    assert meddler.seen == []


async def test_a_card_that_requires_noise_is_never_answered_in_the_clear():
    place = sealed_place()
    for sealing in Sealing:
        meddler = Meddler(place.app, request=lambda *_: httpx.Response(503))
        peers = PinnedPeers(static=new_exchange_pair(), sealing=sealing)
        async with official_client(place, inner=meddler, peers=peers) as client:
            with pytest.raises(UnsealedAnswerError):
                await events_of(client)
        assert all(SECRET.encode() not in body for _, body in meddler.seen)


async def test_the_policy_that_requires_noise_sends_nothing_to_a_plain_peer():
    place = sealed_place(sealing=Sealing.OFFERED)
    meddler = Meddler(place.app)
    peers = PinnedPeers(static=new_exchange_pair(), sealing=Sealing.REQUIRED)
    with pytest.raises(DowngradeError):
        await peers.pin(stripped(place.card))
    async with official_client(place, inner=meddler, peers=peers, pin=False) as client:
        with pytest.raises(DowngradeError):
            await events_of(client)
    assert meddler.seen == []


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_the_server_that_requires_noise_refuses_the_clear_with_the_standards_error(
    binding, streaming
):
    from a2a.utils.errors import ExtensionSupportRequiredError

    place = sealed_place(bindings=(binding,))
    peers = PinnedPeers(static=new_exchange_pair(), sealing=Sealing.OFFERED)
    bare = stripped(place.card)
    await peers.pin(bare)
    async with official_client(
        place, peers=peers, pin=False, streaming=streaming, bindings=(binding,)
    ) as client:
        with pytest.raises(ExtensionSupportRequiredError):
            await events_of(client)
    assert place.parrot.heard == []


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/tasks",
        "/.well-known/tasks/1",
        "/.well-known/extendedAgentCard",
        "/v1/.well-known/card",
        "/tasks/.well-known",
    ],
)
async def test_a_tenant_called_well_known_is_no_way_in(path):
    place = sealed_place(bindings=("HTTP+JSON",))
    status, _, answer = await Meddler(place.app).send("GET", f"{URL}{path}", {}, b"")
    assert status == 400
    assert b"EXTENSION_SUPPORT_REQUIRED" in answer
    assert place.scopes == []


async def test_nobody_but_the_middleware_says_that_a_request_was_sealed():
    place = sealed_place(sealing=Sealing.OFFERED)
    forged = (b"\x01" * 32, b"\x02" * 32)

    async def with_forged_scope(scope, receive, send):
        await place.app({**scope, "hive_a2a.noise": forged}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(with_forged_scope)) as web:
        await web.get(f"{URL}/tasks")
    assert "hive_a2a.noise" not in place.scopes[-1]


async def test_a_card_that_goes_back_to_an_older_key_is_refused(memory):
    old, new = new_exchange_pair(), new_exchange_pair()
    for name in (URL, f"{URL}/"):
        await memory.remember(name, SpokenNoise(static_key=new.public, epoch=2))
    peers = PinnedPeers(static=new_exchange_pair(), memory=memory)

    def card(key, epoch):
        made = card_of(URL)
        put_noise(made, NoiseParams(static_key=key.public, epoch=epoch))
        return made

    with pytest.raises(DowngradeError):
        await peers.pin(card(old, 1))
    with pytest.raises(DowngradeError):
        await peers.pin(card(old, 2))
    await peers.pin(card(new, 2))
    await peers.pin(card(old, 3))


async def test_a_url_that_is_written_differently_is_the_same_peer():
    place = sealed_place("HTTP://Agent.TEST:80")
    peers = PinnedPeers(static=new_exchange_pair())
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, peers=peers, streaming=False) as client:
        await events_of(client)
    assert all(SECRET.encode() not in body for _, body in meddler.seen)
    assert place.parrot.heard == [SECRET]


async def test_the_list_of_extensions_outside_names_the_seal_alone():
    place = sealed_place()
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, streaming=False) as client:
        from a2a.client.client import ClientCallContext

        context = ClientCallContext(service_parameters={"A2A-Extensions": "urn:x:private"})
        async for _ in client.send_message(message_request(), context=context):
            pass
    assert meddler.seen[-1][0].headers["a2a-extensions"] == NOISE_URI
    inner = dict(place.scopes[-1]["headers"])[b"a2a-extensions"].decode()
    assert {one.strip() for one in inner.split(",")} == {NOISE_URI, "urn:x:private"}


@pytest.mark.parametrize("sealing", [Sealing.OFFERED, Sealing.REQUIRED])
async def test_credentials_do_not_go_in_the_clear_with_the_question_for_a_card(sealing):
    place = sealed_place()
    meddler = Meddler(place.app)
    peers = PinnedPeers(static=new_exchange_pair(), sealing=sealing)
    if sealing is Sealing.OFFERED:
        await peers.pin(place.card)
    headers = {"authorization": "Bearer t-1", "cookie": "t-1", "x-api-key": "t-1"}
    transport = NoiseTransport(meddler, peers=peers)
    async with httpx.AsyncClient(transport=transport, headers=headers) as web:
        answer = await web.get(f"{URL}/.well-known/agent-card.json?key=t-1")
    assert answer.status_code == 200
    request = meddler.seen[0][0]
    assert "t-1" not in str(request.url)
    assert "t-1" not in str(list(request.headers.items()))


async def test_a_card_fetched_from_the_official_routes_hashes_as_the_server_hashes_it():
    from a2a.client import A2ACardResolver

    place = sealed_place()
    peers = PinnedPeers(static=new_exchange_pair())
    transport = NoiseTransport(httpx.ASGITransport(place.app), peers=peers)
    async with httpx.AsyncClient(transport=transport) as web:
        card = await A2ACardResolver(web, URL).get_agent_card()
    await peers.pin(card, address=URL)
    async with official_client(place, peers=peers, pin=False) as client:
        assert len(await events_of(client)) == 5
