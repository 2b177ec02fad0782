"""The official OpenAI and Anthropic clients on what is rarer: parallel tools, structure, images, vectors, faults."""

import contextlib

import anthropic
import anyio
import httpx
import openai
import pydantic
import pytest
from anyio import fail_after

from hive.core.call import Outcome, Refused
from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, open_upstream
from hive.testing.loopback import serve_app
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio

RULES = r"""
models = ["scripted", "second"]

[[rules]]
match = "everywhere"
tools = [
  { name = "weather", arguments = { city = "Oslo" } },
  { name = "weather", arguments = { city = "Rome" } },
]

[[rules]]
on = "tool"
turn = 2
match = '(?s).+'
reply = 'It says: \g<0>'

[[rules]]
match = "break after"
error = { status = 503, message = "scripted to break", after_words = 3 }

[[rules]]
match = "for ever"
reply = "one two three four five six seven eight nine ten"
delay_ms = 50000
"""
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
RESPONSES_TOOL = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}
MESSAGES_TOOL = {"name": "weather", "input_schema": WEATHER}


class WatchedGate(RehearsalGate):
    """Tells when a call has ended, however it did."""

    def __init__(self):
        super().__init__()
        self.ended = anyio.Event()

    @contextlib.asynccontextmanager
    async def deliver(self, attempt, act):
        try:
            async with super().deliver(attempt, act) as passage:
                yield passage
        finally:
            self.ended.set()


class Step(pydantic.BaseModel):
    text: str
    number: int


class Plan(pydantic.BaseModel):
    title: str
    first: Step
    others: list[Step]


@contextlib.asynccontextmanager
async def clients(tmp_path, gate, rules=RULES, retries=0):
    path = tmp_path / "rules.toml"
    path.write_text(rules)
    settings = Settings(models=f"scripted:{path}")
    clock = SystemClock()
    async with open_upstream(settings, clock) as upstream:
        door = ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=clock)
        async with (
            serve_app(door, sandbox=SANDBOX) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=HANDLE, max_retries=retries) as one,
            anthropic.AsyncAnthropic(base_url=url, api_key=HANDLE, max_retries=retries) as two,
        ):
            with fail_after(30):
                yield one, two


def user(text):
    return [{"role": "user", "content": text}]


async def test_openai_chat_calls_tools_at_once_plain_and_streamed(tmp_path):
    async with clients(tmp_path, RehearsalGate()) as (client, _):
        ask = {"model": "scripted", "messages": user("everywhere"), "tools": [CHAT_TOOL]}
        asked = await client.chat.completions.create(**ask)
        async with client.chat.completions.stream(**ask) as stream:
            streamed = await stream.get_final_completion()
        calls = asked.choices[0].message.tool_calls
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": f"dry {number}"}
            for number, call in enumerate(calls)
        ]
        answer = await client.chat.completions.create(
            model="scripted",
            messages=[*user("everywhere"), asked.choices[0].message, *results],
        )
    arguments = [call.function.arguments for call in calls]
    assert arguments == ['{"city":"Oslo"}', '{"city":"Rome"}']
    again = streamed.choices[0].message.tool_calls
    assert [call.function.arguments for call in again] == arguments
    assert len({call.id for call in calls}) == len({call.id for call in again}) == 2
    assert answer.choices[0].message.content == "It says: dry 1"


async def test_openai_responses_calls_tools_at_once_plain_and_streamed(tmp_path):
    async with clients(tmp_path, RehearsalGate()) as (client, _):
        ask = {"model": "scripted", "input": "everywhere", "tools": [RESPONSES_TOOL]}
        asked = await client.responses.create(**ask)
        async with client.responses.stream(**ask) as stream:
            events = [event async for event in stream]
            streamed = await stream.get_final_response()
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": "dry"}
            for call in asked.output
        ]
        answer = await client.responses.create(
            model="scripted",
            input=[*user("everywhere"), *(call.model_dump() for call in asked.output), *results],
        )
    assert [call.arguments for call in asked.output] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert [call.arguments for call in streamed.output] == [call.arguments for call in asked.output]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert answer.output_text == "It says: dry"


async def test_anthropic_calls_tools_at_once_plain_and_streamed(tmp_path):
    async with clients(tmp_path, RehearsalGate()) as (_, client):
        ask = {
            "model": "scripted",
            "max_tokens": 50,
            "messages": user("everywhere"),
            "tools": [MESSAGES_TOOL],
        }
        asked = await client.messages.create(**ask)
        async with client.messages.stream(**ask) as stream:
            streamed = await stream.get_final_message()
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "dry"}
            for block in asked.content
        ]
        said = [block.model_dump() for block in asked.content]
        answer = await client.messages.create(
            model="scripted",
            max_tokens=50,
            messages=[
                *user("everywhere"),
                {"role": "assistant", "content": said},
                {"role": "user", "content": results},
            ],
        )
    assert [block.input for block in asked.content] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert [block.input for block in streamed.content] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert answer.content[0].text == "It says: dry\ndry"


async def test_openai_parses_structured_output_on_both_wires(tmp_path):
    async with clients(tmp_path, RehearsalGate()) as (client, _):
        chat = await client.chat.completions.parse(
            model="scripted", messages=user("a plan"), response_format=Plan
        )
        responses = await client.responses.parse(model="scripted", input="a plan", text_format=Plan)
    assert isinstance(chat.choices[0].message.parsed, Plan)
    assert isinstance(responses.output_parsed, Plan)


async def test_images_are_heard_on_all_wires_and_cost_no_bytes_of_text(tmp_path):
    big = PIXEL + "A" * 40_000
    async with clients(tmp_path, RehearsalGate()) as (one, two):
        chat = await one.chat.completions.create(
            model="scripted",
            messages=user(
                [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": big}},
                    {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                ]
            ),
        )
        responses = await one.responses.create(
            model="scripted",
            input=user(
                [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
                ]
            ),
        )
        source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
        message = await two.messages.create(
            model="scripted",
            max_tokens=9,
            messages=user([{"type": "text", "text": "see"}, {"type": "image", "source": source}]),
        )
    assert chat.choices[0].message.content == "scripted answer to: see (2 files)"
    assert responses.output_text == "scripted answer to: see (1 files)"
    assert message.content[0].text == "scripted answer to: see (1 files)"
    assert 500 < chat.usage.prompt_tokens < 1000


async def test_openai_embeds_in_both_encodings(tmp_path):
    gate = RehearsalGate()
    async with clients(tmp_path, gate) as (client, _):
        packed = await client.embeddings.create(
            model="scripted", input=["one", "two", "one"], dimensions=8
        )
        plain = await client.embeddings.create(
            model="scripted", input="one", dimensions=8, encoding_format="float"
        )
        with pytest.raises(openai.BadRequestError):
            await client.embeddings.create(model="scripted", input=[])
    vectors = [one.embedding for one in packed.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert vectors[0] == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert sum(number * number for number in vectors[0]) == pytest.approx(1)
    assert gate.calls[0].cost["input_tokens"] == packed.usage.prompt_tokens


async def test_anthropic_counts_tokens_and_pages_through_models(tmp_path):
    gate = RehearsalGate()
    async with clients(tmp_path, gate) as (one, two):
        counted = await two.messages.count_tokens(model="scripted", messages=user("hello"))
        paged = [model.id async for model in two.models.list(limit=1)]
        found = await two.models.retrieve("second")
        same = await one.models.retrieve("second")
        with pytest.raises(anthropic.NotFoundError) as missing:
            await two.models.retrieve("third")
        with pytest.raises(openai.NotFoundError) as other:
            await one.models.retrieve("third")
    assert counted.input_tokens > 0
    assert paged == ["scripted", "second"]
    assert found.id == same.id == "second"
    assert missing.value.body["error"]["type"] == "not_found_error"
    assert other.value.code == "model_not_found"
    assert [call.attempt.target for call in gate.calls] == ["scripted"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 503])
async def test_each_status_is_the_clients_own_class_on_every_wire(tmp_path, status):
    rules = f'[[rules]]\nmatch = ""\nerror = {{ status = {status}, message = "scripted no" }}\n'
    names = {
        400: "BadRequestError",
        401: "AuthenticationError",
        403: "PermissionDeniedError",
        404: "NotFoundError",
        429: "RateLimitError",
    }
    name = names.get(status, "InternalServerError")
    async with clients(tmp_path, RehearsalGate(), rules) as (one, two):
        with pytest.raises(getattr(openai, name), match="scripted no"):
            await one.chat.completions.create(model="m", messages=user("x"))
        with pytest.raises(getattr(openai, name), match="scripted no"):
            await one.responses.create(model="m", input="x", stream=True)
        with pytest.raises(getattr(anthropic, name), match="scripted no") as caught:
            await two.messages.create(model="m", max_tokens=5, messages=user("x"))
    assert caught.value.status_code == status


async def test_a_budgets_end_is_told_once_and_not_asked_for_again(tmp_path):
    no = Refused(check="budget", reason="nothing is left")
    gate = RehearsalGate(judge=lambda _attempt: no)
    async with clients(tmp_path, gate, retries=3) as (one, two):
        with pytest.raises(openai.RateLimitError) as first:
            await one.responses.create(model="m", input="x")
        with pytest.raises(anthropic.RateLimitError) as second:
            await two.messages.create(model="m", max_tokens=5, messages=user("x"))
    assert first.value.type == "insufficient_quota"
    assert second.value.body["error"]["type"] == "rate_limit_error"
    assert len(gate.calls) == 2


async def test_a_stream_that_breaks_raises_on_every_wire(tmp_path):
    texts = []

    async def chat(client):
        async for chunk in await client.chat.completions.create(
            model="scripted", messages=user("break after"), stream=True
        ):
            texts.extend(choice.delta.content or "" for choice in chunk.choices)

    async def responses(client):
        async for event in await client.responses.create(
            model="scripted", input="break after", stream=True
        ):
            texts.extend([event.delta] if event.type == "response.output_text.delta" else ())

    async def messages(client):
        async with client.messages.stream(
            model="scripted", max_tokens=9, messages=user("break after")
        ) as stream:
            async for text in stream.text_stream:
                texts.extend([text])

    async with clients(tmp_path, RehearsalGate()) as (one, two):
        with pytest.raises(openai.APIError, match="scripted to break"):
            await chat(one)
        with pytest.raises(openai.APIError, match="scripted to break"):
            await responses(one)
        with pytest.raises(anthropic.APIError, match="scripted to break"):
            await messages(two)
    assert "".join(texts) == "word0 word1 word2 " * 3


async def test_a_client_that_leaves_ends_the_deed(tmp_path):
    gate = WatchedGate()
    async with clients(tmp_path, gate) as (client, _):
        stream = await client.chat.completions.create(
            model="scripted", messages=user("for ever"), stream=True
        )
        await stream.close()
        await gate.ended.wait()
    assert gate.outcomes == [Outcome.CANCELED]


async def test_bad_fields_are_bad_requests_that_name_the_field(tmp_path):
    async with clients(tmp_path, RehearsalGate()) as (one, two):
        with pytest.raises(openai.BadRequestError, match=r"messages\[0\].role"):
            await one.chat.completions.create(
                model="scripted", messages=[{"role": "nobody", "content": "x"}]
            )
        with pytest.raises(openai.BadRequestError, match=r"input\[0\].role"):
            await one.responses.create(model="scripted", input=[{"role": "no", "content": "x"}])
        with pytest.raises(anthropic.BadRequestError, match="messages"):
            await two.messages.create(model="scripted", max_tokens=5, messages=[])


async def test_the_synchronous_clients_work_as_well(tmp_path):
    async with clients(tmp_path, RehearsalGate()) as (one, _):
        url = str(one.base_url)

        def ask():
            with openai.OpenAI(
                base_url=url, api_key=HANDLE, http_client=httpx.Client(trust_env=False)
            ) as client:
                return client.responses.create(model="scripted", input="hi").output_text

        assert await anyio.to_thread.run_sync(ask) == "scripted answer to: hi"
