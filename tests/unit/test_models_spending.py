"""What a question may spend and what it spent: bounds, injected limits, prices, a stream that is cut."""

import json
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import fail_after

from hive.core.budget import Unit
from hive.core.call import Outcome, Refused
from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, EngineTimeoutError, EngineUnavailableError
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor
from hive.protocols.models.conversation import TokenUsage
from hive.protocols.models.cut import StreamCut
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.prices import ModelPrice, load_prices
from hive.protocols.models.reserve import bound_of, with_limit, with_usage
from hive.protocols.models.spending import Purse
from hive.protocols.models.usage import UsageMeter
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
PATHS = {
    Dialect.CHAT: "/v1/chat/completions",
    Dialect.RESPONSES: "/v1/responses",
    Dialect.MESSAGES: "/v1/messages",
    Dialect.GEMINI: "/v1beta/models/gemini-2.5-flash:generateContent",
}
CHUNK = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
USAGE = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


def request_of(document, dialect=Dialect.CHAT, action=""):
    return ModelRequest(
        dialect=dialect,
        model=document.get("model", "gpt-4o"),
        stream=bool(document.get("stream")),
        body=json.dumps(document).encode(),
        document=document,
        action=action,
    )


class Told:
    """A provider that keeps what it was asked and says what a test tells it to."""

    dialects = frozenset(Dialect)

    def __init__(self, *pieces, status=200, media="text/event-stream", error=None, breaks=None):
        self.asked = []
        self._pieces, self._error, self._breaks = pieces, error, breaks
        self.head = ModelHead(status=status, headers=(("content-type", media),))

    @asynccontextmanager
    async def ask(self, request):
        self.asked.append(request)
        if self._error is not None:
            raise self._error
        yield self

    async def chunks(self):
        for piece in self._pieces:
            yield piece
        if self._breaks is not None:
            raise self._breaks

    async def models(self):
        return ()


async def asked(gate, upstream, document, dialect=Dialect.CHAT, **settings):
    body, sent = json.dumps(document).encode(), []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if waiting:
            return waiting.pop()
        await anyio.sleep_forever()
        return None

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": PATHS[dialect],
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {HANDLE}".encode()),
        ],
        "hive.sandbox": SANDBOX,
    }
    given = Settings(models="openai:http://127.0.0.1:1/v1", **settings)
    with fail_after(10):
        door = ModelsDoor(gate=gate, upstream=upstream, settings=given, clock=SystemClock())
        await door(scope, receive, send)
    return sent[0]["status"], b"".join(one["body"] for one in sent[1:])


def with_room(**room):
    gate = RehearsalGate()
    gate.left = {Unit(unit): amount for unit, amount in room.items()}
    return gate


CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**CHAT, "stream": True}


@pytest.mark.parametrize(
    ("dialect", "document", "field"),
    [
        (Dialect.CHAT, CHAT, ("max_completion_tokens",)),
        (Dialect.CHAT, {**CHAT, "model": "mistral"}, ("max_tokens",)),
        (Dialect.RESPONSES, {"model": "gpt-4o", "input": "hi"}, ("max_output_tokens",)),
        (Dialect.MESSAGES, {**CHAT, "model": "claude-3-haiku"}, ("max_tokens",)),
        (
            Dialect.GEMINI,
            {"contents": [{"parts": [{"text": "hi"}]}]},
            ("generationConfig", "maxOutputTokens"),
        ),
    ],
)
async def test_under_a_ceiling_an_answer_without_a_limit_gets_one_that_fits(
    dialect, document, field
):
    gate, upstream = with_room(tokens=3000), Told(b"{}", media="application/json")
    await asked(gate, upstream, document, dialect)
    found = json.loads(upstream.asked[0].body)
    for name in field:
        found = found[name]
    reserve = gate.calls[0].attempt.reserve
    assert reserve[Unit.TOKENS] == 3000
    assert 0 < found < 3000


async def test_without_a_ceiling_the_body_passes_byte_for_byte():
    gate, upstream = RehearsalGate(), Told(b"{}", media="application/json")
    await asked(gate, upstream, CHAT)
    assert upstream.asked[0].body == json.dumps(CHAT).encode()


async def test_an_injected_field_leaves_the_rest_of_the_body_as_it_was():
    request = request_of({"model": "x", "tools": [{"z": 1, "a": 2}]})
    limited = with_limit(request, 9, models=("x",))
    assert limited.body == b'{"max_tokens":9,' + request.body[1:]
    assert json.loads(limited.body) == limited.document


async def test_a_limit_that_stands_as_null_is_no_second_key():
    limited = with_limit(request_of({"max_tokens": None, "z": 1, "a": 2}), 9, models=("x",))
    assert limited.body == b'{"max_tokens":9,"z":1,"a":2}'


async def test_a_chat_stream_is_asked_for_its_usage_and_the_client_does_not_see_it():
    gate, upstream = RehearsalGate(), Told(CHUNK[:30], CHUNK[30:] + USAGE[:9], USAGE[9:], DONE)
    status, body = await asked(gate, upstream, STREAM)
    assert (status, body) == (200, CHUNK + DONE)
    assert json.loads(upstream.asked[0].body)["stream_options"] == {"include_usage": True}
    assert gate.calls[0].spent[Unit.TOKENS] == 7
    assert gate.calls[0].cost["output_tokens"] == 2
    assert gate.calls[0].cost["nano_usd"] == 5 * 2500 + 2 * 10000
    assert gate.calls[0].cost["first_token_ms"] >= 0


async def test_a_client_that_asks_for_the_usage_gets_it():
    asks = {**STREAM, "stream_options": {"include_usage": True}}
    gate, upstream = RehearsalGate(), Told(CHUNK, USAGE, DONE)
    _, body = await asked(gate, upstream, asks)
    assert body == CHUNK + USAGE + DONE


async def test_a_provider_that_goes_past_its_limit_is_cut_with_a_length():
    gate = with_room(tokens=100_000)
    _, body = await asked(gate, Told(*[CHUNK] * 500), {**STREAM, "max_tokens": 10})
    assert body.count(b'"content"') < 40
    assert b'"finish_reason":"length"' in body
    assert body.endswith(DONE)
    kept = gate.calls[0]
    assert kept.spent[Unit.TOKENS] > kept.attempt.reserve[Unit.TOKENS]
    assert kept.cost["overrun"] is True


async def test_without_a_ceiling_nothing_is_cut():
    _, body = await asked(RehearsalGate(), Told(*[CHUNK] * 500), {**STREAM, "max_tokens": 10})
    assert body.count(b'"content"') == 500


async def test_an_answer_that_tells_no_usage_costs_what_was_reserved():
    gate = RehearsalGate()
    await asked(gate, Told(b"{}", media="application/json"), {**CHAT, "max_tokens": 5})
    assert gate.calls[0].spent == gate.calls[0].attempt.reserve
    assert gate.calls[0].cost["estimated"] is True


async def test_who_cannot_be_reached_bills_nothing():
    gate = RehearsalGate()
    status, _ = await asked(gate, Told(error=EngineUnavailableError("away")), CHAT)
    assert (status, gate.calls[0].spent, gate.calls[0].outcome) == (502, {}, Outcome.FAILED)


async def test_who_did_not_answer_in_time_may_bill_all_of_it():
    gate = RehearsalGate()
    status, _ = await asked(gate, Told(error=EngineTimeoutError("late")), CHAT)
    assert (status, gate.calls[0].spent) == (504, None)


async def test_a_providers_error_without_usage_spends_nothing():
    gate = RehearsalGate()
    await asked(gate, Told(b'{"error":{}}', status=500, media="application/json"), CHAT)
    assert (gate.calls[0].spent, gate.calls[0].outcome) == ({}, Outcome.FAILED)


async def test_a_stream_that_breaks_spends_its_question_and_what_came():
    gate = RehearsalGate()
    await asked(gate, Told(CHUNK, breaks=EngineUnavailableError("reset")), STREAM)
    kept = gate.calls[0]
    assert 0 < kept.spent[Unit.TOKENS] < kept.attempt.reserve[Unit.TOKENS]
    assert kept.cost["estimated"] is True


async def test_a_model_without_a_price_is_refused_below_a_money_ceiling():
    gate, upstream = with_room(nano_usd=10**12), Told(b"{}")
    status, body = await asked(gate, upstream, {**CHAT, "model": "nobody-knows"})
    assert status == 429
    assert json.loads(body)["error"]["type"] == "insufficient_quota"
    assert b"HIVE_MODEL_PRICES" in body
    assert upstream.asked == []


async def test_room_that_siblings_took_is_tried_once_more_with_what_is_left():
    gate = with_room(tokens=5000)

    def judge(attempt):
        if attempt.reserve[Unit.TOKENS] > 2000:
            gate.left = {Unit.TOKENS: 2000}
            return Refused(check="budget", reason="full")
        return None

    gate._judge = judge
    upstream = Told(b"{}", media="application/json")
    status, _ = await asked(gate, upstream, CHAT)
    assert (status, len(gate.calls), len(upstream.asked)) == (200, 2, 1)


async def test_money_that_is_left_bounds_the_answer():
    gate, upstream = with_room(nano_usd=2_000_000), Told(b"{}", media="application/json")
    await asked(gate, upstream, CHAT)
    assert gate.calls[0].attempt.reserve[Unit.NANO_USD] <= 2_000_000
    assert 0 < json.loads(upstream.asked[0].body)["max_completion_tokens"] < 200


def test_an_image_counts_what_its_provider_states_and_not_its_bytes():
    data = "data:image/png;base64," + "A" * 100_000
    part = {"type": "image_url", "image_url": {"url": data}}
    seen = {"model": "gpt-4o", "messages": [{"role": "user", "content": [part]}]}
    bound = bound_of(request_of(seen), context=0, image_tokens=1600)
    assert 1600 < bound.input < 3000


def test_a_text_that_hides_as_data_in_a_tool_is_counted():
    part = {"type": "image_url", "image_url": {"url": "A" * 100_000}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"content": [part]}}}]
    bound = bound_of(request_of({**CHAT, "tools": tools}), context=0, image_tokens=1600)
    assert bound.input > 100_000


@pytest.mark.parametrize(
    "change",
    [
        {"previous_response_id": "r"},
        {"tools": [{"type": "web_search"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
    ],
)
def test_what_lies_at_the_provider_is_bounded_by_the_models_context(change):
    request = request_of({"model": "gpt-4o", "input": "hi", **change}, Dialect.RESPONSES)
    assert bound_of(request, context=128_000, image_tokens=0).input == 128_000


def test_several_answers_are_bounded_together():
    bound = bound_of(request_of({**CHAT, "n": 3, "max_tokens": 7}), context=0, image_tokens=0)
    assert (bound.answers, bound.limit) == (3, 7)


def test_only_dated_forms_of_a_name_have_its_price():
    prices = load_prices()
    assert prices.find("gpt-4o-2024-08-06") is prices.models["gpt-4o"]
    assert prices.find("openai/gpt-4o-mini") is prices.models["gpt-4o-mini"]
    assert prices.find("claude-sonnet-4-20250514") is prices.models["claude-sonnet-4"]
    assert prices.find("gpt-5-ultra") is None
    assert prices.date


def test_the_bound_of_a_price_holds_for_every_split_of_its_tokens():
    for price in load_prices().models.values():
        for read, write in ((0, 0), (900, 0), (0, 900), (400, 500)):
            usage = TokenUsage(input=1000, output=50, cache_read=read, cache_write=write)
            bound = price.bound_nano_usd(tokens_in=1000, tokens_out=50)
            assert price.nano_usd(usage, audio=True, hour=True) <= bound


def test_what_an_amount_buys_costs_no_more_than_it():
    price = ModelPrice(input=3, output=7, long_above=100)
    for tokens_in in (1, 100, 101, 5000):
        bought = price.output_for(100_000, tokens_in=tokens_in)
        assert price.bound_nano_usd(tokens_in=tokens_in, tokens_out=bought) <= 100_000


def test_an_operators_own_price_wins(tmp_path):
    own = tmp_path / "prices.toml"
    own.write_text('[models]\n"gpt-4o" = { input = 1, output = 2 }\n')
    assert load_prices(str(own)).find("gpt-4o").output == 2
    own.write_text('[models]\n"x" = { input = -1, output = 2 }\n')
    with pytest.raises(ConfigError):
        load_prices(str(own))


def test_a_cut_message_closes_its_block_and_stops():
    cut = StreamCut(Dialect.MESSAGES, model="m", usage_hidden=False)
    cut.feed(b'event: content_block_start\ndata: {"type":"content_block_start","index":1}\n\n')
    names = [
        json.loads(line[6:])["type"] for line in cut.ending(5).splitlines() if line[:5] == b"data:"
    ]
    assert names == ["content_block_stop", "message_delta", "message_stop"]


def test_only_a_chat_stream_is_asked_for_its_usage():
    for dialect in (Dialect.RESPONSES, Dialect.MESSAGES):
        request = request_of(STREAM, dialect)
        assert with_usage(request) is request
    assert with_usage(request_of(CHAT)).document == CHAT


@pytest.mark.parametrize(
    ("dialect", "action"), [(Dialect.MESSAGES, "/count_tokens"), (Dialect.GEMINI, "countTokens")]
)
async def test_counting_tokens_reserves_and_spends_nothing(dialect, action):
    told = Told(b'{"input_tokens": 900}', media="application/json")
    purse = Purse(upstream=told, settings=Settings(), now=SystemClock().monotonic)
    document = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "a" * 900}]}
    paid = purse.question(request_of(document, dialect, action), {Unit.TOKENS: 10})
    meter = UsageMeter(streams=False)
    meter.feed(b'{"input_tokens": 900}')
    assert sum(paid.reserve.values()) == 0
    assert sum(paid.spent(meter, ended=True).values()) == 0
