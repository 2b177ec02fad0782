"""Attack: messages that are wrong, huge, deep, slow or many, and headers that say something else than the body."""

import json

import anyio
import pytest

from hive.protocols.mcp.front import FrontLimits
from hive.protocols.mcp.front import stateless as stateless_front
from tests.mcp_front_rig import ACCEPT, http_client, shake_hands, small_front, stateless

pytestmark = pytest.mark.anyio
HEADERS = {"content-type": "application/json", "accept": ACCEPT}


@pytest.mark.parametrize(
    "change",
    [
        {"mcp-method": "tools/list"},
        {"mcp-method": "TOOLS/CALL"},
        {"mcp-name": "delete_everything"},
        {"mcp-name": "=?base64?ZWNobw?="},
        {"mcp-protocol-version": "2025-11-25"},
        {"mcp-param-region": "eu"},
        {"mcp-param-count": "8"},
        {"mcp-param-count": "7.5"},
        {"mcp-param-count": "=?base64?Nw?="},
    ],
)
async def test_a_header_that_says_something_else_than_the_body_stops_the_call(
    change: dict[str, str],
) -> None:
    arguments = {"region": "us", "count": 7}
    body, headers = stateless("tools/call", {"name": "echo", "arguments": arguments})
    good = headers | {"mcp-param-region": "us", "mcp-param-count": "7"}
    async with small_front() as (url, service, _), http_client() as http:
        assert (await http.post(url, json=body, headers=good)).status_code == 200
        answer = await http.post(url, json=body, headers=good | change)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32020
    assert len(service.calls) == 1


async def test_without_the_comparison_the_body_goes_where_its_headers_did_not_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stateless_front, "compare_parameters", lambda *_seen: None)
    body, headers = stateless("tools/call", {"name": "echo", "arguments": {"region": "us"}})
    async with small_front() as (url, service, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers | {"mcp-param-region": "eu"})
    assert answer.status_code == 200
    assert service.calls[0][2]["arguments"] == {"region": "us"}


@pytest.mark.parametrize("missing", ["mcp-method", "mcp-name", "mcp-param-region"])
async def test_a_header_that_is_missing_stops_the_call(missing: str) -> None:
    body, headers = stateless("tools/call", {"name": "echo", "arguments": {"region": "us"}})
    headers["mcp-param-region"] = "us"
    del headers[missing]
    async with small_front() as (url, service, _), http_client() as http:
        answer = await http.post(url, json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    assert service.calls == []


@pytest.mark.parametrize("name", ["mcp-name", "mcp-method", "mcp-protocol-version"])
async def test_a_header_that_stands_there_twice_stops_the_call(name: str) -> None:
    body, headers = stateless("tools/call", {"name": "echo"})
    async with small_front() as (url, service, _), http_client() as http:
        host = url.split("/")[2]
        first = {**headers, "host": host, **HEADERS}
        request = http.build_request("POST", url, content=json.dumps(body))
        raw = [(key.encode(), value.encode()) for key, value in first.items()]
        raw += [(name.encode(), b"other"), (b"content-length", b"%d" % len(json.dumps(body)))]
        request.headers = type(request.headers)([*raw, (b"authorization", b"Bearer ada")])
        answer = await http.send(request)
    assert answer.status_code == 400
    assert service.calls == []


async def test_the_header_of_an_older_revision_does_not_get_a_stateless_body_past_its_checks() -> (
    None
):
    body, headers = stateless("tools/call", {"name": "echo"})
    async with small_front() as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        answer = await http.post(url, json=body, headers=headers | client.headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    assert service.calls == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xff\xfe"}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1e999}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud800"}}', -32700),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 90 + b"]" * 90 + b"}",
            -32700,
        ),
        (b"[" * 200_000, -32700),
        (b"1", -32600),
        (b"null", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.0,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 300 + b'","method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":' + b"9" * 200 + b',"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 200 + b'"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
    ],
)
async def test_what_is_no_message_is_refused_in_every_era(content: bytes, code: int) -> None:
    async with small_front() as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        old = await http.post(url, content=content, headers=HEADERS | client.headers)
        head = HEADERS | {"mcp-protocol-version": "2026-07-28", "mcp-method": "ping"}
        new = await http.post(url, content=content, headers=head)
    for answer in (old, new):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert service.calls == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"name": 7}, -32602),
        ({"arguments": {}}, -32602),
        ({"name": "echo", "arguments": [1]}, -32602),
        ({"name": "echo", "arguments": "x"}, -32602),
        ({"name": "echo", "_meta": 1}, -32602),
        ({"name": "echo", "cursor": 1}, -32602),
    ],
)
async def test_params_of_the_wrong_shape_reach_no_service(
    params: dict[str, object], code: int
) -> None:
    async with small_front() as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        body = client.body("tools/call", params)
        answer = await http.post(url, json=body, headers=client.headers)
    assert answer.json()["error"]["code"] == code
    assert service.calls == []


@pytest.mark.parametrize("version", ["1999-01-01", "2026-07-29", "", "x" * 5000])
async def test_an_era_that_nobody_knows_is_refused_with_those_that_are_spoken(
    version: str,
) -> None:
    key = "io.modelcontextprotocol/protocolVersion"
    body, headers = stateless("tools/list", meta={key: version})
    async with small_front() as (url, service, _), http_client() as http:
        answer = await http.post(
            url, json=body, headers=headers | {"mcp-protocol-version": version}
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in (-32022, -32020)
    assert len(answer.content) < 500
    assert service.calls == []


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": ""}, 415),
        ({"accept": "text/html"}, 406),
        ({"accept": "text/event-stream"}, 406),
    ],
)
async def test_a_form_of_a_page_is_no_call(changed: dict[str, str], status: int) -> None:
    body, headers = stateless("tools/call", {"name": "echo"})
    async with small_front() as (url, service, _), http_client() as http:
        head = HEADERS | headers | changed
        answer = await http.post(url, content=json.dumps(body), headers=head)
    assert answer.status_code == status
    assert service.calls == []


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with small_front(body_max_bytes=10_000) as (url, service, _), http_client() as http:
        body, headers = stateless("tools/call", {"name": "echo", "arguments": {"text": "x" * 2000}})
        assert (await http.post(url, json=body, headers=headers)).status_code == 200
        assert len(service.calls) == 1
    async with small_front(body_max_bytes=1000) as (url, service, _), http_client() as http:
        body, headers = stateless("tools/call", {"name": "echo", "arguments": {"text": "x" * 2000}})
        declared = await http.post(url, json=body, headers=headers)

        async def parts():
            for _ in range(20):
                yield b" " * 100

        undeclared = await http.post(url, content=parts(), headers=HEADERS | headers)
    assert (declared.status_code, undeclared.status_code) == (413, 413)
    assert service.calls == []


async def test_a_body_that_says_it_is_too_large_is_not_waited_for() -> None:
    async with small_front(body_max_bytes=1000) as (url, service, _):
        host, port = url.split("/")[2].split(":")
        with anyio.fail_after(5):
            async with await anyio.connect_tcp(host, int(port)) as stream:
                head = f"POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer eve\r\n"
                head += f"content-type: application/json\r\naccept: {ACCEPT}\r\n"
                await stream.send((head + "content-length: 1001\r\n\r\n").encode())
                assert b" 413 " in await stream.receive()
    assert service.calls == []


async def test_a_body_that_comes_drop_by_drop_is_given_up() -> None:
    async with small_front(request_timeout_s=0.1) as (url, service, _):
        host, port = url.split("/")[2].split(":")
        with anyio.fail_after(5):
            async with await anyio.connect_tcp(host, int(port)) as stream:
                head = f"POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer eve\r\n"
                head += f"content-type: application/json\r\naccept: {ACCEPT}\r\n"
                await stream.send((head + "content-length: 100\r\n\r\n{").encode())
                assert b" 408 " in await stream.receive()
    assert service.calls == []


async def test_a_bomb_of_a_batch_is_refused_whole() -> None:
    async with small_front() as (url, service, _), http_client() as http:
        client = await shake_hands(http, url, "2025-03-26")
        call = client.body("tools/call", {"name": "echo"}, key=1)
        bombs = [
            [client.body("tools/call", {"name": "echo"}, key=n) for n in range(33)],
            [],
            [call, call],
            [call, [call]],
            [client.body("initialize")],
        ]
        for bomb in bombs:
            answer = await http.post(url, json=bomb, headers=client.headers)
            assert answer.status_code == 400
        body, headers = stateless("tools/call", {"name": "echo"})
        assert (await http.post(url, json=[body], headers=headers)).status_code == 400
    assert service.calls == []


async def test_an_id_that_is_under_way_is_not_used_twice() -> None:
    async with small_front() as (url, service, _), http_client() as http:
        client = await shake_hands(http, url)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: client.call("wait", key="same"))
                await service.started.wait()
                again = await client.call("echo", key="same")
                service.release.set()
    assert (again.status_code, again.json()["error"]["code"]) == (400, -32600)
    assert len(service.calls) == 1


async def test_one_party_cannot_hold_all_connections() -> None:
    limits = FrontLimits(in_flight_per_owner_max=2)
    body, headers = stateless("tools/call", {"name": "wait"})
    async with small_front(limits) as (url, service, _), http_client("eve") as eve:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks, http_client("ada") as ada:
                for _ in range(2):
                    tasks.start_soon(lambda: eve.post(url, json=body, headers=headers))
                while len(service.calls) < 2:
                    await anyio.lowlevel.checkpoint()
                third = await eve.post(url, json=body, headers=headers)
                echo, head = stateless("tools/call", {"name": "echo"})
                other = await ada.post(url, json=echo, headers=head)
                service.release.set()
    assert (third.status_code, other.status_code) == (429, 200)
