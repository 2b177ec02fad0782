"""What the front answers in every revision, over a real socket."""

import anyio
import pytest

from hive.protocols.mcp.front import FrontLimits
from hive.protocols.mcp.ports import NEWEST, ListChange
from hive.testing.loopback import serve_app
from tests.mcp_front_rig import (
    ACCEPT,
    META,
    events_of,
    http_client,
    made_front,
    shake_hands,
    small_front,
    stateless,
)

pytestmark = pytest.mark.anyio
OLD_REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26")


async def test_a_stateless_call_is_answered_as_one_document() -> None:
    body, headers = stateless("tools/call", {"name": "echo", "arguments": {"text": "hi"}}, key="a")
    async with small_front() as (url, service, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in answer.headers
    assert answer.json()["id"] == "a"
    result = answer.json()["result"]
    assert result["resultType"] == "complete"
    assert result["content"][0]["text"] == '{"text": "hi"}'
    assert result["_meta"][META + "serverInfo"]["name"] == "small"
    assert service.calls[0][:2] == ("ada", "tools/call")


@pytest.mark.parametrize("revision", OLD_REVISIONS)
async def test_a_session_of_every_older_revision_calls_a_tool(revision: str) -> None:
    async with small_front() as (url, _, front), http_client() as http:
        client = await shake_hands(http, url, revision)
        assert client.revision == revision
        answer = await client.call("echo", {"text": "hi"})
        assert answer.json()["result"]["content"][0]["text"] == '{"text": "hi"}'
        assert set(answer.json()["result"]) == {"content", "isError"}
        gone = await http.delete(url, headers=client.headers)
        assert (gone.status_code, front.sessions) == (200, 0)
        assert (await client.call("echo")).status_code == 404


async def test_a_client_of_an_unknown_older_revision_gets_the_newest_with_a_handshake() -> None:
    async with small_front() as (url, _, _), http_client() as http:
        assert (await shake_hands(http, url, "2099-01-01")).revision == "2025-11-25"


@pytest.mark.parametrize("key", [0, -1, 2**80, "", "x" * 200, "7"])
async def test_an_id_comes_back_as_it_was_sent(key: int | str) -> None:
    body, headers = stateless("tools/list", key=key)
    async with small_front() as (url, _, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers)
        client = await shake_hands(http, url)
        old = await http.post(url, json=client.body("ping", key=key), headers=client.headers)
    for one in (answer.json(), old.json()):
        assert one["id"] == key
        assert type(one["id"]) is type(key)


async def test_a_list_says_how_long_it_may_be_kept() -> None:
    body, headers = stateless("tools/list")
    async with small_front() as (url, _, _), http_client() as http:
        new = (await http.post(url, json=body, headers=headers)).json()["result"]
        client = await shake_hands(http, url)
        old = await http.post(url, json=client.body("tools/list"), headers=client.headers)
    assert (new["ttlMs"], new["cacheScope"]) == (0, "private")
    assert set(old.json()["result"]) == {"tools"}


async def test_what_is_said_meanwhile_makes_the_answer_a_stream() -> None:
    body, headers = stateless(
        "tools/call",
        {"name": "notify"},
        meta={META + "logLevel": "warning", "progressToken": "p"},
    )
    async with small_front() as (url, _, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers)
    assert answer.headers["content-type"] == "text/event-stream"
    log, progress, last = events_of(answer.text)
    assert log["params"] == {"level": "warning", "data": "warning"}
    assert progress["method"] == "notifications/progress"
    assert last["id"] == 1


async def test_nobody_hears_what_was_not_asked_for() -> None:
    body, headers = stateless("tools/call", {"name": "notify"})
    async with small_front() as (url, _, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers)
    assert answer.headers["content-type"] == "application/json"


async def test_a_client_that_takes_no_stream_gets_the_answer_alone() -> None:
    body, headers = stateless("tools/call", {"name": "notify"}, meta={META + "logLevel": "debug"})
    async with small_front() as (url, _, _), http_client() as http:
        answer = await http.post(url, json=body, headers={**headers, "accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"


async def test_a_level_that_a_session_set_holds_for_its_later_calls() -> None:
    async with small_front() as (url, _, _), http_client() as http:
        client = await shake_hands(http, url)
        loud = await client.call("notify")
        body = client.body("logging/setLevel", {"level": "error"})
        assert (await http.post(url, json=body, headers=client.headers)).json()["result"] == {}
        quiet = await client.call("notify")
    assert [one.get("method") for one in events_of(loud.text)].count("notifications/message") == 2
    assert quiet.headers["content-type"] == "application/json"


async def test_closing_the_connection_cancels_a_stateless_call() -> None:
    body, headers = stateless("tools/call", {"name": "wait"})
    async with small_front() as (url, service, _), http_client() as http:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: http.post(url, json=body, headers=headers))
                await service.started.wait()
                tasks.cancel_scope.cancel()
            await service.cancelled.wait()


async def test_a_session_cancels_its_call_by_a_notification() -> None:
    async with small_front() as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        answers = []

        async def call() -> None:
            answers.append(await client.call("wait", key="w"))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await service.started.wait()
                note = {
                    "jsonrpc": "2.0",
                    "method": "notifications/cancelled",
                    "params": {"requestId": "w"},
                }
                taken = await http.post(url, json=note, headers=client.headers)
                assert taken.status_code == 202
            await service.cancelled.wait()
    assert answers[0].json()["error"]["code"] == -32800


async def test_a_server_asks_the_client_of_a_session_and_goes_on_with_the_answer() -> None:
    async with small_front() as (url, _, _), http_client() as http:
        client = await shake_hands(http, url, capabilities={"elicitation": {}})
        body = client.body("tools/call", {"name": "ask"}, key=7)
        seen = []
        with anyio.fail_after(5):
            async with http.stream("POST", url, json=body, headers=client.headers) as stream:
                async for line in stream.aiter_lines():
                    for message in events_of(line):
                        seen.append(message)
                        if message.get("method") == "elicitation/create":
                            said = {"action": "accept", "content": {"a": 1}}
                            answer = {"jsonrpc": "2.0", "id": message["id"], "result": said}
                            await http.post(url, json=answer, headers=client.headers)
    assert [one.get("method", one["id"]) for one in seen] == ["elicitation/create", 7]
    assert '"accept"' in str(seen[1]["result"])


async def test_a_client_without_the_capability_is_not_asked() -> None:
    async with small_front() as (url, _, _), http_client() as http:
        client = await shake_hands(http, url)
        answer = await client.call("ask")
        body, headers = stateless("tools/call", {"name": "ask"}, capabilities={"elicitation": {}})
        new = await http.post(url, json=body, headers=headers)
    assert answer.json()["error"]["code"] == -32600
    assert (new.status_code, new.json()["error"]["code"]) == (400, -32600)


async def test_a_stream_that_broke_goes_on_where_it_was() -> None:
    async with small_front() as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        body = client.body("tools/call", {"name": "notify", "arguments": {"hold": True}}, key=5)
        last = ""
        with anyio.fail_after(5):
            async with http.stream("POST", url, json=body, headers=client.headers) as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("id: "):
                        last = line.removeprefix("id: ")
                    if "warning" in line:
                        break
            await service.started.wait()
            service.release.set()
            again = await http.get(url, headers={**client.headers, "last-event-id": last})
    assert last.endswith("-2")
    assert [one.get("id") for one in events_of(again.text)] == [5]


async def test_a_call_whose_client_does_not_come_back_is_cancelled() -> None:
    async with (
        small_front(FrontLimits(resume_s=0.05)) as (url, service, _),
        http_client() as http,
    ):
        client = await shake_hands(http, url)
        body = client.body("tools/call", {"name": "notify", "arguments": {"hold": True}})
        with anyio.fail_after(5):
            async with http.stream("POST", url, json=body, headers=client.headers) as stream:
                async for line in stream.aiter_lines():
                    if "warning" in line:
                        break
            await service.cancelled.wait()


async def test_a_session_that_listens_hears_of_changes_it_chose() -> None:
    async with small_front() as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        body = client.body("resources/subscribe", {"uri": "a://b"})
        await http.post(url, json=body, headers=client.headers)
        heard: list[dict[str, object]] = []
        with anyio.fail_after(5):
            async with http.stream("GET", url, headers=client.headers) as stream:
                await service.watched.wait()
                for kind, uri in (("resource", "a://c"), ("resource", "a://b"), ("tools", "")):
                    service.watchers[0](ListChange(server="s", kind=kind, uri=uri))
                async for line in stream.aiter_lines():
                    heard += events_of(line)
                    if len(heard) == 2:
                        break
    assert heard[0]["params"] == {"uri": "a://b"}
    assert heard[1]["method"] == "notifications/tools/list_changed"


async def test_a_stateless_client_listens_to_what_it_asked_for() -> None:
    body, headers = stateless(
        "subscriptions/listen",
        {"notifications": {"toolsListChanged": True, "promptsListChanged": True}},
        key="sub",
    )
    async with small_front() as (url, service, _), http_client() as http:
        heard: list[dict[str, object]] = []
        with anyio.fail_after(5):
            async with http.stream("POST", url, json=body, headers=headers) as stream:
                await service.watched.wait()
                service.watchers[0](ListChange(server="s", kind="resources"))
                service.watchers[0](ListChange(server="s", kind="tools"))
                async for line in stream.aiter_lines():
                    heard += events_of(line)
                    if len(heard) == 2:
                        break
    assert heard[0]["method"] == "notifications/subscriptions/acknowledged"
    # The service has no prompts.
    assert heard[0]["params"]["notifications"] == {"toolsListChanged": True}
    assert heard[1]["method"] == "notifications/tools/list_changed"
    assert all(one["params"]["_meta"][META + "subscriptionId"] == "sub" for one in heard)


async def test_a_listener_is_told_when_the_stream_has_lasted_long_enough() -> None:
    body, headers = stateless("subscriptions/listen", {"notifications": {}}, key=3)
    async with small_front(FrontLimits(stream_max_s=0.05)) as (url, _, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers)
    assert events_of(answer.text)[-1]["id"] == 3
    assert "result" in events_of(answer.text)[-1]


async def test_a_silent_call_says_now_and_then_that_it_lives() -> None:
    async with small_front(FrontLimits(ping_s=0.02)) as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        body, headers = stateless("tools/call", {"name": "wait"})
        for sent, head in (
            (body, headers),
            (client.body("tools/call", {"name": "wait"}), client.headers),
        ):
            service.release = anyio.Event()
            async with http.stream("POST", url, json=sent, headers=head) as stream:
                pings = 0
                async for line in stream.aiter_lines():
                    pings += line == ": ping"
                    if pings == 2:
                        service.release.set()
                    if events_of(line):
                        assert events_of(line)[0]["id"] == 1
            assert pings >= 2


async def test_a_batch_is_answered_in_the_one_revision_that_has_it() -> None:
    async with small_front() as (url, _, _), http_client() as http:
        client = await shake_hands(http, url, "2025-03-26")
        parts = [
            client.body("ping", key=1),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            client.body("tools/call", {"name": "echo"}, key="b"),
        ]
        answer = await http.post(url, json=parts, headers=client.headers)
        assert [one["id"] for one in answer.json()] == [1, "b"]
        newer = await shake_hands(http, url, "2025-06-18")
        refused = await http.post(url, json=parts, headers=newer.headers)
    assert refused.status_code == 400


async def test_a_crash_behind_the_front_tells_nothing_of_itself() -> None:
    body, headers = stateless("tools/call", {"name": "crash"})
    async with small_front() as (url, _, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers)
        client = await shake_hands(http, url)
        old = await client.call("crash")
    for one in (answer, old):
        assert one.status_code == 200
        assert one.json()["error"] == {"code": -32603, "message": "Internal error"}


async def test_an_error_of_the_service_has_the_status_of_its_era() -> None:
    body, headers = stateless("tools/call", {"name": "no such"})
    async with small_front() as (url, _, _), http_client() as http:
        new = await http.post(url, json=body, headers=headers)
        client = await shake_hands(http, url)
        old = await client.call("no such")
    assert new.status_code == 400
    assert old.status_code == 200
    assert new.json()["error"] == old.json()["error"]
    assert new.json()["error"]["data"] == {"tool": "no such"}


async def test_discovery_says_what_the_service_offers() -> None:
    body, headers = stateless("server/discover")
    async with small_front() as (url, _, _), http_client() as http:
        result = (await http.post(url, json=body, headers=headers)).json()["result"]
        client = await shake_hands(http, url)
        old = await http.post(url, json=client.body("server/discover"), headers=client.headers)
    assert result["supportedVersions"] == [NEWEST]
    assert set(result["capabilities"]) == {"tools", "resources", "logging"}
    assert old.json()["error"]["code"] == -32601


async def test_who_is_not_known_is_told_how_to_log_in() -> None:
    body, headers = stateless("tools/list")
    async with small_front() as (url, service, _), http_client("") as http:
        answer = await http.post(url, json=body, headers=headers)
    assert answer.status_code == 401
    assert "resource_metadata" in answer.headers["www-authenticate"]
    assert answer.json()["error"]["message"] == "Log in."
    assert service.calls == []


async def test_a_path_with_nothing_behind_it_is_not_found() -> None:
    body, headers = stateless("tools/list")
    async with small_front() as (url, _, _), http_client() as http:
        answer = await http.post(url.replace("/mcp", "/other"), json=body, headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize("verb", ["PUT", "PATCH", "OPTIONS", "HEAD"])
async def test_other_verbs_are_refused(verb: str) -> None:
    async with small_front() as (url, _, _), http_client() as http:
        answer = await http.request(verb, url, headers={"accept": ACCEPT})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST, GET, DELETE"


async def test_a_stateless_server_has_no_stream_to_get() -> None:
    async with small_front() as (url, _, _), http_client() as http:
        answer = await http.get(url, headers={"accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_closing_the_front_cancels_what_is_under_way() -> None:
    service, front = made_front()
    with anyio.fail_after(5):
        async with (
            serve_app(front) as url,
            http_client() as http,
            anyio.create_task_group() as tasks,
        ):
            async with front:
                client = await shake_hands(http, f"{url}/mcp")
                tasks.start_soon(client.call, "wait")
                await service.started.wait()
            await service.cancelled.wait()
            late = await client.call("echo")
    assert late.status_code == 503
