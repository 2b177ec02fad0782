"""Somebody who carries the sealed requests listens, repeats, swaps, cuts and answers himself."""

import base64

import anyio
import httpx
import pytest
from a2a.types.a2a_pb2 import GetTaskRequest, ListTasksRequest

from hive_a2a.cards.noise_params import HANDSHAKE_PATH
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.errors import SealError
from hive_a2a.policy import Sealing
from hive_a2a.sealed.errors import (
    BrokenAnswerError,
    SealCode,
    SealRefusedError,
    UnsealedAnswerError,
)
from hive_a2a.sealed.extension import ERROR_TYPE
from hive_a2a.sealed.pins import PinnedPeers
from tests.sealed_rig import (
    ANSWER,
    SECRET,
    TOKEN,
    Ear,
    Meddler,
    events_of,
    listening,
    official_client,
    sealed_place,
    served,
)

pytestmark = pytest.mark.anyio
BINDINGS = pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
STREAMS = pytest.mark.parametrize("streaming", [False, True])


def views_of(data: bytes) -> bytes:
    """Return what somebody could read who also undoes base64 wherever it may begin."""
    lines = [line for line in data.replace(b"\r", b"").split(b"\n") if len(line) > 8]
    undone = []
    for line in lines:
        for start in range(8):
            text = line[start:].strip()
            text = text[: len(text) // 4 * 4]
            try:
                undone.append(base64.urlsafe_b64decode(text))
            except ValueError:
                continue
    return data + b"".join(undone)


async def conversation_on_a_wire(sealing: Sealing, *, sealed: bool, binding: str, streaming: bool):
    """Talk over real TCP, with an ear on the wire; return what it heard."""
    ear = Ear()
    place = None

    async def app(scope, receive, send):
        await place.app(scope, receive, send)

    async with served(app) as port, listening(ear, port) as heard_port:
        place = sealed_place(f"http://127.0.0.1:{heard_port}", sealing=sealing, bindings=(binding,))
        peers = PinnedPeers(
            static=new_exchange_pair(), sealing=Sealing.OFFERED if sealed else Sealing.OFF
        )
        inner = httpx.AsyncHTTPTransport()
        async with official_client(
            place, inner=inner, peers=peers, streaming=streaming, bindings=(binding,)
        ) as client:
            events = await events_of(client)
            tasks = await client.list_tasks(ListTasksRequest(context_id="ctx-3377"))
        assert ANSWER in str(events)
        assert tasks.total_size == 0
        assert place.parrot.heard == [SECRET]
    return views_of(bytes(ear.heard))


@BINDINGS
@STREAMS
async def test_a_passive_recorder_finds_no_byte_of_payload_token_or_answer(binding, streaming):
    heard = await conversation_on_a_wire(
        Sealing.REQUIRED, sealed=True, binding=binding, streaming=streaming
    )
    assert b"application/a2a-noise" in heard
    for word in (SECRET, ANSWER, TOKEN, "Bearer", "ctx-3377", "TASK_STATE", "artifact", "jsonrpc"):
        assert word.encode() not in heard


@BINDINGS
@STREAMS
async def test_without_the_seal_the_same_recorder_finds_everything(binding, streaming):
    heard = await conversation_on_a_wire(
        Sealing.OFFERED, sealed=False, binding=binding, streaming=streaming
    )
    for word in (SECRET, ANSWER, TOKEN, "ctx-3377"):
        assert word.encode() in heard


async def test_a_repeated_request_is_not_opened_on_this_or_another_connection():
    place = sealed_place()
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, streaming=False) as client:
        await events_of(client)
        for _ in range(2):
            assert await meddler.repeat() == (409, SealCode.REPLAYED.value.encode())
        meddler.inner = httpx.ASGITransport(place.app, client=("10.9.8.7", 1))
        assert await meddler.repeat() == (409, SealCode.REPLAYED.value.encode())
    assert place.parrot.heard == [SECRET]


async def test_the_official_server_runs_a_repeated_request_again():
    place = sealed_place(sealing=Sealing.OFFERED)
    meddler = Meddler(place.app)
    peers = PinnedPeers(static=new_exchange_pair(), sealing=Sealing.OFF)
    async with official_client(place, inner=meddler, peers=peers, streaming=False) as client:
        await events_of(client)
        await meddler.repeat()
    assert place.parrot.heard == [SECRET, SECRET]


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://agent.test/tenant-b/message:send"},
        {"url": "http://agent.test/message:stream"},
        {"url": "http://agent.test/message:send?tenant=b"},
        {"headers": {"a2a-version": "0.3"}},
        {"headers": {"a2a-version": ""}},
        {"headers": {"a2a-extensions": "urn:hive-a2a:noise:1, urn:other"}},
        {"headers": {"a2a-extensions": ""}},
        {"method": "PUT"},
    ],
)
async def test_a_seal_that_is_moved_to_another_request_does_not_open(change):
    place = sealed_place(bindings=("HTTP+JSON",))
    held = []

    def hold(request, body):
        if request.url.path == HANDSHAKE_PATH:
            return None
        held.append(body)
        return httpx.Response(503)

    meddler = Meddler(place.app, request=hold)
    bindings = ("HTTP+JSON",)
    async with official_client(place, inner=meddler, streaming=False, bindings=bindings) as client:
        with pytest.raises(UnsealedAnswerError):
            await events_of(client)
        assert await meddler.repeat(**change) == (403, SealCode.NOT_OPENED.value.encode())
        # It was whole all the time: as it was meant, it opens.
        assert (await meddler.repeat())[0] == 200
    assert place.parrot.heard == [SECRET]


async def test_headers_written_beside_the_seal_do_not_reach_the_agent():
    place = sealed_place()
    held = Meddler(place.app, request=lambda r, _: None)
    async with official_client(place, inner=held, streaming=False) as client:
        await events_of(client)

        def hold(request, body):
            return httpx.Response(503)

        held.request = hold
        with pytest.raises(UnsealedAnswerError):
            await events_of(client)
        extra = {"authorization": "Bearer evil", "x-api-key": "evil", "dpop": "evil"}
        assert (await held.repeat(headers=extra))[0] == 200
    headers = place.scopes[-1]["headers"]
    assert b"evil" not in b"".join(value for _, value in headers)
    assert dict(headers)[b"authorization"] == f"Bearer {TOKEN}".encode()


def events_in(answer: bytes) -> list[bytes]:
    return [one + b"\n\n" for one in answer.split(b"\n\n") if one]


CUTS = {
    "without its end": lambda one: b"".join(events_in(one)[:-1]),
    "without an event": lambda one: b"".join(events_in(one)[:2] + events_in(one)[3:]),
    "with two swapped": lambda one: b"".join(
        [events_in(one)[k] for k in (0, 2, 1, *range(3, len(events_in(one))))]
    ),
    "with one twice": lambda one: b"".join([events_in(one)[k] for k in (0, 1, 1, 2, 3)]),
    "empty": lambda _: b"",
    "with an event of somebody's": lambda one: b"event: error\ndata: {}\n\n" + one,
    "with one changed": lambda one: one.replace(events_in(one)[2][20:30], b"AAAAAAAAAA"),
    "cut inside an event": lambda one: one[:-30],
}


@pytest.mark.parametrize("cut", CUTS, ids=str)
async def test_a_stream_that_was_cut_or_reordered_is_told(cut):
    place = sealed_place()
    meddler = Meddler(place.app, answer=CUTS[cut])
    async with official_client(place, inner=meddler) as client:
        with pytest.raises(BrokenAnswerError):
            await events_of(client)
    assert place.parrot.heard == [SECRET]


async def test_the_official_client_takes_a_cut_stream_for_a_whole_one():
    place = sealed_place(sealing=Sealing.OFFERED)
    # sse-starlette writes CRLF; the last event, which completes the task, is gone.
    meddler = Meddler(
        place.app, answer=lambda one: b"\r\n\r\n".join(one.split(b"\r\n\r\n")[:-2]) + b"\r\n\r\n"
    )
    peers = PinnedPeers(static=new_exchange_pair(), sealing=Sealing.OFF)
    async with official_client(place, inner=meddler, peers=peers) as client:
        events = await events_of(client)
    assert "TASK_STATE_COMPLETED" not in str(events)


async def test_pings_and_comments_between_events_are_passed_over():
    place = sealed_place()
    meddler = Meddler(
        place.app, answer=lambda one: b": ping\n\n" + one.replace(b"\n\n", b"\n\n: ping\r\n\r\n")
    )
    async with official_client(place, inner=meddler) as client:
        assert ANSWER in str(await events_of(client))


@STREAMS
async def test_an_answer_to_another_request_does_not_open(streaming):
    place = sealed_place()
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, streaming=streaming) as client:
        await events_of(client)
        earlier = meddler.answers[-1][2]
        meddler.answer = lambda _: earlier
        with pytest.raises(BrokenAnswerError):
            await events_of(client, "another")


async def test_a_frame_of_another_stream_does_not_open_in_this_one():
    place = sealed_place()
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler) as client:
        await events_of(client)
        earlier = events_in(meddler.answers[-1][2])
        meddler.answer = lambda one: b"".join(
            [*events_in(one)[:3], earlier[3], *events_in(one)[4:]]
        )
        with pytest.raises(BrokenAnswerError):
            await events_of(client, "another")


async def test_a_wrong_word_that_nothing_was_opened_does_not_make_it_happen_twice():
    place = sealed_place()
    liar = Meddler(place.app)

    def lie(answer):
        # The request was opened and done; the answer is withheld.
        liar.answer = None
        return b"session-unknown"

    liar.answer = lie
    original = liar.handle_async_request

    async def handle(request):
        lying = liar.answer is not None and request.url.path != HANDSHAKE_PATH
        response = await original(request)
        if lying:
            return httpx.Response(
                409, headers={"content-type": ERROR_TYPE}, content=b"session-unknown"
            )
        return response

    liar.handle_async_request = handle
    async with official_client(place, inner=liar, streaming=False) as client:
        with pytest.raises(SealRefusedError) as refused:
            await events_of(client)
    assert refused.value.code == SealCode.REPLAYED
    assert place.parrot.heard == [SECRET]
    assert liar.handshakes == 2


async def test_a_request_held_back_is_not_opened_after_its_retry():
    place = sealed_place()
    meddler = Meddler(place.app)

    def withhold(request, body):
        if request.url.path == HANDSHAKE_PATH:
            return None
        meddler.request = None
        return httpx.Response(409, headers={"content-type": ERROR_TYPE}, content=b"session-unknown")

    meddler.request = withhold
    async with official_client(place, inner=meddler, streaming=False) as client:
        assert ANSWER in str(await events_of(client))
        assert await meddler.repeat(0) == (409, SealCode.REPLAYED.value.encode())
    assert place.parrot.heard == [SECRET]


async def test_one_who_says_lost_forever_costs_two_handshakes_and_no_more():
    place = sealed_place()
    meddler = Meddler(
        place.app,
        request=lambda r, _: (
            None
            if r.url.path == HANDSHAKE_PATH
            else httpx.Response(
                409, headers={"content-type": ERROR_TYPE}, content=b"session-unknown"
            )
        ),
    )
    async with official_client(place, inner=meddler, streaming=False) as client:
        with pytest.raises(SealError):
            await events_of(client)
    assert meddler.handshakes == 2
    assert len(meddler.sealed()) == 2
    assert place.parrot.heard == []


@pytest.mark.parametrize("status", [200, 302, 401, 500])
async def test_an_answer_in_the_clear_is_not_taken_for_the_peers(status):
    place = sealed_place()
    forged = (
        b'{"jsonrpc":"2.0","id":"1","result":{"message":{"messageId":"m","role":"ROLE_AGENT"}}}'
    )

    def forge(request, _):
        if request.url.path == HANDSHAKE_PATH:
            return None
        return httpx.Response(status, headers={"content-type": "application/json"}, content=forged)

    meddler = Meddler(place.app, request=forge)
    async with official_client(place, inner=meddler, streaming=False) as client:
        with pytest.raises(UnsealedAnswerError) as told:
            await events_of(client)
    assert told.value.status == status


async def test_another_clients_retry_cannot_burn_a_request():
    """The names of requests are no secret; one client must not spend another's."""
    place = sealed_place()
    victim_way = Meddler(place.app)
    async with (
        official_client(place, inner=victim_way, streaming=False) as victim,
        official_client(place, streaming=False) as attacker,
    ):
        await events_of(victim)
        frame = victim_way.sealed()[-1][1]
        next_name = frame[1:17] + (int.from_bytes(frame[17:25], "big") + 1).to_bytes(8, "big")
        await _seal_with_retry_of(attacker, next_name)
        assert ANSWER in str(await events_of(victim))
    assert place.parrot.heard == [SECRET, "burn", SECRET]


async def _seal_with_retry_of(client, name: bytes) -> None:
    from hive_a2a.sealed import binding

    made = binding.InnerRequest.encode

    def encode(self):
        object.__setattr__(self, "retry_of", name)
        return made(self)

    binding.InnerRequest.encode = encode
    try:
        await events_of(client, "burn")
    finally:
        binding.InnerRequest.encode = made


async def test_a_task_is_read_with_its_seal_in_a_header():
    bindings = ("HTTP+JSON",)
    place = sealed_place(bindings=bindings)
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, streaming=False, bindings=bindings) as client:
        events = await events_of(client)
        task = events[0].task
        again = await client.get_task(GetTaskRequest(id=task.id, history_length=7))
        assert again.id == task.id
        request, body = meddler.sealed()[-1]
        assert request.method == "GET"
        assert body == b""
        assert request.url.query == b""
        assert place.scopes[-1]["query_string"] == b"historyLength=7"
        assert await meddler.repeat() == (409, SealCode.REPLAYED.value.encode())
        bare = await meddler.send("GET", request.url, {"authorization": f"Bearer {TOKEN}"}, b"")
        assert bare[0] == 400
        assert b"EXTENSION_SUPPORT_REQUIRED" in bare[2]
    with anyio.fail_after(1):
        await anyio.lowlevel.checkpoint()
