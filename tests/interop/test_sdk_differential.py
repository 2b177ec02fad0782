"""One list of raw requests to the plain official server and to `SecureA2AServer`: the same answers.

Compared are the HTTP status, the error's code and reason, and the shape of what comes back. Where ours
differs on purpose, `OURS` says how, and a test holds that each of these is still a difference.
"""

import json
from contextlib import AsyncExitStack

import httpx
import pytest
from tests.interop.sdk_peers.executors import Everything
from tests.interop.sdk_peers.servers import REST, official, secured

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
JSON = {"content-type": "application/json", "a2a-version": "1.0"}
UNKNOWN = "00000000-0000-7000-8000-000000000000"


def message(text="work", **more):
    return {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}], **more}


def old_message(text="work", **more):
    part = {"kind": "text", "text": text}
    return {"kind": "message", "messageId": "m", "role": "user", "parts": [part], **more}


def call(method, params, **more):
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params, **more}


def rpc(method, params=None, *, headers=None, **more):
    body = json.dumps(call(method, {} if params is None else params, **more)).encode()
    return ("POST", "/", body, headers or {})


def raw(body, *, headers=None):
    return ("POST", "/", body, headers or {})


def old(method, params):
    return ("POST", "/", json.dumps(call(method, params)).encode(), {"a2a-version": None})


def rest(verb, path, body=None, *, headers=None):
    content = b"" if body is None else json.dumps(body).encode()
    return (verb, REST + path, content, headers or {})


DEEP = b"[" * 70 + b"]" * 70
FILE = {"raw": "aGk=", "mediaType": "image/png"}
ALIKE = {
    # JSON-RPC: what is well said
    "send": rpc("SendMessage", {"message": message()}),
    "send a message back": rpc("SendMessage", {"message": message("greet")}),
    "send with unknown members": rpc("SendMessage", {"message": message(own=1), "more": 2}),
    "send by snake case": rpc("SendMessage", {"message": {**message(), "context_id": "c"}}),
    "send history zero": rpc(
        "SendMessage", {"message": message(), "configuration": {"historyLength": 0}}
    ),
    "send null members": rpc("SendMessage", {"message": message(), "metadata": None}),
    "list": rpc("ListTasks", {"pageSize": 1}),
    "list nothing": rpc("ListTasks", {"contextId": "nobody's"}),
    "id as string": rpc("GetTask", {"id": UNKNOWN}, id="seven"),
    # JSON-RPC: what is not
    "no such method": rpc("DoNothing"),
    "a private method": rpc("__class__"),
    "no method": raw(b'{"jsonrpc": "2.0", "id": 1, "params": {}}'),
    "no version of JSON-RPC": raw(b'{"id": 1, "method": "GetTask", "params": {"id": "x"}}'),
    "another version of JSON-RPC": raw(b'{"jsonrpc": "1.0", "id": 1, "method": "GetTask"}'),
    "no JSON": raw(b"{this is not"),
    "cut off": raw(b'{"jsonrpc": "2.0", "id": 1'),
    "send nothing": rpc("SendMessage"),
    "send no parts": rpc("SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER"}}),
    "send no id": rpc("SendMessage", {"message": {"role": "ROLE_USER", "parts": [{"text": "x"}]}}),
    "send a wrong type": rpc("SendMessage", {"message": "hello"}),
    "send a wrong part": rpc("SendMessage", {"message": message(parts=[{"text": 1}])}),
    "get without id": rpc("GetTask"),
    "get unknown": rpc("GetTask", {"id": UNKNOWN}),
    "get negative history": rpc("GetTask", {"id": UNKNOWN, "historyLength": -1}),
    "cancel unknown": rpc("CancelTask", {"id": UNKNOWN}),
    "subscribe unknown": rpc("SubscribeToTask", {"id": UNKNOWN}),
    "continue unknown": rpc("SendMessage", {"message": message(taskId=UNKNOWN)}),
    "list too many": rpc("ListTasks", {"pageSize": 1000}),
    "list none": rpc("ListTasks", {"pageSize": 0}),
    "list by a wrong token": rpc("ListTasks", {"pageToken": "?"}),
    "push of unknown": rpc(
        "CreateTaskPushNotificationConfig", {"taskId": UNKNOWN, "url": "https://example.com/"}
    ),
    "push get of unknown": rpc("GetTaskPushNotificationConfig", {"taskId": UNKNOWN, "id": "c"}),
    "push list of unknown": rpc("ListTaskPushNotificationConfigs", {"taskId": UNKNOWN}),
    "push delete of unknown": rpc(
        "DeleteTaskPushNotificationConfig", {"taskId": UNKNOWN, "id": "c"}
    ),
    "extended card": rpc("GetExtendedAgentCard"),
    "version of tomorrow": rpc("GetTask", {"id": "x"}, headers={"a2a-version": "99.0"}),
    "version of no kind": rpc("GetTask", {"id": "x"}, headers={"a2a-version": "latest"}),
    "version with patch": rpc("GetTask", {"id": UNKNOWN}, headers={"a2a-version": "1.0.1"}),
    "no version, new method": rpc("GetTask", {"id": "x"}, headers={"a2a-version": None}),
    # JSON-RPC of 0.3
    "0.3 send": old("message/send", {"message": old_message()}),
    "0.3 get unknown": old("tasks/get", {"id": UNKNOWN}),
    "0.3 cancel unknown": old("tasks/cancel", {"id": UNKNOWN}),
    "0.3 send nothing": old("message/send", {}),
    "0.3 no such method": old("tasks/everything", {}),
    # HTTP+JSON
    "rest send": rest("POST", "/message:send", {"message": message()}),
    "rest send a message back": rest("POST", "/message:send", {"message": message("greet")}),
    "rest send nothing": rest("POST", "/message:send", {}),
    "rest get unknown": rest("GET", f"/tasks/{UNKNOWN}"),
    "rest cancel unknown": rest("POST", f"/tasks/{UNKNOWN}:cancel"),
    "rest subscribe unknown": rest("POST", f"/tasks/{UNKNOWN}:subscribe"),
    "rest list": rest("GET", "/tasks?pageSize=1"),
    "rest list too many": rest("GET", "/tasks?pageSize=1000"),
    "rest list with unknown words": rest("GET", "/tasks?pageSize=1&wholeWorld=1"),
    "rest push list of unknown": rest("GET", f"/tasks/{UNKNOWN}/pushNotificationConfigs"),
    "rest push of unknown": rest(
        "POST", f"/tasks/{UNKNOWN}/pushNotificationConfigs", {"url": "https://example.com/"}
    ),
    "rest extended card": rest("GET", "/extendedAgentCard"),
    "rest version of tomorrow": rest("GET", "/tasks/x", headers={"a2a-version": "99.0"}),
    "rest 0.3 get unknown": rest("GET", f"/v1/tasks/{UNKNOWN}", headers={"a2a-version": None}),
    "card": ("GET", "/.well-known/agent-card.json", b"", {"a2a-version": None}),
}
# name: the request, and what ours answers: HTTP status, code, reason
OURS = {
    # The official adapter of 0.3 has no word for a version that does not fit.
    "new version, old method": (
        rpc("tasks/get", {"id": "x"}),
        (200, -32009, "VERSION_NOT_SUPPORTED"),
    ),
    # The official routes put the tenant before their prefix, where no client of theirs looks for it.
    "rest a tenant that is none": (
        rest("GET", f"/someone/tasks/{UNKNOWN}"),
        (400, 400, "INVALID_PARAMS"),
    ),
    "a type that the card does not name": (
        rpc("SendMessage", {"message": message(parts=[FILE])}),
        (200, -32005, "CONTENT_TYPE_NOT_SUPPORTED"),
    ),
    "another content type": (
        rpc("GetTask", {"id": UNKNOWN}, headers={"content-type": "text/plain"}),
        (415, -32005, "CONTENT_TYPE_NOT_SUPPORTED"),
    ),
    "a key that stands twice": (
        raw(b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "method": "ListTasks"}'),
        (200, -32700, "INVALID_REQUEST"),
    ),
    "a body nested too deeply": (
        raw(
            b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x", "m": %s}}'
            % DEEP
        ),
        (413, -32600, "INVALID_REQUEST"),
    ),
    "rest another content type": (
        rest("POST", "/message:send", {"message": message()}, headers={"content-type": "text/xml"}),
        (400, 400, "CONTENT_TYPE_NOT_SUPPORTED"),
    ),
    "rest no such place": (rest("GET", "/nowhere/at/all"), (404, 404, "METHOD_NOT_FOUND")),
    "rest another method": (rest("PUT", "/tasks"), (405, 405, "INVALID_REQUEST")),
}


def shape(value):
    """Return the names and kinds in a value, not its words."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in sorted(value.items())}
    if isinstance(value, list):
        return [shape(one) for one in value]
    return type(value).__name__


def error_of(told):
    """Return code and reason of an error, over whatever binding."""
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict):
        return None
    details = error.get("data") or error.get("details") or []
    reasons = [one.get("reason") for one in details if isinstance(one, dict)]
    return error.get("code"), next(filter(None, reasons), None)


async def ask(http, request):
    verb, path, body, changes = request
    headers = {name: value for name, value in {**JSON, **changes}.items() if value is not None}
    answer = await http.request(verb, path, content=body, headers=headers)
    try:
        told = answer.json()
    except ValueError:
        told = answer.text
    return answer, told


def seen(answer, told):
    error = error_of(told)
    if error is not None:
        return answer.status_code, *error, told.get("id") if "jsonrpc" in told else None
    return answer.status_code, shape(told)


@pytest.fixture
async def both(tmp_path):
    async with AsyncExitStack() as stack:
        found = []
        for serving in (official(Everything()), secured(Everything(), tmp_path)):
            served = await stack.enter_async_context(serving)
            client = httpx.AsyncClient(base_url=served.url, timeout=20)
            found.append(await stack.enter_async_context(client))
        yield found


async def test_good_and_bad_requests_get_the_same_answers(both):
    different = {}
    for name, request in ALIKE.items():
        theirs, ours = [seen(*(await ask(http, request))) for http in both]
        if name == "card":
            # Ours is signed, and says what is on.
            theirs, ours = theirs[:1], ours[:1]
        if len(theirs) == 4 and theirs[2] is None:
            # Ours gives a reason where theirs has none.
            theirs, ours = (*theirs[:2], theirs[3]), (*ours[:2], ours[3])
        if theirs != ours:
            different[name] = (theirs, ours)
    assert not different


@pytest.mark.parametrize("name", OURS)
async def test_each_difference_is_one_and_is_as_told(both, name):
    request, expected = OURS[name]
    theirs, ours = [seen(*(await ask(http, request))) for http in both]
    assert ours[:3] == expected
    assert theirs[:3] != expected
