"""Bad input at the A2A door: a clear standard error, nothing reaches the gate, nothing leaks, nothing crashes."""

import json
import socket

import anyio
import httpx
import pytest

from hive.core.settings import Settings
from hive.engines import load_migrations
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door

pytestmark = pytest.mark.anyio
SETTINGS = Settings(body_max_bytes=20_000, request_timeout_s=0.5, depth_max=32)
HEADERS = {
    "authorization": f"Bearer {OPERATOR_TOKEN}",
    "a2a-version": "1.0",
    "content-type": "application/json",
}


def sending(**changes):
    message = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "hi"}], **changes}
    return {"jsonrpc": "2.0", "id": 7, "method": "SendMessage", "params": {"message": message}}


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
async def door(database):
    async with open_door(database, settings=SETTINGS) as door:
        yield door


@pytest.fixture
async def http(anyio_backend):
    async with httpx.AsyncClient(timeout=10) as http:
        yield http


async def post(http, door, body, *, agent="echo", path="", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {**HEADERS, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return await http.post(door.agent(agent) + path, content=content, headers=given)


async def refused(http, door, body, code, *, status=200, **more):
    answer = await post(http, door, body, **more)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert not door.gate.attempts
    assert "Traceback" not in answer.text
    return answer


async def test_the_message_of_these_tests_is_accepted_as_it_is(http, door):
    answer = await post(http, door, sending())
    assert answer.json()["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_an_oversized_body_is_refused_with_and_without_its_length_told(http, door):
    big = json.dumps(sending(parts=[{"text": "x" * 20_000}])).encode()
    await refused(http, door, big, -32600, status=413)

    async def pieces():
        for start in range(0, len(big), 5000):
            yield big[start : start + 5000]

    answer = await http.post(door.agent("echo"), content=pieces(), headers=HEADERS)
    assert answer.status_code == 413
    rest = await post(http, door, big, path="/message:send")
    assert (rest.status_code, rest.json()["error"]["status"]) == (413, "INVALID_ARGUMENT")
    assert not door.gate.attempts


async def test_a_deep_body_is_refused_before_it_is_parsed(http, door):
    deep = sending(parts=[{"data": json.loads("[" * 40 + "]" * 40)}])
    await refused(http, door, deep, -32600, status=413)
    answer = await post(http, door, b"[" * 19_000)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"jsonrpc": "2.0", "id": 1, "method": "SendMess', -32700),
        (b"", -32700),
        (b"\xff\xfe\x00", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff\xff"}', -32700),
        (b"[]", -32600),
        (b"[" + json.dumps(sending()).encode() + b"]", -32600),
        (b"null", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"SendMessage","params":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"DropTables","params":{}}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":[1]}', -32602),
        (json.dumps(sending(parts=[{"text": "\ud800"}])).encode(), -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"status":[]}}', -32602),
    ],
)
async def test_malformed_json_rpc_has_the_standard_error(http, door, body, code):
    await refused(http, door, body, code)


@pytest.mark.parametrize(
    "changes",
    [
        {"messageId": ""},
        {"messageId": "a b"},
        {"messageId": "*"},
        {"contextId": "../../etc"},
        {"contextId": "hive.agents.>"},
        {"contextId": "x" * 200},
        {"taskId": "*"},
        {"taskId": "a\u0000b"},
        {"role": "ROLE_ROOT"},
        {"parts": []},
        {"parts": [{}]},
        {"parts": [{"text": "a", "url": "https://b"}]},
        {"parts": [{"text": "x"}] * 257},
        {"referenceTaskIds": ["*"]},
    ],
)
@pytest.mark.parametrize("path", ["", "/message:send"])
async def test_a_message_that_breaks_the_standard_is_invalid(http, door, changes, path):
    body = sending(**changes)
    if not path:
        await refused(http, door, body, -32602)
        return
    answer = await post(http, door, body["params"], path=path)
    assert answer.status_code == 400
    assert not door.gate.attempts


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "", "application/json; charset=utf-16"]
)
async def test_a_wrong_content_type_is_refused_before_parsing(http, door, kind):
    await refused(http, door, sending(), -32005, status=415, content_type=kind)


async def test_a_compressed_body_is_refused(http, door):
    await refused(http, door, sending(), -32005, status=415, content_encoding="gzip")


@pytest.mark.parametrize("version", ["2.0", "0.3", "", "latest", "1.0; drop"])
async def test_another_protocol_version_is_not_supported(http, door, version):
    await refused(http, door, sending(), -32009, a2a_version=version)


@pytest.mark.parametrize(
    "name", ["*", ">", "ECHO", "..", "%2e%2e", "a%00b", "no-such-agent", "x" * 100]
)
async def test_an_agent_that_cannot_be_is_not_found(http, door, name):
    answer = await http.post(f"{door.url}/a2a/{name}", json=sending(), headers=HEADERS)
    assert answer.status_code == 404
    assert not door.gate.attempts


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "OPTIONS"])
async def test_another_http_method_is_refused(http, door, method):
    answer = await http.request(method, door.agent("echo"), headers=HEADERS)
    assert answer.status_code == 405


async def test_a_request_without_a_required_extension_is_refused_on_every_binding(http, database):
    uri = "https://example.com/ext/v1"
    async with open_door(database, required_extensions=(uri,)) as door:
        await refused(http, door, sending(), -32008)
        rest = await post(http, door, sending()["params"], path="/message:send")
        assert (rest.status_code, rest.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
        assert not door.gate.attempts
        answer = await post(http, door, sending(), a2a_extensions=f"https://other, {uri}")
        assert "result" in answer.json()
        card = (await http.get(door.agent("echo") + "/.well-known/agent-card.json")).json()
        assert {"uri": uri, "required": True} in card["capabilities"]["extensions"]


async def test_another_tenant_is_refused(http, door):
    body = sending()
    body["params"]["tenant"] = "acme"
    await refused(http, door, body, -32602)


async def test_a_body_that_never_ends_is_given_up(door):
    host, port = door.url.removeprefix("http://").split(":")
    head = (
        f"POST /a2a/echo HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {OPERATOR_TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with anyio.fail_after(30):
        async with await anyio.connect_tcp(host, int(port)) as slow:
            await slow.send(head.encode())
            assert b" 408 " in (await slow.receive()).split(b"\r\n")[0]


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten(http, door):
    host, port = door.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            f"POST /a2a/echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {OPERATOR_TOKEN}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )
    assert "result" in (await post(http, door, sending())).json()
    with anyio.fail_after(30):
        while door.door.open_requests:
            await anyio.lowlevel.checkpoint()


@pytest.fixture
async def narrow_door(database, monkeypatch):
    monkeypatch.setattr("hive.protocols.a2a.routes.REQUESTS_PER_CALLER_MAX", 3)
    async with open_door(database, settings=SETTINGS) as door:
        yield door


async def test_one_caller_cannot_hold_every_request(http, narrow_door):
    door = narrow_door
    bob = await door.token("bob")
    held = []
    async with anyio.create_task_group() as tasks:

        async def hold():
            async with http.stream(
                "POST",
                door.agent("sleeper"),
                json={**sending(), "method": "SendStreamingMessage"},
                headers=HEADERS,
            ) as answer:
                held.append(await anext(answer.aiter_lines()))
                await anyio.sleep_forever()

        for _ in range(3):
            tasks.start_soon(hold)
        with anyio.fail_after(30):
            while len(held) < 3:
                await anyio.lowlevel.checkpoint()
        answer = await post(http, door, sending())
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        other = await post(http, door, sending(), authorization=f"Bearer {bob}")
        assert "result" in other.json()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(30):
        while door.door.open_requests:
            await anyio.lowlevel.checkpoint()
    assert "result" in (await post(http, door, sending())).json()
