"""Attack: sessions of others, sessions without number, streams of others, and pages of other sites."""

import anyio
import pytest

from hive.core.randomness import SystemRandomness
from hive.protocols.mcp.front import FrontLimits
from hive.protocols.mcp.front.eventlog import McpStreamLog
from hive.protocols.mcp.front.sessions import SessionTable
from tests.mcp_front_rig import ACCEPT, http_client, shake_hands, small_front, stateless

pytestmark = pytest.mark.anyio


class HandClock:
    """A clock that goes when it is told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.seconds


def table(clock: HandClock, **limits: float) -> SessionTable:
    """Return an empty table."""
    return SessionTable(limits=FrontLimits(**limits), clock=clock, randomness=SystemRandomness())


async def test_a_session_is_not_found_by_anybody_but_its_owner() -> None:
    async with small_front() as (url, service, front), http_client("ada") as ada:
        client = await shake_hands(ada, url)
        async with http_client("eve") as eve:
            stolen = client.headers
            post = await eve.post(url, json=client.body("tools/list"), headers=stolen)
            get = await eve.get(url, headers=stolen)
            delete = await eve.delete(url, headers=stolen)
        elsewhere = await ada.post(
            url + "/servers/x", json=client.body("tools/list"), headers=stolen
        )
        assert [one.status_code for one in (post, get, delete, elsewhere)] == [404] * 4
        assert service.calls == []
        assert front.sessions == 1
        assert (await client.call("echo")).status_code == 200


async def test_a_table_that_asks_for_the_id_alone_gives_the_session_to_a_thief(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def by_id(sessions: SessionTable, key: str, *_: object) -> object:
        return sessions._sessions.get(key)

    monkeypatch.setattr(SessionTable, "find", by_id)
    async with small_front() as (url, service, _), http_client("ada") as ada:
        client = await shake_hands(ada, url)
        async with http_client("eve") as eve:
            body = client.body("tools/call", {"name": "echo"})
            stolen = await eve.post(url, json=body, headers=client.headers)
    assert stolen.status_code == 200
    assert len(service.calls) == 1


async def test_a_stranger_cannot_cancel_or_answer_for_a_session() -> None:
    async with small_front() as (url, service, _), http_client("ada") as ada:
        client = await shake_hands(ada, url, capabilities={"elicitation": {}})
        answers = []

        async def call() -> None:
            answers.append(await client.call("ask", key=1))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks, http_client("eve") as eve:
                tasks.start_soon(call)
                await service.started.wait()
                other = await shake_hands(eve, url, capabilities={"elicitation": {}})
                for headers in (client.headers, other.headers):
                    lie = {"jsonrpc": "2.0", "id": "question-2", "result": {"action": "accept"}}
                    await eve.post(url, json=lie, headers=headers)
                    stop = {"method": "notifications/cancelled", "params": {"requestId": 1}}
                    await eve.post(url, json={"jsonrpc": "2.0", **stop}, headers=headers)
                truth = {"jsonrpc": "2.0", "id": "question-2", "result": {"action": "decline"}}
                await ada.post(url, json=truth, headers=client.headers)
    assert "decline" in answers[0].text
    assert "-32800" not in answers[0].text


async def test_a_stateless_notification_cancels_nobody() -> None:
    body, headers = stateless("tools/call", {"name": "wait"})
    async with small_front() as (url, service, _), http_client() as http:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: http.post(url, json=body, headers=headers))
                await service.started.wait()
                stop = {"method": "notifications/cancelled", "params": {"requestId": 1}}
                taken = await http.post(url, json={"jsonrpc": "2.0", **stop}, headers=headers)
                assert taken.status_code == 202
                assert not service.cancelled.is_set()
                service.release.set()


async def test_a_flood_of_sessions_pushes_out_only_its_own() -> None:
    limits = FrontLimits(sessions_per_owner_max=3, sessions_max=100)
    async with (
        small_front(limits) as (url, _, front),
        http_client("ada") as ada,
        http_client("eve") as eve,
    ):
        client = await shake_hands(ada, url)
        for _ in range(10):
            await shake_hands(eve, url)
        assert front.sessions == 4
        assert (await client.call("echo")).status_code == 200


async def test_without_a_bound_for_each_owner_a_flood_pushes_out_the_others() -> None:
    limits = FrontLimits(sessions_per_owner_max=100, sessions_max=4)
    async with (
        small_front(limits) as (url, _, front),
        http_client("ada") as ada,
        http_client("eve") as eve,
    ):
        client = await shake_hands(ada, url)
        for _ in range(10):
            await shake_hands(eve, url)
        assert front.sessions == 4
        assert (await client.call("echo")).status_code == 404


async def test_a_session_at_work_is_not_pushed_out() -> None:
    limits = FrontLimits(sessions_per_owner_max=1)
    async with small_front(limits) as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: client.call("wait"))
                await service.started.wait()
                body = client.body(
                    "initialize",
                    {
                        "protocolVersion": "2025-11-25",
                        "capabilities": {},
                        "clientInfo": {"name": "x", "version": "1"},
                    },
                )
                second = await http.post(url, json=body, headers={"accept": ACCEPT})
                assert second.status_code == 503
                service.release.set()


def test_sessions_end_with_their_idleness_and_their_age() -> None:
    clock = HandClock()
    sessions = table(clock, session_idle_s=10, session_age_max_s=100)
    owner = ("client", "ada", "/mcp")
    one = sessions.open(owner, "2025-11-25", {})
    assert one is not None
    for _ in range(12):
        clock.seconds += 9
        found = sessions.find(one.id, owner)
        if clock.seconds <= 100:
            assert found is one
    assert sessions.find(one.id, owner) is None
    two = sessions.open(owner, "2025-11-25", {})
    assert two is not None
    clock.seconds += 11
    assert sessions.find(two.id, owner) is None
    assert len(sessions) == 0


def test_all_sessions_together_are_bounded() -> None:
    sessions = table(HandClock(), sessions_max=5, sessions_per_owner_max=5)
    for number in range(50):
        assert sessions.open(("client", str(number), "/mcp"), "2025-11-25", {}) is not None
    assert len(sessions) == 5


def test_ids_of_sessions_cannot_be_guessed() -> None:
    sessions = table(HandClock(), sessions_per_owner_max=100)
    ids = {
        opened.id
        for _ in range(100)
        if (opened := sessions.open(("client", "ada", "/mcp"), "2025-11-25", {})) is not None
    }
    assert len(ids) == 100
    assert min(map(len, ids)) >= 32


async def test_a_flood_of_notifications_to_nobody_is_dropped_but_not_the_answer() -> None:
    log = McpStreamLog("s1", FrontLimits(stream_events_max=8, stream_kept_max_bytes=1000))
    for number in range(1000):
        await log.put(b"%d" % number + b"x" * 100)
    log.finish(b"the answer" + b"x" * 5000)
    assert log.size_bytes < 6200
    seen = [data async for _, data in log.read(0)]
    assert seen[-1].startswith(b"the answer")


async def test_a_reader_that_does_not_read_holds_the_writer_back() -> None:
    log = McpStreamLog("s1", FrontLimits(stream_events_max=4))
    reader = log.read(0)
    await log.put(b"0")
    await anext(reader)
    written = 0
    with anyio.move_on_after(0.1):
        for number in range(100):
            await log.put(b"%d" % number)
            written += 1
    assert written == 4
    await reader.aclose()
    with anyio.fail_after(1):
        await log.put(b"nobody reads any more")


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"host": "evil.example.com"}, 421),
        ({"host": "127.0.0.1.evil.example.com"}, 421),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1.evil.example.com"}, 403),
        ({"origin": "http://10.0.0.1"}, 403),
        ({"origin": "http://localhost@evil.example.com"}, 403),
        ({"host": "evil.example.com", "origin": "http://evil.example.com"}, 421),
    ],
)
async def test_a_page_of_another_site_gets_no_answer(changed: dict[str, str], status: int) -> None:
    body, headers = stateless("tools/call", {"name": "echo"})
    async with small_front() as (url, service, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers | changed)
        get = await http.get(url, headers=changed)
    assert (answer.status_code, get.status_code) == (status, status)
    assert "access-control-allow-origin" not in answer.headers
    assert service.calls == []


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:6274", "https://hive.example.com"]
)
async def test_a_page_of_this_machine_or_of_the_public_name_is_answered(origin: str) -> None:
    body, headers = stateless("tools/call", {"name": "echo"})
    async with (
        small_front(public_url="https://hive.example.com") as (url, _, _),
        http_client() as http,
    ):
        answer = await http.post(url, json=body, headers=headers | {"origin": origin})
    assert answer.status_code == 200
