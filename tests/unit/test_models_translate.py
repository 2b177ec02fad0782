"""A provider of another wire: its answers, whole, streamed, broken or odd, reach the client in its own words."""

import json
from contextlib import asynccontextmanager

import pytest

from hive.core.errors import EngineUnavailableError, UntranslatableError
from hive.protocols.models.conversation import (
    Conversation,
    Finish,
    Reply,
    TextPart,
    TokenUsage,
    ToolCallPart,
    Utterance,
)
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.translate import ANSWER_MAX_BYTES, error_status, translated
from hive.protocols.models.usage import UsageMeter
from hive.protocols.models.wires import WIRES, wire_of
from hive.protocols.models.wires.assembly import assembled, events_of
from hive.protocols.models.wires.chat import OLD_LIMIT_FIELD, ChatWire

pytestmark = pytest.mark.anyio

TALKING = tuple(WIRES)
HI = (Utterance(role="user", parts=(TextPart(text="hi"),)),)
REPLY = Reply(
    id="r1",
    model="m",
    parts=(TextPart(text="hello"), ToolCallPart(id="call_1", name="f", arguments='{"a":1}')),
    finish=Finish.TOOLS,
    usage=TokenUsage(input=11, output=7),
)


class OneAnswer:
    def __init__(self, head, chunks, error=None):
        self.head = head
        self._chunks = chunks
        self._error = error

    async def chunks(self):
        for chunk in self._chunks:
            yield chunk
        if self._error:
            raise self._error


class Provider:
    """A provider that gives one answer, and remembers what it was asked."""

    def __init__(self, *chunks, status=200, kind="application/json", headers=(), error=None):
        head = ModelHead(status=status, headers=(("content-type", kind), *headers))
        self.dialects = frozenset(Dialect)
        self._answer = OneAnswer(head, chunks, error)
        self.asked = None

    @asynccontextmanager
    async def ask(self, request):
        self.asked = request
        yield self._answer

    async def models(self):
        return ()


def streaming(*chunks, **more):
    return Provider(*chunks, kind="text/event-stream", **more)


def question(dialect, *, stream=False, **fields):
    written = wire_of(dialect).write_request(Conversation(model="m", utterances=HI, stream=stream))
    return of_document(dialect, {**written, **fields}, stream=stream)


def of_document(dialect, document, *, stream=False, action=""):
    return ModelRequest(
        dialect=dialect,
        model="m",
        stream=stream,
        body=json.dumps(document).encode(),
        document=document,
        headers=(("openai-beta", "x"), ("anthropic-beta", "y"), ("content-type", "odd")),
        query="beta=true",
        action=action,
    )


async def answered(provider, request, into):
    async with translated(provider, request, into) as answer:
        body = b"".join([chunk async for chunk in answer.chunks()])
        return answer.head, body


def whole(dialect, reply=REPLY):
    asked = Conversation(model="m", utterances=HI)
    return json.dumps(wire_of(dialect).write_reply(reply, asked)).encode()


def stream(dialect, reply=REPLY):
    writer = wire_of(dialect).event_writer(
        Conversation(model="m", utterances=HI, stream=True, include_usage=True)
    )
    return [writer.write(event) for event in events_of(reply)]


PAIRS = [(client, into) for client in TALKING for into in TALKING if client is not into]


@pytest.mark.parametrize(("client", "into"), PAIRS)
async def test_a_whole_answer_reads_the_same_in_the_clients_words(client, into):
    provider = Provider(whole(into))
    head, body = await answered(provider, question(client), into)
    found = wire_of(client).read_reply(json.loads(body))
    assert head.status == 200
    assert head.header("content-length") == str(len(body))
    assert (found.parts[0], found.finish) == (REPLY.parts[0], REPLY.finish)
    assert (found.parts[1].name, found.parts[1].arguments) == ("f", '{"a":1}')
    assert (found.usage.input, found.usage.output) == (11, 7)
    assert provider.asked.dialect is into
    assert json.loads(provider.asked.body) == provider.asked.document


@pytest.mark.parametrize(("client", "into"), PAIRS)
async def test_a_streamed_answer_reads_the_same_in_the_clients_words(client, into):
    provider = streaming(*stream(into))
    head, body = await answered(provider, question(client, stream=True), into)
    reader = wire_of(client).event_reader()
    found = assembled([*reader.feed(body), *reader.close()])
    assert head.streams
    assert (found.parts[0], found.finish) == (REPLY.parts[0], REPLY.finish)
    assert (found.parts[1].name, found.parts[1].arguments) == ("f", '{"a":1}')
    meter = UsageMeter(streams=True)
    meter.feed(body)
    assert (meter.usage().input, meter.usage().output) == (11, 7)


@pytest.mark.parametrize(("client", "into"), PAIRS)
async def test_a_client_that_wants_a_stream_gets_one_of_a_whole_answer(client, into):
    head, body = await answered(Provider(whole(into)), question(client, stream=True), into)
    reader = wire_of(client).event_reader()
    assert head.streams
    assert assembled([*reader.feed(body), *reader.close()]).parts[0] == REPLY.parts[0]


@pytest.mark.parametrize(("client", "into"), PAIRS)
async def test_a_client_that_wants_it_whole_gets_it_of_a_stream(client, into):
    head, body = await answered(streaming(*stream(into)), question(client), into)
    assert not head.streams
    assert wire_of(client).read_reply(json.loads(body)).parts[0] == REPLY.parts[0]


@pytest.mark.parametrize(("client", "into"), PAIRS)
@pytest.mark.parametrize(
    "broken",
    [b"<html>oops</html>", b"{", b"[1]", b"", b'{"a":' * 99, b"{}", b'"hi"'],
)
async def test_an_answer_that_is_none_becomes_the_clients_own_error(client, into, broken):
    head, body = await answered(Provider(broken), question(client), into)
    assert head.status == 502
    assert wire_of(client).error_message(json.loads(body))
    assert head.header("content-length") == str(len(body))


async def test_an_answer_that_is_too_large_becomes_an_error_and_is_not_held():
    chunk = b" " * (1 << 20)
    provider = Provider(*[chunk] * (ANSWER_MAX_BYTES // len(chunk) + 5))
    head, body = await answered(provider, question(Dialect.MESSAGES), Dialect.CHAT)
    assert head.status == 502
    assert b"too large" in body


@pytest.mark.parametrize(("client", "into"), PAIRS)
async def test_a_stream_that_ends_early_ends_with_the_clients_own_error(client, into):
    provider = streaming(*stream(into)[:3])
    _, body = await answered(provider, question(client, stream=True), into)
    assert b"error" in body.rpartition(b"\n\n")[0].rpartition(b"\n\n")[2].lower()
    reader = wire_of(client).event_reader()
    with pytest.raises(EngineUnavailableError):
        assembled([*reader.feed(body), *reader.close()])


@pytest.mark.parametrize(("client", "into"), PAIRS)
@pytest.mark.parametrize("broken", [b"data: {\n\n", b"data: 7\n\n", b"\xff\xfe data"])
async def test_a_broken_stream_ends_with_the_clients_own_error(client, into, broken):
    provider = streaming(*stream(into)[:3], broken)
    _, body = await answered(provider, question(client, stream=True), into)
    reader = wire_of(client).event_reader()
    with pytest.raises(EngineUnavailableError):
        assembled([*reader.feed(body), *reader.close()])


async def test_a_connection_that_breaks_is_told_as_such():
    lost = EngineUnavailableError("gone")
    provider = streaming(*stream(Dialect.CHAT)[:3], error=lost)
    with pytest.raises(EngineUnavailableError):
        await answered(provider, question(Dialect.MESSAGES, stream=True), Dialect.CHAT)


@pytest.mark.parametrize(
    ("client", "into", "status", "seen"),
    [
        (Dialect.CHAT, Dialect.MESSAGES, 529, 503),
        (Dialect.MESSAGES, Dialect.CHAT, 503, 529),
        (Dialect.MESSAGES, Dialect.CHAT, 529, 529),
        (Dialect.CHAT, Dialect.MESSAGES, 429, 429),
        (Dialect.MESSAGES, Dialect.CHAT, 401, 401),
        (Dialect.CHAT, Dialect.MESSAGES, 500, 500),
        (Dialect.CHAT, Dialect.MESSAGES, 301, 502),
    ],
)
async def test_a_providers_error_keeps_its_meaning(client, into, status, seen):
    document = b'{"type":"error","error":{"type":"x","message":"busy now"}}'
    again = (("retry-after", "7"), ("x-internal", "secret"), ("x-should-retry", "true"))
    provider = Provider(document, status=status, headers=again)
    head, body = await answered(provider, question(client), into)
    assert head.status == seen == error_status(status, client)
    assert "busy now" in wire_of(client).error_message(json.loads(body))
    assert head.header("retry-after") == "7"
    assert head.header("x-should-retry") == "true"
    assert head.header("x-internal") == ""


async def test_an_overloaded_provider_is_overloaded_in_anthropics_words():
    provider = Provider(b'{"error":{"message":"busy"}}', status=503)
    _, body = await answered(provider, question(Dialect.MESSAGES), Dialect.CHAT)
    assert json.loads(body)["error"]["type"] == "overloaded_error"


async def test_a_provider_that_answers_an_error_in_html_still_has_its_status():
    provider = Provider(b"<html>", status=502, kind="text/html")
    head, body = await answered(provider, question(Dialect.CHAT), Dialect.MESSAGES)
    assert head.status == 502
    assert "502" in json.loads(body)["error"]["message"]
    assert b"html" not in body


async def test_a_header_with_a_line_end_goes_no_further():
    headers = (("retry-after", "1\r\nset-cookie: x"), ("x-request-id", "a\r\nb"))
    provider = Provider(b"{}", status=429, headers=headers)
    head, _ = await answered(provider, question(Dialect.CHAT), Dialect.MESSAGES)
    assert {key for key, _ in head.headers} == {"content-type", "content-length"}


async def test_only_the_headers_of_the_other_wire_go_out():
    provider = Provider(whole(Dialect.MESSAGES))
    await answered(provider, question(Dialect.CHAT), Dialect.MESSAGES)
    assert dict(provider.asked.headers) == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
    }
    assert (provider.asked.query, provider.asked.action) == ("", "")


async def test_the_request_id_has_the_name_that_the_client_looks_for():
    provider = Provider(whole(Dialect.MESSAGES), headers=(("request-id", "req_1"),))
    head, _ = await answered(provider, question(Dialect.CHAT), Dialect.MESSAGES)
    assert head.header("x-request-id") == "req_1"


async def test_the_count_is_asked_for_in_every_stream():
    provider = streaming(*stream(Dialect.CHAT))
    await answered(provider, question(Dialect.MESSAGES, stream=True), Dialect.CHAT)
    assert provider.asked.document["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"logprobs": True}, "logprobs"), ({"seed": 4}, "seed"), ({"n": 2}, "n")],
)
async def test_what_cannot_be_said_is_refused_before_anybody_is_asked(fields, named):
    provider = Provider(b"{}")
    with pytest.raises(UntranslatableError, match=f"`{named}`"):
        await answered(provider, question(Dialect.CHAT, **fields), Dialect.MESSAGES)
    assert provider.asked is None


@pytest.mark.parametrize(
    ("client", "action", "into", "name"),
    [
        (Dialect.MESSAGES, "/count_tokens", Dialect.CHAT, "input_tokens"),
        (Dialect.GEMINI, "countTokens", Dialect.MESSAGES, "totalTokens"),
    ],
)
async def test_a_count_of_tokens_is_estimated_and_says_so(client, action, into, name):
    request = of_document(client, {"messages": [], "x": "y" * 400}, action=action)
    provider = Provider(b"{}")
    head, body = await answered(provider, request, into)
    assert provider.asked is None
    assert (head.status, head.header("hive-estimated")) == (200, "true")
    assert json.loads(body) == {name: (len(request.body) + 3) // 4}


async def test_a_request_that_is_wrong_in_its_own_wire_is_answered_at_once():
    provider = Provider(b"{}")
    request = of_document(Dialect.MESSAGES, {"messages": [{"role": "user"}]})
    head, body = await answered(provider, request, Dialect.CHAT)
    assert head.status == 400
    assert "messages[0].content" in json.loads(body)["error"]["message"]
    assert provider.asked is None


@pytest.mark.parametrize(
    ("client", "sign"),
    [(Dialect.MESSAGES, b"event: ping\n"), (Dialect.CHAT, b": "), (Dialect.RESPONSES, b": ")],
)
async def test_a_provider_that_only_shows_that_it_lives_is_not_silent(client, sign):
    into = Dialect.CHAT if client is Dialect.MESSAGES else Dialect.MESSAGES
    first, *rest = stream(into)
    pings = (b": wait\n\n", b'event: ping\ndata: {"type":"ping"}\n\n')
    ping = pings[into is Dialect.MESSAGES]
    _, body = await answered(streaming(first, ping, *rest), question(client, stream=True), into)
    assert sign in body
    reader = wire_of(client).event_reader()
    assert assembled([*reader.feed(body), *reader.close()]).parts[0] == REPLY.parts[0]


async def test_a_provider_with_an_old_name_for_the_limit_is_asked_under_it():
    provider = Provider(whole(Dialect.CHAT))
    asked = question(Dialect.MESSAGES, max_tokens=5)
    wire = ChatWire(OLD_LIMIT_FIELD)
    async with translated(provider, asked, Dialect.CHAT, provider=wire):
        assert provider.asked.document["max_tokens"] == 5


async def test_a_provider_that_never_hangs_up_does_not_hold_the_client():
    class Endless(OneAnswer):
        async def chunks(self):
            for chunk in stream(Dialect.CHAT):
                yield chunk
            while True:
                yield b": still here\n\n"

    provider = Provider()
    provider._answer = Endless(
        ModelHead(status=200, headers=(("content-type", "text/event-stream"),)), ()
    )
    _, body = await answered(provider, question(Dialect.MESSAGES, stream=True), Dialect.CHAT)
    assert body.endswith(b'{"type":"message_stop"}\n\n')
