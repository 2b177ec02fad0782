"""Requests sealed over HTTP: the official client on one side, the official routes on the other."""

import anyio
import httpx
import pytest
from a2a.types.a2a_pb2 import GetTaskRequest, ListTasksRequest

from hive_a2a.cards.noise_params import HANDSHAKE_PATH, NOISE_URI, NoiseParams
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.errors import SealError
from hive_a2a.noise.session import SessionLimits
from hive_a2a.policy import Policy, Sealing, WireLimits
from hive_a2a.ports import Stage
from hive_a2a.sealed.answers import event_of
from hive_a2a.sealed.binding import InnerHead
from hive_a2a.sealed.errors import (
    BrokenAnswerError,
    SealCode,
    SealRefusedError,
    UnsealedAnswerError,
)
from hive_a2a.sealed.extension import ERROR_TYPE, HANDSHAKE_TYPE, NOISE_SCOPE, SEALED_TYPE
from hive_a2a.sealed.http_server import NoiseMiddleware, always
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.responder import Responder
from hive_a2a.sealed.transport import NoiseTransport
from tests.sealed_rig import (
    ANSWER,
    SECRET,
    TOKEN,
    Meddler,
    events_of,
    official_client,
    sealed_place,
)

pytestmark = pytest.mark.anyio
URL = "http://agent.test"


class Refusals:
    def __init__(self):
        self.heard = []

    def refused(self, head, stage, reason):
        self.heard.append((head, stage, reason))


@pytest.mark.parametrize("version", ["1.0", "0.3"])
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
@pytest.mark.parametrize("streaming", [False, True])
async def test_the_official_client_talks_sealed_without_knowing(binding, streaming, version):
    place = sealed_place(bindings=(binding,), version=version)
    meddler = Meddler(place.app)
    async with official_client(
        place, inner=meddler, streaming=streaming, bindings=(binding,)
    ) as client:
        events = await events_of(client)
    assert ANSWER in str(events)
    assert place.parrot.heard == [SECRET]
    assert {kind.partition(";")[0] for _, kind, _ in meddler.answers} == {
        HANDSHAKE_TYPE,
        "text/event-stream" if streaming else SEALED_TYPE,
    }


async def test_the_agent_sees_the_inner_request_and_who_sealed_it():
    static = new_exchange_pair()
    place = sealed_place()
    peers = PinnedPeers(static=static)
    async with official_client(place, peers=peers, streaming=False) as client:
        await events_of(client)
    scope = place.scopes[-1]
    headers = dict(scope["headers"])
    assert scope[NOISE_SCOPE][0] == static.public
    assert len(scope[NOISE_SCOPE][1]) == 32
    assert headers[b"authorization"] == f"Bearer {TOKEN}".encode()
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"a2a-extensions"] == NOISE_URI.encode()
    assert headers[b"host"] == b"agent.test"


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("names_key", [False, True])
async def test_a_session_is_made_by_ik_where_the_key_is_known_and_by_xx_otherwise(
    names_key, hybrid
):
    static = new_exchange_pair()
    params = NoiseParams(
        static_key=static.public if names_key else None, hybrid=hybrid, required=True
    )
    place = sealed_place(static=static, params=params)
    meddler = Meddler(place.app)
    peers = PinnedPeers(static=new_exchange_pair(), hybrid=True)
    async with official_client(place, inner=meddler, peers=peers, streaming=False) as client:
        for _ in range(3):
            assert ANSWER in str(await events_of(client))
    assert meddler.handshakes == (1 if names_key else 2)
    assert (len(meddler.seen[0][1]) > 1184) is hybrid
    assert peers.find(URL)[1].params.static_key == params.static_key


async def test_a_lost_session_heals_with_exactly_one_handshake():
    place = sealed_place()
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, streaming=False) as client:
        await events_of(client)
        place.responder.store.close()
        place.responder.close()
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(events_of, client, f"text {number}")
    assert meddler.handshakes == 2
    assert sorted(place.parrot.heard) == sorted([SECRET, *(f"text {one}" for one in range(8))])


async def test_a_stream_heals_too():
    place = sealed_place()
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler) as client:
        await events_of(client)
        place.responder.store.close()
        assert ANSWER in str(await events_of(client))
    assert meddler.handshakes == 2


async def test_keys_change_while_requests_go_on():
    place = sealed_place()
    limits = SessionLimits(rekey_messages=2, generations_max=3)
    peers = PinnedPeers(static=new_exchange_pair(), limits=limits)
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, peers=peers, streaming=False) as client:
        for _ in range(10):
            assert ANSWER in str(await events_of(client))
    # Three generations of two requests each fit into one session; then a handshake brings fresh keys.
    assert meddler.handshakes == 2
    assert len(place.parrot.heard) == 10


async def test_an_error_of_the_agent_comes_back_through_the_seal():
    from a2a.utils.errors import TaskNotFoundError

    for binding in ("JSONRPC", "HTTP+JSON"):
        place = sealed_place(bindings=(binding,))
        async with official_client(place, bindings=(binding,)) as client:
            with pytest.raises(TaskNotFoundError):
                await client.get_task(GetTaskRequest(id="nowhere"))


async def test_a_server_that_offers_noise_still_serves_the_plain_standard():
    place = sealed_place(sealing=Sealing.OFFERED)
    for sealing in (Sealing.OFF, Sealing.OFFERED):
        peers = PinnedPeers(static=new_exchange_pair(), sealing=sealing)
        async with official_client(place, peers=peers, streaming=False) as client:
            assert ANSWER in str(await events_of(client))
        assert (NOISE_SCOPE in place.scopes[-1]) is (sealing is Sealing.OFFERED)


async def test_a_server_with_noise_off_or_of_something_else_passes_everything_on():
    place = sealed_place()
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])
        await httpx_answer(send)

    async def httpx_answer(send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    for policy, agents_of in (
        (Policy().without(Stage.NOISE), always(place.agent)),
        (Policy(sealing=Sealing.REQUIRED), lambda _: ()),
    ):
        middleware = NoiseMiddleware(app, responder=Responder(), agents_of=agents_of, policy=policy)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(middleware)) as web:
            assert (await web.post(URL, json={})).status_code == 204
    lifespan = NoiseMiddleware(
        app, responder=Responder(), agents_of=always(place.agent), policy=Policy()
    )
    await lifespan({"type": "lifespan"}, None, _swallow)
    assert seen == ["http", "http", "lifespan"]


async def _swallow(_event):
    pass


async def test_cards_and_keys_are_read_in_the_clear():
    place = sealed_place()
    peers = PinnedPeers(static=new_exchange_pair(), sealing=Sealing.REQUIRED)
    transport = NoiseTransport(httpx.ASGITransport(place.app), peers=peers)
    async with httpx.AsyncClient(transport=transport) as web:
        answer = await web.get(f"{URL}/.well-known/agent-card.json")
    assert answer.json()["capabilities"]["extensions"][0]["uri"] == NOISE_URI


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":"seven","method":"SendMessage"}', "seven"),
        (b'{"jsonrpc":"2.0","id":7}', 7),
        (b'{"id":[1]}', None),
        (b"\xff", None),
        (b"", None),
    ],
)
async def test_a_plain_call_is_refused_by_its_own_id(body, request_id):
    log = Refusals()
    place = sealed_place(refusal_log=log)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(place.app)) as web:
        answer = await web.post(URL, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    told = answer.json()
    assert told["id"] == request_id
    assert told["error"]["code"] == -32008
    head, stage, reason = log.heard[0]
    assert (head.http_method, head.peer_address, stage) == ("POST", "127.0.0.1", Stage.NOISE)
    assert "required" in reason


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "code"),
    [
        ("POST", "/", {"content-type": SEALED_TYPE}, b"", SealCode.MALFORMED),
        ("POST", "/", {"content-type": SEALED_TYPE}, b"\x02" + b"x" * 60, SealCode.MALFORMED),
        ("POST", "/", {"content-type": SEALED_TYPE}, b"\x01" + b"x" * 60, SealCode.SESSION_UNKNOWN),
        ("POST", "/", {"content-type": SEALED_TYPE}, b"x" * 2000, SealCode.TOO_LARGE),
        ("GET", "/tasks", {"a2a-noise": "!!"}, b"", SealCode.MALFORMED),
        ("GET", "/tasks", {"a2a-noise": "AA=="}, b"", SealCode.MALFORMED),
        ("POST", HANDSHAKE_PATH, {"content-type": "application/json"}, b"", SealCode.MALFORMED),
        ("POST", HANDSHAKE_PATH, {"content-type": HANDSHAKE_TYPE}, b"", SealCode.MALFORMED),
        (
            "POST",
            HANDSHAKE_PATH,
            {"content-type": HANDSHAKE_TYPE},
            b"\x00\x00\x00\x02??",
            SealCode.MALFORMED,
        ),
    ],
)
async def test_what_is_not_sealed_well_is_refused_with_a_word(method, path, headers, body, code):
    log = Refusals()
    place = sealed_place(refusal_log=log)
    place.app._policy = Policy(
        sealing=Sealing.REQUIRED, limits=WireLimits(body_bytes=1000, body_timeout_s=5)
    )
    status, answered, answer = await Meddler(place.app).send(method, f"{URL}{path}", headers, body)
    assert answer.decode() == code
    assert answered["content-type"] == ERROR_TYPE
    assert status in (400, 409, 413)
    assert log.heard[0][2] == code


async def test_a_body_that_does_not_come_is_not_waited_for():
    place = sealed_place()
    place.app._policy = Policy(sealing=Sealing.REQUIRED, limits=WireLimits(body_timeout_s=0.05))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-type", SEALED_TYPE.encode())],
    }
    sent = []

    async def note(event):
        sent.append(event)

    with anyio.fail_after(5):
        await place.app(dict(scope), anyio.sleep_forever, note)
    assert sent[0]["status"] == 408

    async def gone():
        return {"type": "http.disconnect"}

    sent.clear()
    await place.app(dict(scope), gone, note)
    assert sent == []


async def test_the_agent_hears_that_the_client_went_away():
    place = sealed_place()
    heard = []

    async def app(scope, receive, send):
        heard.append((await receive())["body"])
        heard.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.trailers"})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    place.app._app = app
    peers = PinnedPeers(static=new_exchange_pair())
    await peers.pin(place.card)

    async def also_gone(scope, receive, send):
        events = [await receive()]
        while events[-1].get("more_body"):
            events.append(await receive())
        events += [{"type": "http.request", "body": b"late"}, {"type": "http.disconnect"}]

        async def replay():
            return events.pop(0)

        await place.app(scope, replay, send)

    transport = NoiseTransport(httpx.ASGITransport(also_gone), peers=peers)
    async with httpx.AsyncClient(transport=transport) as web:
        answer = await web.post(f"{URL}/", content=b"hello")
    assert (answer.status_code, answer.content) == (200, b"ab")
    assert heard == [b"hello", "http.disconnect"]


async def test_an_answer_that_breaks_off_inside_the_agent_is_not_taken_for_whole():
    place = sealed_place()

    async def app(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    place.app._app = app
    meddler = Meddler(place.app)
    peers = PinnedPeers(static=new_exchange_pair())
    await peers.pin(place.card)
    async with httpx.AsyncClient(transport=NoiseTransport(meddler, peers=peers)) as web:
        answer = await web.get(f"{URL}/tasks/1:subscribe?a=b")
        assert answer.text == "data: 1\n\n"
        assert "content-length" not in answer.headers
        meddler.answer = lambda one: b"\n\n".join(one.split(b"\n\n")[:2]) + b"\n\n"
        with pytest.raises(BrokenAnswerError):
            await web.get(f"{URL}/tasks/1:subscribe")


async def test_an_answer_too_large_or_not_opened_is_an_error(monkeypatch):
    place = sealed_place()
    meddler = Meddler(place.app, answer=lambda _: b"\x01" * 100)
    async with official_client(place, inner=meddler, streaming=False) as client:
        with pytest.raises(BrokenAnswerError):
            await events_of(client)
        monkeypatch.setattr("hive_a2a.sealed.transport.ANSWER_BYTES_MAX", 10)
        meddler.answer = None
        with pytest.raises(BrokenAnswerError):
            await events_of(client)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(403, headers={"content-type": ERROR_TYPE}, content=b"x"), SealRefusedError),
        (httpx.Response(200, headers={"content-type": HANDSHAKE_TYPE}, content=b"x"), SealError),
        (httpx.Response(502, content=b"bad gateway"), UnsealedAnswerError),
        (httpx.Response(200, headers={"content-type": "text/html"}), UnsealedAnswerError),
    ],
)
async def test_a_handshake_that_is_answered_by_something_else_fails(answer, error):
    place = sealed_place()
    meddler = Meddler(place.app, request=lambda *_: answer)
    async with official_client(place, inner=meddler) as client:
        with pytest.raises(error):
            await events_of(client)


async def test_a_handshake_that_is_not_answered_is_given_up(monkeypatch):
    monkeypatch.setattr("hive_a2a.sealed.initiator.HANDSHAKE_TIMEOUT_S", 0.05)

    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await anyio.sleep_forever()

    place = sealed_place()
    async with official_client(place, inner=Silent()) as client:
        with anyio.fail_after(5), pytest.raises(SealError, match="too long"):
            await events_of(client)


async def test_one_peer_among_several_is_found_by_the_longest_address():
    one, two = sealed_place(f"{URL}/a"), sealed_place(f"{URL}/a/b")
    peers = PinnedPeers(static=new_exchange_pair())
    await peers.pin(one.card)
    await peers.pin(two.card, address=f"{URL}/a/b")
    assert peers.find(f"{URL}/a/b/tasks")[1].address == f"{URL}/a/b"
    assert peers.find(f"{URL}/a/bc")[1].address == f"{URL}/a"
    assert peers.find(f"{URL}/ab") == ("", None)
    assert peers.find("http://agent.test.evil/a") == ("", None)


async def test_tasks_are_listed_with_their_query_inside():
    place = sealed_place(bindings=("HTTP+JSON",))
    meddler = Meddler(place.app)
    async with official_client(place, inner=meddler, bindings=("HTTP+JSON",)) as client:
        await client.list_tasks(ListTasksRequest(context_id="c-1", page_size=2))
    assert meddler.seen[-1][0].url.raw_path == b"/tasks"
    assert place.scopes[-1]["query_string"] in (
        b"contextId=c-1&pageSize=2",
        b"pageSize=2&contextId=c-1",
    )


def test_an_event_is_one_line_that_a_proxy_can_pass():
    assert event_of(b"\x00\xff") == b"data: AP8\n\n"


async def test_another_refusal_than_a_lost_session_is_not_tried_again():
    place = sealed_place()

    def other(request, _):
        if request.url.path == HANDSHAKE_PATH:
            return None
        return httpx.Response(403, headers={"content-type": ERROR_TYPE}, content=b"not-opened")

    meddler = Meddler(place.app, request=other)
    async with official_client(place, inner=meddler, streaming=False) as client:
        with pytest.raises(SealRefusedError) as refused:
            await events_of(client)
    assert refused.value.code == SealCode.NOT_OPENED
    assert len(meddler.sealed()) == 1


async def test_a_stream_that_opens_and_is_none_is_refused(monkeypatch):
    place = sealed_place()
    monkeypatch.setattr(InnerHead, "encode", lambda _: b"\x00")
    async with official_client(place) as client:
        with pytest.raises(BrokenAnswerError):
            await events_of(client)
