"""Somebody changes the handshake, the card or the audience, floods the server, or runs with a stolen session."""

import secrets

import httpx
import pytest

from hive_a2a.cards.noise_params import HANDSHAKE_PATH, NOISE_URI, NoiseParams, put_noise
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.errors import SealError
from hive_a2a.noise.cipher import CHACHA, wire_suite
from hive_a2a.noise.handshake import Handshake
from hive_a2a.noise.prologue import prologue
from hive_a2a.noise.store import StoreLimits
from hive_a2a.sealed.binding import InnerRequest, RequestBinding
from hive_a2a.sealed.errors import SealCode, SealFault, SealRefusedError
from hive_a2a.sealed.extension import HANDSHAKE_TYPE
from hive_a2a.sealed.initiator import Initiator, SealedPeer
from hive_a2a.sealed.memory import PeersInMemory
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.responder import (
    Responder,
    ResponderLimits,
    SealedAgent,
    handshake_end,
    handshake_request,
)
from tests.sealed_rig import ANSWER, Meddler, events_of, official_client, sealed_place

pytestmark = pytest.mark.anyio
URL = "https://agent.test/a"


def agent_of(static, *, card_hash=b"\x01" * 32, hybrid=False) -> SealedAgent:
    return SealedAgent(
        card_hash=card_hash,
        static=static,
        interfaces=frozenset({(URL, "1.0")}),
        hybrid=hybrid,
    )


def peer_of(agent: SealedAgent, *, named=True, **changes) -> SealedPeer:
    params = NoiseParams(static_key=agent.static.public if named else None, hybrid=agent.hybrid)
    return SealedPeer(
        **{
            "address": URL,
            "version": "1.0",
            "card_hash": agent.card_hash,
            "params": params,
            "names": (URL,),
        }
        | changes
    )


def initiator_to(responder, agent, peer=None, *, change=None, hybrid=False, **options) -> Initiator:
    async def exchange(message: bytes) -> bytes:
        if change is not None:
            message = change(message)
        try:
            return responder.shake(message, (agent,))
        except SealFault as fault:
            raise SealRefusedError(fault.code) from None

    return Initiator(
        peer or peer_of(agent),
        static=options.get("static") or new_exchange_pair(),
        memory=options.get("memory") or PeersInMemory(),
        exchange=exchange,
        hybrid=hybrid,
    )


BINDING = RequestBinding(b"POST", b"/a", b"1.0", NOISE_URI.encode())


@pytest.mark.parametrize("named", [True, False])
async def test_no_flipped_bit_of_a_handshake_goes_unnoticed(named):
    agent = agent_of(new_exchange_pair())
    size = 0

    def measure(message):
        nonlocal size
        size = max(size, len(message))
        return message

    await initiator_to(Responder(), agent, peer_of(agent, named=named), change=measure).session()
    for bit in range(0, size * 8, 7):
        responder = Responder()

        def flip(message, bit=bit):
            changed = bytearray(message)
            if bit // 8 < len(changed):
                changed[bit // 8] ^= 1 << bit % 8
            return bytes(changed)

        client = initiator_to(responder, agent, peer_of(agent, named=named), change=flip)
        with pytest.raises(SealError):
            await client.session()
        assert len(responder.store) == 0


@pytest.mark.parametrize("named", [True, False])
async def test_no_flipped_bit_of_the_answer_goes_unnoticed(named):
    agent = agent_of(new_exchange_pair())
    # IK answers with a key, an id and a tag: 64 bytes. XX's answer is longer by the responder's key.
    for bit in range(0, (64 if named else 112) * 8, 7):
        responder = Responder()

        async def exchange(message, bit=bit, responder=responder):
            answer = bytearray(responder.shake(message, (agent,)))
            answer[bit // 8] ^= 1 << bit % 8
            return bytes(answer)

        client = Initiator(
            peer_of(agent, named=named),
            static=new_exchange_pair(),
            memory=PeersInMemory(),
            exchange=exchange,
        )
        with pytest.raises(SealError):
            await client.session()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"card_hash": b"\x02" * 32}, SealCode.CARD_UNKNOWN),
        ({"address": "https://other.test/a"}, SealCode.AUDIENCE_UNKNOWN),
        ({"version": "0.3"}, SealCode.AUDIENCE_UNKNOWN),
    ],
)
@pytest.mark.parametrize("named", [True, False])
async def test_another_card_audience_or_version_is_refused(change, code, named):
    agent = agent_of(new_exchange_pair())
    client = initiator_to(Responder(), agent, peer_of(agent, named=named, **change))
    with pytest.raises(SealRefusedError) as refused:
        await client.session()
    assert refused.value.code == code


@pytest.mark.parametrize("field", [2, 3, 4])
async def test_even_one_who_mends_the_words_outside_cannot_mend_the_prologue(field):
    """The words of the first message are only for finding the card; what counts is what both hashed."""
    agent = agent_of(new_exchange_pair())
    right = [b"IK", CHACHA.encode(), agent.card_hash, URL.encode(), b"1.0"]
    believed = [*right]
    believed[field] = {2: b"\x07" * 32, 3: b"https://evil.test", 4: b"0.3"}[field]
    handshake = Handshake(
        "IK",
        wire_suite(CHACHA),
        initiator=True,
        prologue=prologue(NOISE_URI, believed[2], believed[3].decode(), believed[4].decode()),
        static=new_exchange_pair(),
        remote_static=agent.static.public,
    )
    message = handshake.write(b"")
    with pytest.raises(SealFault) as fault:
        Responder().shake(handshake_request("IK", CHACHA, right[2], URL, "1.0", message), (agent,))
    assert fault.value.code is SealCode.HANDSHAKE_FAILED


async def test_a_card_changed_on_the_way_gives_no_session():
    place = sealed_place()
    peers = PinnedPeers(static=new_exchange_pair())
    changed = type(place.card).FromString(place.card.SerializeToString())
    changed.description = "repeats, and sends a copy elsewhere"
    await peers.pin(changed)
    async with official_client(place, peers=peers, pin=False) as client:
        with pytest.raises(SealRefusedError) as refused:
            await events_of(client)
    assert refused.value.code == SealCode.CARD_UNKNOWN
    assert place.parrot.heard == []


async def test_a_card_with_somebody_elses_key_gives_him_nothing():
    place = sealed_place()
    peers = PinnedPeers(static=new_exchange_pair())
    theirs = type(place.card).FromString(place.card.SerializeToString())
    await peers.pin(theirs)
    thief = sealed_place(static=new_exchange_pair())  # his own key, the same address
    async with official_client(thief, peers=peers, pin=False) as client:
        with pytest.raises(SealError):
            await events_of(client)
    assert thief.parrot.heard == []


async def test_the_one_in_the_middle_without_the_key_gets_no_session():
    agent = agent_of(new_exchange_pair())
    thief = agent_of(new_exchange_pair())  # same card and address, another key
    with pytest.raises(SealRefusedError) as refused:
        await initiator_to(Responder(), thief, peer_of(agent)).session()
    assert refused.value.code == SealCode.HANDSHAKE_FAILED


async def test_one_who_was_first_met_by_xx_must_keep_his_key():
    agent, thief = agent_of(new_exchange_pair()), agent_of(new_exchange_pair())
    memory = PeersInMemory()
    await initiator_to(Responder(), agent, peer_of(agent, named=False), memory=memory).session()
    responder = Responder()
    client = initiator_to(responder, thief, peer_of(thief, named=False), memory=memory)
    with pytest.raises(SealError, match="another key than before"):
        await client.session()
    # The client's own key was not shown to him either: the third message never went out.
    assert len(responder.store) == 0


async def test_a_recorded_first_message_pushes_nobody_out():
    """The first message of IK can be sent again by anybody; what it makes must not cost others theirs."""
    agent = agent_of(new_exchange_pair())
    responder = Responder(store=StoreLimits(sessions_max=4, sessions_per_peer_max=2, pending_max=8))
    recorded = []
    client = initiator_to(responder, agent, change=lambda one: recorded.append(one) or one)
    sealed = await client.seal(InnerRequest(body=b"1"), BINDING)
    responder.open(sealed.frame, BINDING, (agent,))
    for _ in range(100):
        responder.shake(recorded[0], (agent,))
    assert len(responder.store) <= 1 + 8
    again = await client.seal(InnerRequest(body=b"2"), BINDING)
    assert responder.open(again.frame, BINDING, (agent,)).inner.body == b"2"


async def test_a_flood_of_handshakes_stays_within_its_bounds():
    agent = agent_of(new_exchange_pair())
    responder = Responder(store=StoreLimits(sessions_max=5, pending_max=6))
    for _ in range(40):
        client = initiator_to(responder, agent)
        sealed = await client.seal(InnerRequest(body=b"x"), BINDING)
        responder.open(sealed.frame, BINDING, (agent,))
        await initiator_to(responder, agent).session()
        begun = Handshake(
            "XX",
            wire_suite(CHACHA),
            initiator=True,
            prologue=prologue(NOISE_URI, agent.card_hash, URL, "1.0"),
            static=new_exchange_pair(),
        )
        responder.shake(
            handshake_request("XX", CHACHA, agent.card_hash, URL, "1.0", begun.write(b"")),
            (agent,),
        )
    assert len(responder.store) == 5 + 6  # proved ones, and those that nobody has used
    assert responder.store.pending == 6
    assert len(responder._pending_agents) <= 6


async def test_the_memory_of_opened_requests_is_bounded():
    agent = agent_of(new_exchange_pair())
    responder = Responder(limits=ResponderLimits(opened_max=10))
    client = initiator_to(responder, agent)
    for _ in range(50):
        sealed = await client.seal(InnerRequest(body=b"x"), BINDING)
        responder.open(sealed.frame, BINDING, (agent,))
    assert len(responder._opened) == 10


async def test_two_servers_with_one_key_do_not_open_each_others_requests():
    static = new_exchange_pair()
    one, two = sealed_place(static=static), sealed_place(static=static)
    way = Meddler(one.app)
    async with official_client(one, inner=way, streaming=False) as client:
        await events_of(client)
        way.inner = httpx.ASGITransport(two.app)
        assert await way.repeat() == (409, SealCode.SESSION_UNKNOWN.value.encode())
        # A balancer that moves the client to the other server costs one handshake, and nothing else.
        assert ANSWER in str(await events_of(client))
    assert way.handshakes == 2
    assert len(one.parrot.heard) == len(two.parrot.heard) == 1


async def test_a_session_made_with_one_agent_opens_nothing_at_another():
    static = new_exchange_pair()
    one, two = agent_of(static), agent_of(static, card_hash=b"\x03" * 32)
    responder = Responder()
    client = initiator_to(responder, one)
    sealed = await client.seal(InnerRequest(body=b"x"), BINDING)
    with pytest.raises(SealFault) as fault:
        responder.open(sealed.frame, BINDING, (two,))
    assert fault.value.code is SealCode.SESSION_UNKNOWN
    assert responder.open(sealed.frame, BINDING, (two, one)).inner.body == b"x"


async def test_what_a_handshake_carries_early_is_refused():
    agent = agent_of(new_exchange_pair())
    for pattern in ("IK", "XX"):
        handshake = Handshake(
            pattern,
            wire_suite(CHACHA),
            initiator=True,
            prologue=prologue(NOISE_URI, agent.card_hash, URL, "1.0"),
            static=new_exchange_pair(),
            remote_static=agent.static.public if pattern == "IK" else None,
        )
        with pytest.raises(SealFault) as fault:
            Responder().shake(
                handshake_request(
                    pattern, CHACHA, agent.card_hash, URL, "1.0", handshake.write(b"early")
                ),
                (agent,),
            )
        assert fault.value.code is SealCode.MALFORMED


async def test_a_third_message_counts_once_and_only_for_its_agent():
    agent, other = agent_of(new_exchange_pair()), agent_of(new_exchange_pair())
    responder = Responder()
    for agents, code in (
        ((other,), SealCode.SESSION_UNKNOWN),
        ((agent,), None),
    ):
        handshake = Handshake(
            "XX",
            wire_suite(CHACHA),
            initiator=True,
            prologue=prologue(NOISE_URI, agent.card_hash, URL, "1.0"),
            static=new_exchange_pair(),
        )
        first = handshake_request("XX", CHACHA, agent.card_hash, URL, "1.0", handshake.write(b""))
        session_id = handshake.read(responder.shake(first, (agent,)))
        last = handshake_end(session_id, handshake.write(b""))
        if code is None:
            assert responder.shake(last, agents) == b""
        else:
            with pytest.raises(SealFault) as fault:
                responder.shake(last, agents)
            assert fault.value.code is code
        with pytest.raises(SealFault) as fault:
            responder.shake(last, (agent,))
        assert fault.value.code is SealCode.SESSION_UNKNOWN
    assert len(responder.store) == 1


async def test_a_suite_that_the_card_does_not_list_cannot_be_talked_into():
    place = sealed_place(params=None)
    agent = agent_of(new_exchange_pair())
    for suite in ("25519_ChaChaPoly_BLAKE2s", "448_AESGCM_SHA512", "", "25519_AESGCM_SHA256\x00"):
        body = handshake_request("IK", suite, agent.card_hash, URL, "1.0", b"\x00" * 96)
        with pytest.raises(SealFault) as fault:
            Responder().shake(body, (agent,))
        assert fault.value.code is SealCode.SUITE_UNKNOWN
    body = handshake_request("IKpsk2", CHACHA, agent.card_hash, URL, "1.0", b"\x00" * 96)
    with pytest.raises(SealFault):
        Responder().shake(body, (agent,))
    junk = await Meddler(place.app).send(
        "POST",
        f"http://agent.test{HANDSHAKE_PATH}",
        {"content-type": HANDSHAKE_TYPE},
        secrets.token_bytes(40_000),
    )
    assert (junk[0], junk[2]) == (413, SealCode.TOO_LARGE.value.encode())


async def test_a_card_that_is_no_longer_honoured_has_no_sessions():
    place = sealed_place()
    agents = [(place.agent,)]
    place.app._agents_of = lambda _: agents[0]
    async with official_client(place, streaming=False) as client:
        await events_of(client)
        fresh = new_exchange_pair()
        card = type(place.card).FromString(place.card.SerializeToString())
        params = NoiseParams(static_key=fresh.public, epoch=2, required=True)
        put_noise(card, params)
        current = SealedAgent.of_card(card, params, fresh)
        agents[0] = (current, place.agent)  # for a while both are honoured
        await events_of(client)
        agents[0] = (current,)
        with pytest.raises(SealRefusedError) as refused:
            await events_of(client)
    assert refused.value.code == SealCode.CARD_UNKNOWN
    assert len(place.parrot.heard) == 2
