"""The small parts of sealing: fields, texts, bindings, frames, events, parameters of the card, memory."""

import json
from binascii import Error as Base64Error

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_a2a.base64url import from_base64url, to_base64url
from hive_a2a.cards.noise_params import NOISE_URI, NoiseParams, chosen_suite, noise_of, put_noise
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.errors import SealError
from hive_a2a.noise.cipher import AES, CHACHA, WIRE_SUITES, wire_suite
from hive_a2a.noise.errors import NoiseError
from hive_a2a.noise.handshake import Handshake
from hive_a2a.noise.prologue import prologue
from hive_a2a.noise.session import SessionLimits
from hive_a2a.noise.store import StoreLimits
from hive_a2a.policy import Sealing
from hive_a2a.sealed import answers
from hive_a2a.sealed.answers import AnswerOpener, AnswerSealer, FrameEvents, event_of
from hive_a2a.sealed.binding import (
    InnerHead,
    InnerRequest,
    RequestBinding,
    read_inner_head,
    read_inner_request,
)
from hive_a2a.sealed.errors import (
    BrokenAnswerError,
    DowngradeError,
    SealCode,
    SealFault,
    SealRefusedError,
)
from hive_a2a.sealed.fields import pack_fields, read_fields
from hive_a2a.sealed.memory import PeersInFile, PeersInMemory, SpokenNoise
from hive_a2a.sealed.pins import PINS_MAX, PinnedPeers
from hive_a2a.sealed.responder import (
    Responder,
    ResponderLimits,
    handshake_end,
    handshake_request,
)
from tests.attacks.test_sdk_sealed_handshake import BINDING, URL, agent_of, initiator_to
from tests.sealed_rig import card_of

KEY = bytes(range(32))


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_fields_come_back_as_they_were(fields):
    assert read_fields(pack_fields(*fields), least=0, most=12) == fields


@pytest.mark.parametrize(
    "data",
    [b"\x00", b"\x00\x00\x00", b"\x00\x00\x00\x01", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00\x00"],
)
def test_fields_that_do_not_end_are_refused(data):
    with pytest.raises(SealFault):
        read_fields(data, least=0, most=9)


def test_there_are_neither_too_few_nor_too_many_fields():
    for least, most in ((3, 9), (0, 1)):
        with pytest.raises(SealFault):
            read_fields(pack_fields(b"a", b"b"), least=least, most=most)


@given(st.binary(max_size=80))
def test_base64url_has_one_text_for_one_value(data):
    text = to_base64url(data)
    assert b"=" not in text
    assert from_base64url(text) == data


@pytest.mark.parametrize("text", [b"AA==", b"A", b"AB", b"A+B/", b"A A", b"A\nAA", b"\xff\xff"])
def test_other_writings_of_base64_are_refused(text):
    with pytest.raises(Base64Error):
        from_base64url(text)


def test_the_order_of_extensions_is_not_bound_but_their_set_is():
    def bound(extensions):
        return RequestBinding(b"POST", b"/", b"1.0", extensions).associated(b"i" * 16)

    assert bound(b"b, a") == bound(b"a,b,a,,")
    assert bound(b"a") != bound(b"a,b")
    assert RequestBinding(b"POST", b"/a", b"b").associated(b"i" * 16) != RequestBinding(
        b"POST", b"/", b"ab"
    ).associated(b"i" * 16)


def test_an_inner_request_comes_back_as_it_was():
    inner = InnerRequest(
        body=b"\x00body",
        headers=((b"authorization", b"Bearer x"), (b"a", b"")),
        query=b"a=b",
        retry_of=b"n" * 24,
    )
    assert read_inner_request(inner.encode()) == inner
    assert "answer_key" not in repr(inner)


@pytest.mark.parametrize(
    "fields",
    [
        (b"", KEY, b""),
        (b"short", KEY, b"", b""),
        (b"", KEY[1:], b"", b""),
        (b"", KEY, b"", b"", b"name"),
        (b"", KEY, b"", b"", b"Name", b"v"),
        (b"", KEY, b"", b"", b"", b"v"),
        (b"", KEY, b"", b"", b"a b", b"v"),
        (b"", KEY, b"", b"", b"a", b"v\r\nx: y"),
        (b"", KEY, b"", b"", b"a", b"v\x00"),
        (b"", KEY, b"", b"", b"host", b"evil.test"),
        (b"", KEY, b"", b"", b"content-length", b"9"),
        (b"", KEY, b"", b"", b"transfer-encoding", b"chunked"),
        (b"", KEY, b"", b"", b"x-forwarded-for", b"127.0.0.1"),
        (b"", KEY, b"", b"", b"forwarded", b"for=127.0.0.1"),
        (b"", KEY, b"", b"", *([b"a", b"b"] * 255)),
    ],
)
def test_an_inner_request_that_is_not_one_is_refused(fields):
    with pytest.raises(SealFault):
        read_inner_request(pack_fields(*fields))


def test_the_head_of_an_answer_comes_back_as_it_was():
    head = InnerHead(404, b"no", ((b"a", b"b"), (b"x-bin", b"\x00\r\n")))
    assert read_inner_head(head.encode()) == head
    with pytest.raises(SealFault):
        read_inner_head(pack_fields(b"\x01", b""))


@pytest.mark.parametrize("suite", WIRE_SUITES)
def test_frames_open_in_order_and_change_their_key(suite, monkeypatch):
    monkeypatch.setattr(answers, "REKEY_FRAMES", 3)
    sealer = AnswerSealer(wire_suite(suite), KEY, b"label")
    opener = AnswerOpener(wire_suite(suite), KEY, b"label")
    frames = [sealer.frame(b"%d" % one, final=one == 9) for one in range(10)]
    assert [opener.open(one) for one in frames] == [b"%d" % one for one in range(10)]
    assert opener.finished
    opener.end()
    with pytest.raises(BrokenAnswerError):
        opener.open(frames[9])


def test_a_frame_marked_as_the_last_by_somebody_else_does_not_open():
    sealer = AnswerSealer(wire_suite(CHACHA), KEY, b"label")
    frame = sealer.frame(b"text", final=False)
    for changed in (b"\x01" + frame[1:], b"\x02" + frame[1:], frame[:10], b""):
        with pytest.raises(BrokenAnswerError):
            AnswerOpener(wire_suite(CHACHA), KEY, b"label").open(changed)
    with pytest.raises(BrokenAnswerError):
        AnswerOpener(wire_suite(CHACHA), KEY, b"other").open(frame)
    assert AnswerOpener(wire_suite(CHACHA), KEY, b"label").open(frame) == b"text"


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.integers(1, 50), st.booleans())
def test_events_come_out_however_the_wire_cut_them(frames, size, crlf):
    wire = b": hello\n\n" + b": ping\n\n".join(map(event_of, frames))
    wire = wire.replace(b"\n", b"\r\n") if crlf else wire
    events = FrameEvents(1000)
    found = [one for at in range(0, len(wire), size) for one in events.feed(wire[at : at + size])]
    assert found == frames


@pytest.mark.parametrize(
    "wire",
    [
        b"event: x\n\n",
        b"data: AA\ndata: AA\n\n",
        b"data: !\n\n",
        b"retry: 1\n\n",
        b"data: " + b"A" * 2000,
        b"<html>\n",
    ],
)
def test_events_that_hold_no_frame_are_refused(wire):
    with pytest.raises(BrokenAnswerError):
        FrameEvents(1000).feed(wire)


def test_the_card_says_what_was_put_into_it():
    card = card_of("http://a.test")
    for params in (
        NoiseParams(static_key=KEY, epoch=7, required=True, hybrid=True, handshake_path="/x/y"),
        NoiseParams(suites=(AES,)),
    ):
        put_noise(card, params)
        assert noise_of(type(card).FromString(card.SerializeToString())) == params
    assert len(card.capabilities.extensions) == 1
    assert noise_of(card_of("http://a.test")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"suites": "x"},
        {"suites": [1]},
        {"suites": None},
        {"staticKey": 7},
        {"staticKey": "!!"},
        {"staticKey": "AA"},
        {"epoch": "1"},
        {"epoch": 1.5},
        {"epoch": -1},
        {"epoch": float("inf")},
        {"epoch": float("nan")},
        {"epoch": 2**60},
        {"handshakePath": "//evil.test/x"},
        {"handshakePath": "https://evil.test"},
        {"handshakePath": "/a/../b"},
        {"handshakePath": 7},
        {"handshakePath": "/a?b"},
        {"surprise": True},
    ],
)
def test_a_card_that_says_something_else_is_refused(change):
    card = card_of("http://a.test")
    put_noise(card, NoiseParams(static_key=KEY))
    card.capabilities.extensions[0].params.update(change)
    with pytest.raises(SealError):
        noise_of(card)


def test_a_card_that_says_it_twice_or_offers_no_suite_is_refused():
    card = card_of("http://a.test")
    put_noise(card, NoiseParams())
    card.capabilities.extensions.append(card.capabilities.extensions[0])
    with pytest.raises(SealError):
        noise_of(card)
    assert chosen_suite(NoiseParams(suites=("25519_X_Y", AES, CHACHA))) == AES
    with pytest.raises(SealError):
        chosen_suite(NoiseParams(suites=("25519_ChaChaPoly_BLAKE2s",)))


@pytest.mark.anyio
async def test_a_memory_keeps_what_it_was_told(tmp_path):
    spoken = SpokenNoise(static_key=KEY, epoch=3)
    path = tmp_path / "below" / "peers.json"
    for memory in (PeersInMemory(peers_max=2), PeersInFile(path, peers_max=2)):
        assert await memory.recall("a") is None
        for name in ("a", "b", "a"):
            await memory.remember(name, spoken)
        assert await memory.recall("a") == spoken
        with pytest.raises(SealError):
            await memory.remember("c", spoken)
    assert await PeersInFile(path).recall("b") == spoken
    assert path.stat().st_mode & 0o077 == 0
    assert set(json.loads(path.read_text())) == {"a", "b"}


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"staticKey": "AA=="}}'])
async def test_a_memory_that_cannot_be_read_takes_nobody_for_new(tmp_path, text, monkeypatch):
    path = tmp_path / "peers.json"
    path.touch(mode=0o600)
    path.write_text(text)
    memory = PeersInFile(path)
    with pytest.raises(SealError):
        await memory.recall("a")
    with pytest.raises(SealError):
        await memory.remember("a", SpokenNoise(static_key=KEY, epoch=1))
    assert path.read_text() == text
    path.write_text("{}" + " " * 100)
    monkeypatch.setattr("hive_a2a.cards.files.SIZE_BYTES_MAX", 10)
    with pytest.raises(SealError):
        await memory.recall("a")


@pytest.mark.anyio
async def test_a_memory_that_others_may_write_is_not_believed(tmp_path):
    path, spoken = tmp_path / "peers.json", SpokenNoise(static_key=KEY, epoch=1)
    await PeersInFile(path).remember("a", spoken)
    path.chmod(0o666)
    with pytest.raises(SealError):
        await PeersInFile(path).recall("a")
    path.chmod(0o600)
    assert await PeersInFile(path).recall("a") == spoken
    moved = path.rename(tmp_path / "moved.json")
    path.symlink_to(moved)
    with pytest.raises(SealError):
        await PeersInFile(path).recall("a")


@pytest.mark.anyio
async def test_a_memory_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    memory = PeersInFile(tmp_path / "file" / "peers.json")
    with pytest.raises(SealError):
        await memory.remember("a", SpokenNoise(static_key=KEY, epoch=1))


@pytest.mark.anyio
async def test_pins_are_bounded_and_replaced(monkeypatch):
    monkeypatch.setattr("hive_a2a.sealed.pins.PINS_MAX", 2)
    assert PINS_MAX == 10_000
    peers = PinnedPeers(static=new_exchange_pair(), sealing=Sealing.OFFERED)

    async def exchange(message):
        return message

    for epoch in (1, 2):
        for name in ("a", "b"):
            card = card_of(f"http://{name}.test")
            put_noise(card, NoiseParams(static_key=KEY, epoch=epoch))
            await peers.pin(card)
    first = peers.initiator(peers.find("http://a.test")[1], exchange)
    assert peers.initiator(peers.find("http://a.test")[1], exchange) is first
    card = card_of("http://a.test")
    put_noise(card, NoiseParams(static_key=KEY, epoch=3))
    await peers.pin(card)
    assert peers.initiator(peers.find("http://a.test")[1], exchange) is not first
    with pytest.raises(SealError):
        await peers.pin(card_of("http://c.test"))
    off = PinnedPeers(static=new_exchange_pair(), sealing=Sealing.OFF)
    await off.pin(card)
    assert off.find("http://a.test") == ("http://a.test", None)
    with pytest.raises(DowngradeError):
        await PinnedPeers(static=new_exchange_pair(), sealing=Sealing.REQUIRED).pin(
            card_of("http://c.test")
        )
    peers.close()


@pytest.mark.anyio
async def test_a_text_too_long_to_seal_is_an_error_and_the_session_lives():
    agent = agent_of(new_exchange_pair())
    responder = Responder(sessions=SessionLimits(text_bytes_max=1000))
    client = initiator_to(responder, agent)
    client._limits = SessionLimits(text_bytes_max=1000)
    with pytest.raises(SealError):
        await client.seal(InnerRequest(body=b"x" * 2000), BINDING)
    sealed = await client.seal(InnerRequest(body=b"x"), BINDING)
    assert responder.open(sealed.frame, BINDING, (agent,)).inner.body == b"x"
    assert client.peer.address == "https://agent.test/a"
    client.close()
    client.close()


@pytest.mark.anyio
async def test_a_session_over_on_the_servers_side_is_not_known_there():
    agent = agent_of(new_exchange_pair())
    responder = Responder(sessions=SessionLimits(generations_max=1, rekey_messages=1))
    client = initiator_to(responder, agent)
    sealed = await client.seal(InnerRequest(body=b"x"), BINDING)
    session = responder.store.get(sealed.session.id)
    session.close()
    with pytest.raises(SealFault) as fault:
        responder.open(sealed.frame, BINDING, (agent,))
    assert fault.value.code is SealCode.SESSION_UNKNOWN
    fresh = await client.seal(InnerRequest(body=b"x"), BINDING, instead_of=sealed.session)
    assert responder.open(fresh.frame, BINDING, (agent,)).inner.body == b"x"


@pytest.mark.anyio
async def test_unproved_sessions_and_begun_handshakes_end_with_time():
    class Clock:
        at = 0.0

        def monotonic(self):
            return self.at

    clock = Clock()
    agent = agent_of(new_exchange_pair())
    responder = Responder(clock=clock, store=StoreLimits(pending_s=5))
    client = initiator_to(responder, agent)
    await client.session()
    clock.at = 6.0
    await initiator_to(responder, agent).session()
    assert len(responder.store) == 1
    responder.close()
    assert len(responder.store) == 0


@pytest.mark.anyio
async def test_the_window_knows_what_the_list_of_opened_requests_forgot():
    agent = agent_of(new_exchange_pair())
    responder = Responder(limits=ResponderLimits(opened_max=1))
    client = initiator_to(responder, agent)
    first, second = [await client.seal(InnerRequest(body=b"x"), BINDING) for _ in range(2)]
    for one in (first, second):
        responder.open(one.frame, BINDING, (agent,))
    with pytest.raises(SealFault) as fault:
        responder.open(first.frame, BINDING, (agent,))
    assert fault.value.code is SealCode.REPLAYED


@pytest.mark.anyio
async def test_a_session_that_ends_while_a_request_is_opened_is_not_known():
    class Hurrying:
        at = 0.0
        step = 0.0

        def monotonic(self):
            self.at += self.step
            return self.at

    clock = Hurrying()
    agent = agent_of(new_exchange_pair())
    responder = Responder(clock=clock, sessions=SessionLimits(lifetime_s=8.0))
    sealed = await initiator_to(responder, agent).seal(InnerRequest(body=b"x"), BINDING)
    clock.step = 5.0
    with pytest.raises(SealFault) as fault:
        responder.open(sealed.frame, BINDING, (agent,))
    assert fault.value.code is SealCode.SESSION_UNKNOWN


@pytest.mark.anyio
async def test_plain_requests_to_remembered_peers_pass_by_policy_and_are_told():
    memory = PeersInMemory()
    await memory.remember("http://a.test/x", SpokenNoise(static_key=KEY, epoch=1))
    told = []
    peers = PinnedPeers(
        static=new_exchange_pair(),
        memory=memory,
        fallback=True,
        on_plain=lambda *one: told.append(one[0]),
    )
    await peers.admit_plain("http://a.test/x/tasks?y", known="")
    await peers.admit_plain("http://b.test/x", known="")
    assert told == ["http://a.test/x", "http://b.test"]
    card = card_of("http://a.test/x")
    put_noise(card, NoiseParams())
    await peers.pin(card)  # it names no key: the handshake will say if it is the remembered one
    assert peers.find("http://a.test/x/tasks")[1] is not None
    silent = PinnedPeers(static=new_exchange_pair())
    await silent.admit_plain("http://b.test", known="")
    assert silent.sealing is Sealing.OFFERED


@pytest.mark.anyio
async def test_an_answer_with_no_session_in_it_fails_the_handshake(monkeypatch):
    agent = agent_of(new_exchange_pair())
    monkeypatch.setattr("hive_a2a.sealed.initiator.ID_BYTES", 99)
    with pytest.raises(SealError):
        await initiator_to(Responder(), agent).session()


@pytest.mark.anyio
@pytest.mark.parametrize("early", [True, False])
async def test_a_broken_third_message_makes_no_session(early):
    agent = agent_of(new_exchange_pair())
    responder = Responder()
    handshake = Handshake(
        "XX",
        wire_suite(CHACHA),
        initiator=True,
        prologue=prologue(NOISE_URI, agent.card_hash, URL, "1.0"),
        static=new_exchange_pair(),
    )
    first = handshake_request("XX", CHACHA, agent.card_hash, URL, "1.0", handshake.write(b""))
    session_id = handshake.read(responder.shake(first, (agent,)))
    third = handshake.write(b"early" if early else b"")
    if not early:
        third = third[:-1] + bytes([third[-1] ^ 1])
    with pytest.raises(SealFault) as fault:
        responder.shake(handshake_end(session_id, third), (agent,))
    assert fault.value.code is (SealCode.MALFORMED if early else SealCode.HANDSHAKE_FAILED)
    assert len(responder.store) == 0


@pytest.mark.parametrize("field", [1, 3, 4])
def test_words_of_a_handshake_that_are_no_text_are_refused(field):
    agent = agent_of(new_exchange_pair())
    fields = [b"IK", CHACHA.encode(), agent.card_hash, URL.encode(), b"1.0", b"x" * 96]
    fields[field] = b"\xff"
    for body in (pack_fields(*fields), b"\x00" * 20_000):
        with pytest.raises(SealFault) as fault:
            Responder().shake(body, (agent,))
        assert fault.value.code in (SealCode.MALFORMED, SealCode.TOO_LARGE)


def test_errors_say_what_to_do_and_codes_are_words():
    for code in SealCode:
        error = SealRefusedError(code.value)
        assert error.fix
        assert code.value in str(error)
    assert NOISE_URI.startswith("urn:")
    with pytest.raises(NoiseError):
        wire_suite("x")
