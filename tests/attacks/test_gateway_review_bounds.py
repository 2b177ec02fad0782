"""An agent that wants a question to look smaller than what its provider will bill."""

import json
from contextlib import asynccontextmanager

import anyio
import httpcore
import pytest
from anyio import fail_after

from hive.core.budget import Unit
from hive.core.clock import SystemClock
from hive.core.errors import EngineUnavailableError
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor
from hive.protocols.models.cut import StreamCut
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.reserve import bound_of
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
CONTEXT = 128_000
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
GEMINI_PATH = "/v1beta/models/gemini-2.5-flash:generateContent"
CHUNK = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'


class Told:
    """A provider that keeps what it was asked."""

    dialects = frozenset(Dialect)

    def __init__(self, *pieces, media="application/json", breaks=None, ask_breaks=None):
        self.asked = []
        self._pieces, self._breaks, self._ask_breaks = pieces, breaks, ask_breaks
        self.head = ModelHead(status=200, headers=(("content-type", media),))

    @asynccontextmanager
    async def ask(self, request):
        self.asked.append(request)
        if self._ask_breaks is not None:
            raise self._ask_breaks
        yield self

    async def chunks(self):
        for piece in self._pieces:
            yield piece
        if self._breaks is not None:
            raise self._breaks

    async def models(self):
        return ()


async def asked(gate, upstream, document, path="/v1/chat/completions"):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    waiting, sent = [{"type": "http.request", "body": body, "more_body": False}], []

    async def receive():
        if waiting:
            return waiting.pop()
        await anyio.sleep_forever()
        return None

    async def send(message):
        sent.append(message)

    headers = [
        (b"content-type", b"application/json"),
        (b"authorization", f"Bearer {HANDLE}".encode()),
    ]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    scope |= {"headers": headers, "hive.sandbox": SANDBOX}
    settings = Settings(models="openai:http://127.0.0.1:1/v1")
    with fail_after(10):
        door = ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=SystemClock())
        await door(scope, receive, send)
    return sent[0]["status"], b"".join(one["body"] for one in sent[1:])


def with_room(**room):
    gate = RehearsalGate()
    gate.left = {Unit(unit): amount for unit, amount in room.items()}
    return gate


def bound(document, dialect, action=""):
    request = ModelRequest(
        dialect=dialect,
        model="m",
        stream=False,
        body=json.dumps(document).encode(),
        document=document,
        action=action,
    )
    return bound_of(request, context=CONTEXT, image_tokens=1000)


@pytest.mark.parametrize(
    "change",
    [
        {"max_completion_tokens": 1e9},
        {"max_completion_tokens": "1000000"},
        {"max_tokens": 5, "max_completion_tokens": -1},
        {"max_tokens": 5, "max_completion_tokens": 1e6},
        {"max_tokens": 5, "n": "64"},
        {"max_tokens": 5, "n": 64.0},
        {"max_tokens": 5, "n_predict": 100_000},
        {"max_tokens": 5, "Max_Tokens": 100_000},
        {"max_tokens": 5, "max_to\u212aens": 100_000},
        {"max_tokens": 5, "Model": "gpt-5-pro"},
        {"max_tokens": 5, "models": ["openai/gpt-5-pro"]},
        {"max_tokens": 5, "fallbacks": ["gpt-5-pro"]},
        {"max_tokens": 5, "n": 100_000},
    ],
)
async def test_a_field_that_only_the_provider_reads_so_never_reaches_it(change):
    gate, upstream = with_room(tokens=3000), Told(b"{}")
    status, _ = await asked(gate, upstream, {**CHAT, **change})
    assert (status, upstream.asked) == (400, [])


@pytest.mark.parametrize(
    "config", [{"candidateCount": "8"}, {"candidateCount": 8.0}, {"candidate_count": "8"}]
)
async def test_geminis_number_of_answers_as_a_text_never_reaches_it(config):
    gate, upstream = with_room(tokens=3000), Told(b"{}")
    document = {"contents": [{"parts": [{"text": "hi"}]}], "generation_config": config}
    status, _ = await asked(gate, upstream, document, GEMINI_PATH)
    assert (status, upstream.asked) == (400, [])


@pytest.mark.parametrize("model", ["..", "azure/..", "azure/../x", "."])
async def test_a_model_that_is_a_way_to_another_path_never_reaches_a_provider(model):
    """Older Azure has the model as a folder of the path, and `..` is no letter that is quoted."""
    upstream = Told(b"{}")
    status, _ = await asked(RehearsalGate(), upstream, {**CHAT, "model": model})
    assert (status, upstream.asked) == (400, [])


async def test_a_tier_that_is_no_word_does_not_break_the_door():
    status, _ = await asked(RehearsalGate(), Told(b"{}"), {**CHAT, "service_tier": []})
    assert status == 200


@pytest.mark.parametrize(
    ("document", "dialect"),
    [
        ({"contents": {"parts": {"fileData": {"fileUri": "x"}}}}, Dialect.GEMINI),
        ({"contents": [{"parts": {"fileData": {"fileUri": "x"}}}]}, Dialect.GEMINI),
        ({"contents": [], "tools": {"googleSearch": {}}}, Dialect.GEMINI),
        ({"systemInstruction": {"parts": [{"fileData": {"fileUri": "x"}}]}}, Dialect.GEMINI),
        ({"requests": [{"content": {"parts": [{"fileData": {"fileUri": "x"}}]}}]}, Dialect.GEMINI),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/flac", "data": "A"}}]}]},
            Dialect.GEMINI,
        ),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, Dialect.RESPONSES),
        ({"input": [{"id": "msg_1"}]}, Dialect.RESPONSES),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, Dialect.RESPONSES),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, Dialect.RESPONSES),
        ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, Dialect.CHAT),
        (
            {"messages": [{"content": [{"type": "audio_url", "audio_url": {"url": "x"}}]}]},
            Dialect.CHAT,
        ),
        ({"messages": [{"content": [{"audio_url": {"url": "x"}}]}]}, Dialect.CHAT),
        (
            {
                "messages": [
                    {
                        "content": [
                            {"type": "input_audio", "input_audio": {"format": "flac", "data": "A"}}
                        ]
                    }
                ]
            },
            Dialect.CHAT,
        ),
    ],
)
def test_what_is_larger_at_the_provider_than_in_the_body_is_bounded_by_the_context(
    document, dialect
):
    action = "batchEmbedContents" if "requests" in document else ""
    action = action or ("generateContent" if dialect is Dialect.GEMINI else "")
    assert bound(document, dialect, action).input >= CONTEXT


def test_a_screenshot_by_address_is_an_image():
    shot = {"type": "computer_screenshot", "image_url": "https://example.org/a.png"}
    output = {"type": "computer_call_output", "call_id": "c", "output": shot}
    assert bound({"input": [output]}, Dialect.RESPONSES).input > 1000


@pytest.mark.parametrize(
    "document",
    [
        {
            "model": "gpt-4o",
            "input": [
                {"role": "user", "content": "hi"},
                {"type": "message", "role": "user", "content": [{"type": "input_text"}]},
                {"type": "reasoning", "encrypted_content": "abc", "summary": []},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "x"},
            ],
        }
    ],
)
def test_an_ordinary_history_is_bounded_by_its_bytes(document):
    assert bound(document, Dialect.RESPONSES).input < 2000


@pytest.mark.parametrize("stream", [False, True])
async def test_a_question_that_is_left_in_the_middle_counts_what_was_reserved(stream):
    """The provider may have thought for as long as the limit let it, and shown nothing of it."""
    gate = with_room(tokens=50_000)
    pieces = (CHUNK,) if stream else (b" ",)
    media = "text/event-stream" if stream else "application/json"
    upstream = Told(*pieces, media=media, breaks=EngineUnavailableError("left"))
    await asked(gate, upstream, {**CHAT, "max_tokens": 20_000, "stream": stream})
    assert gate.calls[0].spent[Unit.TOKENS] >= 20_000


async def test_a_connection_that_breaks_after_the_question_was_sent_is_not_free():
    error = EngineUnavailableError("reset")
    error.__cause__ = httpcore.ReadError("reset")
    gate = with_room(tokens=50_000)
    await asked(gate, Told(ask_breaks=error), {**CHAT, "max_tokens": 20_000})
    assert gate.calls[0].spent is None


async def test_a_connection_that_never_was_is_free():
    error = EngineUnavailableError("refused")
    error.__cause__ = httpcore.ConnectError("refused")
    gate = with_room(tokens=50_000)
    await asked(gate, Told(ask_breaks=error), {**CHAT, "max_tokens": 20_000})
    assert gate.calls[0].spent == {}


async def test_the_hour_of_a_cache_cannot_be_spelled_away():
    usage = {"input_tokens": 1000, "output_tokens": 0, "cache_creation_input_tokens": 1000}
    mark = {"type": "ephemeral", "ttl": "1h"}
    part = {"type": "text", "text": "hi", "cache_control": mark}
    document = {"model": "claude-sonnet-4", "max_tokens": 5}
    document["messages"] = [{"role": "user", "content": [part]}]
    told = []
    for body in (
        json.dumps(document).encode(),
        json.dumps(document).replace('"1h"', '"\\u0031h"').encode(),
    ):
        gate = RehearsalGate()
        await asked(gate, Told(json.dumps({"usage": usage}).encode()), body, "/v1/messages")
        told.append(gate.calls[0].spent[Unit.NANO_USD])
    assert told[0] == told[1] > 0


async def test_a_fast_answer_costs_what_a_fast_answer_costs():
    usage = b'{"usage":{"input_tokens":1000,"output_tokens":10}}'
    told = []
    for change in ({}, {"speed": "fast"}):
        gate = RehearsalGate()
        document = {**CHAT, "model": "claude-sonnet-4", "max_tokens": 5, **change}
        await asked(gate, Told(usage), document, "/v1/messages")
        told.append(gate.calls[0].spent[Unit.NANO_USD])
    assert told[1] >= 6 * told[0] > 0


async def test_an_agent_that_uses_the_providers_own_tools_pays_the_whole_reservation():
    """A search or an image is billed beside the tokens, and no usage tells it."""
    usage = b'{"usage":{"input_tokens":10,"output_tokens":1}}'
    gate = with_room(nano_usd=10**12)
    document = {"model": "gpt-4o", "input": "hi", "max_output_tokens": 5}
    document["tools"] = [{"type": "web_search"}]
    await asked(gate, Told(usage), document, "/v1/responses")
    kept = gate.calls[0]
    assert kept.spent[Unit.NANO_USD] == kept.attempt.reserve[Unit.NANO_USD]
    assert kept.spent[Unit.TOKENS] == 11


def test_an_event_in_tiny_pieces_is_not_read_again_and_again():
    """Its end is looked for in what is new only: else a provider holds the node for minutes."""
    cut = StreamCut(Dialect.CHAT, model="m", usage_hidden=True)
    clock, data = SystemClock(), b"x" * 64
    began = clock.monotonic()
    for _ in range(16_000):
        cut.feed(data)
    assert clock.monotonic() - began < 2
    assert cut.feed(b"\n") == b""
    assert cut.feed(b"\n").endswith(b"x\n\n")
