"""Bodies, heads and webhooks meant to harm, against a real server on sockets and against the plain official one."""

import json
import socket

import anyio
import httpx
import pytest

from hive_a2a.policy import Policy, PushLimits, WireLimits
from hive_a2a.ports import Stage
from tests.attacks.test_sdk_push import receiving
from tests.server_rig import FREE, NEW, OLD, SECURE, both, params_of, plain, secure, sending

pytestmark = pytest.mark.anyio
EVERY = pytest.mark.parametrize("binding", [*NEW, *OLD])
HTTP = pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
INWARD = "http://169.254.169.254/latest/meta-data/"
SMALL = Policy(
    rate=FREE, limits=WireLimits(body_bytes=100_000, head_timeout_s=0.3, body_timeout_s=0.4)
)


@pytest.fixture
def anyio_backend():
    # The machine's own resolver is replaced in Python, which uvloop does not pass through.
    return ("asyncio", {"use_uvloop": False})


@EVERY
async def test_a_body_that_is_too_large(tmp_path, binding):
    off = SMALL.without(Stage.LIMITS)
    async with (
        both(tmp_path / "a", policy=SMALL) as (plainly, ours),
        secure(tmp_path / "b", policy=off) as unguarded,
    ):
        large = sending("x" * 1_000_000)
        assert (await plainly.ask(binding, "SendMessage", large)).ok
        assert (await unguarded.ask(binding, "SendMessage", large, name="ann")).ok
        got = await ours.ask(binding, "SendMessage", large, name="ann")
        assert not got.ok
        assert got.status in (-32600, 413, "RESOURCE_EXHAUSTED")
        assert ours.agent.seen == []
        assert (await ours.ask(binding, "SendMessage", sending(), name="ann")).ok


def nested(levels: int) -> dict:
    value: object = 1
    for _ in range(levels):
        value = {"a": value}
    return {"a": value}


@HTTP
async def test_a_body_that_is_nested_too_deeply(tmp_path, binding):
    shallow = Policy(rate=FREE, limits=WireLimits(depth=12))
    async with (
        both(tmp_path / "a", policy=shallow) as (plainly, ours),
        secure(tmp_path / "b", policy=shallow.without(Stage.LIMITS)) as unguarded,
    ):
        deep = sending(metadata=nested(20))
        assert (await plainly.ask(binding, "SendMessage", deep)).ok
        assert (await unguarded.ask(binding, "SendMessage", deep, name="ann")).ok
        got = await ours.ask(binding, "SendMessage", deep, name="ann")
        assert (got.ok, got.status in (-32600, 413)) == (False, True), got
        assert ours.audit.counts["limits"] == 1
        assert ours.agent.seen == []


def twice(binding: str) -> tuple[str, bytes]:
    """Return a body that names two texts for one part: readers disagree about which one counts."""
    said = json.dumps(sending("harmless")).replace(
        '{"text": "harmless"}', '{"text": "harmless", "text": "harm"}'
    )
    if binding == "HTTP+JSON":
        return "/rest/message:send", said.encode()
    body = f'{{"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {said}}}'
    return "/", body.encode()


@HTTP
async def test_a_key_that_stands_twice(tmp_path, binding):
    path, body = twice(binding)
    async with both(tmp_path) as (plainly, ours):
        # The official HTTP+JSON reader refuses it as well.
        lax = plainly if binding == "JSONRPC" else None
        for place, done in ((lax, True), (ours, False)):
            if place is None:
                continue
            said = {
                "a2a-version": "1.0",
                "content-type": "application/json",
                "authorization": "Bearer ann",
            }
            async with httpx.AsyncClient() as client:
                answer = await client.post(place.url + path, content=body, headers=said)
            assert ("harm" in answer.text and "artifacts" in answer.text) is done, answer.text
            assert bool(place.agent.seen) is done


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        ("JSONRPC", {"a2a-version": "0.3"}),
        ("HTTP+JSON", {"a2a-version": "0.3"}),
        ("GRPC", {"a2a-version": "0.3"}),
        ("JSONRPC-0.3", {"a2a-version": "1.0"}),
        ("HTTP+JSON-0.3", {"a2a-version": "1.0"}),
        ("GRPC-0.3", {"a2a-version": "1.0"}),
    ],
)
async def test_words_of_one_version_under_the_header_of_another(tmp_path, binding, said):
    async with secure(tmp_path) as ours:
        got = await ours.ask(binding, "SendMessage", sending(), name="ann", said=said)
        assert (got.ok, got.word) == (False, "VERSION_NOT_SUPPORTED")
        assert ours.agent.seen == []


async def test_a_path_and_a_body_that_disagree(tmp_path):
    async with plain() as plainly, secure(tmp_path, tenants=("", "red", "blue")) as ours:
        said = {"a2a-version": "1.0", "authorization": "Bearer ann"}
        body = {**sending("wait"), "tenant": "blue"}
        for place, status in ((plainly, 200), (ours, 400)):
            async with httpx.AsyncClient(base_url=place.url, headers=said) as client:
                if status == 400:
                    answer = await client.post("/rest/red/message:send", json=body)
                    assert answer.status_code == status, answer.text
                task = (await place.ask("JSONRPC", "SendMessage", sending("wait"), name="ann")).task
                answer = await client.post(f"/rest/tasks/{task}:cancel", json={"id": "other"})
                assert answer.status_code == status


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"POST / HTTP/1.1\r\nhost: a\r\n"])
async def test_a_head_that_never_comes(tmp_path, begun):
    async with both(tmp_path, policy=SMALL) as (plainly, ours):
        for place, cut in ((plainly, False), (ours, True)):
            async with await anyio.connect_tcp("127.0.0.1", place.port) as stream:
                if begun:
                    await stream.send(begun)
                assert await is_closed(stream, 3 if cut else 0.8) is cut


async def test_a_body_that_never_comes(tmp_path):
    head = (
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\na2a-version: 1.0\r\n"
        b"authorization: Bearer ann\r\ncontent-length: 100\r\n\r\n{"
    )
    async with both(tmp_path, policy=SMALL) as (plainly, ours):
        for place, cut in ((plainly, False), (ours, True)):
            async with await anyio.connect_tcp("127.0.0.1", place.port) as stream:
                await stream.send(head)
                got = b""
                with anyio.move_on_after(3 if cut else 0.9):
                    got = await stream.receive()
                assert got.startswith(b"HTTP/1.1 408") is cut
        assert ours.audit.counts["limits"] == 1


async def is_closed(stream, within_s: float) -> bool:
    with anyio.move_on_after(within_s):
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return True
    return False


@EVERY
async def test_a_webhook_that_leads_inwards(tmp_path, binding):
    private = Policy(rate=FREE, push=PushLimits(private=True))
    async with (
        both(tmp_path / "a") as (plainly, ours),
        secure(tmp_path / "b", policy=private) as lenient,
    ):
        method = "CreateTaskPushNotificationConfig"
        for place, taken in ((plainly, True), (lenient, True), (ours, False)):
            task = (await place.ask("JSONRPC", "SendMessage", sending("wait"), name="ann")).task
            for url in (INWARD, "https://127.0.0.1/", "https://[::ffff:10.0.0.1]/"):
                asked = {**params_of(method, task), "url": url}
                got = await place.ask(binding, method, asked, name="ann")
                assert got.ok is taken, (url, got)
            inline = {
                **sending("wait"),
                "configuration": {"taskPushNotificationConfig": {"url": INWARD}},
            }
            seen = len(place.agent.seen)
            got = await place.ask(binding, "SendMessage", inline, name="ann")
            assert got.ok is taken, got
            assert (len(place.agent.seen) > seen) is taken


async def test_a_webhook_whose_name_turns_inwards_after_it_was_registered(tmp_path, monkeypatch):
    real, turned = socket.getaddrinfo, False

    def resolve(host, port, *more, **named):
        if host in ("turns.test", b"turns.test"):
            host = "127.0.0.1" if turned else "93.184.216.34"
        return real(host, port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with receiving() as inside:
        port = inside.url.split(":")[2].split("/")[0]
        async with secure(tmp_path) as ours:
            task = (await ours.ask("JSONRPC", "SendMessage", sending("wait"), name="ann")).task
            method = "CreateTaskPushNotificationConfig"
            asked = {**params_of(method, task), "url": f"https://turns.test:{port}/hook"}
            assert (await ours.ask("JSONRPC", method, asked, name="ann")).ok
            turned = True
            assert (await ours.ask("JSONRPC", "CancelTask", {"id": task}, name="ann")).ok
            counts = ours.server._push.counts
            with anyio.fail_after(5):
                while not counts.given_up:
                    await anyio.lowlevel.checkpoint()
            assert counts.refused == counts.given_up
        assert inside.requests == []


async def test_a_webhook_that_redirects_inwards(tmp_path):
    private = Policy(rate=FREE, push=PushLimits(private=True))
    async with receiving() as inside:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {inside.url}\r\ncontent-length: 0\r\n\r\n"
        async with receiving(moved.encode()) as outside, secure(tmp_path, policy=private) as ours:
            task = (await ours.ask("JSONRPC", "SendMessage", sending("wait"), name="ann")).task
            method = "CreateTaskPushNotificationConfig"
            asked = {**params_of(method, task), "url": outside.url}
            assert (await ours.ask("JSONRPC", method, asked, name="ann")).ok
            assert (await ours.ask("JSONRPC", "CancelTask", {"id": task}, name="ann")).ok
            await outside.until(1)
            with anyio.fail_after(5):
                while not ours.server._push.counts.given_up:
                    await anyio.lowlevel.checkpoint()
        assert inside.requests == []


async def test_a_secure_server_shows_what_it_would_have_refused(tmp_path):
    async with secure(tmp_path, policy=SECURE.without(Stage.LIMITS, Stage.RATE)) as ours:
        assert (await ours.ask("JSONRPC", "SendMessage", sending(), name="ann")).ok
        assert {one.weakened for one in ours.records()} == {("off:limits", "off:rate")}
