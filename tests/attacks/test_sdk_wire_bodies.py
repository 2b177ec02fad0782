"""Bodies that the plain official routes take in, and the endpoint does not."""

import base64
import json

import anyio
import pytest

from hive_a2a.policy import Policy, WireLimits
from tests.wire_rig import EchoAgent, call, client_of, endpoint, message, plain_official

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}
SMALL = Policy(limits=WireLimits(body_bytes=20_000, depth=20, body_timeout_s=0.2))


async def answers(body: bytes, path: str = "/", **headers: str):
    """Send a body to the plain official server and to the endpoint."""
    found = []
    for app in (plain_official(), endpoint(policy=SMALL)):
        async with client_of(app, "ann") as client:
            sent = {**JSON, **{key.replace("_", "-"): value for key, value in headers.items()}}
            found.append(await client.post(path, content=body, headers=sent))
    return found


def send(**params) -> bytes:
    return json.dumps(call("SendMessage", params)).encode()


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


async def test_a_body_that_is_too_large():
    plain, ours = await answers(send(message=message("x" * 30_000)))
    assert "result" in plain.json()
    assert ours.status_code == 413


async def test_a_body_that_is_nested_too_deeply():
    plain, ours = await answers(send(message=message(metadata={"a": nested(30)})))
    assert "result" in plain.json()
    assert ours.status_code == 413


async def test_a_body_of_another_content_type():
    plain, ours = await answers(send(message=message()), content_type="text/plain")
    assert "result" in plain.json()
    assert ours.status_code == 415
    assert ours.json()["error"]["code"] == -32005


async def test_a_compressed_body_is_not_unfolded():
    _, ours = await answers(send(message=message()), content_encoding="gzip")
    assert ours.status_code == 415


async def test_a_key_that_stands_twice():
    good = send(message=message()).decode()
    body = good.replace('"text": "hello"', '"text": "harmless", "text": "harmful"').encode()
    plain, ours = await answers(body)
    assert plain.json()["result"]["task"]["artifacts"][0]["parts"] == [{"text": "harmful"}]
    assert ours.json()["error"]["code"] == -32700


async def test_a_key_that_stands_twice_on_rest_and_in_the_old_protocol():
    twice = (
        b'{"message":{"messageId":"1","messageId":"2","role":"ROLE_USER","parts":[{"text":"a"}]}}'
    )
    _, ours = await answers(twice, "/message:send")
    assert ours.status_code == 400
    old = (
        b'{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"kind":"message",'
        b'"messageId":"1","role":"user","parts":[{"kind":"text","text":"a","text":"b"}]}}}'
    )
    plain, ours = await answers(old, a2a_version="0.3")
    assert plain.json()["result"]["artifacts"][0]["parts"][0]["text"] == "b"
    assert ours.json()["error"]["code"] == -32700


async def test_bytes_that_are_not_base64():
    body = send(message=message() | {"parts": [{"raw": "!!aGk=!!"}]})
    plain, ours = await answers(body)
    assert "result" in plain.json()
    assert ours.json()["error"]["code"] == -32602


async def test_bytes_that_are_not_base64_in_the_old_protocol():
    part = {"kind": "file", "file": {"bytes": "!!aGk=!!", "mimeType": "text/plain"}}
    old = {"kind": "message", "messageId": "1", "role": "user", "parts": [part]}
    body = json.dumps(call("message/send", {"message": old})).encode()
    plain, ours = await answers(body, a2a_version="0.3")
    assert "result" in plain.json()
    assert ours.json()["error"]["code"] == -32602
    good = base64.b64encode(b"hi").decode()
    _, ours = await answers(body.replace(b"!!aGk=!!", good.encode()), a2a_version="0.3")
    assert "result" in ours.json()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_are_none(value):
    body = send(message=message(metadata={"a": 0})).replace(b'"a": 0', f'"a": {value}'.encode())
    _, ours = await answers(body)
    assert ours.json()["error"]["code"] == -32700


async def test_half_a_character():
    body = send(message=message(metadata={"a": "@"})).replace(b"@", rb"\ud800")
    _, ours = await answers(body)
    assert ours.json()["error"]["code"] == -32700


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_body_that_never_ends(guarded):
    """A client that sends one byte and then nothing holds a plain server for as long as it likes."""
    app = endpoint(policy=SMALL) if guarded else plain_official()
    said: list[dict] = []
    parts = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive():
        if not parts:
            await anyio.sleep_forever()
        return parts.pop(0)

    async def keep(event):
        said.append(event)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"authorization", b"Bearer ann")],
    }
    with anyio.move_on_after(1.0) as patience:
        await app(scope, receive, keep)
    assert patience.cancelled_caught is not guarded
    assert [event.get("status") for event in said[:1]] == ([408] if guarded else [])


async def test_the_agent_never_sees_what_was_refused():
    agent = EchoAgent()
    async with client_of(endpoint(agent, policy=SMALL), "ann") as client:
        for body in (b"[]", b"{", send(message=message("x" * 30_000)), b'{"a":1,"a":1}'):
            await client.post("/", content=body, headers=JSON)
    assert agent.seen == []
