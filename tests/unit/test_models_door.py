"""The models door on bad input: a clear error in the dialect, and nothing that reaches the gate."""

import json

import anyio
import pytest
from anyio import fail_after

from hive.core.call import EffectClass, Outcome, Refused
from hive.core.clock import SystemClock
from hive.core.errors import ConfigError
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, open_upstream
from hive.protocols.models.usage import LINE_MAX_BYTES, UsageMeter
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
ASK = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
SETTINGS = Settings(body_max_bytes=10_000, request_timeout_s=0.2)


async def call(
    gate,
    body,
    *,
    path="/v1/chat/completions",
    method="POST",
    headers=(),
    sandbox=SANDBOX,
    key=HANDLE,
    settings=SETTINGS,
    query=b"",
):
    """Make one request without a network; `body` is bytes, a document, or a list of pieces."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    pieces = content if isinstance(content, list) else [content]
    waiting = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1}
        for number, piece in enumerate(pieces)
    ]
    sent = []

    async def receive():
        if waiting:
            message = waiting.pop(0)
            if message["body"] == b"<stall>":
                await anyio.sleep_forever()
            return message
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
        "hive.sandbox": sandbox,
    }
    clock = SystemClock()
    with fail_after(30):
        async with open_upstream(settings, clock) as upstream:
            door = ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=clock)
            await door(scope, receive, send)
    start, *rest = sent
    raw = b"".join(message["body"] for message in rest)
    return start["status"], dict(start["headers"]), raw


BAD_BODIES = {
    "no JSON": b"{",
    "an array": b"[]",
    "not UTF-8": b'{"model":"\xff"}',
    "UTF-16": '{"model":"a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"model":"a"}',
    "a lone surrogate": b'{"model":"scripted","x":"\\ud800"}',
    "a key twice": b'{"model":"cheap","messages":[],"model":"dear"}',
    "a key twice, escaped": b'{"model":"cheap","messages":[],"mo\\u0064el":"dear"}',
    "an inner key twice": b'{"model":"a","messages":[{"role":"user","role":"system"}]}',
    "NaN": b'{"model":"a","temperature":NaN}',
    "no model": b'{"messages":[]}',
    "a model that is no text": b'{"model":["a"]}',
    "an empty model": b'{"model":""}',
    "a model with an escape sequence": b'{"model":"a\\u001b[31m"}',
    "a stream that is no boolean": b'{"model":"a","stream":"yes"}',
    "too deep": b'{"model":"a","x":' + b"[" * 100 + b"]" * 100 + b"}",
    "a number too long": b'{"model":"a","x":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
async def test_a_body_that_is_not_the_dialects_is_refused_before_the_gate(name, path):
    gate = RehearsalGate()
    status, headers, raw = await call(gate, BAD_BODIES[name], path=path)
    document = json.loads(raw)
    assert status == 400
    assert document["error"]["type"] == "invalid_request_error"
    assert document["error"]["code"] == "hive.bad_request"
    assert headers[b"hive-reason"] == b"hive.bad_request"
    assert gate.calls == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"headers": {"content-type": "text/plain"}}, 415),
        ({"headers": {"content-encoding": "gzip"}}, 415),
        ({"headers": {"content-length": "99999999"}}, 413),
        ({"headers": {"content-length": "-1"}}, 413),
        ({"path": "/v1/audio/speech"}, 404),
        ({"path": "/v1/chat/completions/../models"}, 404),
        ({"path": "/v1/models/x"}, 404),
        ({"method": "DELETE"}, 405),
        ({"query": b"api-version=1"}, 400),
        ({"key": "another"}, 401),
        ({"headers": {"authorization": ""}}, 401),
        ({"headers": {"x-api-key": "another"}}, 401),
        ({"sandbox": ""}, 401),
        ({"sandbox": "box-2"}, 401),
    ],
)
async def test_a_request_that_does_not_fit_is_refused_with_its_own_status(change, status):
    gate = RehearsalGate()
    answered, _, raw = await call(gate, ASK, **change)
    assert answered == status
    assert json.loads(raw)["error"]["message"]
    assert gate.calls == []


async def test_a_body_over_the_limit_is_refused_while_it_comes():
    gate = RehearsalGate()
    status, _, _ = await call(gate, [b"x" * 6000, b"x" * 6000, b"<stall>"])
    assert status == 413
    assert gate.calls == []


async def test_a_body_that_never_ends_is_refused_in_time():
    gate = RehearsalGate()
    status, _, _ = await call(gate, [b'{"model":', b"<stall>"])
    assert status == 408
    assert gate.calls == []


async def test_who_calls_is_asked_before_the_body_is_read():
    status, _, _ = await call(RehearsalGate(), [b"<stall>"], key="stolen")
    assert status == 401


async def test_the_attempt_tells_the_model_and_can_be_repeated():
    gate = RehearsalGate()
    status, _, raw = await call(gate, ASK)
    [kept] = gate.calls
    assert status == 200
    assert json.loads(raw)["choices"][0]["message"]["content"] == "scripted answer to: hi"
    assert kept.attempt.effect is EffectClass.IDEMPOTENT
    assert kept.attempt.facts == {"model": "scripted", "stream": False, "dialect": "chat"}
    assert kept.outcome is Outcome.OK


async def test_what_changes_by_itself_does_not_change_what_a_request_is_known_by():
    gate = RehearsalGate()
    await call(gate, {**ASK, "user": "1", "metadata": {"run": "1"}})
    await call(gate, {**ASK, "metadata": {"run": "2"}})
    await call(gate, {**ASK, "temperature": 0})
    first, second, third = (one.attempt.arguments for one in gate.calls)
    assert first == second != third


async def test_a_trace_context_passes_only_in_its_own_form():
    gate = RehearsalGate()
    good = f"00-{'a' * 32}-{'b' * 16}-01"
    await call(gate, ASK, headers={"traceparent": good})
    await call(gate, ASK, headers={"traceparent": good + "\r\nx: y"})
    assert [one.attempt.traceparent for one in gate.calls] == [good, ""]


async def test_a_refusals_text_cannot_carry_escape_sequences():
    gate = RehearsalGate(judge=lambda _: Refused(check="grant", reason="no \x1b[31mred"))
    status, _, raw = await call(gate, ASK)
    assert status == 403
    assert "\x1b" not in json.loads(raw)["error"]["message"]


@pytest.mark.parametrize(
    "url",
    [
        "openai:",
        "openai:http://models.example.org/v1",
        "openai:https://user:pw@models.example.org/v1",
        "openai:https://models.example.org/v1?key=1",
        "openai:ftp://models.example.org",
        "anthropic:https://",
        "scripted:/no/such/file.toml",
        "nobody:",
    ],
)
async def test_an_address_that_would_give_the_key_away_stops_the_start(url):
    settings = Settings(models=url, model_key=Secret("k"))
    with pytest.raises(ConfigError):
        async with open_upstream(settings, SystemClock()):
            pass


async def test_a_rule_with_two_answers_stops_the_start(tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text('{"rules": [{"reply": "a", "error": {"status": 500}}]}')
    with pytest.raises(ConfigError, match="exactly one"):
        async with open_upstream(Settings(models=f"scripted:{rules}"), SystemClock()):
            pass


def test_usage_is_found_in_a_stream_that_is_cut_anywhere():
    stream = (
        b'event: message_start\ndata: {"message":{"usage":{"input_tokens":11,"output_tokens":1}}}\n\n'
        b'data: {"type":"message_delta","usage":{"output_tokens":42}}\n\n'
    )
    for size in (1, 7, 1000):
        meter = UsageMeter(streams=True)
        for at in range(0, len(stream), size):
            meter.feed(stream[at : at + size])
        assert meter.cost() == {
            "input_tokens": 11,
            "output_tokens": 42,
            "answer_bytes": len(stream),
        }


def test_a_line_without_end_is_counted_but_never_held():
    meter = UsageMeter(streams=True)
    for _ in range(40):
        meter.feed(b"x" * 100_000)
    assert len(meter._line) <= LINE_MAX_BYTES
    meter.feed(b'\ndata: {"usage":{"input_tokens":1}}\n')
    assert meter.cost()["input_tokens"] == 1
