"""Bad heads and bodies on every wire of the door: a clear no in the wire's own words, and nothing passes the gate."""

import json

import anyio
import pytest
from anyio import fail_after

from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, open_upstream
from hive.protocols.models.heads import HttpHead
from hive.protocols.models.paths import ModelPath, is_model_name, listing_of, path_of, speech_of
from hive.protocols.models.ports import Dialect
from hive.protocols.models.requests import canonical, parse_request
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
SETTINGS = Settings(body_max_bytes=10_000, request_timeout_s=0.2)
GEMINI = "/v1beta/models/scripted"
WIRES = {
    "/v1/chat/completions": {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"model": "scripted", "input": "hi"},
    "/v1/messages": {
        "model": "scripted",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/v1/messages/count_tokens": {
        "model": "scripted",
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/v1/embeddings": {"model": "scripted", "input": "hi"},
    f"{GEMINI}:generateContent": {"contents": [{"parts": [{"text": "hi"}]}]},
    f"{GEMINI}:streamGenerateContent": {"contents": [{"parts": [{"text": "hi"}]}]},
    f"{GEMINI}:countTokens": {"contents": [{"parts": [{"text": "hi"}]}]},
    f"{GEMINI}:embedContent": {"content": {"parts": [{"text": "hi"}]}},
    f"{GEMINI}:batchEmbedContents": {"requests": [{"content": {"parts": [{"text": "hi"}]}}]},
}


async def call(gate, body, *, path, method="POST", headers=(), query=b"", key=HANDLE):
    """Make one request without a network; `body` is bytes or a document."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    waiting = [{"type": "http.request", "body": content, "more_body": False}]
    sent = []

    async def receive():
        if waiting:
            return waiting.pop(0)
        await anyio.sleep_forever()
        return None

    async def send(message):
        sent.append(message)

    given = {"content-type": "application/json", "authorization": f"Bearer {key}", **dict(headers)}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
        "hive.sandbox": SANDBOX,
    }
    clock = SystemClock()
    with fail_after(30):
        async with open_upstream(SETTINGS, clock) as upstream:
            door = ModelsDoor(gate=gate, upstream=upstream, settings=SETTINGS, clock=clock)
            await door(scope, receive, send)
    start, *rest = sent
    return start["status"], b"".join(message["body"] for message in rest)


def told(path, raw):
    """Return the message of an error, which must have its wire's own shape."""
    document = json.loads(raw)
    error = document["error"]
    if path.startswith("/v1beta/"):
        assert set(error) == {"code", "message", "status", "details"}
    elif path.startswith("/v1/messages"):
        assert document["type"] == "error"
        assert error["type"].endswith("_error") or error["type"] == "request_too_large"
    else:
        assert set(error) == {"message", "type", "param", "code"}
    return error["message"]


BODIES = {
    "empty": b"",
    "truncated": b'{"model":"scripted","contents":[{"parts":[{"te',
    "an array": b"[]",
    "a number": b"1",
    "not UTF-8": b'{"model":"scripted","x":"\xff"}',
    "UTF-16": '{"model":"scripted"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"model":"scripted"}',
    "a lone surrogate": b'{"model":"scripted","x":"\\ud800"}',
    "a lone surrogate as a key": b'{"model":"scripted","\\udfff":1}',
    "a key twice": b'{"model":"scripted","model":"scripted","a":1}',
    "a key twice, escaped": b'{"model":"scripted","a":1,"\\u0061":2}',
    "an inner key twice": b'{"model":"scripted","a":[{"b":1,"b":2}]}',
    "NaN": b'{"model":"scripted","temperature":NaN}',
    "minus infinity": b'{"model":"scripted","temperature":-Infinity}',
    "too deep": b'{"model":"scripted","x":' + b"[" * 100 + b"]" * 100 + b"}",
    "too deep, never closed": b'{"model":"scripted","x":' + b'{"a":' * 500,
    "a number too long": b'{"model":"scripted","x":' + b"9" * 5000 + b"}",
    "text behind it": b'{"model":"scripted"} {"model":"scripted"}',
    "a comment": b'{"model":"scripted" /* x */}',
    "single quotes": b"{'model':'scripted'}",
}


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_no_plain_json_is_refused_before_the_gate(name, path):
    gate = RehearsalGate()
    status, raw = await call(gate, BODIES[name], path=path)
    assert status == 400
    assert told(path, raw)
    assert gate.calls == []


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"headers": {"content-type": "text/plain"}}, 415),
        ({"headers": {"content-type": "multipart/form-data; boundary=x"}}, 415),
        ({"headers": {"content-encoding": "gzip"}}, 415),
        ({"headers": {"content-length": "99999999"}}, 413),
        ({"headers": {"content-length": "1e3"}}, 413),
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"query": b"api-version=1"}, 400),
        ({"query": b"alt=media"}, 400),
        ({"query": b"alt=sse&alt=sse"}, 400),
        ({"key": "another"}, 401),
        ({"headers": {"authorization": ""}}, 401),
        ({"headers": {"authorization": f"Basic {HANDLE}"}}, 401),
        ({"headers": {"x-api-key": "another"}}, 401),
        ({"headers": {"x-goog-api-key": "another"}}, 401),
        ({"query": b"key=another"}, 401),
        ({"query": f"key={HANDLE}&key=another".encode()}, 401),
        ({"query": f"key={HANDLE}&%6bey=another".encode()}, 401),
    ],
)
async def test_a_head_that_does_not_fit_is_refused_with_its_own_status(path, change, status):
    gate = RehearsalGate()
    # A list of models is what GET asks for at Gemini's paths; its names hold no verb.
    answered, raw = await call(gate, WIRES[path], path=path, **change)
    assert answered == status
    assert told(path, raw)
    assert gate.calls == []


@pytest.mark.parametrize("path", WIRES)
async def test_a_body_over_the_limit_is_refused(path):
    gate = RehearsalGate()
    status, raw = await call(gate, {**WIRES[path], "x": "y" * 20_000}, path=path)
    assert status == 413
    assert told(path, raw)
    assert gate.calls == []


@pytest.mark.parametrize("path", WIRES)
async def test_the_good_request_that_the_bad_ones_are_made_of_passes(path):
    gate = RehearsalGate()
    status, _ = await call(gate, WIRES[path], path=path)
    assert status == 200
    assert [one.attempt.target for one in gate.calls] == ["scripted"]


@pytest.mark.parametrize("path", [path for path in WIRES if not path.startswith("/v1beta")])
@pytest.mark.parametrize(
    "model", [None, "", 5, ["scripted"], {}, True, "a" * 201, "a\x1b[31m", "a\n"]
)
async def test_a_model_that_is_no_name_is_refused_before_the_gate(path, model):
    gate = RehearsalGate()
    status, raw = await call(gate, {**WIRES[path], "model": model}, path=path)
    assert status == 400
    assert "model" in told(path, raw)
    assert gate.calls == []


@pytest.mark.parametrize("path", [path for path in WIRES if not path.startswith("/v1beta")])
@pytest.mark.parametrize("stream", [1, "yes", [], {}])
async def test_a_stream_that_is_no_boolean_is_refused_before_the_gate(path, stream):
    gate = RehearsalGate()
    status, _ = await call(gate, {**WIRES[path], "stream": stream}, path=path)
    assert status == 400
    assert gate.calls == []


WRONG = {
    "/v1/chat/completions": {
        "messages": [None, 5, "hi", {}, [], [5], [{}], [{"role": "no", "content": "x"}]],
        "tools": [5, {}, [5], [{"type": "function"}]],
        "tool_choice": [5, "often"],
        "temperature": ["x", True, []],
        "max_tokens": ["5", -1, 1.5],
        "response_format": [5, {"type": "xml"}],
        "stream_options": [5, []],
        "n": [0, "x"],
    },
    "/v1/responses": {
        "input": [5, {}, [], [5], [{"role": "no", "content": "x"}]],
        "tools": [5, {}, [5]],
        "text": [5, {"format": {"type": "xml"}}],
        "max_output_tokens": ["5", -1],
        "reasoning": [5, []],
    },
    "/v1/messages": {
        "messages": [None, 5, "hi", {}, [], [5], [{}], [{"role": "no", "content": "x"}]],
        "system": [5, {}],
        "tools": [5, {}, [5]],
        "max_tokens": ["5", -1, 1.5],
        "temperature": ["x", True],
        "stop_sequences": [5, [5]],
    },
    "/v1/embeddings": {
        "input": [None, 5, {}, [], [None], [""]],
        "dimensions": [0, "x", 1 << 20],
        "encoding_format": [5, "int8"],
    },
    f"{GEMINI}:generateContent": {
        "contents": [None, 5, {}, [], [5], [{"parts": 5}], [{"parts": [{}]}]],
        "systemInstruction": [5, "x"],
        "tools": [5, {}, [5]],
        "generationConfig": [5, [], {"maxOutputTokens": "x"}, {"temperature": "hot"}],
    },
    f"{GEMINI}:embedContent": {"content": [None, 5, {}, {"parts": []}]},
    f"{GEMINI}:batchEmbedContents": {"requests": [None, 5, {}, [], [5], [{}]]},
}


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [(path, key, one) for path in WRONG for key in WRONG[path] for one in WRONG[path][key]],
)
async def test_a_field_of_the_wrong_type_is_a_bad_request_in_the_wires_words(path, key, value):
    status, raw = await call(RehearsalGate(), {**WIRES[path], key: value}, path=path)
    assert status == 400
    assert told(path, raw)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions/",
        "/v1/chat/completions/x",
        "/v1/chat",
        "/v1/responses/resp_1",
        "/v1/messages/batches",
        "/v1/audio/speech",
        "/v1beta/models/scripted:predict",
        "/v1beta/models/:generateContent",
        "/v1beta/models/../x:generateContent",
        "/v1beta/models/a/../b:generateContent",
        "/v1beta/models/a//b:generateContent",
        "/v1beta/models/a%2f:generateContent",
        "/v1beta/models/a?b:generateContent",
        "/v1beta/models/" + "a" * 201 + ":generateContent",
        "/v1beta/cachedContents",
        "/v1beta/",
        "/v1beta/models",
    ],
)
async def test_a_path_that_no_wire_has_is_not_found(path):
    gate = RehearsalGate()
    status, raw = await call(gate, {"model": "scripted"}, path=path)
    assert status == 404
    assert told(path, raw)
    assert gate.calls == []


@pytest.mark.parametrize(
    "body",
    [
        {"model": "models/other"},
        {"requests": [{"model": "models/other"}]},
        {"generateContentRequest": {"model": "other"}},
        {"generate_content_request": {"model": "other"}},
        {"model": None},
        {"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 9999}},
        {"system_instruction": {}, "systemInstruction": {}},
    ],
)
async def test_a_gemini_body_that_says_two_things_is_refused_before_the_gate(body):
    gate = RehearsalGate()
    path = f"{GEMINI}:generateContent"
    status, raw = await call(gate, {**WIRES[path], **body}, path=path)
    assert status == 400
    assert told(path, raw)
    assert gate.calls == []


def head(path, *, query="", headers=()):
    pairs = [(key.encode(), value.encode()) for key, value in dict(headers).items()]
    return HttpHead.of(
        {"method": "POST", "path": path, "query_string": query.encode(), "headers": pairs}
    )


def parsed(path, document, *, query=""):
    asked = head(path, query=query)
    found = path_of(asked)
    return parse_request(found.dialect, asked, json.dumps(document).encode(), depth_max=64)


def test_a_path_names_its_wire_model_and_verb():
    assert path_of(head("/v1/messages/count_tokens")) == ModelPath(
        Dialect.MESSAGES, action="/count_tokens"
    )
    for version in ("v1", "v1beta"):
        found = path_of(head(f"/{version}/models/a/b:8b:streamGenerateContent"))
        assert found == (Dialect.GEMINI, "a/b:8b", "streamGenerateContent")
    assert path_of(head("/v1/models")) is None


def test_the_words_of_an_error_follow_the_key_where_the_path_tells_nothing():
    assert speech_of(head("/v1/models")) is None
    assert speech_of(head("/v1/x", headers={"x-api-key": "k"})) is Dialect.MESSAGES
    assert speech_of(head("/v1/x", headers={"anthropic-version": "2023-06-01"})) is Dialect.MESSAGES
    assert speech_of(head("/v1/x", headers={"x-goog-api-key": "k"})) is Dialect.GEMINI
    assert speech_of(head("/v1/x", query="key=k")) is Dialect.GEMINI
    assert listing_of(head("/v1/models/x", headers={"x-goog-api-key": "k"})) == (
        Dialect.GEMINI,
        "x",
    )
    assert listing_of(head("/v1beta/models")) == (Dialect.GEMINI, "")
    assert listing_of(head("/v1/models/..")) is None


def test_a_key_in_the_query_is_taken_out_and_never_shown():
    found = head("/v1beta/models/m:generateContent", query="alt=json&key=secret%2Dkey")
    assert (found.query, found.handle) == ("alt=json", "secret-key")
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/..", "a//b", "/a", "a/", "a?b", "a#b", "a%2e", "a b", "a\\b"]
)
def test_a_name_that_leads_elsewhere_is_no_models_name(name):
    assert not is_model_name(name)


def test_a_gemini_request_is_known_by_its_model_and_verb_in_either_spelling():
    path = f"{GEMINI}:generateContent"
    one = {**WIRES[path], "generationConfig": {"maxOutputTokens": 5}, "labels": {"a": "b"}}
    same = {**WIRES[path], "generation_config": {"max_output_tokens": 5}}
    other = {**WIRES[path], "generationConfig": {"maxOutputTokens": 6}}
    assert canonical(parsed(path, one)) == canonical(parsed(path, same))
    assert canonical(parsed(path, one)) != canonical(parsed(path, other))
    for another in (f"{GEMINI}x:generateContent", f"{GEMINI}:streamGenerateContent"):
        assert canonical(parsed(path, one)) != canonical(parsed(another, one))
    stream = f"{GEMINI}:streamGenerateContent"
    assert canonical(parsed(stream, one, query="alt=sse")) == canonical(parsed(stream, one))


def test_counting_a_messages_tokens_is_not_the_message():
    count, ask = "/v1/messages/count_tokens", "/v1/messages"
    body = WIRES[count]
    assert canonical(parsed(count, body)) != canonical(parsed(ask, body))
